package causes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Reasons of containers' states, as kubelets write them (k8s.io/kubernetes/pkg/kubelet/{container,images,kuberuntime}).
const (
	reasonCrashLoop    = "CrashLoopBackOff"
	reasonOOM          = "OOMKilled"
	reasonImage        = "ImagePullBackOff"
	reasonRun          = "RunContainerError"
	reasonCreate       = "CreateContainerError"
	reasonCreateConfig = "CreateContainerConfigError"
	reasonError        = "Error"
	completed          = "Completed"
)

var (
	// pullReasons are those between which a container goes back and forth while its image cannot be pulled.
	pullReasons = []string{reasonImage, "ErrImagePull", "RegistryUnavailable", "SignatureValidationFailed"}
	// imageReasons are others that are about its image.
	imageReasons = []string{"InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
	// startReasons are those of a container whose process could not be started.
	startReasons = []string{reasonRun, "StartError", "ContainerCannotRun"}
	// quietReasons are no faults.
	quietReasons = []string{"", "ContainerCreating", "PodInitializing"}
)

const (
	// crashes is how often a container has to have been started again for its end to be a cause: the first time a kubelet starts it
	// at once.
	crashes = 2
	// calm is how long a container has to run after a crash for that to be past. A kubelet waits five minutes at most.
	calm = 6 * time.Minute
)

// container is one of a pod.
type container struct {
	spec              corev1.Container
	status            corev1.ContainerStatus
	isInit, isSidecar bool
	// isRepeated is set where the container is started again whatever its end was.
	isRepeated bool
}

// allContainers returns those of a pod that have a status, in the order in which they start.
func allContainers(pod *corev1.Pod) []container {
	var all []container
	add := func(specs []corev1.Container, statuses []corev1.ContainerStatus, isInit bool) {
		for _, spec := range specs {
			at := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == spec.Name })
			if at < 0 {
				continue
			}
			isSidecar := isInit && spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
			all = append(all, container{spec, statuses[at], isInit, isSidecar, isSidecar || !isInit && pod.Spec.RestartPolicy == corev1.RestartPolicyAlways})
		}
	}
	add(pod.Spec.InitContainers, pod.Status.InitContainerStatuses, true)
	add(pod.Spec.Containers, pod.Status.ContainerStatuses, false)
	return all
}

func (c container) name() string {
	if c.isInit && !c.isSidecar {
		return "init container " + c.spec.Name
	}
	return "container " + c.spec.Name
}

// containers says which container of a pod is the first that has a fault.
func (x *examination) containers(pod *corev1.Pod) (finding, bool) {
	for _, c := range allContainers(pod) {
		if f, isFault := x.container(c); isFault {
			return f, true
		}
	}
	return finding{}, false
}

// container says what is wrong with a container. While it crashes again and again, it says the same whether it waits, runs or has
// just ended.
func (x *examination) container(c container) (finding, bool) {
	last := c.status.LastTerminationState.Terminated
	switch state := c.status.State; {
	case state.Waiting != nil && !slices.Contains(quietReasons, state.Waiting.Reason):
		return c.waiting(state.Waiting), true
	case state.Terminated != nil:
		return c.ended(state.Terminated), c.isCrashing(state.Terminated, c.status.RestartCount+1)
	case c.status.Ready || last == nil:
		return finding{}, false
	case state.Running != nil && !x.after(state.Running.StartedAt.Add(calm)):
		return finding{}, false
	default:
		return c.ended(last), c.isCrashing(last, c.status.RestartCount)
	}
}

// isCrashing reports whether a container that has ended so often has a fault.
func (c container) isCrashing(end *corev1.ContainerStateTerminated, times int32) bool {
	isBad := end.ExitCode != 0 || c.isRepeated
	return isBad && (times >= crashes || end.Reason == reasonOOM || slices.Contains(startReasons, end.Reason))
}

// waiting says why a container waits.
func (c container) waiting(state *corev1.ContainerStateWaiting) finding {
	switch {
	case slices.Contains(pullReasons, state.Reason):
		return finding{reason: reasonImage, head: "image " + c.image(), words: registry(state.Message)}
	case slices.Contains(imageReasons, state.Reason):
		return finding{reason: state.Reason, head: "image " + c.image(), words: registry(state.Message)}
	case state.Reason == reasonCrashLoop:
		if last := c.status.LastTerminationState.Terminated; last != nil {
			return c.ended(last)
		}
		return finding{reason: reasonCrashLoop, head: c.name()}
	case slices.Contains(startReasons, state.Reason):
		return finding{reason: reasonRun, head: c.name(), words: runtime(state.Message)}
	default:
		return finding{reason: state.Reason, head: c.name(), words: runtime(state.Message)}
	}
}

// image is what the container is to run, in a form that is no more than a name.
func (c container) image() string {
	return strings.ReplaceAll(plain(c.spec.Image), separator, ":")
}

// ended says how a container has ended.
func (c container) ended(end *corev1.ContainerStateTerminated) finding {
	f := finding{reason: reasonCrashLoop, head: c.name(), words: ends(end.Message), at: end.FinishedAt.Time}
	switch {
	case end.Reason == reasonOOM:
		f.reason = reasonOOM
		if limit, isLimited := c.spec.Resources.Limits[corev1.ResourceMemory]; isLimited {
			f.head += ", memory limit " + limit.String()
		}
		return f
	case slices.Contains(startReasons, end.Reason):
		f.reason, f.words = reasonRun, runtime(end.Message)
		return f
	case end.Reason != "" && !c.isRepeated && c.status.State.Waiting == nil && end.Reason != completed:
		f.reason = end.Reason // it is not started again
	}
	f.head += fmt.Sprintf(", exit code %d", end.ExitCode)
	return f
}
