package heartbeat

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	podrequests "k8s.io/component-helpers/resource"
)

// counted are the resources that are added up.
var counted = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods}

// capacity is how large a cluster is.
type capacity struct {
	nodes int32
	// allocatable is what the nodes that take pods have for them, requested how much
	// of that is taken.
	allocatable, requested corev1.ResourceList
}

// capacityOf adds up nodes and pods. A node that takes no pods counts as a node and
// for nothing else, and what runs there takes nothing from the others.
func capacityOf(nodes []*corev1.Node, pods []*corev1.Pod) capacity {
	total := capacity{allocatable: nothing(), requested: nothing()}
	open := sets.New[string]()
	for _, node := range nodes {
		total.nodes++
		if takesPods(node) {
			open.Insert(node.Name)
			add(total.allocatable, node.Status.Allocatable)
		}
	}
	for _, pod := range pods {
		if isLiving(pod) && open.Has(pod.Spec.NodeName) {
			add(total.requested, requestsOf(pod))
		}
	}
	return total
}

func nothing() corev1.ResourceList {
	list := corev1.ResourceList{}
	for _, name := range counted {
		list[name] = *resource.NewQuantity(0, formatOf(name))
	}
	return list
}

func formatOf(name corev1.ResourceName) resource.Format {
	if name == corev1.ResourceMemory {
		return resource.BinarySI
	}
	return resource.DecimalSI
}

func add(sum, list corev1.ResourceList) {
	for _, name := range counted {
		quantity := sum[name]
		quantity.Add(list[name])
		sum[name] = quantity
	}
}

func takesPods(node *corev1.Node) bool {
	return !node.Spec.Unschedulable && slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
		return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
	})
}

// isLiving tells whether a node has something to spare for the pod.
func isLiving(pod *corev1.Pod) bool {
	return pod.Spec.NodeName != "" && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// requestsOf returns what the pod takes from its node, as the scheduler has it, and
// the pod itself.
func requestsOf(pod *corev1.Pod) corev1.ResourceList {
	requests := only(podrequests.PodRequests(pod, podrequests.PodResourcesOptions{UseStatusResources: true}))
	requests[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	return requests
}

// only returns what of the list is counted.
func only(list corev1.ResourceList) corev1.ResourceList {
	kept := corev1.ResourceList{}
	for _, name := range counted {
		if quantity, ok := list[name]; ok {
			kept[name] = quantity
		}
	}
	return kept
}

// stripNode leaves of a node what takesPods and capacityOf look at.
func stripNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	stripped := &corev1.Node{ObjectMeta: identity(node.ObjectMeta)}
	stripped.Spec.Unschedulable = node.Spec.Unschedulable
	stripped.Status.Allocatable = only(node.Status.Allocatable)
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			stripped.Status.Conditions = []corev1.NodeCondition{{Type: condition.Type, Status: condition.Status}}
		}
	}
	return stripped, nil
}

// stripPod leaves of a pod where it is, and what it takes there: as if it were one
// container that requests all of it.
func stripPod(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	requests := requestsOf(pod)
	delete(requests, corev1.ResourcePods)
	stripped := &corev1.Pod{ObjectMeta: identity(pod.ObjectMeta)}
	stripped.Spec.NodeName = pod.Spec.NodeName
	stripped.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: requests}}}
	stripped.Status.Phase = pod.Status.Phase
	return stripped, nil
}

func identity(meta metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion}
}
