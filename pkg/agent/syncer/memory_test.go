package syncer

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

func TestWaitersForget(t *testing.T) {
	w := newWaiters()
	taken := namespaceKey("default")
	keyAt := func(i int) kcp.ObjectKey {
		return kcp.ObjectKey{Workspace: "attacker", Resource: schema.GroupVersionResource{Resource: "secrets"}, Name: fmt.Sprint(i)}
	}
	for i := range 10_000 {
		if !w.note(keyAt(i), taken, keyAt(i+1)) {
			t.Fatal("it is not new")
		}
		w.forget(keyAt(i))
	}
	w.note(keyAt(1), taken)
	if w.note(keyAt(1), taken) || w.note(keyAt(1)) {
		t.Error("what was noted before is new")
	}
	if len(w.byKey) != 1 || len(w.byKey[taken]) != 1 || len(w.waitsFor) != 1 {
		t.Errorf("%d keys and %d waiters are remembered", len(w.byKey), len(w.waitsFor))
	}
	if waiting := w.take(taken); !waiting.Has(keyAt(1)) || len(w.byKey)+len(w.waitsFor) != 0 {
		t.Errorf("%v wait; %d keys and %d waiters are left", waiting, len(w.byKey), len(w.waitsFor))
	}
}

func TestMemoriesKeep(t *testing.T) {
	m, key := newMemories(), kcp.ObjectKey{Name: "web"}
	m.keep(key, &evaluate.Evaluation{})
	if len(m.byKey) != 0 {
		t.Error("a key that was forgotten comes back")
	}
	m.update(key, func(m *memory) { m.seen = true })
	m.keep(key, &evaluate.Evaluation{})
	if got := m.get(key); !got.seen || got.evaluation == nil {
		t.Errorf("got %+v", got)
	}
}

func TestMemoriesReplace(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	oldObj, newObj := web(placed, held), web(placed, held, annotated(v1alpha1.StatusAnnotation("west"), "{}"))
	key := h.place(oldObj)
	h.turn(t, key)
	h.onUpstream(key, newObj, oldObj)
	if got := h.memories.get(key).evaluation; got.Upstream != oldObj {
		t.Error("another state than that which was evaluated is replaced")
	}
	h.onUpstream(key, oldObj, newObj)
	if got := h.memories.get(key).evaluation; got.Upstream != newObj || got.Desired == nil {
		t.Error("the old state is kept in memory")
	}
	h.onUpstream(key, newObj, web(placed, held, annotated(v1alpha1.StatusAnnotation("east"), "{}")))
	if got := h.memories.get(key).evaluation; got.Upstream != newObj {
		t.Error("our report, which may say that a Job has run, goes unnoticed")
	}
}

func TestNamespaceNews(t *testing.T) {
	n, now := newNamespaceNews(), time.Unix(1000, 0)
	n.setForeign("old", now.Add(-evaluate.Recheck))
	n.setForeign("new", now)
	if n.isForeign("old", now) || !n.isForeign("new", now) || n.isForeign("new", now.Add(evaluate.Recheck)) || len(n.foreign) != 1 {
		t.Errorf("foreign are %v", n.foreign)
	}
	n.setOwner("new", "ws")
	n.close("new", "7")
	n.observe("new", "7")
	if _, written := n.owner("new"); written || n.isForeign("new", now) || !n.isClosed("new") {
		t.Error("the state from which it is closed does not open it")
	}
	n.observe("new", "8")
	if n.isClosed("new") {
		t.Error("a later state opens it")
	}
}
