package main

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// byHandLabel is on pods that get ready by hand, so that no others need to be watched.
const byHandLabel = "by-hand"

// byHand has the pods of a Deployment get ready when we say so, and not when a simulated node does.
func byHand(deployment *unstructured.Unstructured) *unstructured.Unstructured {
	template := deployment.Object["spec"].(map[string]any)["template"].(map[string]any)
	metadata := template["metadata"].(map[string]any)
	metadata["labels"].(map[string]any)[byHandLabel] = "true"
	metadata["annotations"] = map[string]any{framework.ByHandAnnotation: "true"}
	return deployment
}

// followPods watches the pods of a cluster that get ready by hand and have a node, by the Deployment that they are of.
func (s *side) followPods(ctx context.Context) error {
	var err error
	s.pods, err = observe(ctx, s.objects, selection{
		resource: podsResource, labels: byHandLabel, fields: "spec.nodeName!=",
		key: func(pod *unstructured.Unstructured) string { return pod.GetLabels()[appLabel] },
	})
	return err
}

// makeReady has a pod get ready, as a kubelet does.
func (s *side) makeReady(ctx context.Context, pod *unstructured.Unstructured) error {
	now := metav1.Now()
	status := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "web", Image: image, Ready: true, Started: new(true), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
	}}}
	for _, condition := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: condition, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().Pods(pod.GetNamespace()).Patch(ctx, pod.GetName(), types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
