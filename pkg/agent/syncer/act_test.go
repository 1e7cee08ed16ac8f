package syncer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

var errAway = errors.New("connection refused")

const (
	applyWeb  = "apply deployments app/web"
	removeWeb = "remove deployments app/web"
	liveWeb   = "live deployments app/web"
	applyApp  = "apply namespaces /app"
)

// spec takes a turn of the spec loop.
func (h *harness) spec(t *testing.T, key kcp.ObjectKey) (time.Duration, error) {
	t.Helper()
	return h.syncSpec(t.Context(), key)
}

// problems returns the reasons of the problems of a key.
func (h *harness) problems(key kcp.ObjectKey) []string {
	var reasons []string
	for _, problem := range h.memories.get(key).problems {
		reasons = append(reasons, problem.Reason)
	}
	return reasons
}

// TestSyncSpecLife takes an object from its placement to its release.
func TestSyncSpecLife(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	key := h.place(web(placed))
	steps := []struct {
		name    string
		prepare func()
		writes  []string
		patches int
	}{
		{"the finalizer comes first", func() {}, nil, 1},
		{"then the namespace and the copy", func() {}, []string{applyApp, applyWeb}, 0},
		{"then nothing is written", func() { h.cacheAll(t) }, nil, 0},
		{"a change goes down", func() {
			h.kcp.objects[key] = shaped(h.kcp.objects[key].DeepCopy(), func(obj *unstructured.Unstructured) { obj.SetGeneration(2) })
		}, []string{applyWeb}, 0},
		{"a deleted object's copy goes", func() {
			h.cacheAll(t)
			h.kcp.objects[key] = shaped(h.kcp.objects[key].DeepCopy(), deleting)
		}, []string{removeWeb}, 0},
		{"then the object is released", func() { h.cacheAll(t) }, nil, 1},
	}
	for _, step := range steps {
		step.prepare()
		h.cluster.calls, h.kcp.patches = nil, nil
		if again, err := h.spec(t, key); again != 0 || err != nil {
			t.Fatalf("%s: again after %s, error %v", step.name, again, err)
		}
		if diff := cmp.Diff(step.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" || len(h.kcp.patches) != step.patches {
			t.Errorf("%s: %d patches, writes (-want +got):\n%s", step.name, len(h.kcp.patches), diff)
		}
		if len(h.statuses.take()) == 0 {
			t.Errorf("%s: the status is not queued", step.name)
		}
	}
	if protocol.Read(h.kcp.objects[key]).IsHeld("east") {
		t.Errorf("finalizers are %v", h.kcp.objects[key].GetFinalizers())
	}
	delete(h.kcp.objects, key)
	h.waiters.note(key, namespaceKey(app))
	if _, err := h.spec(t, key); err != nil || len(h.memories.byKey) != 0 || len(h.waiters.waitsFor) != 0 {
		t.Errorf("what is gone is not forgotten: %v, %v", h.memories.byKey, err)
	}
}

func TestSyncSpecWaitsUntilRead(t *testing.T) {
	h := newUnreadHarness(t, newFakeCluster(), v1alpha1.NamespaceModeShared)
	key := h.place(web(placed))
	for _, unread := range []bool{true, false} { // kcp, then the cluster
		h.kcp.unread = unread
		if again, err := h.syncSpec(t.Context(), key); again != readRetry || err != nil || len(h.kcp.patches) != 0 {
			t.Errorf("again after %s, error %v", again, err)
		}
	}
}

func TestSyncSpecCopyWithoutOrigin(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	here := web(placed, held)
	key := h.place(here)
	h.cache(t, copyOf("ws", here, annotated(v1alpha1.SourceWorkspaceAnnotation, "")))
	if again, err := h.spec(t, key); again != lostRetry || err != nil {
		t.Errorf("again after %s, error %v, want %s: no event leads to the key", again, err, lostRetry)
	}
	if namespaces := h.namespaces.take(); len(namespaces) != 1 || namespaces[0] != app {
		t.Errorf("turns of namespaces %v: it does not say who owns it", namespaces)
	}
}

