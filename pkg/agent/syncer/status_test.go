package syncer

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

func ready(number int64) option {
	return func(obj *unstructured.Unstructured) { obj.Object["status"] = map[string]any{"readyReplicas": number} }
}

func TestSyncStatus(t *testing.T) {
	here := web(placed, held)
	problem := []protocol.Problem{{Reason: "Conflict", Message: "in the way"}}
	now := func(h *harness) int64 { return h.time.Unix() }
	cases := map[string]struct {
		prepare  func(h *harness) (key *unstructured.Unstructured, copied *unstructured.Unstructured)
		unseen   bool
		problems []protocol.Problem
		again    time.Duration
		reports  string
		patches  int
	}{
		"the spec loop comes first": {unseen: true, prepare: func(*harness) (*unstructured.Unstructured, *unstructured.Unstructured) {
			return here, copyOf("ws", here, ready(2))
		}},
		"the first report": {prepare: func(*harness) (*unstructured.Unstructured, *unstructured.Unstructured) {
			return here, copyOf("ws", here, available(3))
		}, reports: `"readyReplicas":3`, patches: 1},
		"a copy without news": {prepare: func(h *harness) (*unstructured.Unstructured, *unstructured.Unstructured) {
			return here, copyOf("ws", here, created(now(h)))
		}, again: unsaidByPods},
		"no copy yet":           {prepare: func(*harness) (*unstructured.Unstructured, *unstructured.Unstructured) { return here, nil }},
		"a problem and no copy": {prepare: func(*harness) (*unstructured.Unstructured, *unstructured.Unstructured) { return here, nil }, problems: problem, reports: "in the way", patches: 1},
		"an object that leaves": {prepare: func(*harness) (*unstructured.Unstructured, *unstructured.Unstructured) {
			return web(held), copyOf("ws", here, ready(2))
		}},
		"a kind without a status": {prepare: func(*harness) (*unstructured.Unstructured, *unstructured.Unstructured) {
			return settingsMap(placed, held), copyOf("ws", settingsMap())
		}},
		"a kind without a status with a problem": {prepare: func(*harness) (*unstructured.Unstructured, *unstructured.Unstructured) {
			return settingsMap(placed, held), nil
		}, problems: problem, reports: "in the way", patches: 1},
		"a kind without a status that had a problem": {prepare: func(*harness) (*unstructured.Unstructured, *unstructured.Unstructured) {
			return settingsMap(placed, held, annotated(v1alpha1.StatusAnnotation("east"), "{}")), copyOf("ws", settingsMap())
		}, patches: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
			obj, copied := c.prepare(h)
			h.cache(t, withoutNil(copied)...)
			key := h.place(obj)
			h.memories.update(key, func(m *memory) { m.seen, m.problems = !c.unseen, c.problems })
			again, err := h.syncStatus(t.Context(), key)
			if again != c.again || err != nil || len(h.kcp.patches) != c.patches {
				t.Fatalf("again after %s, error %v, patches %v", again, err, h.kcp.patches)
			}
			report, _ := protocol.Read(h.kcp.objects[key]).EncodedReport("east")
			if !strings.Contains(report, c.reports) || (report == "") != (c.reports == "") {
				t.Errorf("the report is %s, want %s", report, c.reports)
			}
			if again, err = h.syncStatus(t.Context(), key); again != c.again || err != nil || len(h.kcp.patches) != c.patches {
				t.Errorf("without news: again after %s, error %v, patches %v", again, err, h.kcp.patches)
			}
		})
	}
}

// unsaidByPods and gathering are how long a first report waits of which no pod serves, and news of more that do.
const (
	unsaidByPods = 2 * time.Second
	gathering    = 200 * time.Millisecond
)

