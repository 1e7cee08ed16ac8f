package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// driftSamples is how often a copy is changed at most.
const driftSamples = 50

// drift changes a copy behind kcp's back, again and again, and measures how long it stays changed.
func (b *bench) drift(ctx context.Context) ([]section, error) {
	const name = "drift"
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	on := b.clusters[east]
	complete := b.user.deployments.await(name, isComplete(1, 1))
	if _, err := b.user.objects.Resource(deploymentsResource).Namespace(namespace).Create(ctx, newDeployment(name, east), metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	if _, err := complete.wait(ctx); err != nil {
		return nil, err
	}
	var patched, repaired []time.Duration
	for range min(b.samples, driftSamples) {
		if err := pause(ctx, idle); err != nil {
			return nil, err
		}
		copied := on.deployments.get(name)
		began := time.Now()
		changed, err := on.objects.Resource(deploymentsResource).Namespace(copied.GetNamespace()).Patch(ctx, name, types.JSONPatchType, []byte(imagePatch), metav1.PatchOptions{})
		if err != nil {
			return nil, err
		}
		answered := time.Now()
		at, err := on.deployments.await(name, isRepaired(changed.GetGeneration())).wait(ctx)
		if err != nil {
			return nil, fmt.Errorf("repair: %w", err)
		}
		patched, repaired = append(patched, answered.Sub(began)), append(repaired, at.Sub(answered))
	}
	s := section{
		title: "Repair of a copy that was changed in its cluster",
		text:  "Somebody changes the image of a copy in its cluster, and the syncer applies it again.",
		rows:  [][]string{{"FROM", "TO", headP50, headP90, headP99, "MOST", "p50 TO THE RAW LIMIT"}},
	}
	limit := p50(patched)
	s.rows = append(s.rows,
		append(append([]string{"change", "answer of the cluster"}, percentiles(patched)...), "-"),
		append(append([]string{"answer of the cluster", "as it was"}, percentiles(repaired)...), ratio(p50(repaired), limit)+" a patch"))
	return []section{s}, nil
}

// isRepaired returns what reports whether a Deployment has its image again, after a generation in which it had not.
func isRepaired(generation int64) func(*unstructured.Unstructured) bool {
	return func(obj *unstructured.Unstructured) bool {
		if obj == nil || obj.GetGeneration() <= generation {
			return false
		}
		containers, _, _ := unstructured.NestedSlice(obj.Object, "spec", "template", "spec", "containers") // none if not there
		return len(containers) == 1 && containers[0].(map[string]any)["image"] == image
	}
}
