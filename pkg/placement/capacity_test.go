package placement

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// boundless is a quantity that was read by somebody who knows no bounds.
func boundless(t *testing.T, text string) resource.Quantity {
	t.Helper()
	value, err := resource.ParseQuantity(text)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestDecideTakesNoTimeOverHostileQuantities(t *testing.T) {
	for _, text := range []string{"1e20000000", "1e2000000000", "-1e20000000", "0e2000000000", "9223372036854775807Ei"} {
		hostile := boundless(t, text)
		list := corev1.ResourceList{corev1.ResourceCPU: hostile, corev1.ResourceMemory: hostile, corev1.ResourcePods: hostile}
		clusters := []Cluster{cluster("a"), cluster("b", func(c *Cluster) { c.Allocatable, c.Requested = list, list }), cluster("c", func(c *Cluster) { c.Allocatable = list })}
		for _, spec := range []v1alpha1.WorkloadPlacementSpec{
			{Replicas: v1alpha1.ReplicasDivided, DivideBy: v1alpha1.DivideByFreeCapacity},
			{Strategy: v1alpha1.StrategyLeastLoaded, NumberOfClusters: new(int32(2))},
		} {
			shortest := time.Hour
			for range 5 {
				start := time.Now()
				decision := Decide(request(deployment(replicas(6)), clusters, placed("p", func(p *v1alpha1.WorkloadPlacement) {
					p.Spec.Replicas, p.Spec.DivideBy, p.Spec.Strategy, p.Spec.NumberOfClusters = spec.Replicas, spec.DivideBy, spec.Strategy, spec.NumberOfClusters
				})))
				shortest = min(shortest, time.Since(start))
				if len(decision.Clusters) == 0 {
					t.Errorf("%s: it is placed nowhere", text)
				}
			}
			if shortest > mostTime {
				t.Errorf("%s: a decision by %s%s takes %s", text, spec.DivideBy, spec.Strategy, shortest)
			}
		}
	}
}

func TestPodRequestTakesNoTimeOverHostileRequests(t *testing.T) {
	for name, value := range map[string]any{
		"Huge": "1e20000000", "Tiny": "1e-999999999", "Long": strings.Repeat("9", 10<<20), "Zeros": "0." + strings.Repeat("0", 10<<20), "Float": 1e300, "Map": map[string]any{}, "Inf": "Inf", "Negative": "-5",
	} {
		containers := make([]any, 20_000)
		for i := range containers {
			containers[i] = map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": value, "memory": value}, "limits": map[string]any{"cpu": value}}}
		}
		obj := deployment()
		obj.Object["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{"containers": containers, "overhead": map[string]any{"cpu": value}}}}
		shortest := time.Hour
		for range 5 {
			start := time.Now()
			for _, amount := range podRequest(obj) {
				if amount < 0 {
					t.Errorf("%s: it requests %d", name, amount)
				}
			}
			shortest = min(shortest, time.Since(start))
		}
		if shortest > mostTime {
			t.Errorf("%s takes %s", name, shortest)
		}
	}
}

// mostTime is what a hostile value may take on a busy machine, with the race detector: what it is for takes seconds to
// hours. Alone, all of them are below 10 ms.
const mostTime = 250 * time.Millisecond