func TestCreateMeetsAnObject(t *testing.T) {
	here := web(placed, held)
	stripped := copyOf("ws", here, without("metadata", "labels"))
	cases := map[string]struct {
		live    *unstructured.Unstructured
		liveErr error
		reasons []string
		again   time.Duration
		err     error
		writes  []string
	}{
		"a foreign object is left alone":             {live: web(by("kubectl")), reasons: []string{"Conflict"}, again: evaluate.RecheckConflict, writes: []string{applyWeb}},
		"a forged copy is left alone":                {live: copyOf("ws", here, by("kubectl")), reasons: []string{"Conflict"}, again: evaluate.RecheckConflict, writes: []string{applyWeb}},
		"our copy is on its way into the cache":      {live: copyOf("ws", here), err: errStale, writes: []string{applyWeb}},
		"our copy lost the label by which we watch":  {live: shaped(stripped, by(v1alpha1.FieldManager)), writes: []string{applyWeb, applyWeb}},
		"a cluster that does not answer is asked on": {live: web(by("kubectl")), liveErr: errAway, err: errAway, writes: []string{applyWeb}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cluster := newFakeCluster(madeNamespace("ws"), c.live)
			if c.liveErr != nil {
				cluster.errs[liveWeb] = c.liveErr
			}
			h := newHarness(t, cluster, v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
			key := h.place(here)
			again, err := h.spec(t, key)
			if again != c.again || !errors.Is(err, c.err) {
				t.Errorf("again after %s, error %v, want %s and %v", again, err, c.again, c.err)
			}
			if diff := cmp.Diff(c.writes, cluster.writes(), cmpopts.EquateEmpty()); diff != "" || fmt.Sprint(h.problems(key)) != fmt.Sprint(c.reasons) {
				t.Errorf("problems %v, writes (-want +got):\n%s", h.problems(key), diff)
			}
			if c.reasons != nil && h.memories.get(key).obstacle != "uid-of-web" && h.memories.get(key).obstacle != "upstream-uid" {
				t.Error("the log has not been told, or would be every time")
			}
		})
	}
}

func TestCreateDoesNotTryWhileAnObjectIsInTheWay(t *testing.T) {
	cluster := newFakeCluster(madeNamespace("ws"), web(by("kubectl")))
	h := newHarness(t, cluster, v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
	key := h.place(web(placed, held))
	for range 3 {
		if again, err := h.spec(t, key); again != evaluate.RecheckConflict || err != nil {
			t.Fatalf("again after %s, error %v", again, err)
		}
	}
	if writes := cluster.writes(); len(writes) != 1 {
		t.Errorf("writes %v, want one", writes)
	}
	delete(cluster.objects, "deployments app/web")
	if _, err := h.spec(t, key); !errors.Is(err, errStale) {
		t.Errorf("it has just gone: got %v", err)
	}
	if again, err := h.spec(t, key); again != 0 || err != nil || len(cluster.writes()) != 2 {
		t.Errorf("then: again after %s, error %v", again, err)
	}
}

func TestCreateAsksForWhatIsUnseen(t *testing.T) {
	naming := web(placed, held, func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{
			"containers": []any{map[string]any{"name": "web", "envFrom": []any{map[string]any{"configMapRef": map[string]any{"name": "settings"}}}}},
		}}}
	})
	cases := map[string]struct {
		needed *unstructured.Unstructured
		err    error
		want   error
		writes int
	}{
		"what kcp has and is placed here is waited for": {settingsMap(placed), nil, errStale, 0},
		"what is not placed here is not":                {settingsMap(), nil, nil, 1},
		"what there is not is not":                      {nil, nil, nil, 1},
		"a kcp that does not answer is asked again":     {nil, errAway, errAway, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
			key := h.place(naming)
			if c.needed != nil {
				h.kcp.unseen[h.place(c.needed)] = true
			}
			h.kcp.liveErr = c.err
			if _, err := h.spec(t, key); !errors.Is(err, c.want) || len(h.cluster.writes()) != c.writes {
				t.Errorf("error %v and writes %v, want %v and %d", err, h.cluster.writes(), c.want, c.writes)
			}
		})
	}
}

