package syncer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	metadatafake "k8s.io/client-go/metadata/fake"
	clientgotesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

var everyMode = []v1alpha1.NamespaceMode{v1alpha1.NamespaceModeExclusive, v1alpha1.NamespaceModeShared}

// asCached is what a cache has of an object of the cluster.
func asCached(t *testing.T, obj *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	cached, err := stripCopy(obj.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	return cached.(*unstructured.Unstructured)
}

// listCounter counts how often the cluster is asked for namespaces.
func (c *fakeCluster) lists() int {
	count := 0
	for _, action := range c.client.Actions() {
		if _, isList := action.(clientgotesting.ListAction); isList {
			count++
		}
	}
	return count
}

// allowance is what comes of a new object that is to go to the namespace app: whether it may, whether it is refused
// as not allowed, and how often the cluster was written to.
type allowance struct {
	may, refused bool
	writes       int
}

// newcomer has an object of the workspace ws take its turn: first by what the caches say, then by asking.
func (c *fakeCluster) newcomer(t *testing.T, s *Syncer) allowance {
	t.Helper()
	_, st := transformed(t, s)
	if st.broken != nil {
		return allowance{refused: st.broken.Reason == reasonNotAllowed, writes: c.writes}
	}
	done, may, err := s.enter(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	refused := len(done.problems) == 1 && done.problems[0].Reason == reasonNotAllowed && done.again == recheck
	return allowance{may: may, refused: refused, writes: c.writes}
}

// transformed is what the caches say of an object of the workspace ws that is placed here.
func transformed(t *testing.T, s *Syncer) (kcp.ObjectKey, state) {
	t.Helper()
	key, st := keyIn(s, "ws")
	st.upstreamObj = upstreamDeployment(placed, held)
	if err := s.transform(key, &st, *s.rule.Load()); err != nil {
		t.Fatal(err)
	}
	return key, st
}

func TestANamespaceThatIsNotTmcsIsEnteredOnlyIfItIsListed(t *testing.T) {
	forged := func() *unstructured.Unstructured { return ownedBy(madeNamespace(t, "ws"), "kubectl") }
	cases := map[string]struct {
		reason  string
		live    *unstructured.Unstructured
		cached  bool
		allowed []string
		want    allowance
	}{
		"NotThere":             {"tmc makes it", nil, false, nil, allowance{may: true, writes: 1}},
		"MadeByTmc":            {"what is in it came from kcp", ownedBy(madeNamespace(t, "ws"), v1alpha1.FieldManager), true, nil, allowance{may: true}},
		"MadeByTmcAMomentAgo":  {"the cache lags", madeNamespace(t, "ws"), false, nil, allowance{may: true}},
		"AnOperators":          {"its accounts are not for tenants", operatorsNamespace(t, ""), false, nil, allowance{refused: true}},
		"AnOperatorsListed":    {"the operator says so", operatorsNamespace(t, ""), false, []string{"app"}, allowance{may: true, writes: 1}},
		"AnOperatorsMatched":   {"by a pattern", operatorsNamespace(t, ""), false, []string{"x", "a*"}, allowance{may: true, writes: 1}},
		"AnotherIsListed":      {"", operatorsNamespace(t, ""), false, []string{"apps", "ap"}, allowance{refused: true}},
		"NotedForTheWorkspace": {"it was there before that was asked for", ownedBy(operatorsNamespace(t, "ws"), v1alpha1.FieldManager), true, nil, allowance{refused: true}},
		"NotedNotInTheCache":   {"likewise", operatorsNamespace(t, "ws"), false, nil, allowance{refused: true}},
		"NotedAndListed":       {"", ownedBy(operatorsNamespace(t, "ws"), v1alpha1.FieldManager), true, []string{"app"}, allowance{may: true}},
		"ForgedMarks":          {"somebody else wrote that tmc had made it", forged(), false, nil, allowance{refused: true}},
		"ForgedInTheCache":     {"likewise", forged(), true, nil, allowance{refused: true}},
	}
	for name, tc := range cases {
		for _, mode := range everyMode {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				c := newFakeCluster(withoutNil(tc.live)...)
				var cached []*unstructured.Unstructured
				if tc.cached {
					cached = append(cached, asCached(t, tc.live))
				}
				s := newTestSyncer(t, c, v1alpha1.TransformRule{NamespaceMode: mode}, cached...)
				s.SetAllowed(tc.allowed)
				want := tc.want
				if mode == v1alpha1.NamespaceModeShared && tc.live != nil {
					want.writes = 0 // nobody has it
				}
				if got := c.newcomer(t, s); got != want {
					t.Errorf("got %+v, want %+v: %s", got, want, tc.reason)
				}
				asked := c.lists()
				if got := c.newcomer(t, s); got != want {
					t.Errorf("again: got %+v, want %+v: %s", got, want, tc.reason)
				}
				if c.lists() != asked {
					t.Errorf("the cluster was asked again a moment later")
				}
			})
		}
	}
}

