package syncer

import (
	"context"
	"encoding/json"
	"errors"
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

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

var deploymentsResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

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

func (c *fakeCluster) holder(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return holder(c.namespaces[name])
}

// newTestSyncer returns a syncer of the cluster whose caches have the objects, and that has
// never heard of kcp.
func newTestSyncer(t *testing.T, c *fakeCluster, rule v1alpha1.TransformRule, cached ...*unstructured.Unstructured) *Syncer {
	t.Helper()
	nowhere := &rest.Config{Host: "https://127.0.0.1:1"}
	s, err := New(Config{Cluster: "east", Upstream: nowhere, Downstream: nowhere, SingleWorkspace: true, Rule: rule})
	if err != nil {
		t.Fatal(err)
	}
	s.downstream.client = c.client
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

// namespace returns one that an operator made, marked for the workspaces given.
func namespaceNamed(t *testing.T, name string, workspace string) *unstructured.Unstructured {
	t.Helper()
	namespace := transform.BareNamespace(name)
	if workspace == "" {
		return namespace
	}
	noted, err := transform.NotedNamespace(name, transform.Origin{Workspace: workspace, Name: name, Cluster: "east"})
	if err != nil {
		t.Fatal(err)
	}
	return noted
}

func madeNamespace(t *testing.T, name, workspace string) *unstructured.Unstructured {
	t.Helper()
	made, err := transform.DesiredNamespace(nil, transform.Origin{Workspace: workspace, Name: name, Cluster: "east"}, v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// copyIn returns the copy of a workspace's object, made at that second.
func copyIn(t *testing.T, namespace, workspace, name string, made int64) *unstructured.Unstructured {
	t.Helper()
	obj := upstreamDeployment(placed, held)
	obj.SetNamespace(namespace)
	obj.SetName(name)
	copied, err := transform.Desired(transform.Input{Object: obj, Origin: transform.Origin{Workspace: workspace, Namespace: namespace, Name: name, Cluster: "east"}})
	if err != nil {
		t.Fatal(err)
	}
	copied.SetCreationTimestamp(metav1.Unix(made, 0))
	return copied
}

// keyIn returns the key and the state of an object that is to go to a namespace.
func keyIn(s *Syncer, namespace, workspace string) (kcp.ObjectKey, state) {
	key := keyOf(deploymentsResource, transform.Origin{Workspace: workspace, Namespace: namespace, Name: "web"})
	rule := s.rule.Load()
	st := state{origin: s.originOf(key), separates: rule.SeparatesWorkspaces()}
	st.namespace, st.name = st.origin.Target(*rule)
	st.downstreamObj = s.copies.at(key.Resource, st.namespace, st.name)
	return key, st
}

func TestTheFirstWorkspaceThatUsesANamespaceHasIt(t *testing.T) {
	free, err := transform.FreeNamespace("app", "east", v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		// live and cached are the namespace as the cluster and as the cache have it.
		live, cached *unstructured.Unstructured
		copies       []*unstructured.Unstructured
		may, refused bool
		writes       int
		holder       string
	}{
		"ThereIsNone":               {"the write that makes it says whose it is", nil, nil, nil, true, false, 1, "ws"},
		"AnOperators":               {"it is noted there", namespaceNamed(t, "app", ""), nil, nil, true, false, 1, "ws"},
		"ItsOwn":                    {"steady state is silent", madeNamespace(t, "app", "ws"), madeNamespace(t, "app", "ws"), nil, true, false, 0, "ws"},
		"ItsOwnNotInTheCache":       {"the cache lags", madeNamespace(t, "app", "ws"), nil, nil, true, false, 0, "ws"},
		"AnothersNotInTheCache":     {"the other was faster", madeNamespace(t, "app", "other"), nil, nil, false, true, 0, "other"},
		"FreeAgain":                 {"who comes first has it", free, free, nil, true, false, 1, "ws"},
		"NobodysWithCopiesInside":   {"its own turn decides", namespaceNamed(t, "app", ""), nil, []*unstructured.Unstructured{copyIn(t, "app", "other", "theirs", 1)}, false, false, 0, ""},
		"NobodysWithItsOwnCopies":   {"nobody else is in it", namespaceNamed(t, "app", ""), nil, []*unstructured.Unstructured{copyIn(t, "app", "ws", "mine", 1)}, true, false, 1, "ws"},
		"OnItsWayOut":               {"it is made anew", gone(madeNamespace(t, "app", "ws")), nil, nil, false, false, 0, "ws"},
		"OnItsWayOutAsTheCacheSays": {"likewise", nil, gone(madeNamespace(t, "app", "ws")), nil, false, false, 0, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster()
			if tc.live != nil {
				c.store(tc.live)
			}
			cached := tc.copies
			if tc.cached != nil {
				cached = append(cached, tc.cached)
			}
			s := newTestSyncer(t, c, v1alpha1.TransformRule{}, cached...)
			_, st := keyIn(s, "app", "ws")
			done, may, err := s.enter(t.Context(), st)
			if err != nil || may != tc.may {
				t.Fatalf("may enter: %t (error %v), want %t: %s", may, err, tc.may, tc.reason)
			}
			if refused := len(done.problems) == 1 && done.problems[0].Reason == reasonTaken; refused != tc.refused {
				t.Errorf("problems %v, want refused to be %t: %s", done.problems, tc.refused, tc.reason)
			}
			if !may && done.again == 0 {
				t.Error("it is not looked at again")
			}
			if c.writes != tc.writes || c.holder("app") != tc.holder {
				t.Errorf("%d writes, and it is %q's; want %d and %q: %s", c.writes, c.holder("app"), tc.writes, tc.holder, tc.reason)
			}
			if _, again, err := s.enter(t.Context(), st); may && (err != nil || !again || c.writes != tc.writes) {
				t.Errorf("again: may %t, error %v, %d writes; want no other", again, err, c.writes)
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
		"ThereIsNone": nil, "AnOperators": {namespaceNamed(t, "app", "")},
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				c := newFakeCluster(present...)
				in := make([]bool, 4)
				var running sync.WaitGroup
				for i := range in { // each in a process of its own, two workspaces
					s := newTestSyncer(t, c, v1alpha1.TransformRule{})
					running.Go(func() {
						_, st := keyIn(s, "app", []string{"a", "b"}[i%2])
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
	c := newFakeCluster(namespaceNamed(t, "app", ""))
	c.beforeWrite = func(c *fakeCluster) { c.store(namespaceNamed(t, "app", "other")) }
	s := newTestSyncer(t, c, v1alpha1.TransformRule{})
	_, st := keyIn(s, "app", "ws")
	if _, may, err := s.enter(t.Context(), st); may || !errors.Is(err, errStale) {
		t.Errorf("may enter: %t, error %v, want the turn to be taken again", may, err)
	}
	if c.holder("app") != "other" {
		t.Errorf("it is %q's, want other's", c.holder("app"))
	}
}

func TestWhatIsAnothersIsRefusedAndWhatWasThereIsKeptUp(t *testing.T) {
	cases := map[string]struct {
		reason           string
		mode             v1alpha1.NamespaceMode
		namespace        *unstructured.Unstructured
		copied           *unstructured.Unstructured
		broken, tolerate bool
	}{
		"ItsOwn":                  {"", "", madeNamespace(t, "app", "ws"), nil, false, false},
		"NoMark":                  {"nobody has it yet", "", nil, nil, false, false},
		"NoMarkWhereItIsAlready":  {"it may become another's", "", nil, copyIn(t, "app", "ws", "web", 1), false, false},
		"Anothers":                {"it is refused", "", madeNamespace(t, "app", "other"), nil, true, false},
		"AnothersNote":            {"on an operator's namespace, too", "Exclusive", namespaceNamed(t, "app", "other"), nil, true, false},
		"AnothersOfTheSameName":   {"what the other has is not told", "", madeNamespace(t, "app", "other"), copyIn(t, "app", "other", "web", 1), true, false},
		"AnothersSinceTheyShared": {"nothing is stopped for a default that changed", "", madeNamespace(t, "app", "other"), copyIn(t, "app", "ws", "web", 1), false, true},
		"AnothersWhereTheyShare":  {"", v1alpha1.NamespaceModeShared, madeNamespace(t, "app", "other"), nil, false, false},
		"AnothersAndTheyAreApart": {"their names differ", v1alpha1.NamespaceModeIsolated, madeNamespace(t, "app", "other"), nil, false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var cached []*unstructured.Unstructured
			for _, obj := range []*unstructured.Unstructured{tc.namespace, tc.copied} {
				if obj != nil {
					cached = append(cached, obj)
				}
			}
			s := newTestSyncer(t, newFakeCluster(), v1alpha1.TransformRule{NamespaceMode: tc.mode}, cached...)
			key, st := keyIn(s, "app", "ws")
			st.upstreamObj = upstreamDeployment(placed, held)
			if err := s.transform(key, &st, *s.rule.Load()); err != nil {
				t.Fatal(err)
			}
			if (st.broken != nil) != tc.broken || (st.tolerated != nil) != tc.tolerate || (st.desired == nil) != tc.broken {
				t.Fatalf("broken %v, tolerated %v, desired %t: %s", st.broken, st.tolerated, st.desired != nil, tc.reason)
			}
			for _, problem := range []*v1alpha1.Problem{st.broken, st.tolerated} {
				if problem == nil {
					continue
				}
				if problem.Reason != reasonTaken || problem.Concerns != "" || strings.Contains(problem.Message, "other") && !strings.Contains(problem.Message, "another workspace") {
					t.Errorf("problem %+v", problem)
				}
				for _, words := range []string{"namespace app", "another workspace's", "use another namespace", "namespaceMode: Isolated"} {
					if !strings.Contains(problem.Message, words) {
						t.Errorf("%q does not say %q", problem.Message, words)
					}
				}
			}
			// Who is about to take the namespace is not waked by that: his copy would not be in the cache yet.
			wantsNews := tc.broken || tc.tolerate || tc.mode == "" && tc.namespace == nil && tc.copied != nil
			if got := s.waiters.take(namespaceKey("app")); got.Has(key) != wantsNews {
				t.Errorf("it waits for news of the namespace: %t, want %t", got.Has(key), wantsNews)
			}
		})
	}
}

func TestWhoHasANamespaceAfterThoseWhoSharedIt(t *testing.T) {
	other, others := copyIn(t, "app", "other", "theirs", 2), copyIn(t, "app", "zzz", "of-a-third", 2)
	mine := copyIn(t, "app", "ws", "mine", 3)
	cases := map[string]struct {
		reason string
		cached []*unstructured.Unstructured
		want   namespaceAction
		heir   string
	}{
		"MadeForOneThatIsThere":   {"it stays its own, whoever came first", []*unstructured.Unstructured{madeNamespace(t, "app", "ws"), mine, other}, namespaceUpdates, ""},
		"MadeForOneThatHasLeft":   {"the first of those who are there", []*unstructured.Unstructured{madeNamespace(t, "app", "ws"), others, other}, namespaceHandsOver, "other"},
		"AnOperatorsWithoutANote": {"the first of all", []*unstructured.Unstructured{mine, others, other}, namespaceNotes, "other"},
		"AnEmptyOne":              {"", []*unstructured.Unstructured{madeNamespace(t, "app", "ws")}, namespaceGoes, ""},
		"ANoteOnAnEmptyOne":       {"", []*unstructured.Unstructured{namespaceNamed(t, "app", "ws")}, namespaceFrees, ""},
		"Nothing":                 {"", nil, namespaceStays, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newTestSyncer(t, newFakeCluster(), v1alpha1.TransformRule{}, tc.cached...)
			st, err := s.gatherNamespace("app")
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == namespaceUpdates { // or stays, if kcp had the namespace
				if !st.isUsed {
					t.Fatalf("it is not used: %s", tc.reason)
				}
				return
			}
			if got := decideNamespace(st); got != tc.want {
				t.Errorf("got %s, want %s: %s", got, tc.want, tc.reason)
			}
			if st.heir == nil && tc.heir != "" || st.heir != nil && st.heir.Workspace != tc.heir {
				t.Errorf("heir is %v, want %s", st.heir, tc.heir)
			}

			shared := newTestSyncer(t, newFakeCluster(), v1alpha1.TransformRule{NamespaceMode: v1alpha1.NamespaceModeShared}, tc.cached...)
			if st, err := shared.gatherNamespace("app"); err != nil || st.heir != nil {
				t.Errorf("where they share it, somebody is to have it: %v (error %v)", st.heir, err)
			}
		})
	}
}

func TestANamespaceIsNotEnteredWhileItIsGivenAway(t *testing.T) {
	present := newFakeCluster().store(madeNamespace(t, "app", "ws"))
	s := newTestSyncer(t, newFakeCluster(present), v1alpha1.TransformRule{}, present)
	_, st := keyIn(s, "app", "ws")
	mayEnter := func() bool {
		done, may, err := s.enter(t.Context(), st)
		if err != nil || may == (done.again != 0) {
			t.Fatalf("may %t, again %s, error %v", may, done.again, err)
		}
		return may
	}
	s.claims.leave("app", present.GetResourceVersion())
	if mayEnter() {
		t.Error("entered while it is given away")
	}
	s.onNamespace("app") // an event from before
	if mayEnter() {
		t.Error("entered while the cache still shows it as its own")
	}
	s.claims.stay("app")
	if !mayEnter() {
		t.Error("not entered though it stays")
	}
	s.claims.leave("app", "earlier")
	s.onNamespace("app")
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