// turnOf returns a function that takes a turn of the status loop and checks what comes of it.
func (h *harness) turnOf(t *testing.T, key kcp.ObjectKey) func(want time.Duration, patches int) {
	t.Helper()
	h.memories.update(key, func(m *memory) { m.seen = true })
	return func(want time.Duration, patches int) {
		t.Helper()
		if again, err := h.syncStatus(t.Context(), key); again != want || err != nil || len(h.kcp.patches) != patches {
			t.Fatalf("again after %s, error %v, patches %v; want %s and %d", again, err, h.kcp.patches, want, patches)
		}
	}
}

// TestFirstReportHeedsNoOtherClock has the clock of the syncer differ from that of its cluster: a copy of which there is nothing to
// say is reported two seconds after the syncer has seen it.
func TestFirstReportHeedsNoOtherClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"right": 0, "ten minutes ahead": 10 * time.Minute, "ten minutes behind": -10 * time.Minute, "a year behind": -8766 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			here := web(placed, held)
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
			h.cache(t, madeNamespace("ws"), copyOf("ws", here, created(h.time.Add(-ahead).Unix())))
			turn := h.turnOf(t, h.place(here))
			turn(unsaidByPods, 0)
			h.time = h.time.Add(600 * time.Millisecond)
			turn(1400*time.Millisecond, 0)
			h.time = h.time.Add(1400 * time.Millisecond)
			turn(0, 1)
		})
	}
}

// TestSyncStatusIsPaced has pods become ready one after the other: the rule is evaluate.Pace.
func TestSyncStatusIsPaced(t *testing.T) {
	here := web(placed, held)
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
	show := func(number int64) { h.cache(t, copyOf("ws", here, available(number))) }
	key := h.place(here)
	turn := h.turnOf(t, key)
	show(0)
	turn(unsaidByPods, 0)
	show(1)
	turn(gathering, 0)
	h.time = h.time.Add(gathering)
	turn(0, 1)
	show(2)
	h.time = h.time.Add(500 * time.Millisecond)
	turn(2500*time.Millisecond, 1)
	show(1)
	turn(0, 1) // it is as it was
	show(3)
	turn(0, 2)
	h.kcp.patchErr = errAway
	h.time = h.time.Add(time.Minute)
	show(2)
	turn(gathering, 2)
	h.time = h.time.Add(gathering)
	if _, err := h.syncStatus(t.Context(), key); !errors.Is(err, errAway) {
		t.Errorf("got %v, want %v", err, errAway)
	}
	h.kcp.patchErr = nil
	turn(0, 4) // what could not be written waits no more
}

// TestReportIsNotWrittenTwice has the cache of kcp lag: what was written is not written again until the cache shows it, or shows
// that somebody else has written, or takes too long.
func TestReportIsNotWrittenTwice(t *testing.T) {
	here := web(placed, held)
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	h.cache(t, madeNamespace("ws"), copyOf("ws", here, available(3)))
	key := h.place(here)
	turn := h.turnOf(t, key)
	before := h.kcp.objects[key]
	turn(0, 1)
	written := h.kcp.objects[key]
	h.kcp.objects[key] = before
	turn(longestLag, 1)
	h.kcp.objects[key] = written
	turn(0, 1)
	h.kcp.objects[key] = before
	turn(0, 2) // somebody has taken it off
	h.kcp.objects[key] = before
	h.time = h.time.Add(longestLag)
	turn(0, 3) // and again, before the cache has shown it
}

