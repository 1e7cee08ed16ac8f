package scheduler

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const (
	web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, generation: 1}
spec: {template: {spec: {containers: [{name: web, envFrom: [{configMapRef: {name: settings}}]}]}}}`
	exportOfEast = "cluster-east"
)

// object returns the object of that name.
func (f *fakeKCP) object(name string) *unstructured.Unstructured {
	for key, obj := range f.objects {
		if key.Name == name {
			return obj
		}
	}
	return nil
}

// bindEast has the export of east bound, or not.
func (f *fakeKCP) bindEast(s *Scheduler, bound bool) {
	f.leftOut = map[string]v1alpha1.LeftOut{}
	if !bound {
		f.leftOut[exportOfEast] = v1alpha1.LeftOutNotBound
	}
	s.OnWorkspace("ws")
}

func TestSyncEntersAClusterWhenItIsBound(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, web)
	s := f.scheduler(fleet{"east", "west"})
	f.bindEast(s, false)
	f.settleWith(t, s)
	for _, name := range []string{"web", "settings", "app"} {
		if diff := cmp.Diff([]string{"west"}, f.on(name)); diff != "" {
			t.Errorf("%s, while east is not bound (-want +got):\n%s", name, diff)
		}
	}
	if noted := protocol.Read(f.object("web")).Placement().LeftOut; noted["east"] != v1alpha1.LeftOutNotBound {
		t.Errorf("it is noted that %v are left out", noted)
	}
	if len(f.told) != 1 || !strings.Contains(f.told[0], "east is not bound here: kubectl tmc bind, or make the workspace of type root:tmc:tmc-tenant") {
		t.Errorf("its user is told %q", f.told)
	}

	f.written = nil
	f.settleWith(t, s)
	f.settleWith(t, f.scheduler(fleet{"east", "west"})) // another hub
	if len(f.written) > 0 || len(f.told) > 1 {
		t.Errorf("at rest, %v are written, and its user is told %q", f.written, f.told[1:])
	}

	f.bindEast(s, true)
	f.settleWith(t, s)
	if diff := cmp.Diff([]string{"app", "settings", "web"}, f.written); diff != "" {
		t.Errorf("written when it is bound (-want +got):\n%s", diff)
	}
	if noted := protocol.Read(f.object("web")).Placement().LeftOut; len(noted) > 0 || len(f.told) != 1 {
		t.Errorf("left out are %v, and its user is told %q", noted, f.told)
	}
}

func TestSyncStaysWhenTheBindingIsGone(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, web)
	s := f.scheduler(fleet{"east", "west"})
	f.settleWith(t, s)
	hold(f, "web", "settings")
	f.written = nil
	f.bindEast(s, false)
	f.settleWith(t, s)
	for _, name := range []string{"web", "settings", "app"} {
		if len(f.on(name)) != 2 {
			t.Errorf("%s is on %v", name, f.on(name))
		}
	}
	if len(f.written) > 0 {
		t.Errorf("written: %v", f.written)
	}
}

func TestSyncMovesNothingWhenIsolationChanges(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, web)
	shared := placement.Cluster{Name: "east", Ready: true, Export: v1alpha1.APIExportName}
	clusters := states{"east": shared, "west": {Name: "west", Ready: true, Export: v1alpha1.APIExportName}}
	s := f.scheduler(clusters)
	f.leftOut = map[string]v1alpha1.LeftOut{exportOfEast: v1alpha1.LeftOutNotBound}
	f.settleWith(t, s)
	f.written = nil
	clusters["east"] = placement.Cluster{Name: "east", Ready: true, Export: exportOfEast}
	s.OnCluster("east")
	f.settleWith(t, s)
	if len(f.on("web")) != 2 || len(f.written) > 0 {
		t.Errorf("isolated and not bound, it is on %v; written: %v", f.on("web"), f.written)
	}
}

func TestSyncNamedClusterThatIsNotBound(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, account, deployment)
	s := f.scheduler(fleet{"east", "west"})
	f.bindEast(s, false)
	f.settleWith(t, s)
	reason := protocol.Read(f.object("web")).Placement()
	if got := f.on("web"); got != nil || reason.LeftOut["east"] != v1alpha1.LeftOutNotBound || !strings.HasPrefix(reason.Message, "east is not bound here") {
		t.Errorf("it is on %v, for %+v", got, reason)
	}
	if len(f.told) > 0 {
		t.Errorf("besides the warning, its user is told %q", f.told)
	}
	f.bindEast(s, true)
	f.settleWith(t, s)
	if diff := cmp.Diff([]string{"east"}, f.on("web")); diff != "" || protocol.Read(f.object("web")).Placement().Message != "" {
		t.Errorf("bound (-want +got):\n%s", diff)
	}
}

func TestSyncKindsThatClustersTake(t *testing.T) {
	served := func(kinds ...string) placement.Cluster {
		return placement.Cluster{Name: "east", Ready: true, Export: exportOfEast, Resources: sets.New(kinds...)}
	}
	cases := map[string]struct {
		east      placement.Cluster
		leftOut   map[string]v1alpha1.LeftOut
		web, conf []string
	}{
		"both: it takes both": {served("deployments.apps/v1", "configmaps/v1"), nil, []string{"east", "west"}, []string{"east", "west"}},
		"not the settings: nobody waits for what never comes": {served("deployments.apps/v1"), nil, []string{"east", "west"}, []string{"west"}},
		"not the workload: what it needs follows it":          {served("configmaps/v1"), nil, []string{"west"}, []string{"west"}},
		"not in the export: its syncer would not see them":    {served(), map[string]v1alpha1.LeftOut{exportOfEast + " configmaps": v1alpha1.LeftOutKindNotAccepted}, []string{"east", "west"}, []string{"west"}},
		"workload not claimed":                                {served(), map[string]v1alpha1.LeftOut{exportOfEast + " deployments": v1alpha1.LeftOutKindNotAccepted}, []string{"west"}, []string{"west"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeKCP(t, namespace, settings, web)
			f.leftOut = tc.leftOut
			f.settleWith(t, f.scheduler(states{"east": tc.east, "west": {Name: "west", Ready: true, Export: v1alpha1.APIExportName}}))
			sorted := func(name string) []string { return sets.List(sets.New(f.on(name)...)) }
			if diff := cmp.Diff(tc.web, sorted("web")); diff != "" {
				t.Errorf("the Deployment (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.conf, sorted("settings")); diff != "" {
				t.Errorf("the ConfigMap (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSyncGroupLabels(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, web)
	clusters := states{"east": {Name: "east", Ready: true, Export: "group-eu", Groups: []string{"eu"}}, "west": {Name: "west", Ready: true, Export: v1alpha1.APIExportName}}
	s := f.scheduler(clusters)
	f.settleWith(t, s)
	expect := func(when string, writes int, groups ...string) {
		t.Helper()
		f.written = nil
		s.OnCluster("east")
		f.settleWith(t, s)
		if len(f.written) != writes {
			t.Errorf("%s: %v are written, want %d", when, f.written, writes)
		}
		for _, name := range []string{"web", "settings", "app"} {
			var got []string
			for _, group := range []string{"eu", "us", "zz"} {
				if f.object(name).GetLabels()[v1alpha1.GroupLabel(group)] == v1alpha1.PlacementLabelValue {
					got = append(got, group)
				}
			}
			if diff := cmp.Diff(groups, got); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", when, name, diff)
			}
		}
	}
	expect("at rest", 0, "eu")
	clusters["east"] = placement.Cluster{Name: "east", Ready: true, Export: "group-us", Groups: []string{"eu", "us"}}
	expect("on the way to another group", 3, "eu", "us")
	clusters["east"] = placement.Cluster{Name: "east", Ready: true, Export: "group-us", Groups: []string{"us"}}
	expect("in another group", 3, "us")
	clusters["east"] = placement.Cluster{Name: "east", Ready: true, Export: exportOfEast}
	expect("in none", 3)
	clusters["east"] = placement.Cluster{Name: "east", Ready: true, Export: "group-eu", Groups: []string{"eu"}}
	expect("in one again", 3, "eu")
	obj := f.object("web").DeepCopy()
	obj.SetLabels(merge(obj.GetLabels(), map[string]*string{v1alpha1.GroupLabel("zz"): new(v1alpha1.PlacementLabelValue)}))
	f.objects[kcp.KeyOf(resources["Deployment"], obj)] = obj
	expect("forged", 1, "eu")
}

func TestSyncDeletedObjects(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, web)
	clusters := states{"east": {Name: "east", Ready: true, Export: exportOfEast}}
	s := f.scheduler(clusters)
	f.settleWith(t, s)
	obj := f.object("web").DeepCopy()
	obj.SetFinalizers([]string{v1alpha1.Finalizer("east"), metav1.FinalizerOrphanDependents, "example.com/drain"})
	obj.SetDeletionTimestamp(new(metav1.Unix(0, 0)))
	key := kcp.KeyOf(resources["Deployment"], obj)
	f.objects[key] = obj
	clusters["east"] = placement.Cluster{Name: "east", Ready: true, Export: "group-eu", Groups: []string{"eu"}}
	f.settleWith(t, s)
	if got := f.objects[key].GetLabels()[v1alpha1.GroupLabel("eu")]; got != v1alpha1.PlacementLabelValue {
		t.Errorf("the group's label is %q", got)
	}
	if got := f.objects[key].GetAnnotations()[v1alpha1.PropagationAnnotation]; got != string(metav1.DeletePropagationOrphan) {
		t.Errorf("the note for its syncers is %q", got)
	}
	if got := protocol.Read(f.objects[key]).Labelled(); !slices.Equal(got, []string{"east"}) {
		t.Errorf("it is on %v", got)
	}
}
