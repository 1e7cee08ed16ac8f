package heartbeat

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

func TestPodSums(t *testing.T) {
	sums := newPodSums()
	count := func(want int) {
		t.Helper()
		if got := len(slices.Collect(sums.all())); got != want {
			t.Errorf("%d pods, want %d", got, want)
		}
	}
	first, second := pod("p", "a", "1", "1Gi"), pod("q", "b", "1", "1Gi")
	if cache.IsDone(sums) || sums.HasSynced() {
		t.Error("it has read before it was told")
	}
	slimmed, err := slim(first)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := cache.MetaNamespaceKeyFunc(slimmed); key != "default/p" || err != nil {
		t.Errorf("the reflector knows it as %q: %v", key, err)
	}
	for range 2 {
		if err := errors.Join(sums.Replace([]any{slimmed, second}, "1"), sums.Resync()); err != nil {
			t.Fatal(err)
		}
		count(2)
	}
	if !cache.IsDone(sums.HasSyncedChecker()) || !sums.HasSynced() || sums.Name() != "pods" {
		t.Error("it has not read after it was told")
	}
	ended := pod("p", "a", "1", "1Gi", in(corev1.PodSucceeded))
	if err := sums.Update(ended); err != nil {
		t.Fatal(err)
	}
	count(1)
	if err := sums.Delete(second); err != nil {
		t.Fatal(err)
	}
	count(0)
	if errors.Join(sums.Add("x"), nil) == nil || sums.Delete("x") == nil || sums.Replace([]any{"x"}, "") == nil {
		t.Error("it takes what is no pod")
	}
	sums.Close()
	sums.Close()
	if _, err := sums.Pop(nil); !errors.Is(err, cache.ErrFIFOClosed) {
		t.Errorf("got %v", err)
	}
}

// TestAPodCostsLittle holds what a pod of somebody else costs: a cluster may have tens of thousands.
func TestAPodCostsLittle(t *testing.T) {
	const pods, most = 5000, 250
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	sums := newPodSums()
	for i := range pods {
		if err := sums.Add(pod(fmt.Sprintf("web-7d4b9c6f5d-%05d", i), fmt.Sprintf("node-%d", i%100), "1", "1Gi", twoContainers)); err != nil {
			t.Fatal(err)
		}
	}
	if each := (int64(heap()) - int64(before)) / pods; each > most {
		t.Errorf("a pod costs %d bytes, want at most %d", each, most)
	}
	runtime.KeepAlive(sums)
}