// TestSyncSpecWaitsForNeed has an object wait for a ConfigMap, and go down at the end of the turn in which that came.
func TestSyncSpecWaitsForNeed(t *testing.T) {
	h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
	key := h.place(web(placed, held, func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{
			"volumes": []any{map[string]any{"name": "v", "configMap": map[string]any{"name": "settings"}}}, "containers": []any{map[string]any{"name": "web"}},
		}}}
	}))
	needed := h.place(settingsMap(placed, held))
	if again, err := h.spec(t, key); again != evaluate.Recheck || err != nil || len(h.cluster.writes()) != 0 {
		t.Fatalf("again after %s, error %v, writes %v", again, err, h.cluster.writes())
	}
	if _, err := h.spec(t, needed); err != nil {
		t.Fatal(err)
	}
	h.cacheAll(t)
	if woken := h.specs.take(); len(woken) != 1 || woken[0] != key {
		t.Errorf("woken are %v", woken)
	}
	if again, err := h.spec(t, key); again != 0 || err != nil {
		t.Errorf("again after %s, error %v", again, err)
	}
	if diff := cmp.Diff([]string{"apply configmaps app/settings", applyWeb}, h.cluster.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// TestSyncSpecDoesNotWaitForWhatClusterMakes has a ConfigMap that cannot come, since the cluster's own is in its way.
func TestSyncSpecDoesNotWaitForWhatClusterMakes(t *testing.T) {
	says := map[string]func(*harness) []option{
		"its user says so": func(*harness) []option {
			return []option{annotated(v1alpha1.ProvidedByClusterAnnotation, "configmap/settings")}
		},
		"its operator says so": func(h *harness) []option { h.SetProvided([]string{"app/configmaps/sett*"}); return nil },
	}
	for name, say := range says {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
			key := h.place(web(append(say(h), placed, held, func(obj *unstructured.Unstructured) {
				obj.Object["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{
					"volumes": []any{map[string]any{"name": "v", "configMap": map[string]any{"name": "settings"}}}, "containers": []any{map[string]any{"name": "web"}},
				}}}
			})...))
			h.place(settingsMap(placed, held))
			if again, err := h.spec(t, key); again != 0 || err != nil {
				t.Errorf("again after %s, error %v", again, err)
			}
			if diff := cmp.Diff([]string{applyWeb}, h.cluster.writes()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSyncSpecTellsWhatItTolerates(t *testing.T) {
	here := web(placed, held)
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("other"), copyOf("ws", here))
	key := h.place(here)
	if again, err := h.spec(t, key); again != 0 || err != nil || fmt.Sprint(h.problems(key)) != "[NamespaceTaken]" {
		t.Errorf("again after %s, error %v, problems %v", again, err, h.problems(key))
	}
	h.onNamespace(app)
	if woken := h.specs.take(); len(woken) != 1 || woken[0] != key {
		t.Errorf("woken by news of the namespace are %v", woken)
	}
}

func TestApplyIsRefused(t *testing.T) {
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Deployment"}, "web", field.ErrorList{field.Required(field.NewPath("spec"), "")})
	terminating := apierrors.NewForbidden(deployments.GroupResource(), "web", errors.New("namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	cases := map[string]struct {
		err     error
		again   []time.Duration
		reasons string
		want    error
	}{
		"an invalid copy is applied ever less often": {invalid, []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 2 * time.Minute}, "[Invalid]", nil},
		"one that is too large likewise":             {apierrors.NewRequestEntityTooLargeError("x"), []time.Duration{30 * time.Second, time.Minute}, "[RequestEntityTooLarge]", nil},
		"a namespace that ends is waited for":        {terminating, []time.Duration{terminatingRetry, terminatingRetry}, "[NamespaceTerminating]", nil},
		"a cluster that is away is tried again":      {errAway, []time.Duration{0, 0}, "[]", errAway},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
			h.cluster.errs[applyWeb] = c.err
			key := h.place(web(placed, held))
			for i, want := range c.again {
				if again, err := h.spec(t, key); again != want || !errors.Is(err, c.want) {
					t.Errorf("attempt %d: again after %s, error %v, want %s", i+1, again, err, want)
				}
			}
			if got := fmt.Sprint(h.problems(key)); got != c.reasons {
				t.Errorf("problems %s, want %s", got, c.reasons)
			}
			h.place(web(placed, held, func(obj *unstructured.Unstructured) { obj.SetGeneration(2) }))
			if again, _ := h.spec(t, key); again != c.again[0] {
				t.Errorf("another copy: again after %s, want %s", again, c.again[0])
			}
		})
	}
}

