package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// TestHints has a cluster refuse a copy, and then change something that may have been the reason.
func TestHints(t *testing.T) {
	overQuota := apierrors.NewForbidden(deployments.GroupResource(), "web", errors.New("exceeded quota"))
	cases := map[string]struct {
		change func(h *harness)
		kind   string
		after  time.Duration
		woken  bool
	}{
		"nothing changes":                       {func(*harness) {}, "Deployment", time.Minute, false},
		"a quota of the namespace":              {func(h *harness) { h.cluster.versioned["resourcequotas "+app] = "2" }, "Deployment", time.Minute, true},
		"a limit range of the namespace":        {func(h *harness) { h.cluster.versioned["limitranges "+app] = "2" }, "Deployment", time.Minute, true},
		"a quota of another namespace":          {func(h *harness) { h.cluster.versioned["resourcequotas other"] = "2" }, "Deployment", time.Minute, false},
		"the namespace":                         {func(h *harness) { h.onNamespace(app) }, "Deployment", time.Minute, true},
		"a Service, which concerns no workload": {func(h *harness) { h.cluster.versioned["services "] = "2" }, "Deployment", time.Minute, false},
		"a Service, which concerns a Service":   {func(h *harness) { h.cluster.versioned["services "] = "2" }, "Service", time.Minute, true},
		"a moment after the last attempt":       {func(h *harness) { h.cluster.versioned["resourcequotas "+app] = "2" }, "Deployment", time.Second, false},
		"a cluster that does not answer":        {func(h *harness) { h.cluster.errs["versions resourcequotas "+app] = errAway }, "Deployment", time.Minute, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
			h.cluster.versioned = map[string]string{"resourcequotas " + app: "1"}
			h.cluster.errs[applyWeb] = overQuota
			key := h.place(web(placed, held))
			if again, err := h.spec(t, key); again != evaluate.Recheck || err != nil {
				t.Fatalf("again after %s, %v", again, err)
			}
			if c.kind == "Service" {
				h.refused.byKey[key] = refusedCopy{namespace: app, isService: true}
			}
			seen := h.lookOnce(t.Context(), nil, true)
			c.change(h)
			h.time = h.time.Add(c.after)
			h.specs.take()
			seen = h.lookOnce(t.Context(), seen, true)
			if woken := slices.Contains(h.specs.take(), key); woken != c.woken {
				t.Errorf("woken: %t, want %t", woken, c.woken)
			}
			h.time = h.time.Add(time.Minute)
			h.lookOnce(t.Context(), seen, false)
			delete(h.cluster.errs, applyWeb)
			if again, err := h.spec(t, key); again != 0 || err != nil || len(h.refused.byKey) > 0 {
				t.Errorf("taken: again after %s, %v; remembered %v", again, err, h.refused.byKey)
			}
			calls := len(h.cluster.calls)
			if h.lookOnce(t.Context(), seen, true); len(h.cluster.calls) != calls {
				t.Errorf("the cluster is asked though nothing is refused: %v", h.cluster.calls[calls:])
			}
		})
	}
}

func TestLookForHintsEnds(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.lookForHints(ctx)
}

func TestClusterVersions(t *testing.T) {
	quota := func(version string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"}, ObjectMeta: metav1.ObjectMeta{Namespace: app, Name: "q", UID: "u", ResourceVersion: version}}
	}
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	versions := func(failure error, objects ...runtime.Object) (string, error) {
		client := metadatafake.NewSimpleMetadataClient(scheme, objects...)
		if failure != nil {
			client.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, failure })
		}
		return (&cluster{metadata: client}).versions(t.Context(), quotasResource, app)
	}
	one, err := versions(nil, quota("1"))
	two, err2 := versions(nil, quota("2"))
	none, err3 := versions(nil)
	if err != nil || err2 != nil || err3 != nil || one == two || one == none || one == "" {
		t.Errorf("got %q, %q, %q; %v", one, two, none, errors.Join(err, err2, err3))
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "resourcequotas"}, "", errors.New("no"))
	if got, err := versions(forbidden, quota("1")); got != "" || err != nil {
		t.Errorf("of what may not be listed: %q, %v", got, err)
	}
	if _, err := versions(errAway); !errors.Is(err, errAway) {
		t.Errorf("got %v", err)
	}
}

// TestHeedRetry has the user ask for another try: what made the syncer leave the object alone is forgotten.
func TestHeedRetry(t *testing.T) {
	overQuota := apierrors.NewForbidden(deployments.GroupResource(), "web", errors.New("exceeded quota"))
	h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
	h.cluster.errs[applyWeb] = overQuota
	asking := func(when string) *unstructured.Unstructured {
		return web(placed, held, annotated(v1alpha1.RetryAnnotation, when))
	}
	key := h.place(asking("before"))
	turn := func(want time.Duration) {
		t.Helper()
		if again, err := h.spec(t, key); again != want || err != nil {
			t.Errorf("again after %s, %v; want %s", again, err, want)
		}
	}
	turn(evaluate.Recheck)
	turn(2 * evaluate.Recheck)
	old := h.kcp.objects[key]
	h.specs.take()
	h.onUpstream(key, old, h.kcp.objects[h.place(asking("now"))])
	if woken := h.specs.take(); !slices.Equal(woken, []kcp.ObjectKey{key}) {
		t.Errorf("woken: %v", woken)
	}
	h.news.setForeign(app, h.time)
	h.memories.update(key, func(m *memory) {
		m.inTheWay, m.ineffective, m.contest = true, evaluate.Apply{Hash: "x"}, &evaluate.Contest{}
	})
	turn(evaluate.Recheck)
	if m := h.memories.get(key); m.inTheWay || m.ineffective != (evaluate.Apply{}) || m.contest != nil || h.news.isForeign(app, h.time) {
		t.Errorf("remembered: %+v", m)
	}
	if got := fmt.Sprint(h.namespaces.take()); got != "["+app+"]" {
		t.Errorf("namespaces looked at: %s", got)
	}
	turn(2 * evaluate.Recheck)
	if hash := hashOf(copyOf("ws", asking("now"))); hash != hashOf(copyOf("ws", web(placed, held))) {
		t.Error("the copy changes by it")
	}
}
