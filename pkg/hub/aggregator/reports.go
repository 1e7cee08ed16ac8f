package aggregator

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/events"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// tellProblems records an event for each problem that a cluster has come to report of an object. Syncers do not do so
// themselves: kcp cannot let an account create events through a virtual workspace without letting it create everything
// there. It reports whether one says why the object does not run.
func (a *Aggregator) tellProblems(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) (hasCauses bool) {
	var found []events.Notice
	concerned := map[kcp.ObjectKey][]string{}
	object := protocol.Read(upstreamObj)
	for _, cluster := range object.Labelled() {
		report, err := object.Report(cluster)
		if err != nil {
			continue // there is none yet, or the status says what is wrong with it
		}
		hasCauses = hasCauses || len(report.Causes) > 0
		for _, problem := range slices.Concat(report.Problems, report.Notes) {
			found = append(found, events.Notice{Reason: problem.Reason, Message: "cluster " + cluster + ": " + problem.Message})
		}
		for _, other := range a.concernedBy(key, upstreamObj, report) {
			concerned[other] = append(concerned[other], cluster)
		}
	}
	a.config.Notices.WarnOfAll(key, upstreamObj, found)
	for other, clusters := range concerned {
		a.tellConcerned(other, clusters)
	}
	return hasCauses
}

// concernedBy returns the objects of other workspaces that a report on one has to do with. A report is a cluster's word,
// and may be a thief's. So nothing counts but a conflict that can be: with an object of the same kind, namespace and name
// that is placed on that cluster as well, and whose hash the report names.
func (a *Aggregator) concernedBy(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, report protocol.Report) []kcp.ObjectKey {
	hashes := sets.New[string]()
	for _, problem := range report.Problems {
		if problem.Reason == protocol.ReasonConflict && problem.Concerns != "" {
			hashes.Insert(problem.Concerns)
		}
	}
	if len(hashes) == 0 {
		return nil
	}
	var concerned []kcp.ObjectKey
	a.config.Inventory.EachNamesake(key, upstreamObj, report.Cluster, func(other kcp.ObjectKey, _ *unstructured.Unstructured) {
		origin := transform.Origin{Workspace: other.Workspace.String(), Namespace: other.Namespace, Name: other.Name, Cluster: report.Cluster}
		if hashes.Has(origin.Hash()) {
			concerned = append(concerned, other)
		}
	})
	return concerned
}

// tellConcerned tells of a conflict on the object whose copy is there. Its owner does not learn who wants the place, and
// all the words are the hub's.
func (a *Aggregator) tellConcerned(key kcp.ObjectKey, clusters []string) {
	obj := a.config.Upstream.Cached(key)
	if obj == nil {
		return
	}
	a.config.Notices.Warn(key, obj, protocol.ReasonConflict, fmt.Sprintf(
		"cluster %s: an object of another workspace wants the place that the copy of this object has there; it is refused", strings.Join(clusters, ", ")))
}
