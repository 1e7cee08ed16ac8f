package heartbeat

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestCapacityOfHostileQuantities(t *testing.T) {
	for _, text := range []string{"1e20000000", "1e2000000000", "-1e20000000", "0e2000000000", "9223372036854775807Ei"} {
		hostile := resource.MustParse(text)
		requests := corev1.ResourceList{"cpu": hostile, "memory": hostile}
		attacker := pod("p", "a", "1", "1Gi", func(p *corev1.Pod) {
			p.Spec.Overhead = requests
			p.Spec.Resources = &corev1.ResourceRequirements{Requests: requests, Limits: requests}
			p.Status.Resources = &corev1.ResourceRequirements{Requests: requests}
			for range 100 {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "x", Resources: corev1.ResourceRequirements{Requests: requests, Limits: requests}})
			}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "x", AllocatedResources: requests, Resources: &corev1.ResourceRequirements{Requests: requests}}}
		})
		small := node("a", "4", "8Gi")
		large := node("b", "4", "8Gi")
		large.Status.Allocatable = corev1.ResourceList{"cpu": hostile, "memory": hostile, "pods": hostile}
		shortest := time.Hour
		for range 5 {
			start := time.Now()
			strippedNode, err := stripNode(large)
			if err != nil {
				t.Fatal(err)
			}
			other := attacker.DeepCopy()
			other.Name = "q"
			sum := capacityOf([]*corev1.Node{small, strippedNode.(*corev1.Node)}, summed(t, attacker, other).all())
			hasMoved(sum.allocatable, large.Status.Allocatable, large.Status.Allocatable)
			shortest = min(shortest, time.Since(start))
		}
		if shortest > mostTime {
			t.Errorf("%s takes %s", text, shortest)
		}
	}
}

// mostTime is what a hostile value may take on a busy machine, with the race detector: what it is for takes seconds to
// hours. Alone, all of them are below 10 ms.
const mostTime = 250 * time.Millisecond
