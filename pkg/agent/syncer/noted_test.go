package syncer

import (
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clientgotesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestANoteThatTheClusterRefusesIsNotTriedAllTheTime has a copy in a namespace that bears no mark, and a cluster whose policy
// does not list it.
func TestANoteThatTheClusterRefusesIsNotTriedAllTheTime(t *testing.T) {
	away := errors.New("connection refused")
	cases := map[string]struct {
		reason  string
		refusal error
		again   time.Duration
		err     error
	}{
		"Refused": {"its answer stays the same", apierrors.NewForbidden(v1alpha1.NamespacesResource.GroupResource(), app, errors.New("a policy denies it")), longestRecheck, nil},
		"Away":    {"it will answer some day", away, 0, away},
		"Taken":   {"there is nothing more to do", nil, 0, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cluster := newFakeCluster(operatorsNamespace(t, ""))
			writes := 0
			cluster.client.PrependReactor("patch", "namespaces", func(clientgotesting.Action) (bool, runtime.Object, error) {
				writes++
				return c.refusal != nil, nil, c.refusal
			})
			s := newTestSyncer(t, cluster, v1alpha1.TransformRule{}, copyFrom(t, "ws", "web", 1))
			again, err := s.syncNamespace(t.Context(), app)
			if again != c.again || !errors.Is(err, c.err) || writes != 1 {
				t.Errorf("%s: again after %s with error %v and %d writes, want %s and %v after one", c.reason, again, err, writes, c.again, c.err)
			}
		})
	}
}
