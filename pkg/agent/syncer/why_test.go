package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// selecting gives a Deployment a selector.
func selecting(obj *unstructured.Unstructured) {
	_ = unstructured.SetNestedField(obj.Object, "web", "spec", "selector", "matchLabels", "app")
}

// available is the status of a Deployment of which so many replicas are available.
func available(number int64) option {
	return func(obj *unstructured.Unstructured) {
		obj.Object["status"] = map[string]any{"replicas": int64(3), "updatedReplicas": int64(3), "readyReplicas": number, "availableReplicas": number}
	}
}

// cause returns the cause of a container that crashes.
func cause(pods int64, exitCode, words string) []protocol.Cause {
	return []protocol.Cause{{Reason: "CrashLoopBackOff", Count: pods, Message: "container app, exit code " + exitCode + ": " + words}}
}

// whyHarness has a Deployment of which 2 of 3 replicas are available, which was reported.
type whyHarness struct {
	*harness

	key  kcp.ObjectKey
	here *unstructured.Unstructured
}

func newWhyHarness(t *testing.T) *whyHarness {
	t.Helper()
	here := web(placed, held, selecting)
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"), copyOf("ws", here, available(2)))
	w := &whyHarness{h, h.place(here), here}
	h.memories.update(w.key, func(m *memory) { m.seen = true })
	w.turn(t, gathering, 0)
	w.time = w.time.Add(gathering)
	w.turn(t, 0, 1)
	w.time = w.time.Add(time.Minute)
	return w
}

// turn takes a turn of the status loop.
func (w *whyHarness) turn(t *testing.T, again time.Duration, patches int) {
	t.Helper()
	got, err := w.syncStatus(t.Context(), w.key)
	if err != nil || got != again || len(w.kcp.patches) != patches {
		t.Fatalf("again after %s, error %v, %d patches; want %s and %d: %v", got, err, len(w.kcp.patches), again, patches, w.kcp.patches)
	}
}

// reported returns the causes of the report that there is.
func (w *whyHarness) reported(t *testing.T) []protocol.Cause {
	t.Helper()
	encoded, _ := protocol.Read(w.kcp.objects[w.key]).EncodedReport("east")
	report, err := protocol.ParseReport("east", encoded)
	if err != nil {
		t.Fatal(err)
	}
	return report.Causes
}

func (w *whyHarness) check(t *testing.T, want []protocol.Cause) {
	t.Helper()
	if diff := cmp.Diff(want, w.reported(t)); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}

func TestCausesAreReported(t *testing.T) {
	w := newWhyHarness(t)
	if question, isAsked := w.why.asked[w.key]; !isAsked || question.Subject.Selector != "app=web" {
		t.Fatalf("asked %+v", w.why.asked)
	}
	w.turn(t, 0, 1) // nothing is known

	w.why.known, w.why.found = true, cause(1, "1", "a")
	w.turn(t, 0, 2) // the first cause goes up at once
	w.check(t, cause(1, "1", "a"))

	w.time = w.time.Add(10 * time.Second)
	w.why.found = cause(1, "1", "b")
	w.turn(t, 0, 2) // words churn
	w.check(t, cause(1, "1", "a"))

	w.why.found = cause(2, "1", "c")
	w.turn(t, 20*time.Second, 2)
	w.why.found = cause(2, "2", "d")
	w.time = w.time.Add(20*time.Second - 1)
	w.turn(t, 1, 2)
	w.time = w.time.Add(1)
	w.turn(t, 0, 3) // the last state is not lost
	w.check(t, cause(2, "2", "d"))

	w.time = w.time.Add(5 * time.Second)
	w.why.found = cause(1, "3", "e")
	w.cache(t, copyOf("ws", w.here, available(1)))
	w.turn(t, gathering, 3)
	w.time = w.time.Add(gathering)
	w.turn(t, 0, 4) // causes go along with other news
	w.check(t, cause(1, "3", "e"))

	w.time = w.time.Add(2 * time.Second)
	w.cache(t, copyOf("ws", w.here, available(3)))
	w.turn(t, 0, 5) // and away
	w.check(t, nil)
	if len(w.why.asked) > 0 {
		t.Error("it is asked about although it is ready")
	}
}

