package aggregator

import (
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// errTestFailed is what kcp says of a JSON patch that does not apply any more.
var errTestFailed = apierrors.NewGenericServerResponse(422, "", schema.GroupResource{}, "", "testing value /metadata/labels failed", 0, false)

// errStarting is what a virtual workspace says of everything while kcp starts.
var errStarting = apierrors.NewGenericServerResponse(404, "patch", schema.GroupResource{}, "", "404 page not found", 0, true)

// TestAggregatorRedoesAStatusOfAnotherPlacement has the placement grow between the merge and the write: kcp does not take the status,
// and the next turn merges anew. It is no refusal, which would wait for seconds.
func TestAggregatorRedoesAStatusOfAnotherPlacement(t *testing.T) {
	f := newFakeHub()
	key := f.add("ws", deployments, "Deployment", "web", on("east"), reported(t, available("east", 2, began)),
		func(obj *unstructured.Unstructured) { obj.SetResourceVersion("7") })
	a := f.aggregator()
	turn := func(wantWait time.Duration, wantWrites int) string {
		t.Helper()
		again, err := a.sync(t.Context(), key)
		if err != nil || again != wantWait || len(f.written) != wantWrites || !a.refusals.IsEmpty() || len(f.told) > 0 {
			t.Fatalf("again after %s, %v; written %q, told %q", again, err, f.written, f.told)
		}
		return f.written[wantWrites-1]
	}
	f.patchErr = errTestFailed
	if written := turn(movedRetry, 1); !strings.Contains(written, `{"op":"test","path":"/metadata/labels","value":{"cluster.tmc.kcp.io/east":"sync"}}`) {
		t.Errorf("the write does not test where the object is: %s", written)
	}
	on("east", "west")(f.objects[key])
	f.objects[key].SetResourceVersion("8")
	if written := turn(movedRetry, 2); !strings.Contains(written, `{"cluster.tmc.kcp.io/east":"sync","cluster.tmc.kcp.io/west":"sync"}`) {
		t.Errorf("it was not merged anew: %s", written)
	}
	// Whatever keeps the test from passing while nothing moves, the status is written.
	f.patchErr = nil
	if written := turn(0, 3); !strings.Contains(written, `{"op":"test","path":"/metadata/resourceVersion","value":"8"}`) || strings.Contains(written, "/metadata/labels") {
		t.Errorf("the same state was tested in the same way: %s", written)
	}
	if len(a.seen.outdated) > 0 {
		t.Errorf("what is written is remembered: %v", a.seen.outdated)
	}
}

// TestAggregatorWriteMeets404 tells an object that is gone from a kcp that does not serve it yet.
func TestAggregatorWriteMeets404(t *testing.T) {
	cases := map[string]struct {
		err   error
		fails bool
	}{
		"the object is gone":             {apierrors.NewNotFound(deployments.GroupResource(), "web"), false},
		"kcp has only just started":      {errStarting, true},
		"its workspace is not there yet": {apierrors.NewNotFound(v1alpha1.NamespacesResource.GroupResource(), "default"), true},
		"kcp is not there":               {errors.New("connection refused"), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub()
			key := f.add("ws", deployments, "Deployment", "web", on("east"))
			f.patchErr = tc.err
			if _, err := f.aggregator().sync(t.Context(), key); (err != nil) != tc.fails {
				t.Errorf("got %v", err)
			}
		})
	}
}
