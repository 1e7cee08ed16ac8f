package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/rest"
	clientgotesting "k8s.io/client-go/testing"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

var deploymentsResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// app is the namespace that the cases are about, of workspaces and of the cluster alike.
const app = "app"

// fakeCluster has namespaces, which are listed and applied with the preconditions that an
// API server heeds. Syncers of it are as several processes are.
type fakeCluster struct {
	client *dynamicfake.FakeDynamicClient

	mu         sync.Mutex
	version    int
	writes     int
	namespaces map[string]*unstructured.Unstructured
	// beforeWrite, if set, is called once, before a write is looked at.
	beforeWrite func(c *fakeCluster)
}

func newFakeCluster(namespaces ...*unstructured.Unstructured) *fakeCluster {
	c := &fakeCluster{namespaces: map[string]*unstructured.Unstructured{}}
	c.client = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		v1alpha1.NamespacesResource: "NamespaceList", deploymentsResource: "DeploymentList", autoscalersResource: "HorizontalPodAutoscalerList",
	})
	c.client.PrependReactor("list", "namespaces", c.list)
	c.client.PrependReactor("patch", "namespaces", c.apply)
	for _, namespace := range namespaces {
		c.store(namespace)
	}
	return c
}

func (c *fakeCluster) store(namespace *unstructured.Unstructured) *unstructured.Unstructured {
	c.version++
	stored := namespace.DeepCopy()
	if stored.GetManagedFields() == nil {
		ownedBy(stored, v1alpha1.FieldManager)
	}
	if stored.GetUID() == "" {
		stored.SetUID(types.UID("uid-of-" + stored.GetName()))
	}
	stored.SetResourceVersion(strconv.Itoa(100 + c.version))
	c.namespaces[stored.GetName()] = stored
	return stored
}

func (c *fakeCluster) list(action clientgotesting.Action) (bool, runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "NamespaceList"}}
	name, _ := action.(clientgotesting.ListAction).GetListRestrictions().Fields.RequiresExactMatch("metadata.name")
	if namespace := c.namespaces[name]; namespace != nil {
		list.Items = append(list.Items, *namespace.DeepCopy())
	}
	return true, list, nil
}

func (c *fakeCluster) apply(action clientgotesting.Action) (bool, runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.beforeWrite; before != nil {
		c.beforeWrite = nil
		before(c)
	}
	body := &unstructured.Unstructured{}
	if err := json.Unmarshal(action.(clientgotesting.PatchAction).GetPatch(), &body.Object); err != nil {
		return true, nil, err
	}
	present := c.namespaces[body.GetName()]
	isOther := func(given, present string) bool { return given != "" && given != present }
	if present != nil && (isOther(body.GetResourceVersion(), present.GetResourceVersion()) || isOther(string(body.GetUID()), string(present.GetUID()))) {
		return true, nil, apierrors.NewConflict(v1alpha1.NamespacesResource.GroupResource(), body.GetName(), errors.New("it has changed"))
	}
	c.writes++
	if present != nil {
		body.SetUID(present.GetUID())
	}
	return true, c.store(body), nil
}

// holder returns the workspace that has the namespace app, empty when none has.
func (c *fakeCluster) holder() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return holder(c.namespaces[app])
}

// ownedBy has labels and annotations of an object owned by the applies of a manager, as an API server notes it.
func ownedBy(obj *unstructured.Unstructured, manager string) *unstructured.Unstructured {
	owned := fieldpath.NewSet()
	for field, entries := range map[string]map[string]string{"labels": obj.GetLabels(), "annotations": obj.GetAnnotations()} {
		for key := range entries {
			owned.Insert(fieldpath.MakePathOrDie("metadata", field, key))
		}
	}
	data, err := owned.ToJSON()
	if err != nil {
		panic(err)
	}
	obj.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: obj.GetAPIVersion(),
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(data)),
	}})
	return obj
}

