package v1alpha1

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestRegistrationOfBelievesWhatIsWithinBounds(t *testing.T) {
	shortest := time.Hour
	for range 5 {
		many := make([]any, mostResources+1)
		for i := range many {
			many[i] = "x/v1"
		}
		obj := &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"name": "east"},
			"spec":     map[string]any{"location": "eu"},
			"status": map[string]any{
				"allocatable": map[string]any{"cpu": "1e20000000", "memory": "1e-999999999", "pods": "110", "x": strings.Repeat("9", 10<<20), "y": "0." + strings.Repeat("0", 10<<20), "z": map[string]any{}, "f": 1e300},
				"requested":   map[string]any{"cpu": "250m", "pods": int64(3)},
				"resources":   many,
			},
		}}
		start := time.Now()
		registration, err := RegistrationOf(obj)
		shortest = min(shortest, time.Since(start))
		if err != nil {
			t.Fatal(err)
		}
		status := registration.Status
		if len(status.Allocatable) != 1 || status.Allocatable.Pods().Value() != 110 || status.Requested.Cpu().MilliValue() != 250 || len(status.Resources) != 0 || registration.Spec.Location != "eu" {
			t.Errorf("it reads %v", status)
		}
		if kept := obj.Object["status"].(map[string]any)["allocatable"].(map[string]any); len(kept) != 7 {
			t.Error("the object was changed")
		}
	}
	if shortest > mostTime {
		t.Errorf("it takes %s", shortest)
	}
}

// mostTime is what a hostile value may take on a busy machine, with the race detector: what it is for takes seconds to
// hours. Alone, all of them are below 10 ms.
const mostTime = 250 * time.Millisecond
