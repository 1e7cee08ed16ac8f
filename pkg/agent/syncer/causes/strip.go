package causes

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
)

// maxWords is how much of a text is kept in memory.
const maxWords = 1024

// StripPod leaves of a pod what Of reads: who it is and whose, its containers by name, image and memory limit, the claims that it
// uses, and how it is. Its environment, volumes, annotations and managedFields go.
func StripPod(pod *corev1.Pod) *corev1.Pod {
	stripped := &corev1.Pod{
		TypeMeta: pod.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			CreationTimestamp: pod.CreationTimestamp, DeletionTimestamp: pod.DeletionTimestamp, Finalizers: pod.Finalizers,
			OwnerReferences: pod.OwnerReferences,
		},
		Spec: corev1.PodSpec{
			RestartPolicy: pod.Spec.RestartPolicy, InitContainers: stripContainers(pod.Spec.InitContainers), Containers: stripContainers(pod.Spec.Containers),
		},
		Status: corev1.PodStatus{
			NominatedNodeName: pod.Status.NominatedNodeName,
			Phase:             pod.Status.Phase, Reason: pod.Status.Reason, Message: text.Shorten(pod.Status.Message, maxWords),
			InitContainerStatuses: stripStatuses(pod.Status.InitContainerStatuses), ContainerStatuses: stripStatuses(pod.Status.ContainerStatuses),
		},
	}
	if hash, isLabelled := pod.Labels[podTemplateHashLabel]; isLabelled {
		stripped.Labels = map[string]string{podTemplateHashLabel: hash}
	}
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil || v.Ephemeral != nil {
			stripped.Spec.Volumes = append(stripped.Spec.Volumes, claimOf(pod, v))
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled || c.Type == corev1.PodReady {
			c.Message = text.Shorten(c.Message, maxWords)
			stripped.Status.Conditions = append(stripped.Status.Conditions, c)
		}
	}
	return stripped
}

// claimOf returns a volume with nothing but the name of its claim; that of an ephemeral one is made of the pod's.
func claimOf(pod *corev1.Pod, v corev1.Volume) corev1.Volume {
	name := pod.Name + "-" + v.Name
	if v.PersistentVolumeClaim != nil {
		name = v.PersistentVolumeClaim.ClaimName
	}
	return corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}
}

func stripContainers(containers []corev1.Container) []corev1.Container {
	stripped := make([]corev1.Container, 0, len(containers))
	for _, c := range containers {
		short := corev1.Container{Name: c.Name, Image: c.Image, RestartPolicy: c.RestartPolicy}
		if limit, isLimited := c.Resources.Limits[corev1.ResourceMemory]; isLimited {
			short.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: limit}
		}
		stripped = append(stripped, short)
	}
	return stripped
}

func stripStatuses(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	stripped := make([]corev1.ContainerStatus, 0, len(statuses))
	for _, s := range statuses {
		stripped = append(stripped, corev1.ContainerStatus{
			Name: s.Name, Ready: s.Ready, RestartCount: s.RestartCount, State: stripState(s.State), LastTerminationState: stripState(s.LastTerminationState),
		})
	}
	return stripped
}

func stripState(state corev1.ContainerState) corev1.ContainerState {
	if w := state.Waiting; w != nil {
		state.Waiting = &corev1.ContainerStateWaiting{Reason: w.Reason, Message: text.Shorten(w.Message, maxWords)}
	}
	if t := state.Terminated; t != nil {
		state.Terminated = &corev1.ContainerStateTerminated{ExitCode: t.ExitCode, Reason: t.Reason, Message: endOf(t.Message), FinishedAt: t.FinishedAt}
	}
	return state
}

// endOf keeps of a container's last words both ends: see ends.
func endOf(words string) string {
	if len(words) <= maxWords {
		return words
	}
	return words[:maxWords/2] + " " + words[len(words)-maxWords/2:]
}

// StripEvent leaves of an event what Of reads: what it is about, what it says, and when.
func StripEvent(event *corev1.Event) *corev1.Event {
	object := event.InvolvedObject
	return &corev1.Event{
		TypeMeta: event.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: event.Name, Namespace: event.Namespace, UID: event.UID, ResourceVersion: event.ResourceVersion, CreationTimestamp: event.CreationTimestamp,
		},
		InvolvedObject: corev1.ObjectReference{Kind: object.Kind, Name: object.Name, UID: object.UID, FieldPath: object.FieldPath},
		Reason:         event.Reason, Message: text.Shorten(event.Message, maxWords), Count: event.Count,
		FirstTimestamp: event.FirstTimestamp, LastTimestamp: event.LastTimestamp, EventTime: event.EventTime, Series: event.Series,
	}
}
