package placement

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// freeReplicas returns for how many more pods the cluster has room, as far as sums over
// its nodes tell; 0 while its capacity is not known.
func freeReplicas(cluster *Cluster, request corev1.ResourceList) int64 {
	free := int64(math.MaxInt64)
	for name, each := range request {
		if amount(name, each) <= 0 {
			continue
		}
		// A copy: a quantity may share its digits with the one that it was assigned from.
		left := cluster.Allocatable[name].DeepCopy()
		left.Sub(cluster.Requested[name])
		free = min(free, max(amount(name, left), 0)/amount(name, each))
	}
	return free
}

// amount is a quantity in the unit that its resource is counted in.
func amount(name corev1.ResourceName, quantity resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return quantity.MilliValue()
	}
	return quantity.Value()
}

// podRequest returns what one replica requests of cpu, memory and pods: of the first two
// only what its template says.
func podRequest(upstreamObj *unstructured.Unstructured) corev1.ResourceList {
	request := corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}
	content, found, err := unstructured.NestedFieldNoCopy(upstreamObj.Object, "spec", "template", "spec")
	fields, isMap := content.(map[string]any)
	if err != nil || !found || !isMap {
		return request
	}
	var pod corev1.PodSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &pod); err != nil {
		return request // its clusters will say what is wrong with it
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request[name] = requestOf(pod, name)
	}
	return request
}

// requestOf returns what a pod requests of a resource, as Kubernetes counts it: what
// runs at the same time adds up, and what runs before needs no less room.
func requestOf(pod corev1.PodSpec, name corev1.ResourceName) resource.Quantity {
	var together, before resource.Quantity
	for _, container := range pod.InitContainers {
		request := containerRequest(container, name)
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			together.Add(request)
			continue
		}
		request.Add(together)
		if request.Cmp(before) > 0 {
			before = request
		}
	}
	for _, container := range pod.Containers {
		together.Add(containerRequest(container, name))
	}
	if before.Cmp(together) > 0 {
		together = before
	}
	together.Add(pod.Overhead[name])
	return together
}

func containerRequest(container corev1.Container, name corev1.ResourceName) resource.Quantity {
	if request, ok := container.Resources.Requests[name]; ok {
		return request.DeepCopy()
	}
	limit := container.Resources.Limits[name]
	return limit.DeepCopy()
}
