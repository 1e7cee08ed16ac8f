package causes

import (
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kcp-tmc/tmc/pkg/kinds"
)

const reasonUnhealthy = "Unhealthy"

var (
	// volumeReasons and sandboxReasons are the events of a pod that wait for something before its containers are made
	// (k8s.io/kubernetes/pkg/kubelet/events, pkg/controller/volume/attachdetach).
	volumeReasons  = []string{"FailedMount", "FailedAttachVolume", "FailedMapVolume"}
	sandboxReasons = []string{"FailedCreatePodSandBox", "NetworkNotReady", "FailedPrepareDynamicResources"}
	nodeReasons    = []string{"NodeNotReady"}
)

const (
	// retried and longWait are how often, or for how long, what a kubelet tries again on its own has to fail to be a cause.
	retried  = 3
	longWait = 10 * time.Second
	// fresh is how old an event may be: kubelets repeat it, but no more often than every five minutes.
	fresh = 15 * time.Minute
	// freshCreate is the same of a controller that cannot make pods, which waits for up to 17 minutes.
	freshCreate = 20 * time.Minute
)

// probed is what a kubelet says of a probe (k8s.io/kubernetes/pkg/kubelet/prober).
var probed = regexp.MustCompile(`(?s)^(Readiness|Liveness|Startup) probe (?:failed|errored|warning)[^:]*:(.*)`)

// volumeNamed finds the name of the volume that an event is about.
var volumeNamed = regexp.MustCompile(`(?:volume "|unmounted volumes=\[)([^"\],]+)`)

// warned says what the events of a pod say of it: the latest that is a fault.
func (x *examination) warned(pod *corev1.Pod) (finding, bool) {
	var latest finding
	found := false
	for _, event := range x.warnings[pod.UID] {
		if x.Now.Sub(lastOf(event)) > fresh {
			continue
		}
		f, isFault := x.warning(event, pod)
		if isFault && (!found || f.at.After(latest.at)) {
			latest, found = f, true
		}
	}
	return latest, found
}

// warning says whether an event of a pod is a fault of it.
func (x *examination) warning(event *corev1.Event, pod *corev1.Pod) (finding, bool) {
	f := finding{reason: event.Reason, words: plain(event.Message), at: lastOf(event)}
	switch {
	case event.Reason == reasonUnhealthy:
		return x.unhealthy(f, event, pod)
	case slices.Contains(volumeReasons, event.Reason):
		if named := volumeNamed.FindStringSubmatch(event.Message); named != nil {
			f.head = "volume " + volume(named[1])
		}
		f.words = mount(event.Message)
		return f, !hasStarted(pod) && x.lasts(event)
	case slices.Contains(sandboxReasons, event.Reason):
		f.words = runtime(event.Message)
		return f, !hasStarted(pod) && x.lasts(event)
	default:
		return f, slices.Contains(nodeReasons, event.Reason)
	}
}

// unhealthy is what a probe says of a container.
func (x *examination) unhealthy(f finding, event *corev1.Event, pod *corev1.Pod) (finding, bool) {
	said := probed.FindStringSubmatch(event.Message)
	at := strings.IndexByte(event.InvolvedObject.FieldPath, '{')
	if said == nil || at < 0 {
		return f, false
	}
	name := strings.Trim(event.InvolvedObject.FieldPath[at:], "{}")
	for _, c := range allContainers(pod) {
		running := c.status.State.Running
		if c.spec.Name != name || running == nil || c.status.Ready || f.at.Before(running.StartedAt.Time) || x.isStarting(c, pod) {
			continue
		}
		f.head, f.words = strings.ToLower(said[1])+" probe of "+c.name(), probe(said[2])
		return f, true
	}
	return f, false
}

// hasStarted reports whether a container of a pod has been made: its volumes and its network are there.
func hasStarted(pod *corev1.Pod) bool {
	return slices.ContainsFunc(allContainers(pod), func(c container) bool { return c.status.State.Waiting == nil || c.status.RestartCount > 0 })
}

// lasts reports whether it has been failing for a while.
func (x *examination) lasts(event *corev1.Event) bool {
	times := event.Count
	if event.Series != nil {
		times = event.Series.Count
	}
	return times >= retried || !x.after(firstOf(event).Add(longWait))
}

