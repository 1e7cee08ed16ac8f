package aggregator

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestStatusOfWhatIsUndone leaves the status as it is while the scheduler puts back what an undo has taken off a Deployment, reports
// among it: the status tells of an earlier generation, and events of problems have been told.
func TestStatusOfWhatIsUndone(t *testing.T) {
	undone := func(obj *unstructured.Unstructured) {
		obj.SetGeneration(2)
		obj.SetFinalizers([]string{v1alpha1.Finalizer("east")})
		obj.SetAnnotations(map[string]string{"deployment.kubernetes.io/revision": "2"})
	}
	f := newFakeHub()
	key := f.add("ws", deployments, "Deployment", "web", on("east"), undone, withStatus(map[string]any{"observedGeneration": int64(1)}))
	a := f.aggregator()
	turn := func(want time.Duration, writes int) {
		t.Helper()
		if again, err := a.sync(t.Context(), key); again != want || err != nil || len(f.written) != writes {
			t.Errorf("again after %s, %v; written: %q", again, err, f.written)
		}
	}
	turn(restoreGrace, 0)
	a.now = func() time.Time { return began.Add(restoreGrace - time.Second) }
	turn(time.Second, 0)
	annotated(v1alpha1.PlacementAnnotation, `{"by":"default"}`)(f.objects[key])
	if turn(0, 1); len(a.seen.bare) > 0 {
		t.Errorf("what is put back is remembered: %v", a.seen.bare)
	}
	undone(f.objects[key])
	turn(restoreGrace, 1)
	f.objects[key].SetDeletionTimestamp(new(metav1.NewTime(began)))
	turn(endingGrace, 1) // what goes is not put back
}