func TestARefusedNamespaceIsLookedAtAgain(t *testing.T) {
	c := newFakeCluster(operatorsNamespace(t, ""))
	s := newTestSyncer(t, c, v1alpha1.TransformRule{})
	s.SetAllowed(nil)
	now := time.Unix(1_000_000, 0)
	s.now = func() time.Time { return now }
	if got := c.newcomer(t, s); !got.refused {
		t.Fatalf("got %+v", got)
	}
	delete(c.namespaces, app)
	now = now.Add(recheck)
	if got := c.newcomer(t, s); !got.may || c.holder() != "ws" {
		t.Errorf("the namespace is gone: got %+v, and it is %q's", got, c.holder())
	}
}

func TestWhatIsInAForeignNamespaceAlreadyIsKeptUp(t *testing.T) {
	cases := map[string]struct {
		reason    string
		namespace *unstructured.Unstructured
		written   bool
		allowed   []string
		tolerated bool
	}{
		"WithoutAMark":   {"what was there is not stopped, and told of", nil, false, nil, true},
		"Noted":          {"likewise", ownedBy(operatorsNamespace(t, "ws"), v1alpha1.FieldManager), false, nil, true},
		"ForgedMarks":    {"likewise", ownedBy(madeNamespace(t, "ws"), "velero"), false, nil, true},
		"Listed":         {"it may be there", nil, false, []string{"app"}, false},
		"MadeByTmc":      {"", ownedBy(madeNamespace(t, "ws"), v1alpha1.FieldManager), false, nil, false},
		"WrittenJustNow": {"its event is on its way: nobody is told what is not so", nil, true, nil, false},
	}
	for name, tc := range cases {
		for _, mode := range everyMode {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				cached := []*unstructured.Unstructured{copyFrom(t, "ws", "web", 1)}
				if tc.namespace != nil {
					cached = append(cached, asCached(t, tc.namespace))
				}
				s := newTestSyncer(t, newFakeCluster(), v1alpha1.TransformRule{NamespaceMode: mode}, cached...)
				s.SetAllowed(tc.allowed)
				if tc.written {
					s.claims.take(app, "ws")
				}
				key, st := transformed(t, s)
				if st.broken != nil || st.desired == nil {
					t.Fatalf("broken: %v; a copy that is there is kept up: %s", st.broken, tc.reason)
				}
				if (st.tolerated != nil) != tc.tolerated {
					t.Fatalf("tolerated: %v, want %t: %s", st.tolerated, tc.tolerated, tc.reason)
				}
				if waits := s.waiters.take(namespaceKey(app)).Has(key); tc.tolerated && !waits {
					t.Error("it does not wait for news of the namespace")
				}
				if tc.tolerated {
					tellsThatItIsKeptUp(t, *st.tolerated)
				}
			})
		}
	}
}

// tellsThatItIsKeptUp fails the test unless a problem says why the copy could not come in today, what to do, and that it stays.
func tellsThatItIsKeptUp(t *testing.T, problem v1alpha1.Problem) {
	t.Helper()
	for _, words := range []string{"namespace app", "was not made by tmc", "use another namespace", "add app to spec.allowedNamespaces of ClusterRegistration east", "kept up", "nothing new comes in"} {
		if problem.Reason != reasonNotAllowed || !strings.Contains(problem.Message, words) {
			t.Errorf("%+v does not say %q", problem, words)
		}
	}
}

// TestWhereNamespacesAreSharedNobodySlipsIntoOneThatHasJustCome has a namespace made by somebody else after the look, and before the copy.
func TestWhereNamespacesAreSharedNobodySlipsIntoOneThatHasJustCome(t *testing.T) {
	c := newFakeCluster()
	s := newTestSyncer(t, c, v1alpha1.TransformRule{NamespaceMode: v1alpha1.NamespaceModeShared})
	s.SetAllowed(nil)
	c.beforeWrite = func(c *fakeCluster) { c.store(operatorsNamespace(t, "")) }
	_, st := keyIn(s, "ws")
	if _, may, err := s.enter(t.Context(), st); may || !errors.Is(err, errStale) {
		t.Errorf("may enter: %t, error %v, want the turn to be taken again", may, err)
	}
	if got := c.newcomer(t, s); !got.refused {
		t.Errorf("then: %+v", got)
	}
}

// forgedCopy is an object that says that it is the copy of a workspace's, and that somebody else has made.
func forgedCopy(t *testing.T, workspace, name string) *unstructured.Unstructured {
	t.Helper()
	return asCached(t, ownedBy(copyFrom(t, workspace, name, 1), "kube-controller-manager"))
}

func TestAForgedCopyCountsForNobody(t *testing.T) {
	s := newTestSyncer(t, newFakeCluster(), v1alpha1.TransformRule{}, forgedCopy(t, "victim", "web"))
	origin := transform.Origin{Workspace: "victim", Namespace: app, Name: "web", Cluster: "east"}
	if found := s.copies.of(deploymentsResource, origin); len(found) > 0 {
		t.Errorf("it is found as the copy of the victim's: %v", found)
	}
	if s.holdsOthers(app, "ws") || s.copies.hasWorkloads(app) || s.heirOf(app) != nil {
		t.Error("it counts as something that the victim has in the namespace")
	}
	if others := s.others(); len(others) > 0 {
		t.Errorf("it counts as abandoned: %v", others)
	}
}

