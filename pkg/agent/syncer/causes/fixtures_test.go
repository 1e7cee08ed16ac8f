package causes

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// now is the time of the cases. The pods of samples were made at 12:00:00.
var now = time.Date(2026, 1, 1, 12, 10, 0, 0, time.UTC)

// web is a Deployment that wants 3 pods.
var web = Subject{Namespace: "shop", Name: "web", UID: "uid-web", Selector: "app=web", PodsBy: kinds.PodsByReplicaSets, Wanted: 3}

// head is what all pods of the cases have in common: the container app, made by the ReplicaSet web-7d4b9c5f6.
const head = `
metadata:
  name: web-7d4b9c5f6-abcde
  namespace: shop
  uid: uid-pod
  creationTimestamp: "2026-01-01T12:00:00Z"
  labels: {app: web, pod-template-hash: 7d4b9c5f6}
  annotations: {checksum: "1"}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-7d4b9c5f6, uid: uid-rs, controller: true}]
`

// spec is that of the pod of most cases.
const spec = `
spec:
  restartPolicy: Always
  containers: [{name: app, image: "registry.example.com/web:2", env: [{name: A, value: b}], resources: {limits: {memory: 64Mi, cpu: "1"}}}]
`

// scheduled are the conditions of a pod that has never been ready.
const scheduled = `
  conditions:
  - {type: PodScheduled, status: "True", lastTransitionTime: "2026-01-01T12:00:00Z"}
  - {type: Initialized, status: "True", lastTransitionTime: "2026-01-01T12:00:00Z"}
  - {type: ContainersReady, status: "False", reason: ContainersNotReady, message: "containers with unready status: [app]", lastTransitionTime: "2026-01-01T12:00:00Z"}
  - {type: Ready, status: "False", reason: ContainersNotReady, message: "containers with unready status: [app]", lastTransitionTime: "2026-01-01T12:00:00Z"}
`

// pod reads a pod, as it is kept.
func pod(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return StripPod(p)
}

// app returns the pod of which the container app has that status.
func app(t *testing.T, status string) *corev1.Pod {
	t.Helper()
	return pod(t, head+spec+"status:\n  phase: Pending\n"+scheduled+"  containerStatuses: ["+status+"]\n")
}

// another returns the same pod as another one.
func another(p *corev1.Pod, name string) *corev1.Pod {
	p = p.DeepCopy()
	p.Name, p.UID = name, "uid-of-"+p.UID
	return p
}

// warning returns an event about the pod, or, with a container, about that of the pod.
func warning(reason, container, message string, change ...func(*corev1.Event)) *corev1.Event {
	e := &corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "web-7d4b9c5f6-abcde", UID: "uid-pod"},
		Reason:         reason, Message: message, Type: corev1.EventTypeWarning, Count: 5,
		FirstTimestamp: metav1.NewTime(now.Add(-5 * time.Minute)), LastTimestamp: metav1.NewTime(now.Add(-10 * time.Second)),
	}
	if container != "" {
		e.InvolvedObject.FieldPath = "spec.containers{" + container + "}"
	}
	for _, c := range change {
		c(e)
	}
	return StripEvent(e)
}

// about has an event be about another object.
func about(kind, name, uid string) func(*corev1.Event) {
	return func(e *corev1.Event) {
		e.InvolvedObject = corev1.ObjectReference{Kind: kind, Name: name, UID: types.UID(uid)}
	}
}
