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

// TestDataStayWhenNothingNeedsThem has a workload move, and be deleted, that uses a volume.
func TestDataStayWhenNothingNeedsThem(t *testing.T) {
	const claim = `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}}`
	const user = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {tmc.kcp.io/target-clusters: east}}, spec: {template: {spec: {containers: [],
		volumes: [{persistentVolumeClaim: {claimName: data}}, {configMap: {name: settings}}]}}}}`
	f := newFakeKCP(t, namespace, settings, claim, user)
	expect := func(what string, data, settings []string) {
		t.Helper()
		f.settle(t)
		for name, want := range map[string][]string{"data": data, "settings": settings} {
			if got := f.on(name); !slices.Equal(got, want) {
				t.Errorf("%s: %s is on %v, want %v", what, name, got, want)
			}
		}
	}
	expect("at first", []string{"east"}, []string{"east"})
	target(f, "web", "west")
	expect("when its user has moved", []string{"west"}, []string{"west"})
	delete(f.objects, kcp.KeyOf(resources["Deployment"], f.object("web")))
	expect("when its user is gone", []string{"west"}, nil)
	target(f, "data", "")
	expect("when it is to be nowhere", nil, nil)
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
