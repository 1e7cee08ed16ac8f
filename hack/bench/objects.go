package main

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

var (
	deploymentsResource    = appsv1.SchemeGroupVersion.WithResource("deployments")
	namespacesResource     = corev1.SchemeGroupVersion.WithResource("namespaces")
	endpointSlicesResource = schema.GroupVersionResource{Group: "apis.kcp.io", Version: "v1alpha1", Resource: "apiexportendpointslices"}
	podsResource           = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

const (
	image    = "registry.example.com/web:1"
	newImage = "registry.example.com/web:2"
	// appLabel is on the pods of a Deployment, with its name.
	appLabel = "app"
)

// targets is how a Deployment names clusters.
func targets(clusters []string) string { return strings.Join(clusters, ",") }

func newNamespace(name string) *unstructured.Unstructured {
	namespace := &unstructured.Unstructured{}
	namespace.SetAPIVersion("v1")
	namespace.SetKind("Namespace")
	namespace.SetName(name)
	return namespace
}

// newDeployment returns one of one pod on each cluster, as a user would write it. It runs on the clusters that targets names, on all if it is empty.
func newDeployment(name, targets string) *unstructured.Unstructured {
	labels := func() map[string]any { return map[string]any{appLabel: name} }
	metadata := map[string]any{"name": name, "labels": labels()}
	if targets != "" {
		metadata["annotations"] = map[string]any{v1alpha1.TargetClustersAnnotation: targets}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
		"spec": map[string]any{
			"replicas": int64(1),
			"selector": map[string]any{"matchLabels": labels()},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels()},
				"spec": map[string]any{
					"terminationGracePeriodSeconds": int64(0),
					"containers":                    []any{map[string]any{"name": "web", "image": image}},
				},
			},
		},
	}}
}

// isComplete returns what reports whether the roll-out of a generation of a Deployment is done, with so many replicas in
// all clusters: what `kubectl rollout status` looks at.
func isComplete(generation, replicas int64) func(*unstructured.Unstructured) bool {
	return func(obj *unstructured.Unstructured) bool {
		return obj != nil && obj.GetGeneration() >= generation && numberIn(obj, "status", "observedGeneration") >= obj.GetGeneration() &&
			numberIn(obj, "status", "updatedReplicas") == replicas && numberIn(obj, "status", "replicas") == replicas &&
			numberIn(obj, "status", "availableReplicas") == replicas
	}
}

// isReady returns what reports whether so many replicas of a Deployment are ready.
func isReady(replicas int64) func(*unstructured.Unstructured) bool {
	return func(obj *unstructured.Unstructured) bool {
		return obj != nil && numberIn(obj, "status", "readyReplicas") == replicas
	}
}

func numberIn(obj *unstructured.Unstructured, fields ...string) int64 {
	number, _, _ := unstructured.NestedInt64(obj.Object, fields...) // what is not there is 0
	return number
}

func numbered(prefix string, i int) string { return fmt.Sprintf("%s-%04d", prefix, i) }
