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

// drift changes copies behind kcp's back, and measures how long each stays changed. It changes none twice: a syncer takes
// its time with a copy that somebody changes again and again.
func (b *bench) drift(ctx context.Context) ([]section, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	count := min(b.samples, driftSamples)
	complete := make([]*expectation, count)
	for i := range complete {
		complete[i] = b.user.deployments.await(numbered("drift", i), isComplete(1, 1))
	}
	if _, err := inTurn(ctx, count, func(ctx context.Context, i int) error {
		_, err := b.user.objects.Resource(deploymentsResource).Namespace(namespace).Create(ctx, newDeployment(numbered("drift", i), east), metav1.CreateOptions{})
		return err
	}); err != nil {
		return nil, err
	}
	if _, err := last(ctx, complete); err != nil {
		return nil, fmt.Errorf("deployments to change: %w", err)
	}
	var patched, repaired []time.Duration
	for i := range count {
		if err := pause(ctx, idle); err != nil {
			return nil, err
		}
		before, after, err := b.changeCopy(ctx, numbered("drift", i))
		if err != nil {
			return nil, fmt.Errorf("copy of deployment %s: %w", numbered("drift", i), err)
		}
		patched, repaired = append(patched, before), append(repaired, after)
	}
	return []section{driftSection(patched, repaired)}, nil
}

// changeCopy changes the image of a copy, and gives how long the cluster took to answer, and from then on the syncer to
// have it as it was.
func (b *bench) changeCopy(ctx context.Context, name string) (patched, repaired time.Duration, err error) {
	on := b.clusters[east]
	client := on.objects.Resource(deploymentsResource).Namespace(on.deployments.get(name).GetNamespace())
	began := time.Now()
	changed, err := client.Patch(ctx, name, types.JSONPatchType, []byte(imagePatch), metav1.PatchOptions{})
	if err != nil {
		return 0, 0, err
	}
	answered := time.Now()
	at, err := on.deployments.await(name, isRepaired(changed.GetGeneration())).wait(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("repair: %w", err)
	}
	return answered.Sub(began), max(0, at.Sub(answered)), nil
}

func driftSection(patched, repaired []time.Duration) section {
	s := section{
		title: "Repair of a copy that was changed in its cluster",
		text:  "Somebody changes the image of a copy in its cluster, and the syncer applies it again.",
		rows:  [][]string{{"FROM", "TO", headP50, headP90, headP99, "MOST", "p50 TO THE RAW LIMIT"}},
	}
	limit := p50(patched)
	s.rows = append(s.rows,
		append(append([]string{"change", "answer of the cluster"}, percentiles(patched)...), "-"),
		append(append([]string{"answer of the cluster", "as it was"}, percentiles(repaired)...), ratio(p50(repaired), limit)+" a patch"))
	return s
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
