package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const (
	// namespaces is over how many the workloads are spread.
	namespaces = 10
	// inParallel is how many workloads are created at a time.
	inParallel = 8
)

var deploymentsResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

func namespaceName(i int) string { return fmt.Sprintf("scale-%d", i%namespaces) }

func workloadName(i int) string { return fmt.Sprintf("web-%04d", i) }

// makePlacements makes the namespaces, and in each what places its workloads on three clusters.
func makePlacements(ctx context.Context, client kubernetes.Interface, objects dynamic.Interface) error {
	for i := range namespaces {
		name := namespaceName(i)
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
		placement, err := newPlacement(name)
		if err != nil {
			return err
		}
		_, err = objects.Resource(v1alpha1.WorkloadPlacementsResource).Namespace(name).Create(ctx, placement, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("create the placement of namespace %s: %w", name, err)
		}
	}
	return nil
}

func newPlacement(namespace string) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.WorkloadPlacement{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "WorkloadPlacement"},
		ObjectMeta: metav1.ObjectMeta{Name: "three", Namespace: namespace},
		Spec:       v1alpha1.WorkloadPlacementSpec{NumberOfClusters: new(int32(copies)), Strategy: v1alpha1.StrategySpread},
	})
	if err != nil {
		return nil, fmt.Errorf("placement: %w", err)
	}
	delete(content, "status")
	return &unstructured.Unstructured{Object: content}, nil
}

// makeWorkloads makes Deployments, and gives the moment at which the creation of each began, by its key.
func makeWorkloads(ctx context.Context, client kubernetes.Interface, count int) (map[string]time.Time, error) {
	var mu sync.Mutex
	began := map[string]time.Time{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inParallel)
	for i := range count {
		group.Go(func() error {
			namespace, name := namespaceName(i), workloadName(i)
			mu.Lock()
			began[cache.NewObjectName(namespace, name).String()] = time.Now()
			mu.Unlock()
			_, err := client.AppsV1().Deployments(namespace).Create(ctx, newWorkload(name), metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("create workload %s/%s: %w", namespace, name, err)
			}
			return nil
		})
	}
	return began, group.Wait()
}

func newWorkload(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(1)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "pause", Image: "registry.k8s.io/pause:3.10"}}},
			},
		},
	}
}

// isAvailable tells of a workload whether it runs on as many clusters as it should.
func isAvailable(obj *unstructured.Unstructured) bool {
	return numberIn(obj, "status", "availableReplicas") == copies
}

// isSettled tells of a workload whether kcp has no more to say about it.
func isSettled(obj *unstructured.Unstructured) bool {
	return isAvailable(obj) && len(protocol.Read(obj).Labelled()) == copies &&
		numberIn(obj, "status", "observedGeneration") >= obj.GetGeneration() && isTrue(obj, v1alpha1.ConditionSynced)
}

// isOff returns what tells whether a workload is not placed on a cluster.
func isOff(cluster string) func(*unstructured.Unstructured) bool {
	return func(obj *unstructured.Unstructured) bool {
		_, placed := obj.GetLabels()[v1alpha1.PlacementLabel(cluster)]
		return !placed
	}
}

// isReady tells of a cluster whether the hub takes it for alive.
func isReady(obj *unstructured.Unstructured) bool { return isTrue(obj, v1alpha1.ConditionReady) }

func numberIn(obj *unstructured.Unstructured, fields ...string) int64 {
	number, _, _ := unstructured.NestedInt64(obj.Object, fields...) // what is not there is 0
	return number
}

func isTrue(obj *unstructured.Unstructured, condition string) bool {
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions") // none if not there
	for _, one := range conditions {
		if fields, ok := one.(map[string]any); ok && fields["type"] == condition {
			return fields["status"] == string(metav1.ConditionTrue)
		}
	}
	return false
}
