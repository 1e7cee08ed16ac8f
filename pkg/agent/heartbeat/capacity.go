package heartbeat

import (
	"iter"
	"slices"
	"unique"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	podrequests "k8s.io/component-helpers/resource"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
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

// capacityOf adds up nodes and pods. A node that takes no pods counts as a node and for
// nothing else: neither does what runs there count.
func capacityOf(nodes []*corev1.Node, pods iter.Seq[podUsage]) capacity {
	allocatable, requested := amounts{}, amounts{}
	total := capacity{}
	open := sets.New[unique.Handle[string]]()
	for _, node := range nodes {
		total.nodes++
		if takesPods(node) {
			open.Insert(unique.Make(node.Name))
			allocatable.add(node.Status.Allocatable)
		}
	}
	for pod := range pods {
		if open.Has(pod.node) {
			requested.addPod(pod)
		}
	}
	total.allocatable, total.requested = allocatable.list(), requested.list()
	return total
}

// amounts are amounts of resources, in the units of quantity.Amount. Sums stop at the largest
// int64: whoever may create a pod on the cluster, or an override of one in kcp, can write any
// quantity.
type amounts map[corev1.ResourceName]int64

// add adds what is counted of the list.
func (a amounts) add(list corev1.ResourceList) {
	for _, name := range counted {
		a[name] = quantity.Add(a[name], quantity.Amount(name, list[name]))
	}
}

// addPod adds a pod.
func (a amounts) addPod(pod podUsage) {
	a[corev1.ResourceCPU] = quantity.Add(a[corev1.ResourceCPU], pod.cpu)
	a[corev1.ResourceMemory] = quantity.Add(a[corev1.ResourceMemory], pod.memory)
	a[corev1.ResourcePods] = quantity.Add(a[corev1.ResourcePods], 1)
}

// list returns what is counted as quantities.
func (a amounts) list() corev1.ResourceList {
	list := corev1.ResourceList{}
	for _, name := range counted {
		list[name] = quantity.Of(name, a[name])
	}
	return list
}

func takesPods(node *corev1.Node) bool {
	return !node.Spec.Unschedulable && slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
		return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
	})
}

// isLiving reports whether the pod is on a node and has not ended.
func isLiving(pod *corev1.Pod) bool {
	return pod.Spec.NodeName != "" && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// requestsOf returns what the pod requests of its node, as Kubernetes' scheduler adds it up,
// and one pod.
func requestsOf(pod *corev1.Pod) corev1.ResourceList {
	requests := only(podrequests.PodRequests(within(pod), podrequests.PodResourcesOptions{UseStatusResources: true}))
	requests[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	return requests
}

// within returns the part of the pod that its requests are computed from, with quantities
// within bounds: PodRequests checks none.
func within(pod *corev1.Pod) *corev1.Pod {
	bounded := &corev1.Pod{}
	bounded.Spec.Overhead = only(pod.Spec.Overhead)
	bounded.Spec.Containers, bounded.Spec.InitContainers = containersWithin(pod.Spec.Containers), containersWithin(pod.Spec.InitContainers)
	if pod.Spec.Resources != nil {
		bounded.Spec.Resources = new(requirementsWithin(*pod.Spec.Resources))
	}
	bounded.Status = corev1.PodStatus{Resize: pod.Status.Resize, Conditions: pod.Status.Conditions, AllocatedResources: only(pod.Status.AllocatedResources)}
	bounded.Status.ContainerStatuses = statusesWithin(pod.Status.ContainerStatuses)
	bounded.Status.InitContainerStatuses = statusesWithin(pod.Status.InitContainerStatuses)
	if pod.Status.Resources != nil {
		bounded.Status.Resources = new(requirementsWithin(*pod.Status.Resources))
	}
	return bounded
}

func containersWithin(containers []corev1.Container) []corev1.Container {
	bounded := make([]corev1.Container, 0, len(containers))
	for i := range containers {
		c := &containers[i]
		bounded = append(bounded, corev1.Container{Name: c.Name, RestartPolicy: c.RestartPolicy, Resources: requirementsWithin(c.Resources)})
	}
	return bounded
}

func statusesWithin(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	bounded := make([]corev1.ContainerStatus, 0, len(statuses))
	for i := range statuses {
		status := corev1.ContainerStatus{Name: statuses[i].Name, AllocatedResources: only(statuses[i].AllocatedResources)}
		if statuses[i].Resources != nil {
			status.Resources = new(requirementsWithin(*statuses[i].Resources))
		}
		bounded = append(bounded, status)
	}
	return bounded
}

func requirementsWithin(requirements corev1.ResourceRequirements) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: only(requirements.Requests), Limits: only(requirements.Limits)}
}

// only returns the counted resources of the list, within bounds.
func only(list corev1.ResourceList) corev1.ResourceList {
	if list == nil {
		return nil
	}
	kept := corev1.ResourceList{}
	for _, name := range counted {
		if value, ok := list[name]; ok {
			kept[name] = quantity.Clamp(name, value)
		}
	}
	return kept
}

// stripNode keeps of a node what takesPods and capacityOf read.
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

func identity(meta metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion}
}
