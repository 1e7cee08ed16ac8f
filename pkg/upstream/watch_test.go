package upstream

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// changes are those that a handler was told, sorted.
type changes struct {
	mu  sync.Mutex
	all []string
}

func (c *changes) handle(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := map[[2]bool]string{{false, true}: "added ", {true, true}: "changed ", {true, false}: "gone "}[[2]bool{oldObj != nil, newObj != nil}]
	c.all = append(c.all, what+key.String())
}

func (c *changes) told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.all))
}

// TestClientFollowsTheEndpointSlice has shards come and go while a Client runs.
func TestClientFollowsTheEndpointSlice(t *testing.T) {
	f := newFakeKCP(t)
	f.serve(slicesPath)
	var told changes
	c, err := New(Options{
		Config: f.config(), ProviderWorkspace: provider, Export: "tmc", Selector: "a=b",
		Want:     func(r kcp.Resource) bool { return r.Resource == "deployments" },
		Indexers: cache.Indexers{"by-name": func(obj any) ([]string, error) { return []string{obj.(*unstructured.Unstructured).GetName()}, nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Handle(told.handle)
	if c.HasSynced() || c.Provider() != "" {
		t.Error("a Client that does not run has read something")
	}
	run(t, c)
	waitUntil(t, "kcp has said that there is no endpoint slice", c.HasSynced)

	f.serveShard("one")
	f.set(deploymentsAt("one"), newObject("a", "default", "web"))
	f.listShards("one")
	waitUntil(t, "the first shard is read", func() bool { return c.HasReadWorkspace("a") })
	f.serveShard("two")
	f.set(deploymentsAt("two"), newObject("b", "default", "web"))
	f.set(deploymentsAt("two"), newObject("b", "other", "db"))
	f.listShards("two", "one")
	waitUntil(t, "the second shard is read", func() bool { return c.HasReadWorkspace("b") && c.HasSynced() })
	checkEach(t, c)
	if got := f.selectors[deploymentsAt("one")]; got != "a=b" {
		t.Errorf("watched with the selector %q", got)
	}

	changed := newObject("a", "default", "web")
	changed.SetLabels(map[string]string{"changed": "true"})
	f.set(deploymentsAt("one"), changed)
	f.remove(deploymentsAt("two"))
	waitUntil(t, "what changes is told", func() bool { return len(told.told()) == 6 })
	f.listShards("two")
	waitUntil(t, "the first shard has left", func() bool { return c.Cached(keyOf("a", "web")) == nil })
	if diff := cmp.Diff([]string{
		"added a|deployments.apps default/web", "added b|deployments.apps default/web", "added b|deployments.apps other/db",
		"changed a|deployments.apps default/web",
		"gone b|deployments.apps default/web", "gone b|deployments.apps other/db",
	}, told.told()); diff != "" {
		t.Errorf("what a shard held that has left is not gone (-want +got):\n%s", diff)
	}
}

// checkEach looks things up in caches with two objects of workspace b, and one of a.
func checkEach(t *testing.T, c *Client) {
	t.Helper()
	if c.Provider() != "provider" || !c.HasRead(deployments) || c.HasReadWorkspace("c") {
		t.Errorf("provider %q, Deployments read: %t, an unknown workspace read: %t", c.Provider(), c.HasRead(deployments), c.HasReadWorkspace("c"))
	}
	served := map[schema.GroupVersionResource]kcp.Resource{deployments: {GroupVersionResource: deployments, Kind: "Deployment", Namespaced: true, HasStatus: true}}
	if diff := cmp.Diff(served, c.Resources()); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	lookUps := map[string]func(visit func(kcp.ObjectKey, *unstructured.Unstructured)){
		"a default/web, b default/web, b other/db": c.Each,
		"b other/db":                   func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) { c.EachIn("b", "other", visit) },
		"b default/web, b other/db":    func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) { c.EachInWorkspace("b", visit) },
		"a default/web, b default/web": func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) { c.EachBy("by-name", "web", visit) },
		"":                             func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) { c.EachBy("no-such-index", "web", visit) },
	}
	for want, each := range lookUps {
		var found []string
		each(func(key kcp.ObjectKey, obj *unstructured.Unstructured) {
			if c.Cached(key) != obj {
				t.Errorf("%s is cached otherwise", key)
			}
			found = append(found, key.Workspace.String()+" "+key.Namespace+"/"+key.Name)
		})
		slices.Sort(found)
		if got := strings.Join(found, ", "); got != want {
			t.Errorf("found %q, want %q", got, want)
		}
	}
}