// TestStatusChangeCostsNoEvaluation has a copy whose status changes many times: nothing is made, hashed or decoded again.
func TestStatusChangeCostsNoEvaluation(t *testing.T) {
	here := web(placed, held)
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"), copyOf("ws", here, ready(0)))
	key := h.place(here)
	if _, err := h.spec(t, key); err != nil {
		t.Fatal(err)
	}
	first := h.memories.get(key).evaluation
	if first.Desired != nil || !first.Current {
		t.Fatalf("remembered is %+v, want a copy that is as it should be, and not the copy itself", first)
	}
	w := h.caches.watchedFor(deployments)
	for i := range int64(5) {
		oldObj := w.get(app, "web")
		h.cache(t, copyOf("ws", here, ready(i+1), func(obj *unstructured.Unstructured) {
			obj.SetManagedFields(append(obj.GetManagedFields(), metav1.ManagedFieldsEntry{Manager: "kube-controller-manager", Operation: "Update", Subresource: "status", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)}))
		}))
		newObj := w.get(app, "web")
		h.onDownstream(key, oldObj, newObj)
		for range 2 {
			h.time = h.time.Add(time.Minute) // the first turn has the news wait for more
			if _, err := h.syncStatus(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		// An evaluation that was made anew has a desired copy that was forgotten only now: the copy would be in e.
		e, err := h.evaluate(key)
		if err != nil || e.Desired != nil {
			t.Errorf("change %d: evaluated anew, %v", i, err)
		}
		if specs := h.specs.take(); len(specs) > 0 {
			t.Errorf("change %d: turns of the spec loop %v", i, specs)
		}
		if !sharesManagedFields(oldObj, newObj) {
			t.Errorf("change %d: managedFields are not shared with the object before", i)
		}
	}
	if len(h.kcp.patches) != 5 {
		t.Errorf("%d reports, want 5", len(h.kcp.patches))
	}
}

// sharesManagedFields reports whether two states of an object have noted the same of what our applies own.
func sharesManagedFields(before, after *unstructured.Unstructured) bool {
	return before.Object[transform.OwnedField] != nil && transform.SameOwned(before, after)
}

func TestSaysSame(t *testing.T) {
	report := protocol.Report{Version: protocol.ReportVersion, Cluster: "east", Generation: 3}
	written := report
	written.Written = time.Unix(1000, 0).UTC().Format(protocol.WrittenLayout)
	present, err := written.Encode()
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		present string
		report  protocol.Report
		want    bool
	}{
		"the same, whenever it was written": {present, report, true},
		"another state":                     {present, protocol.Report{Version: protocol.ReportVersion, Cluster: "east", Generation: 4}, false},
		"garbage":                           {"garbage", report, false},
		"somebody has added to it":          {present + " ", report, false},
		"none":                              {"", report, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			last, _ := protocol.ParseReport("east", c.present)
			got, err := saysSame(last, c.present, c.report)
			if err != nil || got != c.want {
				t.Errorf("says the same: %t (%v), want %t", got, err, c.want)
			}
		})
	}
}

// TestReportOnWhatIsUndone leaves it to the hub to put a report back that an undo has taken off, and tells it what the cluster runs
// when it does not.
func TestReportOnWhatIsUndone(t *testing.T) {
	here := web(placed, held)
	bare := func(generation int64) *unstructured.Unstructured {
		return web(placed, held, without("metadata", "annotations"), annotated("deployment.kubernetes.io/revision", "2"), func(obj *unstructured.Unstructured) { obj.SetGeneration(generation) })
	}
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	h.cache(t, madeNamespace("ws"), copyOf("ws", here, ready(3)))
	key := h.place(bare(2))
	h.memories.update(key, func(m *memory) { m.seen = true })
	turn := func(want time.Duration, patches int) {
		t.Helper()
		if again, err := h.syncStatus(t.Context(), key); again != want || err != nil || len(h.kcp.patches) != patches {
			t.Fatalf("again after %s, error %v, patches %v; want %s and %d", again, err, h.kcp.patches, want, patches)
		}
	}
	turn(restoreGrace, 0)
	h.time = h.time.Add(restoreGrace - time.Second)
	turn(time.Second, 0)
	h.place(bare(3))
	turn(restoreGrace, 0)
	h.time = h.time.Add(restoreGrace)
	turn(0, 1)
	if report, err := protocol.Read(h.kcp.objects[key]).Report("east"); err != nil || report.Replicas == nil || *report.Replicas != 3 {
		t.Errorf("reported %+v, %v", report, err)
	}
}
