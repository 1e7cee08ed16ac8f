package syncer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

// forWest has an object be marked for another cluster name.
func forWest(obj *unstructured.Unstructured) {
	annotated(v1alpha1.TargetClusterAnnotation, "west")(obj)
}

func TestClearAbandonedOnce(t *testing.T) {
	here := web()
	abandoned := copyOf("ws", here, forWest)
	unknown := upstream.ErrUnknownWorkspace
	west := func(obj *unstructured.Unstructured) {
		obj.SetLabels(map[string]string{v1alpha1.PlacementLabel("west"): v1alpha1.PlacementLabelValue})
	}
	cases := map[string]struct {
		cached     *unstructured.Unstructured
		registered bool
		live       *unstructured.Unstructured
		asked      error // what comes of asking whether the cluster is registered
		liveErr    error
		writes     []string
		namespaces []string
		err        error
	}{
		"a copy whose object is gone":                    {cached: abandoned, writes: []string{removeWeb}},
		"a copy whose object the hub has taken away":     {cached: abandoned, live: web(), writes: []string{removeWeb}},
		"a copy whose object is placed there":            {cached: abandoned, live: web(west)},
		"a copy of a cluster that is registered":         {cached: abandoned, registered: true},
		"a copy that is being deleted":                   {cached: copyOf("ws", here, forWest, deleting)},
		"a copy of this cluster":                         {cached: copyOf("ws", here)},
		"a copy of another installation":                 {cached: abandoned, liveErr: unknown},
		"kcp does not answer":                            {cached: abandoned, liveErr: errAway, err: errAway},
		"kcp does not say whether it is registered":      {cached: abandoned, asked: errAway, err: errAway},
		"a namespace of a known workspace":               {cached: operatorsNamespace("ws", forWest), namespaces: []string{app}},
		"a namespace of another installation":            {cached: operatorsNamespace("ws", forWest), liveErr: unknown},
		"a namespace that another installation has made": {cached: madeNamespace("ws", forWest), liveErr: unknown},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
			h.cache(t, h.cluster.store(c.cached))
			h.isRegistered = func(context.Context, string) (bool, error) { return c.registered, c.asked }
			if c.live != nil {
				h.place(c.live)
			}
			h.kcp.liveErr = c.liveErr
			if err := h.clearAbandonedOnce(t.Context()); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			h.expect(t, queued{Namespaces: c.namespaces})
			if _, err := h.syncNamespace(t.Context(), app); err != nil {
				t.Fatal(err)
			}
			if c.namespaces != nil {
				c.writes = []string{applyApp} // its note is taken off
			}
			if diff := cmp.Diff(c.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClearAbandoned(t *testing.T) {
	for _, answer := range []error{nil, errAway} {
		h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, copyOf("ws", web(), forWest))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		asked := 0
		h.isRegistered = func(context.Context, string) (bool, error) {
			asked++
			cancel()
			return true, answer
		}
		h.clearAbandoned(ctx)
		if asked != 1 {
			t.Errorf("asked %d times, want once before it ends", asked)
		}
	}
}

func TestOthers(t *testing.T) {
	forged := copyOf("ws", web(), by("kubectl"))
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, forged, madeNamespace("ws", forWest), copyOf("ws", settingsMap(), forWest))
	found := h.others()["west"]
	if len(found) != 2 || found[0].origin.Cluster != "west" {
		t.Errorf("found %v", found)
	}
	if want := (transform.Origin{Workspace: "ws", Name: app, Cluster: "west"}); found[0].origin != want && found[1].origin != want {
		t.Errorf("the namespace is not among %v", found)
	}
}