func TestAForgedCopyIsInTheWayAndHoldsNothing(t *testing.T) {
	s := newTestSyncer(t, newFakeCluster(), v1alpha1.TransformRule{}, forgedCopy(t, "victim", "web"))
	key, st := keyIn(s, "victim")
	st.upstreamObj = upstreamDeployment(held)
	if got := decide(st); got != actRelease {
		t.Errorf("the victim's delete: got %q, want %q", got, actRelease)
	}
	st.upstreamObj = upstreamDeployment(placed, held)
	if got := decide(st); got != actRefuse {
		t.Errorf("where the victim's copy is to go: got %q, want %q", got, actRefuse)
	}
	problem := s.refuse(t.Context(), key, st).problems[0]
	if problem.Reason != "Conflict" || problem.Concerns != "" || !strings.Contains(problem.Message, "was not made by tmc") {
		t.Errorf("told: %+v", problem)
	}
}

func TestAForgedNamespaceIsNobodysToLookAfter(t *testing.T) {
	st := gathered(t, v1alpha1.NamespaceModeExclusive, []*unstructured.Unstructured{asCached(t, ownedBy(madeNamespace(t, "victim"), "kubectl"))})
	if got := decideNamespace(st); got != namespaceStays {
		t.Errorf("got %q, want it left alone", got)
	}
}

func TestAConflictTellsNobodyWhoseTheOtherIs(t *testing.T) {
	cases := map[string]struct {
		reason   string
		inTheWay *unstructured.Unstructured
		concerns string
		says     string
	}{
		"AnotherWorkspaces": {"the hub finds it by the hash", copyFrom(t, "secret-ws", "web", 1), transform.Origin{Workspace: "secret-ws", Namespace: app, Name: "web", Cluster: "east"}.Hash(), "is the copy of another object"},
		"NotTmcs":           {"", transform.BareNamespace("web"), "", "was not made by tmc"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newTestSyncer(t, newFakeCluster(), v1alpha1.TransformRule{NamespaceMode: v1alpha1.NamespaceModeShared})
			key, st := keyIn(s, "ws")
			tc.inTheWay.SetUID("u-1")
			st.downstreamObj = tc.inTheWay
			problem := s.refuse(context.Background(), key, st).problems[0]
			if problem.Concerns != tc.concerns || !strings.Contains(problem.Message, tc.says) {
				t.Errorf("got %+v, want %q, concerning %q: %s", problem, tc.says, tc.concerns, tc.reason)
			}
			if strings.Contains(problem.Message+problem.Concerns, "secret-ws") {
				t.Errorf("%+v says whose it is", problem)
			}
			if s.memories.get(key).obstacle != "u-1" {
				t.Error("the log has not been told, or would be every time")
			}
		})
	}
}

// TestAForgedClaimIsLeftBehind has a claim in a namespace that only says that it was tmc's.
func TestAForgedClaimIsLeftBehind(t *testing.T) {
	claim := func(manager string) *metav1.PartialObjectMetadata {
		made := ownedBy(copyFrom(t, "ws", "data", 1), manager)
		return &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
			ObjectMeta: metav1.ObjectMeta{Namespace: app, Name: "data", Labels: made.GetLabels(), Annotations: made.GetAnnotations(), ManagedFields: made.GetManagedFields()},
		}
	}
	scheme := runtime.NewScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for manager, want := range map[string]string{v1alpha1.FieldManager: "", "kube-controller-manager": "persistentvolumeclaims data"} {
		d := &downstream{metadata: metadatafake.NewSimpleMetadataClient(scheme, claim(manager))}
		if got, err := d.leftBehind(t.Context(), app); err != nil || got != want {
			t.Errorf("made by %s: got %q, %v, want %q", manager, got, err, want)
		}
	}
}

// TestACopyThatLostItsLabelDoesNotHoldADeleteForEver has one that no cache of ours shows.
func TestACopyThatLostItsLabelDoesNotHoldADeleteForEver(t *testing.T) {
	c := newFakeCluster()
	s := newTestSyncer(t, c, v1alpha1.TransformRule{})
	lost := ownedBy(copyFrom(t, "ws", "web", 1), v1alpha1.FieldManager)
	labels := lost.GetLabels()
	delete(labels, v1alpha1.ManagedByLabel)
	lost.SetLabels(labels)
	if _, err := c.client.Resource(deploymentsResource).Namespace(app).Create(t.Context(), lost, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	key, st := keyIn(s, "ws")
	st.upstreamObj = upstreamDeployment(held)
	if err := s.release(t.Context(), key, st); !errors.Is(err, errStale) {
		t.Errorf("got %v, want the turn to be taken again", err)
	}
	if left, err := s.downstream.live(t.Context(), deploymentsResource, app, "web"); err != nil || left != nil {
		t.Errorf("the copy is still there: %v, %v", left, err)
	}
}
