package aggregate

import (
	"cmp"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Reasons of our own.
const (
	reasonNoClusters  = "NoClusters"
	reasonNotReported = "NotReported"
	reasonSynced      = "Synced"
)

// condition is a merged condition before it has times.
type condition struct {
	conditionType string
	status        metav1.ConditionStatus
	reason        string
	message       string
}

// mergeAvailable is true when every placed cluster says so. A cluster that says
// nothing is not available.
func mergeAvailable(observations []observation) *condition {
	merged := &condition{conditionType: string(appsv1.DeploymentAvailable), status: metav1.ConditionFalse}
	lacking := clustersOf(observations, func(o observation) bool {
		available, ok := o.report.Condition(string(appsv1.DeploymentAvailable))
		return !ok || available.Status != metav1.ConditionTrue
	})
	switch {
	case len(observations) == 0:
		merged.reason, merged.message = reasonNoClusters, "The workload is placed on no cluster."
	case len(lacking) > 0:
		merged.reason = reasonUnavailable
		merged.message = fmt.Sprintf("No minimum availability in %s (%d of %d clusters).", list(lacking, ", "), len(lacking), len(observations))
	default:
		merged.status, merged.reason = metav1.ConditionTrue, reasonAvailable
		merged.message = fmt.Sprintf("Minimum availability in %s.", count(len(observations)))
	}
	return merged
}

// mergeProgressing is false when a cluster has failed, complete when all are, and
// absent when no cluster has an opinion (a paused Deployment without a deadline).
func mergeProgressing(observations []observation) *condition {
	merged := &condition{conditionType: string(appsv1.DeploymentProgressing), status: metav1.ConditionTrue}
	if failed := firstFailure(observations); failed != nil {
		return failed
	}
	waiting := clustersOf(observations, func(o observation) bool { return !o.current })
	if len(waiting) > 0 {
		merged.reason = reasonProgressing
		merged.message = fmt.Sprintf("Waiting for %s to take up the present generation.", list(waiting, ", "))
		return merged
	}
	opinions, unfinished := 0, []string(nil)
	for _, o := range observations {
		progressing, ok := o.report.Condition(merged.conditionType)
		if !ok {
			continue
		}
		opinions++
		if progressing.Reason != reasonComplete {
			unfinished = append(unfinished, o.cluster+": "+progressing.Message)
		}
	}
	switch {
	case opinions == 0:
		return nil
	case len(unfinished) > 0:
		merged.reason, merged.message = reasonProgressing, list(unfinished, "; ")
	default:
		merged.reason = reasonComplete
		merged.message = fmt.Sprintf("Successfully progressed in %s.", count(len(observations)))
	}
	return merged
}

// firstFailure returns the merged Progressing condition of the clusters that say
// the present generation cannot progress, nil when there is none. An exceeded
// deadline comes before other reasons: it is the one that ends a rollout.
func firstFailure(observations []observation) *condition {
	var exceeded, failing []string
	var reason string
	for _, o := range observations {
		progressing, ok := o.report.Condition(string(appsv1.DeploymentProgressing))
		switch {
		case !o.current || !ok || progressing.Status != metav1.ConditionFalse:
		case progressing.Reason == reasonDeadlineExceeded:
			exceeded = append(exceeded, o.cluster+": "+progressing.Message)
		default:
			failing = append(failing, o.cluster+": "+progressing.Message)
			reason = cmp.Or(reason, progressing.Reason)
		}
	}
	failed := &condition{conditionType: string(appsv1.DeploymentProgressing), status: metav1.ConditionFalse}
	switch {
	case len(exceeded) > 0:
		failed.reason, failed.message = reasonDeadlineExceeded, list(exceeded, "; ")
	case len(failing) > 0:
		failed.reason, failed.message = reason, list(failing, "; ")
	default:
		return nil
	}
	return failed
}

// mergeReplicaFailure is true when a cluster says so, and absent otherwise, as on
// a cluster.
func mergeReplicaFailure(observations []observation) *condition {
	var failing []string
	var reason string
	for _, o := range observations {
		failure, ok := o.report.Condition(string(appsv1.DeploymentReplicaFailure))
		if ok && failure.Status == metav1.ConditionTrue {
			failing = append(failing, o.cluster+": "+failure.Message)
			reason = cmp.Or(reason, failure.Reason)
		}
	}
	if len(failing) == 0 {
		return nil
	}
	return &condition{
		conditionType: string(appsv1.DeploymentReplicaFailure),
		status:        metav1.ConditionTrue,
		reason:        reason,
		message:       list(failing, "; "),
	}
}

// mergeSynced is true when every placed cluster has reported and none has a
// problem.
func mergeSynced(observations []observation) *condition {
	var troubled []string
	var reason string
	for _, o := range observations {
		if o.unknown != "" {
			troubled = append(troubled, o.cluster+": "+o.unknown)
			reason = cmp.Or(reason, reasonNotReported)
		}
		for _, problem := range o.report.Problems {
			troubled = append(troubled, o.cluster+": "+problem.Message)
			reason = cmp.Or(reason, problem.Reason)
		}
	}
	merged := &condition{conditionType: v1alpha1.ConditionSynced, status: metav1.ConditionTrue, reason: reasonSynced}
	merged.message = fmt.Sprintf("In place in %s.", count(len(observations)))
	if len(troubled) > 0 {
		merged.status, merged.reason, merged.message = metav1.ConditionFalse, reason, list(troubled, "; ")
	}
	return merged
}

// count words a number of clusters.
func count(clusters int) string {
	if clusters == 1 {
		return "1 cluster"
	}
	return fmt.Sprintf("%d clusters", clusters)
}
