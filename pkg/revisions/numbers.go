package revisions

import (
	"math"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// state is what a workload's status says of its roll-out.
type state struct {
	isPaused bool
	// isComplete is set when the roll-out has ended as kubectl has it, and no pods are left of older revisions. hasFailed is set when
	// its deadline is over.
	isComplete, hasFailed bool
	// All that there is, and of it what is updated.
	replicas, updated, ready, available int64
}

// stateOf reads the status of a workload.
func stateOf(workload *unstructured.Unstructured) state {
	isObserved := number(workload, "status", "observedGeneration") >= workload.GetGeneration()
	switch workload.GetKind() {
	case deploymentKind:
		return stateOfDeployment(workload, isObserved)
	case daemonSetKind:
		desired := number(workload, "status", "desiredNumberScheduled")
		updated, available := number(workload, "status", "updatedNumberScheduled"), number(workload, "status", "numberAvailable")
		return state{isComplete: isObserved && rolls(workload) && updated >= desired && available >= desired}
	default:
		desired, partition := wanted(workload), number(workload, "spec", "updateStrategy", "rollingUpdate", "partition")
		updated, ready := number(workload, "status", "updatedReplicas"), number(workload, "status", "readyReplicas")
		return state{isComplete: isObserved && rolls(workload) && partition == 0 && updated >= desired && ready >= desired}
	}
}

func stateOfDeployment(deployment *unstructured.Unstructured, isObserved bool) state {
	s := state{
		replicas: number(deployment, "status", "replicas"), updated: number(deployment, "status", "updatedReplicas"),
		ready: number(deployment, "status", "readyReplicas"), available: number(deployment, "status", "availableReplicas"),
	}
	s.isPaused, _, _ = unstructured.NestedBool(deployment.Object, "spec", "paused")
	s.hasFailed = isObserved && hasExceededDeadline(deployment)
	if s.hasFailed {
		s.updated = updatedOf(deployment, s)
	}
	s.isComplete = isObserved && !s.hasFailed && s.updated >= wanted(deployment) && s.replicas <= s.updated && s.available >= s.updated
	return s
}

// updatedOf returns how many pods of a Deployment are updated. Its status says too few of them while a cluster is not done, where its
// numbers are the sums over the clusters; then the reports say it.
func updatedOf(deployment *unstructured.Unstructured, s state) int64 {
	object := protocol.Read(deployment)
	var replicas, updated int64
	for _, cluster := range object.Placed() {
		report, err := object.Report(cluster)
		if err != nil {
			continue // counts as nothing there, too
		}
		replicas = min(replicas+report.Counters["replicas"], math.MaxInt32)
		if report.Generation == deployment.GetGeneration() {
			updated = min(updated+report.Counters["updatedReplicas"], math.MaxInt32)
		}
	}
	if replicas != s.replicas {
		return s.updated
	}
	return max(s.updated, min(updated, s.replicas))
}

// wanted is how many replicas a workload asks for. The API server's default is 1.
func wanted(workload *unstructured.Unstructured) int64 {
	if replicas, isSet, _ := unstructured.NestedInt64(workload.Object, "spec", "replicas"); isSet {
		return replicas
	}
	return 1
}

// rolls reports whether a StatefulSet or DaemonSet replaces its pods by itself.
func rolls(workload *unstructured.Unstructured) bool {
	strategy, _, _ := unstructured.NestedString(workload.Object, "spec", "updateStrategy", "type")
	return strategy != "OnDelete"
}

// hasExceededDeadline reports whether a Deployment says that its deadline is over, as kubectl looks for it.
func hasExceededDeadline(workload *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedFieldNoCopy(workload.Object, "status", "conditions")
	list, _ := conditions.([]any)
	for _, item := range list {
		if condition, _ := item.(map[string]any); condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded" {
			return true
		}
	}
	return false
}

// numbers returns those that the present ReplicaSet of a Deployment is to have, which has some already. A status says how many pods
// are updated, and not how many of these are ready; so of a roll-out that has failed, those count as ready that are so even if all
// others are. While neither is so, there is no more of it than what there is at all.
func (s state) numbers(has Numbers) Numbers {
	switch {
	case s.isComplete:
		return Numbers{Wanted: s.replicas, Replicas: s.replicas, Ready: s.ready, Available: s.available}
	case s.hasFailed:
		others := max(s.replicas-s.updated, 0)
		failed := Numbers{
			Wanted: s.updated, Replicas: s.updated,
			Ready: min(max(s.ready-others, 0), s.updated), Available: min(max(s.available-others, 0), s.updated),
		}
		if has == (Numbers{}) {
			return failed
		}
		return has.atMost(failed) // pods that crash are ready again and again
	default:
		has.Replicas, has.Ready, has.Available = min(has.Replicas, s.replicas), min(has.Ready, s.ready), min(has.Available, s.available)
		return has
	}
}

// left returns what there may be of older ReplicaSets when a roll-out has ended: nothing, unless it has failed.
func (s state) left() Numbers {
	if s.isComplete {
		return Numbers{}
	}
	others := max(s.replicas-s.updated, 0)
	return Numbers{Wanted: others, Replicas: others, Ready: min(s.ready, others), Available: min(s.available, others)}
}

// isLower reports whether any number is lower than another's.
func (n Numbers) isLower(than Numbers) bool { return n != n.atLeast(than) }

// atLeast returns the higher of the numbers.
func (n Numbers) atLeast(other Numbers) Numbers {
	return Numbers{max(n.Wanted, other.Wanted), max(n.Replicas, other.Replicas), max(n.Ready, other.Ready), max(n.Available, other.Available)}
}

// atMost returns the lower of the numbers.
func (n Numbers) atMost(other Numbers) Numbers {
	return Numbers{min(n.Wanted, other.Wanted), min(n.Replicas, other.Replicas), min(n.Ready, other.Ready), min(n.Available, other.Available)}
}

// less returns the numbers without others.
func (n Numbers) less(others Numbers) Numbers {
	return Numbers{n.Wanted - others.Wanted, n.Replicas - others.Replicas, n.Ready - others.Ready, n.Available - others.Available}
}
