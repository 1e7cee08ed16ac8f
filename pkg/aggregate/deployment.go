package aggregate

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Reasons that the Deployment controller gives and that clients look for
// (k8s.io/kubernetes/pkg/controller/deployment/util; kubectl's rollout status and
// Argo CD's health check both know ProgressDeadlineExceeded).
const (
	reasonAvailable        = "MinimumReplicasAvailable"
	reasonUnavailable      = "MinimumReplicasUnavailable"
	reasonProgressing      = "ReplicaSetUpdated"
	reasonComplete         = "NewReplicaSetAvailable"
	reasonDeadlineExceeded = "ProgressDeadlineExceeded"
)

// Counters of a Deployment's status, as reports name them.
const (
	replicas            = "replicas"
	updatedReplicas     = "updatedReplicas"
	readyReplicas       = "readyReplicas"
	availableReplicas   = "availableReplicas"
	unavailableReplicas = "unavailableReplicas"
	terminatingReplicas = "terminatingReplicas"
	collisionCount      = "collisionCount"
)

// DeploymentInput is all that the merged status of a Deployment depends on.
type DeploymentInput struct {
	// Generation is the upstream metadata.generation.
	Generation int64
	// Replicas is spec.replicas, that of each cluster.
	Replicas int32
	// Placed are the clusters that are to run the Deployment, sorted.
	Placed []string
	// Annotations are those of the upstream object: the reports are among them.
	Annotations map[string]string
	// Previous is the status as it stands.
	Previous appsv1.DeploymentStatus
	// Now is the time for conditions that change.
	Now metav1.Time
}

// Deployment merges the reports on a Deployment. Counters are sums over the
// placed clusters, with the exceptions that hold describes; observedGeneration
// reaches the present generation when every placed cluster has applied and
// observed it, and never goes back.
func Deployment(in DeploymentInput) appsv1.DeploymentStatus {
	observations := observe(in.Placed, in.Annotations, in.Generation)
	status := appsv1.DeploymentStatus{
		ObservedGeneration:  min(in.Previous.ObservedGeneration, in.Generation),
		Replicas:            sum(observations, replicas, every),
		UpdatedReplicas:     sum(observations, updatedReplicas, isCurrent),
		ReadyReplicas:       sum(observations, readyReplicas, every),
		AvailableReplicas:   sum(observations, availableReplicas, every),
		UnavailableReplicas: unavailable(observations, in.Replicas),
		TerminatingReplicas: nonZero(sum(observations, terminatingReplicas, every)),
		CollisionCount:      nonZero(sum(observations, collisionCount, every)),
	}
	// Nobody observes what is placed nowhere.
	if len(observations) > 0 && all(observations, isCurrent) {
		status.ObservedGeneration = in.Generation
	}
	if !all(observations, isRolledOut) {
		hold(&status, in.Replicas)
	}
	status.Conditions = deploymentConditions(in, observations)
	return status
}

// hold keeps a status from reading as rolled out while a cluster is not done.
// kubectl compares the sums with spec.replicas, which is what each cluster has:
// one complete cluster would make up for another that has not begun. The least
// change that kubectl understands is one updated replica too few; and where none
// are asked for, one that still is to go.
// (DeploymentStatusViewer in k8s.io/kubectl/pkg/polymorphichelpers.)
func hold(status *appsv1.DeploymentStatus, specReplicas int32) {
	if specReplicas > 0 {
		status.UpdatedReplicas = min(status.UpdatedReplicas, specReplicas-1)
		return
	}
	status.Replicas = max(status.Replicas, status.UpdatedReplicas+1)
}

// isRolledOut tells of one cluster what kubectl's rollout status would conclude
// from its own Deployment.
func isRolledOut(o observation) bool {
	counters := o.report.Counters
	return o.current && !hasFailed(o) &&
		counters[updatedReplicas] >= ptr.Deref(o.report.Replicas, 1) &&
		counters[replicas] <= counters[updatedReplicas] &&
		counters[availableReplicas] >= counters[updatedReplicas]
}

// hasFailed tells whether the cluster has exceeded the progress deadline of the
// present generation: a failure of an earlier one is history.
func hasFailed(o observation) bool {
	progressing, ok := o.report.Condition(string(appsv1.DeploymentProgressing))
	return o.current && ok && progressing.Reason == reasonDeadlineExceeded
}

// unavailable sums what the clusters lack; one that has not reported lacks all.
func unavailable(observations []observation, specReplicas int32) int32 {
	total := int64(sum(observations, unavailableReplicas, every))
	for _, o := range observations {
		if o.unknown != "" {
			total += int64(specReplicas)
		}
	}
	return clamp(total)
}

// nonZero is for optional counters, which stay away while there is nothing to
// count.
func nonZero(count int32) *int32 {
	if count == 0 {
		return nil
	}
	return &count
}

func deploymentConditions(in DeploymentInput, observations []observation) []appsv1.DeploymentCondition {
	merged := []*condition{
		mergeAvailable(observations),
		mergeProgressing(observations),
		mergeReplicaFailure(observations),
		mergeSynced(observations),
	}
	var conditions []appsv1.DeploymentCondition
	for _, c := range merged {
		if c != nil {
			conditions = append(conditions, timed(*c, in.Previous.Conditions, in.Now))
		}
	}
	return conditions
}

// timed gives a condition its times: lastTransitionTime moves with the status
// alone, lastUpdateTime with any news.
func timed(c condition, previous []appsv1.DeploymentCondition, now metav1.Time) appsv1.DeploymentCondition {
	result := appsv1.DeploymentCondition{
		Type:               appsv1.DeploymentConditionType(c.conditionType),
		Status:             corev1.ConditionStatus(c.status),
		Reason:             c.reason,
		Message:            c.message,
		LastUpdateTime:     now,
		LastTransitionTime: now,
	}
	at := slices.IndexFunc(previous, func(p appsv1.DeploymentCondition) bool { return p.Type == result.Type })
	if at < 0 || previous[at].Status != result.Status {
		return result
	}
	result.LastTransitionTime = previous[at].LastTransitionTime
	if previous[at].Reason == result.Reason && previous[at].Message == result.Message {
		result.LastUpdateTime = previous[at].LastUpdateTime
	}
	return result
}
