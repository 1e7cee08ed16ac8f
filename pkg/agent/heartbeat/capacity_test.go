package heartbeat

import (
	"testing"
	"unique"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// list returns quantities as the registration has them.
func list(cpu, memory, pods string) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory), corev1.ResourcePods: resource.MustParse(pods),
	}
}

// node returns a node that takes pods, with mutations.
func node(name, cpu, memory string, mutations ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"a": "b"}}}
	n.Status.Allocatable = list(cpu, memory, "110")
	n.Status.Allocatable["example.com/gpu"] = resource.MustParse("8")
	n.Status.Conditions = []corev1.NodeCondition{
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}, {Type: corev1.NodeReady, Status: corev1.ConditionTrue},
	}
	for _, mutate := range mutations {
		mutate(n)
	}
	return n
}

func cordoned(n *corev1.Node) { n.Spec.Unschedulable = true }
func notReady(n *corev1.Node) { n.Status.Conditions[1].Status = corev1.ConditionUnknown }
func unheard(n *corev1.Node)  { n.Status.Conditions = nil }

func requesting(cpu, memory string) corev1.Container {
	return corev1.Container{Image: "web", Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)},
	}}
}

// pod returns a pod that runs on a node, with mutations.
func pod(name, onNode, cpu, memory string, mutations ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	p.Spec.NodeName, p.Status.Phase = onNode, corev1.PodRunning
	p.Spec.Containers = []corev1.Container{requesting(cpu, memory)}
	for _, mutate := range mutations {
		mutate(p)
	}
	return p
}

func in(phase corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = phase }
}

func begunBy(container corev1.Container) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.InitContainers = append(p.Spec.InitContainers, container) }
}

func beside(container corev1.Container) func(*corev1.Pod) {
	container.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	return begunBy(container)
}

func overhead(p *corev1.Pod) { p.Spec.Overhead = requesting("250m", "64Mi").Resources.Requests }

func twoContainers(p *corev1.Pod) {
	p.Spec.Containers = append(p.Spec.Containers, requesting("500m", "1Gi"))
}

func asAWhole(p *corev1.Pod) {
	p.Spec.Resources = &corev1.ResourceRequirements{Requests: requesting("3", "3Gi").Resources.Requests}
}

func resized(p *corev1.Pod) {
	p.Spec.Containers[0].Name = "web"
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "web", AllocatedResources: requesting("4", "1Gi").Resources.Requests,
		Resources: &corev1.ResourceRequirements{Requests: requesting("4", "1Gi").Resources.Requests},
	}}
}

func TestCapacityOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		nodes  []*corev1.Node
		pods   []*corev1.Pod
		want   capacity
	}{
		"nothing": {"zero is known", nil, nil, capacity{0, list("0", "0", "0"), list("0", "0", "0")}},
		"sums": {
			"nodes and pods add up", []*corev1.Node{node("a", "4", "8Gi"), node("b", "1500m", "512Mi")},
			[]*corev1.Pod{pod("p", "a", "1", "1Gi"), pod("q", "b", "250m", "128Mi")},
			capacity{2, list("5500m", "8704Mi", "220"), list("1250m", "1152Mi", "2")},
		},
		"closed nodes": {
			"what runs there takes nothing from the others",
			[]*corev1.Node{node("a", "4", "8Gi"), node("b", "4", "8Gi", cordoned), node("c", "4", "8Gi", notReady), node("d", "4", "8Gi", unheard)},
			[]*corev1.Pod{pod("p", "b", "1", "1Gi"), pod("q", "c", "1", "1Gi"), pod("r", "gone", "1", "1Gi")},
			capacity{4, list("4", "8Gi", "110"), list("0", "0", "0")},
		},
		"pods that are not there": {
			"they have ended, or have no node yet", []*corev1.Node{node("a", "4", "8Gi")},
			[]*corev1.Pod{
				pod("p", "a", "1", "1Gi", in(corev1.PodSucceeded)), pod("q", "a", "1", "1Gi", in(corev1.PodFailed)),
				pod("r", "", "1", "1Gi", in(corev1.PodPending)), pod("s", "a", "1", "1Gi", in(corev1.PodPending)),
			},
			capacity{1, list("4", "8Gi", "110"), list("1", "1Gi", "1")},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, capacityOf(c.nodes, summed(t, c.pods...).all()), cmp.AllowUnexported(capacity{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestRequestsOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		pod    *corev1.Pod
		want   corev1.ResourceList
	}{
		"one container":     {"its own", pod("p", "a", "1", "1Gi"), list("1", "1Gi", "1")},
		"two containers":    {"the sum", pod("p", "a", "1", "1Gi", twoContainers), list("1500m", "2Gi", "1")},
		"an init":           {"the larger of each", pod("p", "a", "1", "1Gi", begunBy(requesting("2", "512Mi"))), list("2", "1Gi", "1")},
		"a sidecar":         {"it stays", pod("p", "a", "1", "1Gi", beside(requesting("100m", "128Mi"))), list("1100m", "1152Mi", "1")},
		"an init after one": {"it runs beside the sidecar", pod("p", "a", "1", "1Gi", beside(requesting("100m", "128Mi")), begunBy(requesting("2", "1Mi"))), list("2100m", "1152Mi", "1")},
		"overhead":          {"it comes on top", pod("p", "a", "1", "1Gi", overhead), list("1250m", "1088Mi", "1")},
		"as a whole":        {"what is said of the pod counts", pod("p", "a", "1", "1Gi", asAWhole), list("3", "3Gi", "1")},
		"shrunk in place":   {"what it has not given back yet", pod("p", "a", "1", "1Gi", resized), list("4", "1Gi", "1")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, requestsOf(c.pod)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			want := podUsage{unique.Make("a"), c.want.Cpu().MilliValue(), c.want.Memory().Value()}
			if got := usageOf(c.pod); got != want {
				t.Errorf("%s: kept is %+v, want %+v", c.reason, got, want)
			}
		})
	}
}

func TestStripKeepsWhatIsAddedUp(t *testing.T) {
	stripped, err := stripNode(node("a", "4", "8Gi"))
	if err != nil {
		t.Fatal(err)
	}
	want := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	want.Status.Allocatable = list("4", "8Gi", "110")
	want.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if diff := cmp.Diff(want, stripped); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
}

// summed has seen the pods one after the other.
func summed(t *testing.T, pods ...*corev1.Pod) *podSums {
	t.Helper()
	sums := newPodSums()
	for _, p := range pods {
		if err := sums.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	return sums
}
