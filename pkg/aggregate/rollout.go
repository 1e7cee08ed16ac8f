package aggregate

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Counters and revisions that `kubectl rollout status` looks at.
const (
	replicas          = "replicas"
	updatedReplicas   = "updatedReplicas"
	readyReplicas     = "readyReplicas"
	availableReplicas = "availableReplicas"
	currentRevision   = "currentRevision"
	updateRevision    = "updateRevision"
	desiredScheduled  = "desiredNumberScheduled"
	updatedScheduled  = "updatedNumberScheduled"
	numberAvailable   = "numberAvailable"
)

// rollout is how a roll-out is judged.
type rollout struct {
	// isDone reports what `kubectl rollout status` would conclude from the object of a cluster whose copy is up to date
	// (the StatusViewers of k8s.io/kubectl/pkg/polymorphichelpers).
	isDone func(*merge, protocol.Entry) bool
	// understate keeps the merged status from reading as rolled out while a cluster is not done: kubectl compares the sums with
	// spec.replicas, which is what each cluster has, and one complete cluster would make up for another that has not begun.
	// It makes the least change that kubectl understands.
	understate func(*merge)
}

var rollouts = map[kinds.Rollout]rollout{
	kinds.DeploymentRollout:  {isDeploymentDone, understateDeployment},
	kinds.StatefulSetRollout: {isStatefulSetDone, understateStatefulSet},
	kinds.DaemonSetRollout:   {isDaemonSetDone, understateDaemonSet},
}

// wanted is how many replicas a cluster's copy asks for.
func (m *merge) wanted(e protocol.Entry) int64 {
	if e.Report.Replicas == nil {
		return m.share(e)
	}
	return *e.Report.Replicas
}

// hasNoMoreThanItsShare reports whether a cluster runs no more than its share, where replicas are divided. A Deployment on
// one cluster counts as rolled out while the last of its surplus goes; of shares the sum is what the user asked for.
func (m *merge) hasNoMoreThanItsShare(e protocol.Entry) bool {
	return e.Share == nil || e.Report.Counters[replicas] <= m.wanted(e)
}

func isDeploymentDone(m *merge, e protocol.Entry) bool {
	counters := e.Report.Counters
	return !hasFailed(e) && m.hasNoMoreThanItsShare(e) &&
		counters[updatedReplicas] >= m.wanted(e) &&
		counters[replicas] <= counters[updatedReplicas] &&
		counters[availableReplicas] >= counters[updatedReplicas]
}

// understateDeployment leaves one updated replica too few; and where none are asked for, one that still is to go.
func understateDeployment(m *merge) {
	if m.replicas > 0 {
		m.set(updatedReplicas, min(m.get(updatedReplicas), m.replicas-1))
		return
	}
	m.set(replicas, max(m.get(replicas), m.get(updatedReplicas)+1))
}

func isStatefulSetDone(m *merge, e protocol.Entry) bool {
	counters, wanted := e.Report.Counters, m.wanted(e)
	if counters[readyReplicas] < wanted || !m.hasNoMoreThanItsShare(e) {
		return false
	}
	// Without the field kubectl looks at the revisions instead; with it but no partition, at nothing.
	update, isRolling, _ := unstructured.NestedMap(m.in.Object.Object, "spec", "updateStrategy", "rollingUpdate")
	if !isRolling {
		return e.Report.Texts[currentRevision] == e.Report.Texts[updateRevision]
	}
	partition, isSet := update["partition"].(int64)
	switch {
	case !isSet:
		partition = m.replicas
	case e.Partition != nil:
		partition = *e.Partition
	}
	return counters[updatedReplicas] >= wanted-partition
}

// understateStatefulSet leaves one replica not ready, which kubectl looks at first. Where none are asked for, the revisions
// differ.
func understateStatefulSet(m *merge) {
	if m.replicas > 0 {
		m.set(readyReplicas, min(m.get(readyReplicas), m.replicas-1))
		return
	}
	m.status[updateRevision] = "pending"
	delete(m.status, currentRevision)
}

func isDaemonSetDone(_ *merge, e protocol.Entry) bool {
	counters := e.Report.Counters
	return counters[updatedScheduled] >= counters[desiredScheduled] && counters[numberAvailable] >= counters[desiredScheduled]
}

// understateDaemonSet leaves one pod not updated; a cluster whose nodes nobody knows yet has one at least.
func understateDaemonSet(m *merge) {
	m.set(desiredScheduled, max(m.get(desiredScheduled), 1))
	m.set(updatedScheduled, min(m.get(updatedScheduled), m.get(desiredScheduled)-1))
}
