package aggregate

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Revisions in the status of a StatefulSet.
const (
	currentRevision = "currentRevision"
	updateRevision  = "updateRevision"
)

// isStatefulSetDone is kubectl's StatefulSetStatusViewer for one cluster
// (k8s.io/kubectl/pkg/polymorphichelpers), and exact where replicas are divided.
func isStatefulSetDone(m *merge, o observation) bool {
	counters, wanted := o.report.Counters, m.wanted(o)
	if counters[readyReplicas] < wanted || !m.hasNoMoreThanItsShare(o) {
		return false
	}
	partition, rolling := rollingUpdate(m)
	if rolling {
		return counters[updatedReplicas] >= wanted-partition
	}
	return o.report.Texts[currentRevision] == o.report.Texts[updateRevision]
}

// rollingUpdate returns the partition of a rolling update. Without the field
// kubectl looks at the revisions instead; with it but no partition, at nothing.
func rollingUpdate(m *merge) (partition int64, isSet bool) {
	update, isSet, _ := unstructured.NestedMap(m.in.Object.Object, "spec", "updateStrategy", "rollingUpdate")
	if !isSet {
		return 0, false
	}
	partition, found, err := unstructured.NestedInt64(update, "partition")
	if !found || err != nil {
		return m.replicas(), true
	}
	return partition, true
}

// holdStatefulSet leaves one replica not ready, which kubectl looks at first.
// Where none are asked for, the revisions differ.
func holdStatefulSet(m *merge) {
	if specReplicas := m.replicas(); specReplicas > 0 {
		m.set(readyReplicas, min(m.get(readyReplicas), specReplicas-1))
		return
	}
	m.status[updateRevision] = "pending"
	delete(m.status, currentRevision)
}

// addRevisions gives the revisions: the one that all clusters have, or one name
// for all of theirs. Equal sets have equal names.
func addRevisions(m *merge) {
	for _, field := range []string{currentRevision, updateRevision} {
		var revisions []string
		for _, o := range m.shown {
			if revision := o.report.Texts[field]; revision != "" {
				revisions = append(revisions, revision)
			}
		}
		if len(revisions) > 0 {
			m.status[field] = nameOf(revisions)
		}
	}
}

func nameOf(revisions []string) string {
	slices.Sort(revisions)
	revisions = slices.Compact(revisions)
	if len(revisions) == 1 {
		return revisions[0]
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(strings.Join(revisions, "\x00"))) // never fails
	return "multiple-" + strconv.FormatUint(uint64(sum.Sum32()), 36)
}
