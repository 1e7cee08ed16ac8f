package syncer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const orphanWeb = removeWeb + " Orphan"

// TestDeletionWhileSomebodyHolds has the copy stay and follow for as long as somebody's finalizer is on the deleted object.
func TestDeletionWhileSomebodyHolds(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	key := h.place(web(placed))
	change := func(option option) func() {
		return func() {
			h.cacheAll(t)
			before := h.kcp.objects[key]
			h.kcp.objects[key] = shaped(before.DeepCopy(), option)
			h.onUpstream(key, before, h.kcp.objects[key])
		}
	}
	const drain = "example.com/drain"
	steps := []struct {
		name    string
		prepare func()
		writes  []string
	}{
		{"it is held", func() {}, nil},
		{"it goes down", func() {}, []string{applyApp, applyWeb}},
		{"it is deleted, and stays", change(deletingBy(drain, metav1.FinalizerOrphanDependents)), nil},
		{"it follows", change(func(obj *unstructured.Unstructured) { obj.SetGeneration(2) }), []string{applyWeb}},
		{"the collector takes its finalizer off", change(func(obj *unstructured.Unstructured) { obj.SetFinalizers([]string{drain, v1alpha1.Finalizer("east")}) }), nil},
		{"it goes when that finalizer goes", change(func(obj *unstructured.Unstructured) { obj.SetFinalizers([]string{v1alpha1.Finalizer("east")}) }), []string{orphanWeb}},
	}
	for _, step := range steps {
		step.prepare()
		h.cluster.calls = nil
		h.specs.take()
		if again, err := h.spec(t, key); again != 0 || err != nil {
			t.Fatalf("%s: again after %s, error %v", step.name, again, err)
		}
		if diff := cmp.Diff(step.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: writes (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestDeletionKeepsWishes has an event say what is to become of what belongs to a copy, and a turn that comes later.
func TestDeletionKeepsWishes(t *testing.T) {
	here := web(placed, held)
	gone := web(deletingBy(metav1.FinalizerOrphanDependents))
	cases := map[string]struct {
		seen []*unstructured.Unstructured
		now  *unstructured.Unstructured
		live *unstructured.Unstructured
		want []string
	}{
		"it is deleted for good":                   {nil, web(placed, held, deleting), nil, []string{removeWeb}},
		"the finalizer has gone since":             {[]*unstructured.Unstructured{web(placed, held, deletingBy("orphan")), web(placed, held, deleting)}, web(placed, held, deleting), nil, []string{orphanWeb}},
		"the hub has noted it":                     {nil, web(placed, held, deleting, annotated(v1alpha1.PropagationAnnotation, "Orphan")), nil, []string{orphanWeb}},
		"it was let go of by force meanwhile":      {[]*unstructured.Unstructured{web(placed, held, deletingBy("orphan"))}, nil, nil, []string{orphanWeb}},
		"kcp says so":                              {nil, nil, gone, []string{orphanWeb}},
		"that was another object of the same name": {[]*unstructured.Unstructured{shaped(web(placed, held, deletingBy("orphan")), func(obj *unstructured.Unstructured) { obj.SetUID("other") })}, web(placed, held, deleting), nil, []string{removeWeb}},
		"one that is not being deleted says none":  {[]*unstructured.Unstructured{here}, nil, nil, []string{removeWeb}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, copyOf("ws", here))
			key := kcp.ObjectKey{Workspace: "ws", Resource: deployments, Namespace: app, Name: "web"}
			for _, seen := range c.seen {
				h.onUpstream(key, here, seen)
			}
			switch {
			case c.now != nil:
				h.place(c.now)
			case c.live != nil:
				h.place(c.live)
				h.kcp.unseen = map[kcp.ObjectKey]bool{key: true}
			}
			if _, err := h.spec(t, key); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReplaceKeepsClaims has a cluster refuse the change of a kind whose claims go with it.
func TestReplaceKeepsClaims(t *testing.T) {
	const setsClaims = "it is not made anew"
	refused := apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "StatefulSet"}, "web", field.ErrorList{field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than x are forbidden")})
	spec := func(selector string) option {
		return func(obj *unstructured.Unstructured) {
			obj.SetKind("StatefulSet")
			obj.Object["spec"] = map[string]any{
				"selector":                             map[string]any{"matchLabels": map[string]any{"app": selector}},
				"persistentVolumeClaimRetentionPolicy": map[string]any{"whenDeleted": "Delete"},
			}
		}
	}
	cases := map[string]struct {
		selector string
		writes   []string
		says     string
	}{
		"the next one takes them over":     {"web", []string{applyWeb, orphanWeb}, ""},
		"the next one would not take them": {"other", []string{applyWeb}, setsClaims},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			here := web(placed, held, annotated(v1alpha1.ReplaceAnnotation, "true"), spec("web"))
			there := copyOf("ws", here)
			h := newHarness(t, newFakeCluster(there), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"), there)
			h.cluster.errs[applyWeb] = refused
			key := h.place(shaped(here.DeepCopy(), spec(c.selector), func(obj *unstructured.Unstructured) { obj.SetGeneration(2) }))
			if _, err := h.spec(t, key); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			said := ""
			for _, problem := range h.memories.get(key).problems {
				said += problem.Reason + ": " + problem.Message
			}
			if !strings.Contains(said, c.says) || (said == "") != (c.says == "") {
				t.Errorf("problems are %q, want %q", said, c.says)
			}
		})
	}
}

// TestLetGoAtOnce has somebody change an object while the syncer lets go of it.
func TestLetGoAtOnce(t *testing.T) {
	west := func(obj *unstructured.Unstructured) {
		obj.SetFinalizers(append([]string{v1alpha1.Finalizer("west")}, obj.GetFinalizers()...))
	}
	cases := map[string]struct {
		// now is the object after each change, nil for none.
		now     *unstructured.Unstructured
		times   int
		want    error
		patches int
		held    bool
	}{
		"nobody does":             {nil, 0, nil, 1, false},
		"another cluster lets go": {web(placed, held, deleting), 1, nil, 2, false},
		"it does so thrice":       {web(placed, held, deleting), 3, nil, 4, false},
		"it is gone":              {nil, 1, nil, 1, false},
		"it is another one":       {shaped(web(placed, held, deleting), func(obj *unstructured.Unstructured) { obj.SetUID("other") }), 1, errStale, 1, true},
		"it comes back":           {web(placed, held), 1, errStale, 1, true},
		"we have let go before":   {web(placed, deleting), 1, nil, 1, false},
		"it never ends":           {web(placed, held, deleting), 100, errStale, releaseTries, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
			key := h.place(web(placed, held, west, deleting))
			h.kcp.conflict = func() bool {
				if c.times == 0 {
					return false
				}
				c.times--
				h.kcp.objects[key] = c.now
				return true
			}
			if _, err := h.spec(t, key); !errors.Is(err, c.want) || len(h.kcp.patches) != c.patches {
				t.Errorf("got %v after %d patches, want %v after %d", err, len(h.kcp.patches), c.want, c.patches)
			}
			if now := h.kcp.objects[key]; now != nil && protocol.Read(now).IsHeld("east") != c.held {
				t.Errorf("finalizers are %v", now.GetFinalizers())
			}
		})
	}
}

// TestReleasesKeepApart has several clusters let go of an object: those whose finalizers come last go first.
func TestReleasesKeepApart(t *testing.T) {
	heldBy := func(clusters ...string) option {
		return func(obj *unstructured.Unstructured) {
			for _, cluster := range clusters {
				obj.SetFinalizers(append(obj.GetFinalizers(), v1alpha1.Finalizer(cluster)))
			}
		}
	}
	before := func(obj *unstructured.Unstructured) {
		obj.SetFinalizers(append([]string{v1alpha1.Finalizer("asia")}, obj.GetFinalizers()...))
	}
	many := []string{"a", "b", "c", "d", "da", "db", "dc", "dd", "de", "df", "dg"}
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		wait time.Duration
	}{
		"alone":                      {web(placed, held, deleting), 0},
		"after another":              {web(placed, held, deleting, before), 0},
		"before others":              {web(placed, held, deleting, heldBy("asia", "west"), before), 2 * releaseApart},
		"before many":                {web(placed, held, deleting, heldBy(many...)), mostReleasesApart * releaseApart},
		"only this one leaves":       {web(held, heldBy("asia")), 0},
		"another one leaves as well": {web(held, heldBy("asia"), annotated(v1alpha1.DeletionAnnotation("asia"), "2026-01-01T00:00:00Z")), releaseApart},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
			key := h.place(c.obj)
			again, err := h.syncSpec(t.Context(), key)
			if isHeld := protocol.Read(h.kcp.objects[key]).IsHeld("east"); err != nil || again != c.wait || isHeld != (c.wait > 0) {
				t.Fatalf("again after %s, %v, held %t; want %s", again, err, isHeld, c.wait)
			}
			h.time = h.time.Add(c.wait)
			if again, err = h.syncSpec(t.Context(), key); err != nil || again != 0 || protocol.Read(h.kcp.objects[key]).IsHeld("east") {
				t.Errorf("its turn: again after %s, %v", again, err)
			}
		})
	}
}

// TestLetGoHeedsWhatMoves has another cluster's finalizer go from before ours, which the cache does not show: the patch is refused,
// the object is read, and our own finalizer goes, and nobody else's.
func TestLetGoHeedsWhatMoves(t *testing.T) {
	holders := func(clusters ...string) option {
		return func(obj *unstructured.Unstructured) {
			for _, cluster := range clusters {
				obj.SetFinalizers(append(obj.GetFinalizers(), v1alpha1.Finalizer(cluster)))
			}
		}
	}
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	key := h.place(web(placed, holders("asia", "east"), deleting))
	turn := h.turn(t, key)
	h.place(web(placed, holders("east", "west"), deleting))
	if err := h.letGo(t.Context(), turn); err != nil || len(h.kcp.patches) != 2 {
		t.Errorf("got %v after %v", err, h.kcp.patches)
	}
	if left := h.kcp.objects[key].GetFinalizers(); len(left) != 1 || left[0] != v1alpha1.Finalizer("west") {
		t.Errorf("finalizers are %v", left)
	}
}
