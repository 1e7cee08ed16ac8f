package protect

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const workspace = logicalcluster.Name("ws")

func TestDecide(t *testing.T) {
	// The letters say: m(ain) or v(iew) e(ast); h(as our finalizer), g(oing), and of the main one l(ets keep).
	of := func(words ...string) []binding {
		var bindings []binding
		for _, word := range words {
			name, state, _ := strings.Cut(word, ":")
			export := v1alpha1.APIExportName
			if name != "main" {
				export = v1alpha1.ClusterExport(name)
			}
			bindings = append(bindings, binding{
				key: kcp.ObjectKey{Name: name}, export: export,
				isKept: strings.Contains(state, "h"), isGoing: strings.Contains(state, "g"), letsKeep: strings.Contains(state, "l"),
			})
		}
		return bindings
	}
	cases := map[string]struct {
		reason   string
		bindings []binding
		inUse    []string
		want     string
	}{
		"Unused":                     {"who uses nothing of it waits for nobody", of("main:l", "east:"), nil, ""},
		"Used":                       {"the hub's own first: through it the views are let go of", of("east:", "west:", "main:l"), []string{"cluster-east"}, "keep main, keep east"},
		"HeldAlready":                {"at rest nothing is written", of("main:lh", "east:h"), []string{"cluster-east"}, ""},
		"another came into use":      {"each is held by itself", of("main:lh", "east:h", "west:"), []string{"cluster-east", "cluster-west"}, "keep west"},
		"used no more":               {"that may change again, and taking it off is a write", of("main:lh", "east:h"), nil, ""},
		"Unbound":                    {"its syncer sees what it has to let go of", of("main:lh", "east:hg"), []string{"cluster-east"}, "wait"},
		"unbound and unused":         {"nobody needs it", of("main:lh", "east:hg"), nil, "release east"},
		"another is used":            {"through another one", of("main:lh", "east:hg", "west:h"), []string{"cluster-west"}, "release east"},
		"all goes":                   {"the workspace is deleted: the hub waits for the syncers", of("main:lhg", "east:hg"), []string{"cluster-east"}, "wait"},
		"all goes and one done":      {"the hub's own is needed for the other", of("main:lhg", "east:hg", "west:hg"), []string{"cluster-west"}, "release east, wait"},
		"all goes and done":          {"first the views, so that their release is not lost", of("main:lhg", "east:hg"), nil, "release east, wait"},
		"only the hub's is left":     {"nothing waits for it", of("main:lhg"), nil, "release main"},
		"tmc is unbound":             {"after it nobody could let go of the view", of("main:lhg", "east:h"), []string{"cluster-east"}, "wait"},
		"tmc is unbound unused":      {"likewise: the view stays, and is held no more", of("main:lhg", "east:h"), nil, "release east, wait"},
		"tmc is unbound freely":      {"the view is not held any more", of("main:lhg", "east:"), nil, "release main"},
		"tmc goes unheld":            {"it was not asked whether it may: what can be let go of is", of("main:lg", "east:h"), nil, "release east"},
		"nothing new at the end":     {"", of("main:lhg", "east:h", "west:"), []string{"cluster-east", "cluster-west"}, "wait"},
		"GoesUnheld":                 {"kcp takes no finalizer for what is being deleted", of("main:lg", "east:g"), []string{"cluster-east"}, ""},
		"claim not accepted":         {"the hub may not write there", of("main:", "east:"), []string{"cluster-east"}, ""},
		"the hub's own is not bound": {"likewise", of("east:"), []string{"cluster-east"}, ""},
		"SharedOnly":                 {"what is seen through the hub's own export kcp keeps by itself", of("main:l"), []string{v1alpha1.APIExportName}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := decide(tc.bindings, sets.New(tc.inUse...), nil)
			var words []string
			for _, b := range got.keep {
				words = append(words, "keep "+b.key.Name)
			}
			for _, b := range got.release {
				words = append(words, "release "+b.key.Name)
			}
			if got.isWaiting {
				words = append(words, "wait")
			}
			if diff := cmp.Diff(tc.want, strings.Join(words, ", ")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBindingOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		edit   func(*unstructured.Unstructured)
		isOurs bool
		want   binding
	}{
		"Bound":          {"", func(*unstructured.Unstructured) {}, true, binding{export: "cluster-east"}},
		"Held":           {"", func(b *unstructured.Unstructured) { b.SetFinalizers([]string{"a", v1alpha1.InUseFinalizer}) }, true, binding{export: "cluster-east", isKept: true}},
		"another owners": {"a tenant can name an APIExport of his own like that", set("mine", "status", "apiExportClusterName"), false, binding{}},
		"not bound yet":  {"kcp has not said whose it is", set("", "status", "apiExportClusterName"), false, binding{}},
		"Writable":       {"", claim("update", map[string]any{"matchAll": true}), true, binding{export: "cluster-east", letsKeep: true}},
		"Readable":       {"of before there was a claim to update", claim("get", map[string]any{"matchAll": true}), true, binding{export: "cluster-east"}},
		"Patchable":      {"syncers would have it, too", claim("patch", map[string]any{"matchAll": true}), true, binding{export: "cluster-east"}},
		"some writable":  {"it may not be those", claim("update", map[string]any{"matchLabels": map[string]any{"a": "b"}}), true, binding{export: "cluster-east"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := newBinding("any", "cluster-east")
			tc.edit(obj)
			got, isOurs := bindingOf(kcp.ObjectKey{}, obj, "provider")
			if isOurs != tc.isOurs || got.export != tc.want.export || got.isKept != tc.want.isKept || got.letsKeep != tc.want.letsKeep {
				t.Errorf("%s: %t, %+v", tc.reason, isOurs, got)
			}
		})
	}
}

func TestClustersOn(t *testing.T) {
	cases := map[string]struct {
		reason  string
		labels  map[string]string
		holds   []string
		isGoing bool
		want    []string
	}{
		"Placed":            {"its syncer is about to hold it", map[string]string{v1alpha1.PlacementLabel("east"): "sync"}, nil, false, []string{"east"}},
		"Held":              {"also where the label was lost", nil, []string{v1alpha1.Finalizer("east"), "other/finalizer"}, false, []string{"east"}},
		"going and held":    {"its copy may be there", map[string]string{v1alpha1.PlacementLabel("east"): "sync"}, []string{v1alpha1.Finalizer("east")}, true, []string{"east"}},
		"going and let Go":  {"somebody else keeps it", map[string]string{v1alpha1.PlacementLabel("east"): "sync"}, []string{"other/finalizer"}, true, []string{}},
		"PlacedNowhere":     {"", map[string]string{v1alpha1.PlacementLabel("east"): "no"}, nil, false, []string{}},
		"going from two of": {"one is done", map[string]string{v1alpha1.PlacementLabel("east"): "sync"}, []string{v1alpha1.Finalizer("west")}, true, []string{"west"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object(tc.labels, tc.holds)
			if tc.isGoing {
				set("2026-01-01T00:00:00Z", "metadata", "deletionTimestamp")(obj)
			}
			if got := slices.Compact(clustersOn(obj)); !slices.Equal(got, tc.want) {
				t.Errorf("%s: %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestProtector(t *testing.T) {
	t.Run("a workspace goes after its clusters", func(t *testing.T) {
		f := newFake()
		f.step(t, "nothing is placed", "", 0)
		f.put(deploymentKey("web"), object(map[string]string{v1alpha1.PlacementLabel("east"): "sync"}, []string{v1alpha1.Finalizer("east")}))
		f.step(t, "east uses it", "tmc.kcp.io +, east +", 0)
		for range 3 {
			f.step(t, "at rest", "", 0)
		}
		f.goAway("east")
		f.step(t, "the view alone is deleted", "", retryInterval)
		f.goAway("tmc.kcp.io")
		f.step(t, "the workspace is deleted", "", retryInterval)
		f.remove(deploymentKey("web"))
		f.hasRead = false
		f.step(t, "it is not known whether that is all", "", retryInterval)
		f.hasRead = true
		f.step(t, "the copy is gone", "east -", retryInterval)
		f.remove(bindingKey("east"))
		f.step(t, "the view is gone", "tmc.kcp.io -", 0)
		f.remove(bindingKey("tmc.kcp.io"))
		f.step(t, "all is gone", "", 0)
		if len(f.protector.workspaces) > 0 {
			t.Errorf("remembered of a workspace that is gone: %v", f.protector.workspaces[workspace])
		}
	})
	t.Run("what only the caches have keeps nothing for long", func(t *testing.T) {
		f := newFake()
		for _, name := range []string{"web", "api"} {
			f.put(deploymentKey(name), object(nil, []string{v1alpha1.Finalizer("east")}))
		}
		f.step(t, "east uses it", "tmc.kcp.io +, east +", 0)
		f.goAway("east")
		f.goAway("tmc.kcp.io")
		f.step(t, "the workspace is deleted", "", retryInterval)
		f.gone = map[kcp.ObjectKey]bool{deploymentKey("web"): true}
		f.now = f.now.Add(askAfter)
		f.step(t, "one of two is there", "", retryInterval)
		f.gone[deploymentKey("api")] = true
		f.step(t, "kcp is not asked all the time", "", retryInterval)
		f.now = f.now.Add(askAfter)
		f.liveErr = errors.New("away")
		f.step(t, "kcp does not say", "", retryInterval)
		f.now = f.now.Add(askAfter)
		f.liveErr = nil
		f.step(t, "kcp has neither", "east -", retryInterval)
		f.remove(bindingKey("east"))
		f.step(t, "the view is gone", "tmc.kcp.io -", 0)
		f.remove(bindingKey("tmc.kcp.io"))
		if f.step(t, "all is gone", "", 0); len(f.protector.workspaces) > 0 {
			t.Errorf("it is remembered when to ask: %v", f.protector.workspaces[workspace])
		}
	})
	t.Run("a cluster that is not registered keeps nothing", func(t *testing.T) {
		f := newFake()
		f.put(deploymentKey("web"), object(nil, []string{v1alpha1.Finalizer("east")}))
		f.step(t, "east uses it", "tmc.kcp.io +, east +", 0)
		f.goAway("east")
		f.exports = map[string][]string{}
		f.step(t, "east was removed", "east -", 0)
	})
	t.Run("a finalizer that is removed again and again is added once a second", func(t *testing.T) {
		f := newFake()
		f.put(deploymentKey("web"), object(nil, []string{v1alpha1.Finalizer("east")}))
		f.step(t, "east uses it", "tmc.kcp.io +, east +", 0)
		f.now = f.now.Add(retryInterval / 4)
		f.objects[bindingKey("east")].SetFinalizers(nil)
		f.step(t, "just after", "", 3*retryInterval/4)
		f.now = f.now.Add(retryInterval)
		f.step(t, "later", "east +", 0)
	})
	t.Run("only the first object of a cluster has a workspace checked", func(t *testing.T) {
		f := newFake()
		east := object(map[string]string{v1alpha1.PlacementLabel("east"): "sync"}, nil)
		namespace := kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.NamespacesResource, Name: "shop"}
		if !f.protector.isNews(deploymentKey("web"), east) {
			t.Error("the first object on east is no news")
		}
		if f.protector.isNews(namespace, east) || f.protector.isNews(deploymentKey("web"), nil) {
			t.Error("a namespace, or what is gone, is news")
		}
		f.put(deploymentKey("web"), east)
		f.step(t, "east uses it", "tmc.kcp.io +, east +", 0)
		if f.protector.isNews(deploymentKey("other"), east) {
			t.Error("the second object on east is news")
		}
	})
}

// fake is a workspace that has bound tmc and cluster east.
type fake struct {
	protector *Protector
	objects   map[kcp.ObjectKey]*unstructured.Unstructured
	exports   map[string][]string
	hasRead   bool
	now       time.Time
	// gone are objects that kcp does not have any more, and liveErr is what it says when it is asked.
	gone    map[kcp.ObjectKey]bool
	liveErr error
	writes  []string
}

func newFake() *fake {
	f := &fake{
		objects: map[kcp.ObjectKey]*unstructured.Unstructured{},
		exports: map[string][]string{"east": {"cluster-east"}}, hasRead: true, now: time.Unix(1000, 0),
	}
	f.protector = New(f, f, func(cluster string) []string { return f.exports[cluster] })
	f.protector.now = func() time.Time { return f.now }
	main := newBinding(v1alpha1.APIExportName, v1alpha1.APIExportName)
	claim("update", map[string]any{"matchAll": true})(main)
	f.put(bindingKey(v1alpha1.APIExportName), main)
	f.put(bindingKey("east"), newBinding("east", "cluster-east"))
	return f
}

func (f *fake) HasReadWorkspace(logicalcluster.Name) bool { return f.hasRead }

func (f *fake) Provider() logicalcluster.Name { return "provider" }

func (f *fake) EachInWorkspace(_ logicalcluster.Name, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.objects {
		visit(key, obj)
	}
}

func (f *fake) Live(_ context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error) {
	if f.gone[key] {
		return nil, f.liveErr
	}
	return f.objects[key], f.liveErr
}

func (f *fake) Update(_ context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	sign := " -"
	if slices.Contains(obj.GetFinalizers(), v1alpha1.InUseFinalizer) {
		sign = " +"
	}
	f.writes = append(f.writes, key.Name+sign)
	f.objects[key] = obj
	return obj, nil
}

func (f *fake) put(key kcp.ObjectKey, obj *unstructured.Unstructured) { f.objects[key] = obj }

func (f *fake) remove(key kcp.ObjectKey) { delete(f.objects, key) }

func (f *fake) goAway(binding string) {
	set("2026-01-01T00:00:00Z", "metadata", "deletionTimestamp")(f.objects[bindingKey(binding)])
}

// step takes a turn, and wants these writes, and the next turn after that time.
func (f *fake) step(t *testing.T, reason, writes string, again time.Duration) {
	t.Helper()
	f.writes = nil
	got, err := f.protector.sync(t.Context(), workspace)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(f.writes, ", "); all != writes || got != again {
		t.Errorf("%s: wrote %q, again after %s; want %q, %s", reason, all, got, writes, again)
	}
}

func bindingKey(name string) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.APIBindingsResource, Name: name}
}

func deploymentKey(name string) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: workspace, Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Namespace: "shop", Name: name}
}

func newBinding(name, export string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding",
		"metadata": map[string]any{"name": name, "uid": name, "resourceVersion": "1"},
		"spec":     map[string]any{"reference": map[string]any{"export": map[string]any{"path": "root:tmc", "name": export}}},
		"status":   map[string]any{"apiExportClusterName": "provider", "phase": "Bound"},
	}}
}

func object(labels map[string]string, finalizers []string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment"}}
	obj.SetName("web")
	obj.SetLabels(labels)
	obj.SetFinalizers(finalizers)
	return obj
}

func set(value any, fields ...string) func(*unstructured.Unstructured) {
	return func(obj *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(obj.Object, value, fields...); err != nil {
			panic(err)
		}
	}
}

// claim has a binding's claim on APIBindings in force, for one verb.
func claim(verb string, selector map[string]any) func(*unstructured.Unstructured) {
	return set([]any{map[string]any{"group": "apis.kcp.io", "resource": "apibindings", "verbs": []any{verb}, "selector": selector}}, "status", "appliedPermissionClaims")
}

func (f *fake) IsKept(_ logicalcluster.Name, export string) bool {
	for key, obj := range f.objects {
		if b, isOurs := bindingOf(key, obj, "provider"); isBinding(key) && isOurs && b.export == export {
			return b.isKept && !b.isGoing
		}
	}
	return false
}
