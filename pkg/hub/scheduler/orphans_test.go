package scheduler

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// TestOrphansKeepWhatTheyUse has a workload be deleted whose pods are to stay.
func TestOrphansKeepWhatTheyUse(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, web)
	clusters := states{"east": {Name: "east", Ready: true}}
	s := f.scheduler(clusters)
	f.settleWith(t, s)
	key := kcp.KeyOf(resources["Deployment"], f.object("web"))
	expect := func(what string, on []string, staysFor string) {
		t.Helper()
		f.settleWith(t, s)
		now := f.object("settings")
		if got := protocol.Read(now).Placed(); !slices.Equal(got, on) || now.GetAnnotations()[v1alpha1.StaysForAnnotation] != staysFor {
			t.Errorf("%s: it is on %v, and stays for %q; want %v and %q", what, got, now.GetAnnotations()[v1alpha1.StaysForAnnotation], on, staysFor)
		}
	}
	expect("at first", []string{"east"}, "")

	again := f.object("web").DeepCopy()
	gone := f.object("web").DeepCopy()
	gone.SetFinalizers([]string{v1alpha1.Finalizer("east"), metav1.FinalizerOrphanDependents})
	gone.SetDeletionTimestamp(new(metav1.Unix(0, 0)))
	f.objects[key] = gone
	expect("while it goes", []string{"east"}, "deployments.apps/web")
	if got := f.object("web").GetAnnotations()[v1alpha1.PropagationAnnotation]; got != "Orphan" {
		t.Errorf("the wish is noted as %q", got)
	}
	delete(f.objects, key)
	s.OnUpstream(key, gone, nil)
	expect("when it has gone", []string{"east"}, "deployments.apps/web")

	again.SetUID("another")
	f.objects[key] = again
	expect("when there is another one", []string{"east"}, "")
	delete(f.objects, key)
	s.OnUpstream(key, again, nil)
	expect("when that goes with all that it has", []string{}, "")
}

// TestOrphansDoNotKeepClusters has a cluster be drained on which something stays for orphans.
func TestOrphansDoNotKeepClusters(t *testing.T) {
	f := newFakeKCP(t, namespace, settings)
	obj := f.object("settings").DeepCopy()
	obj.SetLabels(map[string]string{v1alpha1.PlacementLabel("east"): v1alpha1.PlacementLabelValue, v1alpha1.PlacementLabel("west"): v1alpha1.PlacementLabelValue, v1alpha1.PlacementLabel("gone"): v1alpha1.PlacementLabelValue})
	obj.SetAnnotations(map[string]string{v1alpha1.StaysForAnnotation: "deployments.apps/web"})
	s := f.scheduler(states{"east": placement.Cluster{Name: "east", Ready: true}, "west": placement.Cluster{Name: "west", Ready: true, Draining: true}})
	if got := s.stay(obj, placement.Decision{Follows: true}, []string{"deployments.apps/web"}).Clusters; !slices.Equal(got, []string{"east"}) {
		t.Errorf("it stays on %v", got)
	}
	if got := s.stay(obj, placement.Decision{Follows: true, Clusters: []string{"west"}}, []string{"deployments.apps/web"}).Clusters; !slices.Equal(got, []string{"east", "west"}) {
		t.Errorf("it goes to %v", got)
	}
}
