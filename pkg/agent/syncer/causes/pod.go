package causes

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// Reasons that Kubernetes has no constants for in its API.
const (
	reasonTerminating    = "Terminating"
	reasonUnschedulable  = "Unschedulable"
	reasonGates          = "ReadinessGatesNotReady"
	reasonFailedCreate   = "FailedCreate"
	reasonFailed         = "Failed"
	replicaSetKind       = "ReplicaSet"
	jobKind              = "Job"
	claimKind            = "PersistentVolumeClaim"
	podTemplateHashLabel = "pod-template-hash"
)

const (
	// startTime is how long a container may take to become ready for the first time before what probes say of it is a cause.
	startTime = 30 * time.Second
	// endTime is how long a pod may take to end after its grace period.
	endTime = 30 * time.Second
)

// unboundClaims is what a scheduler says of claims that are to be bound before the pod is (k8s.io/kubernetes,
// pkg/scheduler/framework/plugins/volumebinding).
const unboundClaims = "unbound immediate PersistentVolumeClaims"

// has reports whether a pod that the selector finds is one of the subject's: selectors of others may find it as well.
func (s Subject) has(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return false
	}
	isReplicas := owner.Kind == replicaSetKind
	switch s.PodsBy {
	case kinds.PodsByReplicaSets:
		return isReplicas && owner.Name == s.Name+"-"+pod.Labels[podTemplateHashLabel]
	case kinds.PodsByJobs:
		return owner.Kind == jobKind && strings.Contains(s.Selector, string(owner.UID))
	case kinds.PodsByObject:
		return owner.UID == s.UID
	default:
		return owner.UID == s.UID || isReplicas && strings.HasPrefix(owner.Name, s.Name+"-")
	}
}

// pod says what is wrong with a pod: one thing, the first that keeps it from running. It is no fault that it starts.
func (x *examination) pod(pod *corev1.Pod) (finding, bool) {
	switch {
	case pod.DeletionTimestamp != nil:
		return x.ending(pod)
	case pod.Status.Phase == corev1.PodFailed:
		return failed(pod), true
	case pod.Status.Phase == corev1.PodSucceeded:
		return finding{}, false
	}
	if scheduled := condition(pod, corev1.PodScheduled); scheduled != nil && scheduled.Status == corev1.ConditionFalse {
		return x.unscheduled(pod, scheduled)
	}
	if f, isFault := x.containers(pod); isFault {
		return f, true
	}
	ready := condition(pod, corev1.PodReady)
	if ready != nil && ready.Status == corev1.ConditionTrue {
		return finding{}, false
	}
	x.answer.NeedsWarnings = true
	if f, isFault := x.warned(pod); isFault {
		return f, true
	}
	return x.unready(pod, ready)
}

// ending is a pod that should be gone: its node does not answer, or something holds it.
func (x *examination) ending(pod *corev1.Pod) (finding, bool) {
	if x.after(pod.DeletionTimestamp.Add(endTime)) {
		return finding{}, false
	}
	words := "the pod is deleted and does not end; its node does not answer, or its containers do not stop"
	if len(pod.Finalizers) > 0 {
		words = "the pod is deleted, and finalizers keep it"
	}
	return finding{reason: reasonTerminating, words: words, isPast: true, at: pod.DeletionTimestamp.Time}, true
}

// failed is a pod that has come to a bad end.
func failed(pod *corev1.Pod) finding {
	for _, c := range allContainers(pod) {
		if end := c.status.State.Terminated; pod.Status.Reason == "" && end != nil && end.ExitCode != 0 {
			return c.ended(end)
		}
	}
	reason := pod.Status.Reason
	if reason == "" {
		reason = reasonFailed
	}
	return finding{reason: reason, words: plain(pod.Status.Message), isPast: true, at: pod.CreationTimestamp.Time}
}

// unscheduled is a pod that is on no node.
func (x *examination) unscheduled(pod *corev1.Pod, scheduled *corev1.PodCondition) (finding, bool) {
	f := finding{reason: scheduled.Reason, words: plain(scheduled.Message), at: scheduled.LastTransitionTime.Time}
	switch {
	case scheduled.Reason == corev1.PodReasonSchedulingGated:
		return f, !x.after(pod.CreationTimestamp.Add(startTime))
	case scheduled.Reason != reasonUnschedulable:
		return f, f.reason != ""
	}
	f.words = scheduler(scheduled.Message)
	if strings.Contains(scheduled.Message, "PersistentVolumeClaim") {
		if claim, isFault := x.claimsOf(pod); isFault {
			return claim, true
		}
	}
	if strings.Contains(scheduled.Message, unboundClaims) && x.after(scheduled.LastTransitionTime.Add(longWait)) {
		return f, false // to bind them takes a moment
	}
	return f, pod.Status.NominatedNodeName == ""
}

// unready is a pod that runs and is not ready, and of which no event says why.
func (x *examination) unready(pod *corev1.Pod, ready *corev1.PodCondition) (finding, bool) {
	if ready != nil && ready.Reason == reasonGates {
		return finding{reason: reasonGates, words: plain(ready.Message)}, !x.after(ready.LastTransitionTime.Add(startTime))
	}
	if !x.HasWarnings && !x.IsDenied {
		return finding{}, false // these may tell
	}
	for _, c := range allContainers(pod) {
		running := c.status.State.Running
		if running == nil || c.status.Ready || c.isInit && !c.isSidecar {
			continue
		}
		if x.isStarting(c, pod) {
			return finding{}, false
		}
		return finding{reason: reasonUnhealthy, head: c.name(), words: "it runs and is not ready", at: running.StartedAt.Time}, true
	}
	return finding{}, false
}

// isStarting reports whether a container that runs and is not ready has been running for a short time, and was not ready since.
func (x *examination) isStarting(c container, pod *corev1.Pod) bool {
	started := c.status.State.Running.StartedAt.Time
	if ready := condition(pod, corev1.PodReady); ready != nil && ready.LastTransitionTime.After(started.Add(time.Second)) {
		return false // it was ready: a pod that has never been says so since before its containers started
	}
	return x.after(started.Add(startTime))
}

func condition(pod *corev1.Pod, conditionType corev1.PodConditionType) *corev1.PodCondition {
	at := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == conditionType })
	if at < 0 {
		return nil
	}
	return &pod.Status.Conditions[at]
}
