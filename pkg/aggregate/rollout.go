package aggregate

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Counters and revisions that clients look at: `kubectl rollout status`, and kstatus.
const (
	replicas          = "replicas"
	updatedReplicas   = "updatedReplicas"
	readyReplicas     = "readyReplicas"
	availableReplicas = "availableReplicas"
	currentReplicas   = "currentReplicas"
	currentRevision   = "currentRevision"
	updateRevision    = "updateRevision"
	desiredScheduled  = "desiredNumberScheduled"
	currentScheduled  = "currentNumberScheduled"
	updatedScheduled  = "updatedNumberScheduled"
	numberAvailable   = "numberAvailable"
	numberReady       = "numberReady"
)

// rollout is how a roll-out is judged.
type rollout struct {
	// isDone reports what `kubectl rollout status` would conclude from the object of a cluster whose copy is up to date
	// (the StatusViewers of k8s.io/kubectl/pkg/polymorphichelpers).
	isDone func(*merge, protocol.Entry) bool
	// isSettled reports of a cluster that is done whether kstatus would conclude so as well, as far as numbers tell
	// (sigs.k8s.io/cli-utils/pkg/kstatus/status): it also waits for what is too much.
	isSettled func(*merge, figures) bool
	// readsDone reports what kubectl would conclude from the numbers of the merged status.
	readsDone func(*merge, figures) bool
	// understate keeps the merged status from reading as rolled out while a cluster is not done: kubectl compares the sums with
	// spec.replicas, which is what each cluster has, and one complete cluster would make up for another that has not begun.
	// It makes the least change that kubectl understands.
	understate func(*merge)
}

var rollouts = map[kinds.Rollout]rollout{
	kinds.DeploymentRollout: {
		isDone: func(m *merge, e protocol.Entry) bool {
			return !hasFailed(e) && m.hasNoMoreThanItsShare(e) && readsAsDeploymentDone(m, m.figuresOf(e))
		},
		isSettled: isDeploymentSettled, readsDone: readsAsDeploymentDone, understate: understateDeployment,
	},
	kinds.StatefulSetRollout: {
		isDone: isStatefulSetDone, isSettled: isStatefulSetSettled, readsDone: readsAsStatefulSetDone, understate: understateStatefulSet,
	},
	kinds.DaemonSetRollout: {
		isDone:    func(m *merge, e protocol.Entry) bool { return readsAsDaemonSetDone(m, m.figuresOf(e)) },
		isSettled: isDaemonSetSettled, readsDone: readsAsDaemonSetDone, understate: understateDaemonSet,
	},
}

// addUnderstatement keeps the status from reading as rolled out while a placed cluster is not done. Where the numbers are those of
// one cluster they mostly say so themselves, and stay as they are.
func (m *merge) addUnderstatement() {
	r, has := rollouts[m.kind.Rollout]
	isDone := func(e protocol.Entry) bool { return e.IsUpToDate() && r.isDone(m, e) }
	if has && !all(m.placed, isDone) && (m.least == nil || r.readsDone(m, m.figures())) {
		r.understate(m)
	}
}

// hasNoMoreThanItsShare reports whether a cluster runs no more than its share, where replicas are divided. A Deployment on
// one cluster counts as rolled out while the last of its surplus goes; of shares the sum is what the user asked for.
func (m *merge) hasNoMoreThanItsShare(e protocol.Entry) bool {
	return e.Share == nil || e.Report.Counters[replicas] <= m.figuresOf(e).wanted
}

func readsAsDeploymentDone(_ *merge, f figures) bool {
	return f.counters(updatedReplicas) >= f.wanted &&
		f.counters(replicas) <= f.counters(updatedReplicas) &&
		f.counters(availableReplicas) >= f.counters(updatedReplicas)
}

func isDeploymentSettled(_ *merge, f figures) bool {
	return f.counters(replicas) <= f.wanted && f.counters(readyReplicas) >= f.wanted
}

// understateDeployment leaves one updated replica too few; and where none are asked for, one that still is to go.
func understateDeployment(m *merge) {
	if m.replicas > 0 {
		m.set(updatedReplicas, min(m.get(updatedReplicas), m.replicas-1))
		return
	}
	m.set(replicas, max(m.get(replicas), m.get(updatedReplicas)+1))
}

// updateStrategy is what a StatefulSet says of its roll-outs. Without a partition, clusters have one of 0, but the object has
// none: kubectl looks at its revisions then, or, with other parameters, at nothing.
func (m *merge) updateStrategy() (isOnDelete, hasParameters, hasPartition bool) {
	strategy, _, _ := unstructured.NestedMap(m.in.Object.Object, "spec", "updateStrategy")
	parameters, hasParameters := strategy["rollingUpdate"].(map[string]any)
	_, hasPartition = parameters["partition"].(int64)
	return strategy["type"] == "OnDelete", hasParameters, hasPartition
}

func (f figures) hasOneRevision() bool { return f.texts(currentRevision) == f.texts(updateRevision) }

func isStatefulSetDone(m *merge, e protocol.Entry) bool {
	f := m.figuresOf(e)
	isOnDelete, hasParameters, _ := m.updateStrategy()
	switch {
	case f.counters(readyReplicas) < f.wanted, !m.hasNoMoreThanItsShare(e):
		return false
	case isOnDelete: // the user decides when pods are updated
		return true
	default:
		return f.counters(updatedReplicas) >= f.toUpdate() && (hasParameters || f.hasOneRevision())
	}
}

func readsAsStatefulSetDone(m *merge, f figures) bool {
	isOnDelete, hasParameters, hasPartition := m.updateStrategy()
	switch {
	case f.counters(readyReplicas) < f.wanted:
		return false
	case hasPartition:
		return f.counters(updatedReplicas) >= f.toUpdate()
	default:
		return isOnDelete || hasParameters || f.hasOneRevision()
	}
}

func isStatefulSetSettled(m *merge, f figures) bool {
	isOnDelete, _, hasPartition := m.updateStrategy()
	return f.counters(replicas) <= f.wanted &&
		(isOnDelete || hasPartition || f.counters(currentReplicas) >= f.wanted && f.hasOneRevision())
}

// understateStatefulSet leaves one replica not ready, which kubectl looks at first. Where none are asked for, the revisions
// differ, and one is still to go, which kstatus looks at.
func understateStatefulSet(m *merge) {
	if m.replicas > 0 {
		m.set(readyReplicas, min(m.get(readyReplicas), m.replicas-1))
		return
	}
	m.set(replicas, max(m.get(replicas), 1))
	m.status[updateRevision] = "pending"
	delete(m.status, currentRevision)
}

func readsAsDaemonSetDone(_ *merge, f figures) bool {
	return f.counters(updatedScheduled) >= f.counters(desiredScheduled) && f.counters(numberAvailable) >= f.counters(desiredScheduled)
}

func isDaemonSetSettled(_ *merge, f figures) bool {
	return f.counters(currentScheduled) >= f.counters(desiredScheduled) && f.counters(numberReady) >= f.counters(desiredScheduled)
}

// understateDaemonSet leaves one pod not updated; a cluster whose nodes nobody knows yet has one at least.
func understateDaemonSet(m *merge) {
	m.set(desiredScheduled, max(m.get(desiredScheduled), 1))
	m.set(updatedScheduled, min(m.get(updatedScheduled), m.get(desiredScheduled)-1))
}
