package upstream

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	kcpinformers "github.com/kcp-dev/apimachinery/v2/third_party/informers"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// answers has kcp answer what is asked about single objects of a shard.
func (f *fakeKCP) answers(shard, name string, status metav1.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.missing["/services/"+shard+"/clusters/ws/apis/apps/v1/namespaces/default/deployments/"+name] = status
}

// cacheFor has the source have an object cached.
func (s *source) cacheFor(t *testing.T, obj *unstructured.Unstructured) {
	t.Helper()
	informer := kcpinformers.NewSharedIndexInformer(&cache.ListWatch{}, &unstructured.Unstructured{}, 0, cache.Indexers{})
	if err := informer.GetIndexer().Add(obj); err != nil {
		t.Fatal(err)
	}
	s.watching = map[schema.GroupVersionResource]*watching{deployments: {informer: informer}}
}

// TestClientDropsWhatHasLongGone has objects go of which no watch tells. What somebody writes to, or asks for, is dropped then; what kcp
// says nothing of, or what is there again, stays.
func TestClientDropsWhatHasLongGone(t *testing.T) {
	f := newFakeKCP(t)
	f.serve(slicesPath)
	f.listShards("one")
	f.serveShard("one")
	names := []string{"written", "asked", "unserved", "untouched", "deleted"}
	for _, name := range names {
		if name != "deleted" {
			f.set(deploymentsAt("one"), newObject("ws", "default", name))
		}
		gone := missing.Status()
		gone.Details = &metav1.StatusDetails{Group: "apps", Kind: "deployments", Name: name}
		f.answers("one", name, gone)
	}
	f.answers("one", "unserved", unserved.Status())
	c, err := New(Options{Config: f.config(), ProviderWorkspace: provider, Export: "tmc", Want: func(kcp.Resource) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	var told changes
	c.Handle(func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
		if newObj == nil {
			told.handle(key, oldObj, newObj)
		}
	})
	run(t, c)
	waitUntil(t, "all is read", func() bool { return c.HasSynced() && c.Cached(keyOf("ws", "untouched")) != nil })
	c.sources()[0].doubtAfter = 20 * time.Millisecond

	if _, err := c.Patch(t.Context(), keyOf("ws", "written"), types.MergePatchType, []byte(`{}`)); !kcp.IsMissingObject(err, "written") {
		t.Fatalf("writing to what is gone: %v", err)
	}
	if obj, err := c.Live(t.Context(), keyOf("ws", "asked")); obj != nil || err != nil {
		t.Fatalf("asking for what is gone: %v, %v", obj, err)
	}
	if _, err := c.Live(t.Context(), keyOf("ws", "unserved")); err == nil {
		t.Fatal("asking for what is not served: no error")
	}
	c.sources()[0].doubt(keyOf("ws", "unserved"))
	deleted := newObject("ws", "default", "deleted")
	deleted.SetDeletionTimestamp(new(metav1.Now()))
	f.set(deploymentsAt("one"), deleted)
	waitUntil(t, "all three are told to be gone", func() bool { return len(told.told()) == 3 })
	if diff := cmp.Diff([]string{"gone ws|deployments.apps default/asked", "gone ws|deployments.apps default/deleted", "gone ws|deployments.apps default/written"}, told.told()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, isCached := range map[string]bool{"written": false, "asked": false, "deleted": false, "unserved": true, "untouched": true} {
		if obj := c.Cached(keyOf("ws", name)); (obj != nil) != isCached {
			t.Errorf("%s is cached: %v, want it so: %t", name, obj, isCached)
		}
	}
}

// TestDropIfGone leaves what another object has taken the place of, and what is there.
func TestDropIfGone(t *testing.T) {
	cases := map[string]struct {
		uid        types.UID
		isDeleting bool
		err        error
		requests   int
		isOpen     bool
	}{
		"another object is cached by now": {uid: "before", err: missing},
		"kcp has it after all":            {uid: "now", requests: 1},
		"kcp has it yet":                  {uid: "now", isDeleting: true, requests: 1, isOpen: true},
		"kcp does not say":                {uid: "now", err: errors.ErrUnsupported, requests: 1, isOpen: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			web := newObject("a", "default", "web")
			web.SetUID("now")
			if tc.isDeleting {
				web.SetDeletionTimestamp(new(metav1.Now()))
			}
			kcpSide := &shard{err: tc.err}
			s := kcpSide.source("1", web)
			s.handle = func(key kcp.ObjectKey, _, _ *unstructured.Unstructured) { t.Errorf("a handler is told of %s", key) }
			s.cacheFor(t, web)
			if isOpen := s.dropIfGone(t.Context(), doubt{keyOf("a", "web"), tc.uid}); isOpen != tc.isOpen {
				t.Errorf("the question stays open: %t, want %t", isOpen, tc.isOpen)
			}
			if s.cached(keyOf("a", "web")) == nil || len(kcpSide.requests) != tc.requests {
				t.Errorf("cached: %v, requests: %v", s.cached(keyOf("a", "web")), kcpSide.requests)
			}
		})
	}
}