// TestClientOfInitializingWorkspaces watches what kcp initializes for a WorkspaceType.
func TestClientOfInitializingWorkspaces(t *testing.T) {
	f := newFakeKCP(t)
	clusters := "/services/init/clusters/*/apis/core.kcp.io/v1alpha1/logicalclusters"
	f.serve(typesPath)
	f.serve(clusters)
	workspaceType := newObject("provider", "", "tenant")
	workspaceType.SetGroupVersionKind(kcp.WorkspaceTypeKind)
	workspaceType.Object["status"] = map[string]any{"virtualWorkspaces": []any{
		map[string]any{"type": "initializing", "url": f.URL + "/services/init"}, map[string]any{"type": "terminating", "url": f.URL + "/services/other"},
	}}
	f.set(typesPath, workspaceType)
	f.set(clusters, newObject("new", "", kcp.LogicalClusterName))
	c, err := New(Options{Config: f.config(), ProviderWorkspace: provider, WorkspaceType: "tenant", Want: func(kcp.Resource) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	var told changes
	c.Handle(told.handle)
	run(t, c)
	waitUntil(t, "both are told", func() bool { return len(told.told()) == 2 })
	want := []string{"added new|logicalclusters.core.kcp.io /cluster", "added provider|workspacetypes.tenancy.kcp.io /tenant"}
	if diff := cmp.Diff(want, told.told()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var again changes
	c.Replay(again.handle)
	if diff := cmp.Diff(want, again.told()); diff != "" {
		t.Errorf("told again (-want +got):\n%s", diff)
	}
}

// TestClientWaitsUntilResourcesAreServed lists a virtual workspace seconds before kcp serves it, and has discovery be ahead
// of what can be listed.
func TestClientWaitsUntilResourcesAreServed(t *testing.T) {
	f := newFakeKCP(t)
	f.serve(slicesPath)
	f.listShards("one")
	watched := make(chan kcp.Resource, 10)
	c, err := New(Options{
		Config: f.config(), ProviderWorkspace: provider, Export: "tmc", Want: func(kcp.Resource) bool { return true },
		Watching: func(_ context.Context, resource kcp.Resource) { watched <- resource },
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	waitUntil(t, "the shard is known", func() bool { return len(c.sources()) == 1 })
	if c.HasSynced() {
		t.Error("all is read of a shard that serves nothing yet")
	}
	f.mu.Lock()
	f.served["one"] = []string{"deployments"}
	f.mu.Unlock()
	waitUntil(t, "discovery names Deployments", func() bool { return len(c.Resources()) == 1 })
	if c.HasSynced() || c.HasRead(deployments) || c.HasReadAll(deployments) {
		t.Error("Deployments are read that cannot be listed yet")
	}
	f.serve(deploymentsAt("one"))
	waitUntil(t, "Deployments are read", c.HasSynced)
	if !c.HasReadAll(deployments) || c.HasReadAll(deployments.GroupVersion().WithResource("replicasets")) {
		t.Error("want Deployments read, and not what is not served")
	}
	if len(watched) != 1 || (<-watched).Resource != "deployments" {
		t.Error("it was not told once what is watched")
	}
}

// TestClientKeepsWhatAStartingKCPDoesNotServe has kcp start anew: watches end, and nothing is served for a while. What was read is still
// there, and no handler is told that it went.
func TestClientKeepsWhatAStartingKCPDoesNotServe(t *testing.T) {
	f := newFakeKCP(t)
	f.serve(slicesPath)
	f.listShards("one")
	f.serveShard("one")
	f.set(deploymentsAt("one"), newObject("ws", "default", "web"))
	c, err := New(Options{Config: f.config(), ProviderWorkspace: provider, Export: "tmc", Want: func(kcp.Resource) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	var gone atomic.Int32
	c.Handle(func(_ kcp.ObjectKey, _, newObj *unstructured.Unstructured) {
		if newObj == nil {
			gone.Add(1)
		}
	})
	run(t, c)
	waitUntil(t, "the Deployment is read", func() bool { return c.Cached(keyOf("ws", "web")) != nil })
	stored := f.restart(deploymentsAt("one"))
	waitUntil(t, "kcp is asked anew", func() bool { return f.refusals(deploymentsAt("one")) > 1 })
	if c.Cached(keyOf("ws", "web")) == nil || !c.HasRead(deployments) || len(c.Resources()) != 1 || gone.Load() > 0 {
		t.Errorf("cached: %v, served: %v, gone: %d", c.Cached(keyOf("ws", "web")), c.Resources(), gone.Load())
	}
	f.mu.Lock()
	f.objects[deploymentsAt("one")] = stored
	f.mu.Unlock()
	f.set(deploymentsAt("one"), newObject("ws", "default", "api"))
	waitUntil(t, "kcp is read again", func() bool { return c.Cached(keyOf("ws", "api")) != nil })
	if gone.Load() > 0 {
		t.Errorf("%d objects went", gone.Load())
	}
}

func TestSourceExplainsOnce(t *testing.T) {
	s := &source{notServed: "nothing is served"}
	ctx := t.Context()
	refused := context.DeadlineExceeded
	if logged := s.explain(ctx, nil, ""); logged != s.notServed || s.explain(ctx, nil, logged) != logged {
		t.Errorf("logged %q", logged)
	}
	if logged := s.explain(ctx, refused, s.notServed); logged != refused.Error() || s.explain(ctx, refused, logged) != logged {
		t.Errorf("logged %q", logged)
	}
}

func TestBoundResources(t *testing.T) {
	binding := func(export string) unstructured.Unstructured {
		obj := newObject("mine", "", export)
		obj.Object["spec"] = map[string]any{"reference": map[string]any{"export": map[string]any{"name": export}}}
		obj.Object["status"] = map[string]any{
			"boundResources":          []any{map[string]any{"group": "apps", "resource": "deployments"}},
			"appliedPermissionClaims": []any{map[string]any{"resource": "configmaps"}},
		}
		return *obj
	}
	unreadable := *newObject("mine", "", "odd")
	unreadable.Object["spec"] = "odd"
	cases := map[string]struct {
		bindings  []unstructured.Unstructured
		workspace logicalcluster.Name
		want      []schema.GroupResource
	}{
		"nothing is bound":          {nil, "", nil},
		"another export is bound":   {[]unstructured.Unstructured{binding("other"), unreadable}, "mine", nil},
		"bound and claimed, merged": {[]unstructured.Unstructured{binding("other"), binding("tmc")}, "mine", []schema.GroupResource{{Group: "apps", Resource: "deployments"}, {Resource: "configmaps"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			workspace, bound := boundResources(tc.bindings, "tmc")
			if workspace != tc.workspace || !bound.Equal(sets.New(tc.want...)) {
				t.Errorf("workspace %q, bound %v, want %q and %v", workspace, bound, tc.workspace, tc.want)
			}
		})
	}
}

func TestEventHandlerHandsOnTombstones(t *testing.T) {
	var told changes
	handler := eventHandler(deployments, told.handle)
	handler.OnDelete(cache.DeletedFinalStateUnknown{Obj: newObject("a", "default", "web")})
	handler.OnDelete(cache.DeletedFinalStateUnknown{Obj: "no object"})
	handler.OnAdd("no object", false)
	handler.OnUpdate("no object", "no object")
	if diff := cmp.Diff([]string{"gone a|deployments.apps default/web"}, told.told()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEndIfSilent(t *testing.T) {
	t.Run("a watch that sends nothing is ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			silent := endIfSilent(watch.NewFake(), longestSilence)
			begin := time.Now()
			if event, open := <-silent.ResultChan(); open || time.Since(begin) != longestSilence {
				t.Errorf("got %v, open: %v, after %s; want the end after %s", event, open, time.Since(begin), longestSilence)
			}
		})
	})
	t.Run("a watch that has sent something goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source := watch.NewFake()
			watching := endIfSilent(source, longestSilence)
			for range 2 {
				go source.Action(watch.Bookmark, nil)
				if event := <-watching.ResultChan(); event.Type != watch.Bookmark {
					t.Errorf("got %v, want what was sent", event)
				}
				time.Sleep(2 * longestSilence)
			}
			watching.Stop()
			if event, open := <-watching.ResultChan(); open {
				t.Errorf("got %v after the end", event)
			}
		})
	})
}
