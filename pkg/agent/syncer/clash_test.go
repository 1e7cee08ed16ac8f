package syncer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	k8stesting "k8s.io/client-go/testing"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

const (
	ownWeb = "own deployments app/web"
	tryWeb = "try deployments app/web"
)

// refusedFor returns a server's refusal of a Deployment.
func refusedFor(causes ...*field.Error) error {
	return fmt.Errorf("applying: %w", apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "web", causes))
}

var (
	errExtra = refusedFor(field.Forbidden(field.NewPath("spec", "extra"), "may not be specified"))
	errImage = refusedFor(field.Forbidden(field.NewPath("spec", "image"), "may not be specified"))
	errFixed = refusedFor(field.Invalid(field.NewPath("spec", "selector"), "x", "field is immutable"))
)

// withExtra adds a field to the spec, which a manager owns, or nobody.
func withExtra(manager string) option {
	return func(obj *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(obj.Object, "x", "spec", "extra")
		if manager != "" {
			obj.SetManagedFields(append(obj.GetManagedFields(), metav1.ManagedFieldsEntry{
				Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:extra":{}}}`), Time: new(metav1.Unix(0, 0)),
			}))
		}
	}
}

func TestUpdateTakesAwayWhatIsInTheWay(t *testing.T) {
	const edited = "spec.extra (kubectl-edit at 1970-01-01T00:00:00Z)"
	replaced := annotated(v1alpha1.ReplaceAnnotation, "true")
	first := []string{applyWeb, liveWeb, tryWeb, ownWeb, applyWeb}
	last := []string{applyWeb, liveWeb}
	cases := map[string]struct {
		upstream []option
		manager  string
		refusals []error
		tryErr   error
		calls    []string
		reason   string
		message  string
		err      error
		// again are the calls of the next turn, when the cluster refuses as it did before.
		again []string
	}{
		"what the cluster has filled in goes with the apply":    {refusals: []error{errExtra}, calls: first},
		"what somebody has changed goes with the apply":         {manager: "kubectl-edit", refusals: []error{errExtra}, calls: first},
		"the copy itself is refused, and nobody is to blame":    {manager: "kubectl-edit", refusals: []error{errExtra}, tryErr: errExtra, calls: []string{applyWeb, liveWeb, tryWeb}, reason: "Invalid", again: last},
		"a cluster that cannot tell is not asked again":         {manager: "kubectl-edit", refusals: []error{errExtra, errExtra}, tryErr: errAway, calls: append(first[:5:5], ownWeb), reason: evaluate.ReasonChangedThere, message: edited, again: last},
		"what does not help is given back, and who did it said": {manager: "kubectl-edit", refusals: []error{errExtra, errExtra}, calls: append(first[:5:5], ownWeb), reason: evaluate.ReasonChangedThere, message: edited, again: last},
		"the cluster's own is as one that cannot be changed":    {refusals: []error{errExtra, errExtra}, calls: append(first[:5:5], ownWeb), reason: "Immutable", again: last},
		"the user has it made anew":                             {upstream: []option{replaced}, refusals: []error{errExtra, errExtra}, calls: append(first[:5:5], ownWeb, removeWeb)},
		"nothing is made anew that would be refused":            {upstream: []option{replaced}, refusals: []error{errExtra, errExtra}, tryErr: errAway, calls: append(first[:5:5], ownWeb), reason: evaluate.ReasonChangedThere, message: "filled in by the cluster"},
		"what is left is a field that cannot be changed":        {manager: "kubectl-edit", refusals: []error{errExtra, errFixed}, calls: append(first[:5:5], ownWeb), reason: "Immutable"},
		"another error is tried again":                          {manager: "kubectl-edit", refusals: []error{errExtra, errAway}, calls: first, err: errAway},
		"nothing is in the way":                                 {refusals: []error{errImage}, calls: last, reason: "Invalid"},
		"a field that cannot be changed is asked about no more": {manager: "kubectl-edit", refusals: []error{errFixed}, calls: []string{applyWeb}, reason: "Immutable"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			here := web(append(c.upstream, placed, held)...)
			present := copyOf("ws", here, withExtra(c.manager))
			cluster := newFakeCluster(madeNamespace("ws"), present)
			cluster.errs[tryWeb] = c.tryErr
			cluster.refusals = c.refusals
			h := newHarness(t, cluster, v1alpha1.NamespaceModeExclusive)
			h.cacheAll(t)
			key := h.place(shaped(here.DeepCopy(), func(obj *unstructured.Unstructured) { obj.SetGeneration(2) }))
			if _, err := h.spec(t, key); !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.calls, cluster.calls); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			checkProblem(t, h, key, c.reason, c.message)
			if cluster.calls[len(cluster.calls)-1] == applyWeb && c.err == nil && len(c.calls) == len(first) {
				checkPassedOver(t, h, key)
			}
			if c.again == nil {
				return
			}
			cluster.calls, cluster.refusals = nil, c.refusals[:1]
			if _, err := h.spec(t, key); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.again, cluster.calls); diff != "" {
				t.Errorf("requests of the next turn (-want +got):\n%s", diff)
			}
			checkProblem(t, h, key, c.reason, c.message)
			// What refused it may have gone.
			cluster.calls, cluster.refusals, cluster.errs[tryWeb] = nil, c.refusals[:1], nil
			h.time = h.time.Add(attemptAgain)
			if _, err := h.spec(t, key); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first, cluster.calls); diff != "" {
				t.Errorf("requests of a later turn (-want +got):\n%s", diff)
			}
		})
	}
}