func TestApplyFindsNoNamespace(t *testing.T) {
	here := web(placed, held)
	cases := map[string]struct {
		mode   v1alpha1.NamespaceMode
		err    error
		before func(*fakeCluster)
		want   error
		writes []string
	}{
		"where workspaces share, it is made":             {v1alpha1.NamespaceModeShared, nil, nil, nil, []string{applyWeb, applyApp, applyWeb}},
		"where they are separated, it is asked for anew": {v1alpha1.NamespaceModeExclusive, nil, nil, errStale, []string{applyWeb}},
		"a kcp that does not answer is asked again":      {v1alpha1.NamespaceModeShared, errAway, nil, errAway, []string{applyWeb}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), c.mode).cache(t, madeNamespace("ws"), copyOf("ws", here, func(obj *unstructured.Unstructured) { obj.SetManagedFields(nil) }, by("x"), by(v1alpha1.FieldManager), annotated("tmc.kcp.io/applied-hash", "x")))
			key := h.place(here)
			h.kcp.liveErr = c.err
			if _, err := h.spec(t, key); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if diff := cmp.Diff(c.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("somebody else has made it meanwhile", func(t *testing.T) {
		h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeShared)
		turn := h.turn(t, h.place(here))
		h.cluster.errs[applyApp] = apierrors.NewConflict(v1alpha1.NamespacesResource.GroupResource(), app, errors.New("it has changed"))
		if _, err := h.apply(t.Context(), turn, turn.Desired); !errors.Is(err, errStale) {
			t.Errorf("got %v, want %v", err, errStale)
		}
	})
}

// TestUpdateWaitsForItsOwnWrite has the object change again before the cache shows what the last update has made of the copy.
func TestUpdateWaitsForItsOwnWrite(t *testing.T) {
	for name, c := range map[string]struct {
		passed time.Duration
		caches bool
		writes int
		again  time.Duration
	}{
		"the cache lags":              {time.Second, false, 1, longestLag - time.Second},
		"the cache shows the write":   {time.Second, true, 2, 0},
		"the cache lags for too long": {longestLag, false, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			here := web(placed, held)
			h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive)
			h.cache(t, madeNamespace("ws"), h.cluster.store(copyOf("ws", here)))
			change := func(generation int64) (time.Duration, error) {
				key := h.place(shaped(here.DeepCopy(), func(obj *unstructured.Unstructured) { obj.SetGeneration(generation) }))
				return h.spec(t, key)
			}
			if again, err := change(2); again != 0 || err != nil {
				t.Fatalf("again after %s, error %v", again, err)
			}
			if h.time = h.time.Add(c.passed); c.caches {
				h.cacheAll(t)
			}
			again, err := change(3)
			if writes := h.cluster.writes(); err != nil || again != c.again || len(writes) != c.writes {
				t.Errorf("writes %v, want %d; again after %s, want %s; error %v", writes, c.writes, again, c.again, err)
			}
		})
	}
}

func TestUpdateThatChangesNothing(t *testing.T) {
	here := web(placed, held)
	drifted := copyOf("ws", here, func(obj *unstructured.Unstructured) { obj.Object["spec"] = map[string]any{"x": "y"} }, by(v1alpha1.FieldManager))
	h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"), drifted)
	key := h.place(here)
	h.downstream = ineffective{h.cluster, drifted}
	for range 3 {
		if again, err := h.spec(t, key); again != 0 || err != nil {
			t.Fatalf("again after %s, error %v", again, err)
		}
	}
	if writes := h.cluster.writes(); len(writes) != 1 {
		t.Errorf("writes %v, want one: something takes our fields from us, and applying again would not help", writes)
	}
}

// ineffective is a cluster whose applies change nothing.
type ineffective struct {
	*fakeCluster

	result *unstructured.Unstructured
}

func (c ineffective) apply(ctx context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	_, err := c.fakeCluster.apply(ctx, resource, desired)
	if !apierrors.IsNotFound(err) && err != nil {
		return nil, err
	}
	return c.result, nil
}

func TestUpdateOfImmutableField(t *testing.T) {
	immutableErr := apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "web", field.ErrorList{field.Invalid(field.NewPath("spec", "selector"), "x", "field is immutable")})
	replace := annotated(v1alpha1.ReplaceAnnotation, "true")
	cases := map[string]struct {
		shape     option
		namespace *unstructured.Unstructured
		writes    []string
		reasons   string
	}{
		"the user is told": {held, madeNamespace("ws"), []string{applyWeb}, "[Immutable]"},
		"the copy is replaced if the user asks for it": {replace, madeNamespace("ws"), []string{applyWeb, removeWeb}, "[]"},
		"a copy that could not come in today is not":   {replace, madeNamespace("other"), []string{applyWeb}, "[Immutable NamespaceTaken]"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			here := web(placed, held, c.shape)
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, c.namespace, copyOf("ws", here))
			h.cluster.errs[applyWeb] = immutableErr
			key := h.place(shaped(here.DeepCopy(), func(obj *unstructured.Unstructured) { obj.SetGeneration(2) }))
			h.memories.update(key, func(m *memory) { m.final = here })
			if _, err := h.spec(t, key); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" || fmt.Sprint(h.problems(key)) != c.reasons {
				t.Errorf("problems %v, want %s; writes (-want +got):\n%s", h.problems(key), c.reasons, diff)
			}
			if replaced := c.reasons == "[]"; (h.memories.get(key).final == nil) != replaced {
				t.Error("what ran before is run again only if it is replaced")
			}
		})
	}
}