// TestCausesStayOverRestart has a process that knows nothing yet.
func TestCausesStayOverRestart(t *testing.T) {
	w := newWhyHarness(t)
	w.why.known, w.why.found = true, cause(1, "1", "a")
	w.turn(t, 0, 2)
	w.memories.update(w.key, func(m *memory) { *m = memory{seen: true} })

	w.why.known, w.why.found = false, nil
	w.turn(t, 0, 2)
	w.time = w.time.Add(time.Second)
	w.why.known, w.why.found = true, cause(1, "1", "b")
	w.turn(t, 0, 2)
	w.check(t, cause(1, "1", "a"))

	w.why.found = nil
	w.turn(t, 0, 3) // what it was is over
	w.check(t, nil)
}

// TestCausesOfEndedJobStay has a Job that has failed, and of which the pods may be gone.
func TestCausesOfEndedJobStay(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
	job := web(placed, held, func(obj *unstructured.Unstructured) {
		obj.SetAPIVersion("batch/v1")
		obj.SetKind("Job")
		obj.Object["spec"] = map[string]any{"completions": int64(1)}
	})
	status := func(fields map[string]any) option {
		return func(obj *unstructured.Unstructured) { obj.Object["status"] = fields }
	}
	w := &whyHarness{h, kcp.ObjectKey{Workspace: "ws", Resource: deployments, Namespace: app, Name: "web"}, job}
	h.kcp.objects[w.key] = job
	show := func(fields map[string]any) {
		cached := copyOf("ws", job, status(fields))
		if err := h.caches.watchedFor(deployments).informer.GetStore().Add(cached); err != nil {
			t.Fatal(err)
		}
		w.time = w.time.Add(time.Minute)
	}
	h.memories.update(w.key, func(m *memory) { m.seen = true })
	show(map[string]any{"active": int64(1), "failed": int64(1)})
	w.why.known, w.why.found = true, cause(1, "1", "a")
	w.turn(t, 0, 1)
	show(map[string]any{"failed": int64(3), "conditions": []any{map[string]any{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}}})
	w.why.found = cause(3, "1", "a")
	w.turn(t, 0, 2)
	w.check(t, cause(3, "1", "a"))
	if !w.why.asked[w.key].Subject.Ended {
		t.Error("nobody was asked about the end")
	}

	w.time = w.time.Add(time.Minute)
	w.why.found = nil // the pods are gone
	w.turn(t, 0, 2)
	w.check(t, cause(3, "1", "a"))
	clear(w.why.asked) // another process
	w.turn(t, 0, 2)
	if len(w.why.asked) > 0 {
		t.Error("what is reported of a Job that has ended is asked again")
	}
}

// TestCausesGiveWayToNumbers has an object whose annotations have no room for causes.
func TestCausesGiveWayToNumbers(t *testing.T) {
	w := newWhyHarness(t)
	w.why.known, w.why.found = true, cause(1, "1", "a")
	w.cache(t, copyOf("ws", w.here, available(1)))
	w.kcp.patchErr = apierrors.NewInvalid(schema.GroupKind{Kind: "Deployment"}, "web", nil)
	w.turn(t, gathering, 1)
	w.time = w.time.Add(gathering)
	w.turn(t, withoutCausesAfter, 2)
	w.kcp.patchErr = nil
	w.time = w.time.Add(time.Second)
	w.turn(t, longestRefusal-time.Second, 3)
	w.check(t, nil)
	w.turn(t, longestRefusal-time.Second, 3)
	w.time = w.time.Add(longestRefusal)
	w.turn(t, 0, 4)
	w.check(t, cause(1, "1", "a"))
}

func TestCausesOfNothing(t *testing.T) {
	w := newWhyHarness(t)
	w.why.known = true
	w.turn(t, 0, 1)
	w.kcp.objects[w.key] = web(held, selecting) // it leaves
	w.turn(t, 0, 1)
	if len(w.why.asked) > 0 {
		t.Error("it is asked about although it leaves")
	}
	if strings.Contains(w.kcp.patches[0], `"why"`) {
		t.Error("a report without causes has a field for them")
	}
}