// checkPassedOver has the cache show the copy as it was after who owns what was changed and before the apply: nothing is written.
func checkPassedOver(t *testing.T, h *harness, key kcp.ObjectKey) {
	t.Helper()
	h.cache(t, h.cluster.between)
	h.cluster.calls = nil
	if _, err := h.spec(t, key); err != nil || len(h.cluster.calls) > 0 {
		t.Errorf("requests while the cache lags: %v, error %v", h.cluster.calls, err)
	}
}

// checkProblem checks the problem of a key, which an empty reason stands for none of.
func checkProblem(t *testing.T, h *harness, key kcp.ObjectKey, reason, message string) {
	t.Helper()
	problems := h.memories.get(key).problems
	if reason == "" {
		if len(problems) > 0 {
			t.Errorf("problems %v", problems)
		}
		return
	}
	if len(problems) != 1 || problems[0].Reason != reason || !strings.Contains(problems[0].Message, message) {
		t.Errorf("problems %v, want %s with %q", problems, reason, message)
	}
}

// TestUpdateTakesChangedEntriesBack has somebody renumber a port that has no name: nothing is refused, and both would stay.
func TestUpdateTakesChangedEntriesBack(t *testing.T) {
	here := web(placed, held, ported(80))
	cases := map[string]struct {
		prepare func(*fakeCluster)
		port    int64
		others  string
		calls   []string
		err     error
	}{
		"a port that was renumbered": {port: 90, others: "k:{\"port\":90,\"protocol\":\"TCP\"}", calls: []string{liveWeb, ownWeb, applyWeb}},
		"a port that nobody owns":    {port: 90, others: "k:{\"port\":91,\"protocol\":\"TCP\"}", calls: []string{liveWeb, applyWeb}},
		"it has changed in the meantime": {port: 90, others: "k:{\"port\":90,\"protocol\":\"TCP\"}", calls: []string{liveWeb, ownWeb}, prepare: func(c *fakeCluster) {
			c.errs[ownWeb] = apierrors.NewConflict(deployments.GroupResource(), "web", errAway)
		}, err: errStale},
		"it is gone":                  {port: 90, others: "k:{\"port\":90,\"protocol\":\"TCP\"}", calls: []string{liveWeb}, prepare: func(c *fakeCluster) { delete(c.objects, "deployments app/web") }, err: errStale},
		"the cluster does not answer": {port: 90, others: "k:{\"port\":90,\"protocol\":\"TCP\"}", calls: []string{liveWeb}, prepare: func(c *fakeCluster) { c.errs[liveWeb] = errAway }, err: errAway},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			present := copyOf("ws", here, ported(c.port), func(obj *unstructured.Unstructured) {
				managed := obj.GetManagedFields()
				managed[0].FieldsV1 = metav1.NewFieldsV1(strings.Replace(managed[0].FieldsV1.GetRawString(), `"f:ports":{}`, `"f:ports":{"k:{\"port\":70,\"protocol\":\"TCP\"}":{".":{}}}`, 1))
				obj.SetManagedFields(append(managed, metav1.ManagedFieldsEntry{
					Manager: "kubectl-edit", Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fmt.Sprintf(`{"f:spec":{"f:ports":{%q:{".":{},"f:port":{}}}}}`, c.others)),
				}))
			})
			cluster := newFakeCluster(madeNamespace("ws"), present)
			h := newHarness(t, cluster, v1alpha1.NamespaceModeExclusive)
			h.cacheAll(t)
			if c.prepare != nil {
				c.prepare(cluster)
			}
			if _, err := h.spec(t, h.place(here)); !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.calls, cluster.calls, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// ported gives the spec a port.
func ported(port int64) option {
	return func(obj *unstructured.Unstructured) {
		_ = unstructured.SetNestedSlice(obj.Object, []any{map[string]any{"port": port, "protocol": "TCP"}}, "spec", "ports")
	}
}

func TestDescribe(t *testing.T) {
	var clashes []transform.Clash
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		clashes = append(clashes, transform.Clash{Path: fieldpath.MakePathOrDie("spec", name)})
	}
	clashes[1].Writers = []transform.Writer{{Manager: "one"}, {Manager: "two", Time: time.Unix(0, 0)}}
	want := "spec.a (filled in by the cluster), spec.b (one, two at 1970-01-01T00:00:00Z), spec.c (filled in by the cluster), and 2 more"
	if got := describe(clashes); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestClusterClash checks the requests with which it is found out and changed what is in the way of a copy.
func TestClusterClash(t *testing.T) {
	live := web(func(obj *unstructured.Unstructured) { obj.SetResourceVersion("7") })
	client := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), live)
	var asked []k8stesting.Action
	failure := error(nil)
	client.PrependReactor("*", "*", func(action k8stesting.Action) (bool, runtime.Object, error) {
		asked = append(asked, action)
		return true, live, failure
	})
	c := &cluster{client: client}
	entry := func(manager, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: metav1.NewFieldsV1(fields)}
	}
	live.SetManagedFields([]metav1.ManagedFieldsEntry{entry("same", "{}"), entry("goes", "{}"), entry("changes", "{}")})
	managed := []metav1.ManagedFieldsEntry{entry("same", "{}"), entry("changes", `{"f:a":{}}`), entry("new", "{}")}
	for _, failure = range []error{nil, errAway} {
		if _, err := c.setManagedFields(t.Context(), deployments, live, managed); !errors.Is(err, failure) {
			t.Errorf("error %v, want %v", err, failure)
		}
		long := web(func(obj *unstructured.Unstructured) { obj.SetName(strings.Repeat("n", 70)) })
		if err := c.tryCreate(t.Context(), deployments, long); !errors.Is(err, failure) {
			t.Errorf("error %v, want %v", err, failure)
		}
	}
	patch := asked[0].(k8stesting.PatchActionImpl)
	test := func(i int, manager string) string {
		return fmt.Sprintf(`{"op":"test","path":"/metadata/managedFields/%d","value":{"manager":%q,"operation":"Update","fieldsV1":{}}}`, i, manager)
	}
	want := "[" + strings.Join([]string{
		`{"op":"test","path":"/metadata/uid","value":"upstream-uid"}`,
		test(2, "changes"), `{"op":"replace","path":"/metadata/managedFields/2/fieldsV1","value":{"f:a":{}}}`,
		test(1, "goes"), `{"op":"remove","path":"/metadata/managedFields/1"}`,
		`{"op":"add","path":"/metadata/managedFields/-","value":{"manager":"new","operation":"Update","fieldsV1":{}}}`,
	}, ",") + "]"
	if patch.PatchType != types.JSONPatchType || string(patch.Patch) != want {
		t.Errorf("patch of type %s: %s, want %s", patch.PatchType, patch.Patch, want)
	}
	create := asked[1].(k8stesting.CreateActionImpl)
	body := create.Object.(*unstructured.Unstructured)
	if options := create.CreateOptions; len(options.DryRun) != 1 || body.GetName() != "" || len(body.GetGenerateName()) != maxPrefix {
		t.Errorf("creates %s or %s with %v, want a dry run under another name", body.GetName(), body.GetGenerateName(), options)
	}
}