func TestIsImmutable(t *testing.T) {
	invalid := func(problems ...*field.Error) error {
		return fmt.Errorf("applying: %w", apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "web", problems))
	}
	path := field.NewPath("spec", "selector")
	immutableField := field.Invalid(path, "x", "field is immutable")
	cases := map[string]struct {
		err  error
		want bool
	}{
		"made anew, it would be taken":             {invalid(immutableField), true},
		"a StatefulSet's words are others":         {invalid(field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than 'replicas' are forbidden")), true},
		"an address's words are others":            {invalid(field.Invalid(path, "x", "may not change once set")), true},
		"made anew, it would be refused":           {invalid(immutableField, field.Required(path, "")), false},
		"it is wrong in any case":                  {invalid(field.Invalid(path, "x", "must be a name")), false},
		"a duplicate is no change that is refused": {invalid(field.Duplicate(path, "immutable")), false},
		"a policy denies whatever it says":         {apierrors.NewForbidden(schema.GroupResource{}, "web", errors.New("immutable")), false},
		"an error that is no answer":               {errors.New("immutable"), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isImmutable(c.err); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
	if got := applyProblem(apierrors.NewGenericServerResponse(400, "", schema.GroupResource{}, "", "", 0, false)); got.Reason == "" {
		t.Error("a problem without a reason")
	}
	if got := applyProblem(errors.New("x")); got.Reason != "ApplyFailed" {
		t.Errorf("got %+v", got)
	}
}

// TestReleaseOfCopiesThatLostTheirMarks takes marks off a copy, in combinations, and deletes its object: while one of the hash and the
// annotations is left that our apply owns, the copy goes, and then the object. Without any it is somebody's: it stays, and nobody waits.
func TestReleaseOfCopiesThatLostTheirMarks(t *testing.T) {
	here := web(placed, held, deleting)
	label := func(key string) option {
		return func(obj *unstructured.Unstructured) {
			labels := obj.GetLabels()
			delete(labels, key)
			obj.SetLabels(labels)
		}
	}
	annotations := func(obj *unstructured.Unstructured) { obj.SetAnnotations(nil) }
	cases := map[string]struct {
		lost []option
		goes bool
	}{
		"the label by which we watch":      {[]option{label(v1alpha1.ManagedByLabel)}, true},
		"both labels":                      {[]option{label(v1alpha1.ManagedByLabel), label(v1alpha1.SourceHashLabel)}, true},
		"that label and the annotations":   {[]option{label(v1alpha1.ManagedByLabel), annotations}, true},
		"that label and its UID":           {[]option{label(v1alpha1.ManagedByLabel), annotated(v1alpha1.SourceUIDAnnotation, "")}, true},
		"all":                              {[]option{label(v1alpha1.ManagedByLabel), label(v1alpha1.SourceHashLabel), annotations}, false},
		"that label, and who applied what": {[]option{label(v1alpha1.ManagedByLabel), by("kubectl")}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			copied := copyOf("ws", here)
			ownedBy(copied, v1alpha1.FieldManager)
			h := newHarness(t, newFakeCluster(shaped(copied, c.lost...)), v1alpha1.NamespaceModeExclusive)
			key := h.place(here)
			for range 3 {
				if _, err := h.spec(t, key); err != nil && !errors.Is(err, errStale) {
					t.Fatal(err)
				}
			}
			if isHeld := protocol.Read(h.kcp.objects[key]).IsHeld("east"); isHeld {
				t.Error("the object waits")
			}
			if isThere := h.cluster.objects[nameIn(deployments, app, "web")] != nil; isThere == c.goes {
				t.Errorf("the copy is there: %t", isThere)
			}
		})
	}
}

// TestCopyOfWhatHasRunGetsItsLabelBack has a Job's copy leave the cache. It is not made anew, whether it is gone or has lost the label.
func TestCopyOfWhatHasRunGetsItsLabelBack(t *testing.T) {
	asJob := func(obj *unstructured.Unstructured) { obj.SetAPIVersion("batch/v1"); obj.SetKind("Job") }
	complete := func(obj *unstructured.Unstructured) {
		obj.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Complete", "status": "True"}}}
	}
	here := web(placed, held, asJob)
	ran := copyOf("ws", here, complete)
	lost := copyOf("ws", here, complete, func(obj *unstructured.Unstructured) {
		labels := obj.GetLabels()
		delete(labels, v1alpha1.ManagedByLabel)
		obj.SetLabels(labels)
	}, by(v1alpha1.FieldManager))
	cases := map[string]struct {
		live   *unstructured.Unstructured
		writes []string
	}{
		"it has lost the label":       {lost, []string{applyWeb}},
		"it is gone":                  {nil, nil},
		"it is on its way to caches":  {ran, nil},
		"something else has its name": {web(asJob, by("kubectl")), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
			key := kcp.ObjectKey{Workspace: "ws", Resource: deployments, Namespace: app, Name: "web"} // what is served in the tests
			h.kcp.objects[key] = here
			if c.live != nil {
				h.cluster.objects[nameIn(deployments, app, "web")] = c.live
			}
			h.onDownstream(key, ran, nil)
			h.cluster.errs[liveWeb] = errAway
			if _, err := h.spec(t, key); !errors.Is(err, errAway) {
				t.Errorf("got %v while the cluster does not answer", err)
			}
			delete(h.cluster.errs, liveWeb)
			for range 2 {
				if _, err := h.spec(t, key); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(c.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReleaseAsksTheCluster has a copy that no cache shows: it lost the label by which we watch.
func TestReleaseAsksTheCluster(t *testing.T) {
	here := web(held)
	lost := copyOf("ws", here, func(obj *unstructured.Unstructured) {
		labels := obj.GetLabels()
		delete(labels, v1alpha1.ManagedByLabel)
		obj.SetLabels(labels)
	}, by(v1alpha1.FieldManager))
	cases := map[string]struct {
		live    *unstructured.Unstructured
		err     error
		want    error
		writes  []string
		patches int
	}{
		"our copy goes first":                           {lost, nil, nil, []string{removeWeb}, 0},
		"a cache that lags is asked again":              {copyOf("ws", here), nil, errStale, []string{removeWeb}, 0},
		"a foreign object holds nothing":                {web(by("kubectl")), nil, nil, nil, 1},
		"a forged copy holds nothing":                   {copyOf("ws", here, by("kubectl")), nil, nil, nil, 1},
		"a cluster that does not answer is asked again": {nil, errAway, errAway, nil, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(withoutNil(c.live)...), v1alpha1.NamespaceModeExclusive)
			h.cluster.errs[liveWeb] = c.err
			again, err := h.spec(t, h.place(here))
			if !errors.Is(err, c.want) || len(h.kcp.patches) != c.patches {
				t.Errorf("got %v and patches %v, want %v and %d", err, h.kcp.patches, c.want, c.patches)
			}
			if isLost := c.live == lost; isLost != (again == lostRetry) {
				t.Errorf("again after %s: of a copy that lost the label no event comes", again)
			}
			if diff := cmp.Diff(c.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPatchOfWhatIsGone(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	for err, want := range map[error]error{
		apierrors.NewNotFound(deployments.GroupResource(), "web"):               nil,
		apierrors.NewNotFound(v1alpha1.NamespacesResource.GroupResource(), app): errAny,
		errStarting: errStarting, errAway: errAway,
	} {
		h.kcp.patchErr = err
		if errors.Is(want, errAny) {
			want = err
		}
		if _, got := h.spec(t, h.place(web(placed))); !errors.Is(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// errStarting is what a virtual workspace, or an API server of what it does not serve yet, says of everything while it starts.
var errStarting = apierrors.NewGenericServerResponse(404, "get", schema.GroupResource{}, "", "404 page not found", 0, true)

// errAny stands for whatever error there was.
var errAny = errors.New("any")

// TestReleaseMeetsAStartingKCP has a syncer let go of an object while kcp starts: whatever kcp says, it is tried again until it is done.
func TestReleaseMeetsAStartingKCP(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	key := h.place(web(placed, held, deleting))
	for _, answer := range []error{
		apierrors.NewInternalError(errors.New("starting")), apierrors.NewForbidden(deployments.GroupResource(), "web", errors.New("access denied")), errStarting,
	} {
		h.kcp.patchErr = answer
		if _, err := h.spec(t, key); !errors.Is(err, answer) {
			t.Errorf("kcp says %v, and the turn ends with %v", answer, err)
		}
	}
	h.kcp.patchErr = nil
	if _, err := h.spec(t, key); err != nil || protocol.Read(h.kcp.objects[key]).IsHeld("east") {
		t.Errorf("error %v; kcp has %v", err, h.kcp.objects[key].GetFinalizers())
	}
}

func TestInquire(t *testing.T) {
	here := web(placed, held)
	cases := map[string]struct {
		live     *unstructured.Unstructured
		liveErr  error
		ownView  bool
		anothers bool
		again    time.Duration
		want     error
		writes   int
	}{
		"an object that kcp does not have any more":       {writes: 1},
		"an object that lost its label":                   {live: web(held), again: inquireRetry},
		"an object that the hub has taken off":            {live: web(), writes: 1},
		"a shard that is out of reach":                    {liveErr: errAway, want: errAway},
		"a view of its own may not have filled":           {ownView: true, again: viewFills},
		"a view that is being taken down":                 {ownView: true, anothers: true, again: evaluate.Recheck},
		"a view of its own, and the hub has taken it off": {live: web(), ownView: true, writes: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, copyOf("ws", here))
			h.hasOwnView = c.ownView
			if c.anothers {
				h.SetExport("cluster-another")
			}
			key := kcp.ObjectKey{Workspace: "ws", Resource: deployments, Namespace: app, Name: "web"}
			if c.live != nil {
				h.kcp.unseen[h.place(c.live)] = true
			}
			h.kcp.liveErr = c.liveErr
			again, err := h.spec(t, key)
			if again != c.again || !errors.Is(err, c.want) || len(h.cluster.writes()) != c.writes {
				t.Errorf("again after %s, error %v, writes %v; want %s, %v, %d", again, err, h.cluster.writes(), c.again, c.want, c.writes)
			}
		})
	}
}

func TestUntilBelieved(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	h.hasOwnView = true
	begin := h.time
	key := kcp.ObjectKey{Name: "web"}
	expect := func(name string, got, want time.Duration) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	expect("at first", h.untilBelieved(key, nil), viewFills)
	h.time = begin.Add(time.Minute)
	expect("a minute later", h.untilBelieved(key, nil), viewFills-time.Minute)
	expect("another one", h.untilBelieved(kcp.ObjectKey{Name: "other"}, nil), viewFills)
	h.time = begin.Add(viewFills)
	expect("at last", h.untilBelieved(key, nil), 0)
	h.SetExport("cluster-another")
	expect("while the registration names another export", h.untilBelieved(key, nil), evaluate.Recheck)
	h.SetExport(h.export)
	expect("when it names this one again", h.untilBelieved(key, nil), viewFills)
	h.place(web(placed, held))
	if _, err := h.spec(t, kcp.ObjectKey{Workspace: "ws", Resource: deployments, Namespace: app, Name: "web"}); err != nil {
		t.Fatal(err)
	}
	h.hasOwnView = false
	expect("a view that shows everything", h.untilBelieved(kcp.ObjectKey{Name: "third"}, nil), 0)
}

func TestMoveOfWorkload(t *testing.T) {
	here := web(placed, held)
	available := func(number int64) option {
		return func(obj *unstructured.Unstructured) {
			obj.Object["status"] = map[string]any{"availableReplicas": number}
		}
	}
	old := copyOf("ws", here, available(3), func(obj *unstructured.Unstructured) { obj.SetNamespace("old") })
	for name, c := range map[string]struct {
		available int64
		reasons   string
		writes    []string
	}{
		"the old copy stays until the new one serves": {1, "[Moving]", nil},
		"then it goes": {3, "[]", []string{"remove deployments old/web"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"), old, copyOf("ws", here, available(c.available)))
			key := h.place(here)
			if again, err := h.spec(t, key); again != 0 || err != nil || fmt.Sprint(h.problems(key)) != c.reasons {
				t.Errorf("again after %s, error %v, problems %v", again, err, h.problems(key))
			}
			if diff := cmp.Diff(c.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}
