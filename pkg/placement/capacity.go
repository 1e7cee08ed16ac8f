package placement

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
)

// amounts are how much of resources, as quantity.Amount has it. Sums of them end at the
// largest int64: what tenants and clusters write has no bounds.
type amounts map[corev1.ResourceName]int64

// freeReplicas returns for how many more pods the cluster has room, as far as sums over
// its nodes tell; 0 while its capacity is not known.
func freeReplicas(cluster *Cluster, request amounts) int64 {
	free := int64(math.MaxInt64)
	for name, each := range request {
		if each <= 0 {
			continue
		}
		left := quantity.Sub(quantity.Amount(name, cluster.Allocatable[name]), quantity.Amount(name, cluster.Requested[name]))
		free = min(free, max(left, 0)/each)
	}
	return free
}

// podRequest returns what one replica requests of cpu, memory and pods: of the first two
// only what its template says. What is no quantity there counts for nothing; its clusters
// will say what is wrong with it.
func podRequest(upstreamObj *unstructured.Unstructured) amounts {
	request := amounts{corev1.ResourcePods: 1}
	content, _, _ := unstructured.NestedFieldNoCopy(upstreamObj.Object, "spec", "template", "spec")
	pod, isMap := content.(map[string]any)
	if !isMap {
		return request
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request[name] = requestOf(pod, name)
	}
	return request
}

// requestOf returns what a pod requests of a resource, as Kubernetes counts it: what
// runs at the same time adds up, and what runs before needs no less room.
func requestOf(pod map[string]any, name corev1.ResourceName) int64 {
	var together, before int64
	for _, container := range containers(pod, "initContainers") {
		request := containerRequest(container, name)
		if container["restartPolicy"] == string(corev1.ContainerRestartPolicyAlways) {
			together = quantity.Add(together, request)
			continue
		}
		before = max(before, quantity.Add(request, together))
	}
	for _, container := range containers(pod, "containers") {
		together = quantity.Add(together, containerRequest(container, name))
	}
	return quantity.Add(max(before, together), amountAt(pod, name, "overhead"))
}

// mostContainers is how many containers of a list count: decisions are taken one after the
// other, and a pod with more than that is not what they are about.
const mostContainers = 100

func containers(pod map[string]any, list string) []map[string]any {
	entries, _ := pod[list].([]any)
	entries = entries[:min(len(entries), mostContainers)]
	containers := make([]map[string]any, 0, len(entries))
	for _, entry := range entries {
		if container, isMap := entry.(map[string]any); isMap {
			containers = append(containers, container)
		}
	}
	return containers
}

// containerRequest returns what a container requests; its limit counts as a request where
// it makes none.
func containerRequest(container map[string]any, name corev1.ResourceName) int64 {
	if request, found, err := unstructured.NestedFieldNoCopy(container, "resources", "requests", string(name)); found && err == nil && request != nil {
		return amountAt(container, name, "resources", "requests")
	}
	return amountAt(container, name, "resources", "limits")
}

// amountAt returns how much of a resource the list of resources at the path has; nothing
// where it has none, or less.
func amountAt(of map[string]any, name corev1.ResourceName, path ...string) int64 {
	value, _, _ := unstructured.NestedFieldNoCopy(of, append(path, string(name))...)
	parsed, ok := quantity.ParseClamped(value)
	if !ok {
		return 0
	}
	return max(quantity.Amount(name, parsed), 0)
}
