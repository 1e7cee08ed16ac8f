package syncer

import (
	"context"
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// TestAnotherInstallationsNamespacesAreLeftAlone has a cluster that belongs to two installations: namespaces that are marked
// for a name that is registered with the other one alone, and for workspaces of which only that one knows.
func TestAnotherInstallationsNamespacesAreLeftAlone(t *testing.T) {
	origin := transform.Origin{Workspace: "theirs", Name: app, Cluster: "west"}
	noted, err := transform.NotedNamespace(app, origin)
	if err != nil {
		t.Fatal(err)
	}
	made, err := transform.DesiredNamespace(nil, origin, v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	away := errors.New("connection refused")
	for name, namespace := range map[string]*unstructured.Unstructured{"Noted": noted, "Made": made} {
		for asked, answer := range map[string]error{"NotRegistered": nil, "NoAnswer": away} {
			t.Run(name+asked, func(t *testing.T) {
				c := newFakeCluster(namespace)
				s := newTestSyncer(t, c, v1alpha1.TransformRule{}, c.namespaces[app])
				s.isRegistered = func(context.Context, string) (bool, error) { return false, answer }
				if err := s.clearAbandonedOnce(t.Context()); !errors.Is(err, answer) {
					t.Errorf("got error %v, want %v", err, answer)
				}
				if again, err := s.syncNamespace(t.Context(), app); again != 0 || err != nil || c.writes != 0 {
					t.Errorf("its turn: again after %s, error %v, %d writes, want nothing", again, err, c.writes)
				}
			})
		}
	}
}