// ofCopy says what the copy's own events say: that pods cannot be made, or that a claim is not bound.
func (x *examination) ofCopy(living int64) []finding {
	switch {
	case x.subject.IsClaim:
		x.answer.NeedsClaims = true
		if event := x.claim(func(event *corev1.Event) bool { return event.InvolvedObject.UID == x.subject.UID }); event != nil {
			return []finding{claimed(event)}
		}
		return nil
	case living >= x.subject.Wanted, x.subject.SaysFailedCreate, x.subject.Ended, x.subject.PodsBy == kinds.PodsByReplicaSets:
		return nil // the condition of a Deployment says what its ReplicaSets say
	}
	x.answer.NeedsWarnings = true
	event := x.latest(x.Warnings, func(event *corev1.Event) bool { return event.Reason == reasonFailedCreate && x.subject.isOf(event) })
	if event == nil {
		return nil
	}
	return []finding{{reason: reasonFailedCreate, words: Create(event.Message), at: lastOf(event)}}
}

// latest returns the last of the events that are not too old, nil for none.
func (x *examination) latest(events []*corev1.Event, isIt func(*corev1.Event) bool) *corev1.Event {
	var latest *corev1.Event
	for _, event := range events {
		isNewer := latest == nil || lastOf(event).After(lastOf(latest))
		if isIt(event) && isNewer && x.Now.Sub(lastOf(event)) <= freshCreate {
			latest = event
		}
	}
	return latest
}

// isOf reports whether an event is about the copy, or about a ReplicaSet that it has made.
func (s Subject) isOf(event *corev1.Event) bool {
	object := event.InvolvedObject
	return object.UID == s.UID || s.PodsBy == kinds.PodsByEither && object.Kind == replicaSetKind && strings.HasPrefix(object.Name, s.Name+"-")
}

// claimsOf says why the claims of a pod are not bound.
func (x *examination) claimsOf(pod *corev1.Pod) (finding, bool) {
	names := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			names[v.PersistentVolumeClaim.ClaimName] = true
		}
	}
	if len(names) == 0 {
		return finding{}, false
	}
	x.answer.NeedsClaims = true
	event := x.claim(func(event *corev1.Event) bool { return names[event.InvolvedObject.Name] })
	if event == nil {
		return finding{}, false
	}
	f := claimed(event)
	f.head = "claim " + event.InvolvedObject.Name
	if template, isOfTemplate := strings.CutSuffix(event.InvolvedObject.Name, "-"+pod.Name); isOfTemplate {
		f.head = "claims " + template
	}
	return f, true
}

// claimed is what such an event says.
func claimed(event *corev1.Event) finding {
	return finding{reason: event.Reason, words: plain(event.Message), at: lastOf(event)}
}

// claimReasons are the events of a claim that cannot be bound (k8s.io/kubernetes/pkg/controller/volume/events, and the
// provisioners of sigs.k8s.io/sig-storage-lib-external-provisioner).
var claimReasons = []string{"FailedBinding", "ProvisioningFailed", "ClaimMisbound", "VolumeMismatch"}

// claim returns the latest of those events that are about the claim, nil for none.
func (x *examination) claim(isIt func(*corev1.Event) bool) *corev1.Event {
	return x.latest(x.Claims, func(event *corev1.Event) bool { return slices.Contains(claimReasons, event.Reason) && isIt(event) })
}

// lastOf and firstOf are when something was said last and first, in either of the forms that events have.
func lastOf(event *corev1.Event) time.Time {
	last := event.LastTimestamp.Time
	for _, other := range []time.Time{event.EventTime.Time, event.CreationTimestamp.Time} {
		if last.IsZero() {
			last = other
		}
	}
	if event.Series != nil && event.Series.LastObservedTime.After(last) {
		last = event.Series.LastObservedTime.Time
	}
	return last
}

func firstOf(event *corev1.Event) time.Time {
	for _, first := range []time.Time{event.FirstTimestamp.Time, event.EventTime.Time} {
		if !first.IsZero() {
			return first
		}
	}
	return event.CreationTimestamp.Time
}
