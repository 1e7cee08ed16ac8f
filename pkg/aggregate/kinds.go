package aggregate

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// rules say how a kind's status is merged.
type rules struct {
	// sums are the counters that add up over clusters, updated those that count
	// only where the present inputs have been taken up.
	sums, updated []string
	// required are the counters that the kind's API wants even when they are 0.
	required []string
	// observes is whether the kind's controllers write observedGeneration.
	observes ternary
	// conditions merge those conditions that have a rule of their own.
	conditions []func(*merge) *condition
	// isDone tells of a cluster, whose inputs are the present ones, what `kubectl
	// rollout status` would conclude from its own object; nil for kinds that are
	// not rolled out. hold then keeps kubectl from concluding "done".
	isDone func(*merge, observation) bool
	hold   func(*merge)
	// ends are the conditions of a kind that comes to an end, whatever happens to its
	// cluster then.
	ends []string
	// extend adds what is neither counter nor condition; nil for nothing.
	extend func(*merge)
	// hasUpdateTime is whether the kind's conditions have a lastUpdateTime.
	hasUpdateTime bool
}

// Counters of the statuses of HorizontalPodAutoscalers and PodDisruptionBudgets that
// no other kind has.
const (
	desiredReplicas    = "desiredReplicas"
	currentHealthy     = "currentHealthy"
	desiredHealthy     = "desiredHealthy"
	disruptionsAllowed = "disruptionsAllowed"
	expectedPods       = "expectedPods"
)

// ternary is a yes, a no, or a maybe.
type ternary int

const (
	perhaps ternary = iota
	always
	never
)

func (r rules) requires(counter string) bool { return slices.Contains(r.required, counter) }

// kinds says which kind merges how. A new kind is one entry; a kind without one
// has its conditions merged and its counters left alone.
var kinds = map[schema.GroupKind]rules{
	{Group: "apps", Kind: "Deployment"}: {
		sums:          []string{replicas, readyReplicas, availableReplicas, terminatingReplicas, collisionCount},
		updated:       []string{updatedReplicas},
		observes:      always,
		conditions:    []func(*merge) *condition{mergeAvailable, mergeProgressing, mergeReplicaFailure},
		isDone:        isDeploymentDone,
		hold:          holdDeployment,
		extend:        addUnavailable,
		hasUpdateTime: true,
	},
	{Group: "apps", Kind: "StatefulSet"}: {
		sums:     []string{replicas, readyReplicas, availableReplicas, currentReplicas, collisionCount},
		updated:  []string{updatedReplicas},
		required: []string{replicas, availableReplicas},
		observes: always,
		isDone:   isStatefulSetDone,
		hold:     holdStatefulSet,
		extend:   addRevisions,
	},
	{Group: "apps", Kind: "DaemonSet"}: {
		sums:     []string{currentScheduled, misscheduled, desiredScheduled, numberReady, numberAvailable, numberUnavailable, collisionCount},
		updated:  []string{updatedScheduled},
		required: []string{currentScheduled, misscheduled, desiredScheduled, numberReady},
		observes: always,
		isDone:   isDaemonSetDone,
		hold:     holdDaemonSet,
	},
	{Group: "batch", Kind: "Job"}: {
		sums:       []string{"active", "ready", "succeeded", "failed", "terminating"},
		observes:   never,
		conditions: []func(*merge) *condition{everywhere("SuccessCriteriaMet"), everywhere("Complete"), anywhere("FailureTarget"), anywhere("Failed"), everywhere("Suspended")},
		ends:       []string{"Complete", "Failed"},
		extend:     addJobTimes,
	},
	// The runs that a CronJob has `active` are objects of a cluster: what they refer to
	// is not upstream, and they stay away. Its controller writes no observedGeneration.
	{Group: "batch", Kind: "CronJob"}: {observes: never, extend: latest(lastScheduleTime, lastSuccessfulTime)},
	// Kubernetes' own autoscaler writes no observedGeneration (setStatus of its
	// pkg/controller/podautoscaler leaves the field out); one that does is believed.
	// What single metrics are at cannot be added up, and stays away.
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}: {
		sums:     []string{currentReplicas, desiredReplicas},
		required: []string{currentReplicas, desiredReplicas},
		observes: perhaps,
		extend:   latest(lastScaleTime),
	},
	{Group: "policy", Kind: "PodDisruptionBudget"}: {
		sums:     []string{currentHealthy, desiredHealthy, disruptionsAllowed, expectedPods},
		required: []string{currentHealthy, desiredHealthy, disruptionsAllowed, expectedPods},
		observes: always,
	},
	{Kind: "PersistentVolumeClaim"}: {observes: never, extend: addPhase},
	// Kubernetes took the status away from NetworkPolicies: there is our condition.
	{Group: "networking.k8s.io", Kind: "NetworkPolicy"}: {observes: never},
	{Kind: "Service"}: {observes: never, extend: addLoadBalancer},
	{Group: "networking.k8s.io", Kind: "Ingress"}: {observes: never, extend: addLoadBalancer},
}