// newTestSyncer returns a syncer of the cluster whose caches have the objects, and that has
// never heard of kcp. The namespace app is listed among those that are not tmc's and may be used.
func newTestSyncer(t *testing.T, c *fakeCluster, rule v1alpha1.TransformRule, cached ...*unstructured.Unstructured) *Syncer {
	t.Helper()
	nowhere := &rest.Config{Host: "https://127.0.0.1:1"}
	s, err := New(Config{Cluster: "east", Upstream: nowhere, Downstream: nowhere, SingleWorkspace: true, Rule: rule})
	if err != nil {
		t.Fatal(err)
	}
	s.downstream.client = c.client
	s.SetAllowed([]string{app})
	s.copies, err = newCopies(c.client, "east", nil, handlers{
		onCopy: s.onDownstream, onNamespace: s.onNamespace, onTarget: s.onScaleTarget,
	})
	if err != nil {
		t.Fatal(err)
	}
	deployments, err := s.copies.watch(deploymentsResource)
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range cached {
		store := deployments.informer.GetStore()
		if obj.GetKind() == "Namespace" {
			store = s.copies.namespaces.informer.GetStore()
		}
		if err := store.Add(obj); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// operatorsNamespace returns the namespace as an operator made it, noted for the workspace unless that is empty.
func operatorsNamespace(t *testing.T, workspace string) *unstructured.Unstructured {
	t.Helper()
	if workspace == "" {
		return transform.BareNamespace(app)
	}
	noted, err := transform.NotedNamespace(app, transform.Origin{Workspace: workspace, Name: app, Cluster: "east"})
	if err != nil {
		t.Fatal(err)
	}
	return noted
}

// madeNamespace returns the namespace as tmc makes it for a workspace.
func madeNamespace(t *testing.T, workspace string) *unstructured.Unstructured {
	t.Helper()
	made, err := transform.DesiredNamespace(nil, transform.Origin{Workspace: workspace, Name: app, Cluster: "east"}, v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// copyFrom returns the copy of a workspace's object in the namespace, made at that second.
func copyFrom(t *testing.T, workspace, name string, made int64) *unstructured.Unstructured {
	t.Helper()
	obj := upstreamDeployment(placed, held)
	obj.SetNamespace(app)
	obj.SetName(name)
	copied, err := transform.Desired(transform.Input{Object: obj, Origin: transform.Origin{Workspace: workspace, Namespace: app, Name: name, Cluster: "east"}})
	if err != nil {
		t.Fatal(err)
	}
	copied.SetCreationTimestamp(metav1.Unix(made, 0))
	return copied
}

// keyIn returns the key and the state of a workspace's object that is to go to the namespace.
func keyIn(s *Syncer, workspace string) (kcp.ObjectKey, state) {
	key := keyOf(deploymentsResource, transform.Origin{Workspace: workspace, Namespace: app, Name: "web"})
	rule := s.rule.Load()
	st := state{origin: s.originOf(key), separates: rule.SeparatesWorkspaces()}
	st.namespace, st.name = st.origin.Target(*rule)
	st.downstreamObj = s.copies.at(key.Resource, st.namespace, st.name)
	return key, st
}

// entry is what comes of asking to enter the namespace: whether the workspace may, or is refused it, how often the
// cluster has been written to, and which workspace has the namespace then.
type entry struct {
	may, refused bool
	writes       int
	holder       string
}

// enter has a syncer of the cluster ask to enter the namespace. It fails the test unless just who may not is to ask again.
func (c *fakeCluster) enter(t *testing.T, s *Syncer, st state) entry {
	t.Helper()
	done, may, err := s.enter(t.Context(), st)
	if err != nil || may == (done.again != 0) {
		t.Fatalf("may enter: %t, again after %s, error %v", may, done.again, err)
	}
	isTaken := func(problem v1alpha1.Problem) bool { return problem.Reason == reasonTaken }
	return entry{may: may, refused: slices.ContainsFunc(done.problems, isTaken), writes: c.writes, holder: c.holder()}
}

// withoutNil returns the objects that are not nil.
func withoutNil(objs ...*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.DeleteFunc(objs, func(obj *unstructured.Unstructured) bool { return obj == nil })
}

func TestNamespaceBelongsToFirstWorkspace(t *testing.T) {
	free, err := transform.FreeNamespace(app, "east", v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		// live and cached are the namespace as the cluster and as the cache have it.
		live, cached *unstructured.Unstructured
		copied       *unstructured.Unstructured
		want         entry
	}{
		"ThereIsNone":               {"the write that makes it says whose it is", nil, nil, nil, entry{true, false, 1, "ws"}},
		"AnOperators":               {"it is noted there", operatorsNamespace(t, ""), nil, nil, entry{true, false, 1, "ws"}},
		"ItsOwn":                    {"steady state is silent", madeNamespace(t, "ws"), madeNamespace(t, "ws"), nil, entry{true, false, 0, "ws"}},
		"ItsOwnNotInTheCache":       {"the cache lags", madeNamespace(t, "ws"), nil, nil, entry{true, false, 0, "ws"}},
		"AnothersNotInTheCache":     {"the other was faster", madeNamespace(t, "other"), nil, nil, entry{false, true, 0, "other"}},
		"FreeAgain":                 {"who comes first has it", free, free, nil, entry{true, false, 1, "ws"}},
		"NobodysWithCopiesInside":   {"its own turn decides", operatorsNamespace(t, ""), nil, copyFrom(t, "other", "theirs", 1), entry{false, false, 0, ""}},
		"NobodysWithItsOwnCopies":   {"nobody else is in it", operatorsNamespace(t, ""), nil, copyFrom(t, "ws", "mine", 1), entry{true, false, 1, "ws"}},
		"OnItsWayOut":               {"it is made anew", gone(madeNamespace(t, "ws")), nil, nil, entry{false, false, 0, "ws"}},
		"OnItsWayOutAsTheCacheSays": {"likewise", nil, gone(madeNamespace(t, "ws")), nil, entry{false, false, 0, ""}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(withoutNil(tc.live)...)
			s := newTestSyncer(t, c, v1alpha1.TransformRule{}, withoutNil(tc.cached, tc.copied)...)
			_, st := keyIn(s, "ws")
			if got := c.enter(t, s, st); got != tc.want {
				t.Errorf("got %+v, want %+v: %s", got, tc.want, tc.reason)
			}
			if got := c.enter(t, s, st); tc.want.may && got != tc.want {
				t.Errorf("again: got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func gone(namespace *unstructured.Unstructured) *unstructured.Unstructured {
	deleting(namespace)
	return namespace
}

func TestOfTwoWorkspacesAtTheSameInstantOneGetsTheNamespace(t *testing.T) {
	for name, present := range map[string][]*unstructured.Unstructured{
		"ThereIsNone": nil, "AnOperators": {operatorsNamespace(t, "")},
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				c := newFakeCluster(present...)
				in := make([]bool, 4)
				var running sync.WaitGroup
				for i := range in { // each in a process of its own, two workspaces
					s := newTestSyncer(t, c, v1alpha1.TransformRule{})
					running.Go(func() {
						_, st := keyIn(s, []string{"a", "b"}[i%2])
						for {
							_, may, err := s.enter(context.Background(), st)
							if !errors.Is(err, errStale) {
								in[i] = may && err == nil
								return
							}
						}
					})
				}
				running.Wait()
				if in[0] != in[2] || in[1] != in[3] || in[0] == in[1] || c.writes != 1 {
					t.Fatalf("in: %v, after %d writes; want one workspace's in, after one", in, c.writes)
				}
			}
		})
	}
}

func TestANamespaceThatChangesWhileItIsTakenIsLookedAtAgain(t *testing.T) {
	c := newFakeCluster(operatorsNamespace(t, ""))
	c.beforeWrite = func(c *fakeCluster) { c.store(operatorsNamespace(t, "other")) }
	s := newTestSyncer(t, c, v1alpha1.TransformRule{})
	_, st := keyIn(s, "ws")
	if _, may, err := s.enter(t.Context(), st); may || !errors.Is(err, errStale) {
		t.Errorf("may enter: %t, error %v, want the turn to be taken again", may, err)
	}
	if c.holder() != "other" {
		t.Errorf("it is %q's, want other's", c.holder())
	}
}

// tenancy is what a turn finds of whose the namespace is: whether the object is refused, or its copy kept up all the
// same, and whether the key waits for news of the namespace.
type tenancy struct{ broken, tolerated, waits bool }

func TestWhatIsAnothersIsRefusedAndWhatWasThereIsKeptUp(t *testing.T) {
	cases := map[string]struct {
		reason    string
		mode      v1alpha1.NamespaceMode
		namespace *unstructured.Unstructured
		copied    *unstructured.Unstructured
		want      tenancy
	}{
		"ItsOwn": {"", "", madeNamespace(t, "ws"), nil, tenancy{}},
		// News would wake it before its own copy is in the cache.
		"NoMark":                  {"nobody has it yet", "", nil, nil, tenancy{}},
		"NoMarkWhereItIsAlready":  {"it may become another's", "", nil, copyFrom(t, "ws", "web", 1), tenancy{waits: true}},
		"Anothers":                {"it is refused", "", madeNamespace(t, "other"), nil, tenancy{broken: true, waits: true}},
		"AnothersNote":            {"on an operator's namespace, too", "Exclusive", operatorsNamespace(t, "other"), nil, tenancy{broken: true, waits: true}},
		"AnothersOfTheSameName":   {"what the other has is not told", "", madeNamespace(t, "other"), copyFrom(t, "other", "web", 1), tenancy{broken: true, waits: true}},
		"AnothersSinceTheyShared": {"nothing is stopped for a default that changed", "", madeNamespace(t, "other"), copyFrom(t, "ws", "web", 1), tenancy{tolerated: true, waits: true}},
		"AnothersWhereTheyShare":  {"", v1alpha1.NamespaceModeShared, madeNamespace(t, "other"), nil, tenancy{}},
		"AnothersAndTheyAreApart": {"their names differ", v1alpha1.NamespaceModeIsolated, madeNamespace(t, "other"), nil, tenancy{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newTestSyncer(t, newFakeCluster(), v1alpha1.TransformRule{NamespaceMode: tc.mode}, withoutNil(tc.namespace, tc.copied)...)
			key, st := keyIn(s, "ws")
			st.upstreamObj = upstreamDeployment(placed, held)
			if err := s.transform(key, &st, *s.rule.Load()); err != nil {
				t.Fatal(err)
			}
			got := tenancy{broken: st.broken != nil, tolerated: st.tolerated != nil, waits: s.waiters.take(namespaceKey(app)).Has(key)}
			if got != tc.want {
				t.Errorf("got %+v, want %+v: %s", got, tc.want, tc.reason)
			}
			if (st.desired == nil) != tc.want.broken {
				t.Errorf("a copy is desired: %t, want %t: %s", st.desired != nil, !tc.want.broken, tc.reason)
			}
			for _, problem := range []*v1alpha1.Problem{st.broken, st.tolerated} {
				if problem != nil {
					tellsThatItIsAnothers(t, *problem)
				}
			}
		})
	}
}

// tellsThatItIsAnothers fails the test unless a problem says that the namespace is another workspace's and what to do,
// and does not say which workspace's.
func tellsThatItIsAnothers(t *testing.T, problem v1alpha1.Problem) {
	t.Helper()
	if problem.Reason != reasonTaken || problem.Concerns != "" {
		t.Errorf("problem %+v", problem)
	}
	const another = "another workspace's"
	for _, words := range []string{"namespace app", another, "use another namespace", "namespaceMode: Isolated"} {
		if !strings.Contains(problem.Message, words) {
			t.Errorf("%q does not say %q", problem.Message, words)
		}
	}
	if strings.Contains(strings.ReplaceAll(problem.Message, "another", ""), "other") {
		t.Errorf("%q says whose it is", problem.Message)
	}
}

// gathered returns what a syncer knows of the namespace whose caches have the objects.
func gathered(t *testing.T, mode v1alpha1.NamespaceMode, cached []*unstructured.Unstructured) namespaceState {
	t.Helper()
	s := newTestSyncer(t, newFakeCluster(), v1alpha1.TransformRule{NamespaceMode: mode}, cached...)
	st, err := s.gatherNamespace(app)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// heirIn returns the workspace that is to have a namespace next, empty when none is.
func heirIn(st namespaceState) string {
	if st.heir == nil {
		return ""
	}
	return st.heir.Workspace
}

func TestWhoHasANamespaceAfterThoseWhoSharedIt(t *testing.T) {
	other, others := copyFrom(t, "other", "theirs", 2), copyFrom(t, "zzz", "of-a-third", 2)
	mine := copyFrom(t, "ws", "mine", 3)
	cases := map[string]struct {
		reason string
		cached []*unstructured.Unstructured
		want   namespaceAction
		heir   string
	}{
		"MadeForOneThatIsThere":   {"it stays its own, whoever came first", []*unstructured.Unstructured{madeNamespace(t, "ws"), mine, other}, namespaceStays, ""},
		"MadeForOneThatHasLeft":   {"the first of those who are there", []*unstructured.Unstructured{madeNamespace(t, "ws"), others, other}, namespaceHandsOver, "other"},
		"AnOperatorsWithoutANote": {"the first of all", []*unstructured.Unstructured{mine, others, other}, namespaceNotes, "other"},
		"AnEmptyOne":              {"", []*unstructured.Unstructured{madeNamespace(t, "ws")}, namespaceGoes, ""},
		"ANoteOnAnEmptyOne":       {"", []*unstructured.Unstructured{operatorsNamespace(t, "ws")}, namespaceFrees, ""},
		"Nothing":                 {"", nil, namespaceStays, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			st := gathered(t, "", tc.cached)
			if got, heir := decideNamespace(st), heirIn(st); got != tc.want || heir != tc.heir {
				t.Errorf("got %s and heir %q, want %s and %q: %s", got, heir, tc.want, tc.heir, tc.reason)
			}
			if heir := heirIn(gathered(t, v1alpha1.NamespaceModeShared, tc.cached)); heir != "" {
				t.Errorf("where they share it, %s is to have it", heir)
			}
		})
	}
}

func TestANamespaceIsNotEnteredWhileItIsGivenAway(t *testing.T) {
	present := newFakeCluster().store(madeNamespace(t, "ws"))
	s := newTestSyncer(t, newFakeCluster(present), v1alpha1.TransformRule{}, present)
	_, st := keyIn(s, "ws")
	mayEnter := func() bool {
		done, may, err := s.enter(t.Context(), st)
		if err != nil || may == (done.again != 0) {
			t.Fatalf("may %t, again %s, error %v", may, done.again, err)
		}
		return may
	}
	s.claims.leave(app, present.GetResourceVersion())
	if mayEnter() {
		t.Error("entered while it is given away")
	}
	s.onNamespace(app) // an event from before
	if mayEnter() {
		t.Error("entered while the cache still shows it as its own")
	}
	s.claims.stay(app)
	if !mayEnter() {
		t.Error("not entered though it stays")
	}
	s.claims.leave(app, "earlier")
	s.onNamespace(app)
	if !mayEnter() {
		t.Error("not entered though the cache shows what has become of it")
	}
}

func TestWhatIsLeftOfAWorkspace(t *testing.T) {
	madeBy := func(apiVersion, kind, uid string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "x", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: apiVersion, Kind: kind, UID: types.UID(uid), Controller: new(true),
		}}}}
	}
	ending := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: new(metav1.NewTime(time.Unix(1, 0)))}}
	cases := map[string]struct {
		reason string
		item   *metav1.PartialObjectMetadata
		want   bool
	}{
		"Somebodys":             {"nobody runs it", &metav1.PartialObjectMetadata{}, false},
		"OfAnotherWhoIsThere":   {"it runs on", madeBy("apps/v1", "ReplicaSet", "there"), false},
		"OfWhatIsGone":          {"it goes in a moment", madeBy("apps/v1", "ReplicaSet", "gone"), true},
		"OfACronJobThatIsGone":  {"likewise", madeBy("batch/v1", "CronJob", "gone"), true},
		"OfAKindOfSomebodyElse": {"it is not known whether that is there", madeBy("argoproj.io/v1alpha1", "Rollout", "unknown"), false},
		"OnItsWayOut":           {"whosever it is", ending, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isGoing(tc.item, sets.New[types.UID]("there")); got != tc.want {
				t.Errorf("got %t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}
