package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// changeWeb replaces the Deployment web by a changed one.
func (f *fakeKCP) changeWeb(change func(*unstructured.Unstructured)) {
	obj := f.object("web").DeepCopy()
	change(obj)
	f.objects[f.keyOf("web")] = obj
}

func (f *fakeKCP) keyOf(name string) kcp.ObjectKey {
	obj := f.object(name)
	return kcp.KeyOf(resources[obj.GetKind()], obj)
}

func version(obj *unstructured.Unstructured) { obj.SetResourceVersion("7") }

func TestSyncWritesOnePatch(t *testing.T) {
	f := newFakeKCP(t, web, placementOf("{replicas: Divided}"))
	f.changeWeb(version)
	s := f.scheduler(states{"east": {Name: "east", Ready: true, Groups: []string{"eu"}}})
	want := []string{
		`{"metadata":{"annotations":{"replicas.tmc.kcp.io/east":"1","tmc.kcp.io/placement":"{\"by\":\"placement\",\"name\":\"p\",\"replicas\":1,\"clusters\":{\"east\":\"placement p: every ready cluster that it selects\"}}"},` +
			`"finalizers":["syncer.tmc.kcp.io/east"],"labels":{"cluster.tmc.kcp.io/east":"sync","group.tmc.kcp.io/eu":"sync"},"resourceVersion":"7","uid":"web"}}`,
	}
	for turn := range 2 {
		if _, err := s.sync(t.Context(), f.keyOf("web")); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, f.patches); diff != "" {
			t.Errorf("after turn %d, written (-want +got):\n%s", turn, diff)
		}
		if len(f.told) > 0 {
			t.Errorf("after turn %d, told %q: its annotation says where it is", turn, f.told)
		}
	}
}

// TestTell tells where an object has moved, and not where it goes at first.
func TestTell(t *testing.T) {
	for name, c := range map[string]struct {
		on, to []string
		by     string
		want   []string
	}{
		"to its first clusters": {nil, []string{"east"}, "p", nil},
		"to other clusters":     {[]string{"east"}, []string{"west"}, "p", []string{"web Placed: placement p: on west"}},
		"nowhere":               {[]string{"east"}, nil, "p", []string{"web Placed: placement p: nowhere"}},
		"it stays":              {[]string{"east"}, []string{"east"}, "p", nil},
		"where everything goes": {[]string{"east"}, []string{"west"}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeKCP(t, web)
			s := f.scheduler(fleet{"east", "west"})
			labels := map[string]string{}
			for _, cluster := range c.on {
				labels[v1alpha1.PlacementLabel(cluster)] = v1alpha1.PlacementLabelValue
			}
			f.changeWeb(func(obj *unstructured.Unstructured) { obj.SetLabels(labels) })
			decision := placement.Decision{By: protocol.ByPlacement, Placement: c.by, Clusters: c.to}
			change := placement.Plan(f.object("web"), decision, c.to, s.groupsOf, s.now())
			s.tell(f.object("web"), decision, change)
			if diff := cmp.Diff(c.want, f.told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSyncWritesTheRevisionAlong(t *testing.T) {
	f := newFakeKCP(t, web)
	s := f.scheduler(fleet{"east"})
	s.config.Revision = func(kcp.ObjectKey, *unstructured.Unstructured) string { return "1" }
	for range 2 {
		if _, err := s.sync(t.Context(), f.keyOf("web")); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.patches) != 1 || !strings.Contains(f.patches[0], `"deployment.kubernetes.io/revision":"1"`) {
		t.Errorf("written: %q, want one patch with the revision", f.patches)
	}
}

func TestChangeOfPartitionIsOneWrite(t *testing.T) {
	const db = `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, uid: db, generation: 3, labels: {cluster.tmc.kcp.io/east: sync, cluster.tmc.kcp.io/west: sync},
		finalizers: [syncer.tmc.kcp.io/east, syncer.tmc.kcp.io/west], annotations: {replicas.tmc.kcp.io/east: "2", replicas.tmc.kcp.io/west: "2", partition.tmc.kcp.io/east: 1/2,
		partition.tmc.kcp.io/west: 1/2, tmc.kcp.io/placement: '{"by":"placement","name":"p","replicas":4,"clusters":{"east":"placement p: every ready cluster that it selects","west":"placement p: every ready cluster that it selects"}}'}},
		spec: {replicas: 4, updateStrategy: {rollingUpdate: {partition: %s}}}}`
	cases := map[string]struct {
		partition string
		want      []string
	}{
		"as it was":             {"2", nil},
		"smaller":               {"1", []string{`{"metadata":{"annotations":{"partition.tmc.kcp.io/east":"0/1","partition.tmc.kcp.io/west":null},"resourceVersion":"7","uid":"db"}}`}},
		"none any more":         {"0", []string{`{"metadata":{"annotations":{"partition.tmc.kcp.io/east":null,"partition.tmc.kcp.io/west":null},"resourceVersion":"7","uid":"db"}}`}},
		"as many as there are":  {"4", []string{`{"metadata":{"annotations":{"partition.tmc.kcp.io/east":null,"partition.tmc.kcp.io/west":null},"resourceVersion":"7","uid":"db"}}`}},
		"larger: east has more": {"3", []string{`{"metadata":{"annotations":{"partition.tmc.kcp.io/east":"1/3","partition.tmc.kcp.io/west":"2/3"},"resourceVersion":"7","uid":"db"}}`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeKCP(t, fmt.Sprintf(db, tc.partition), placementOf("{replicas: Divided}"))
			version(f.object("db"))
			s := f.scheduler(states{"east": {Name: "east", Ready: true}, "west": {Name: "west", Ready: true}})
			for range 2 {
				if _, err := s.sync(t.Context(), f.keyOf("db")); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tc.want, f.patches, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSyncHoldsForReadyClustersOnly(t *testing.T) {
	f := newFakeKCP(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {tmc.kcp.io/target-clusters: "east,west"}}}`)
	s := f.scheduler(states{"east": {Name: "east"}, "west": {Name: "west", Ready: true}})
	if _, err := s.sync(t.Context(), f.keyOf("web")); err != nil {
		t.Fatal(err)
	}
	if len(f.patches) != 1 || !strings.Contains(f.patches[0], `"finalizers":["syncer.tmc.kcp.io/west"]`) {
		t.Errorf("written: %q", f.patches)
	}
}

// TestSyncAfterAnUpgrade is about objects on which an earlier version has said why they are where they are.
func TestSyncAfterAnUpgrade(t *testing.T) {
	const former = `{"by":"placement p","clusters":{"east":"placement p: worded otherwise","west":"stays until it is available elsewhere"}}`
	labels := map[string]string{v1alpha1.PlacementLabel("east"): "sync", v1alpha1.PlacementLabel("west"): "sync"}
	cases := map[string]struct {
		available int64
		want      []string
	}{
		"nothing is written while the decision is the same": {0, nil},
		"the next change writes the present form": {1, []string{
			`{"metadata":{"annotations":{"tmc.kcp.io/placement":"{\"by\":\"placement\",\"name\":\"p\",\"clusters\":{\"east\":\"placement p: worded otherwise\"}}"},"labels":{"cluster.tmc.kcp.io/west":null},"resourceVersion":"7","uid":"web"}}`,
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeKCP(t, web, placementOf("{numberOfClusters: 1, clusterSelector: {clusterNames: [east]}}"))
			f.changeWeb(func(obj *unstructured.Unstructured) {
				version(obj)
				obj.SetLabels(labels)
				annotate(map[string]*string{v1alpha1.PlacementAnnotation: new(former)})(obj)
			})
			f.reports(t, "west", 1)
			f.reports(t, "east", tc.available)
			f.changeWeb(annotate(map[string]*string{v1alpha1.StatusAnnotation("west"): f.unless(tc.available > 0, "web", v1alpha1.StatusAnnotation("west"))}))
			if _, err := f.scheduler(fleet{"east", "west"}).sync(t.Context(), f.keyOf("web")); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, f.patches); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
		})
	}
}

// unless returns the annotation of the object of that name, nil when it is not to be there.
func (f *fakeKCP) unless(absent bool, name, key string) *string {
	if absent {
		return nil
	}
	return new(f.object(name).GetAnnotations()[key])
}

func TestWriteErrors(t *testing.T) {
	starting := apierrors.NewGenericServerResponse(404, "patch", schema.GroupResource{}, "", "404 page not found", 0, true)
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "deployments"}, "web", errors.New("it has changed"))
	writes := map[string]func(*Scheduler, *fakeKCP) error{
		"a turn": func(s *Scheduler, f *fakeKCP) error {
			_, err := s.sync(t.Context(), f.keyOf("web"))
			return err
		},
		"a release": func(s *Scheduler, f *fakeKCP) error { return s.Release(t.Context(), f.keyOf("web"), "north") },
		"a status": func(s *Scheduler, f *fakeKCP) error {
			_, err := s.syncStatus(t.Context(), f.keyOf("p"))
			return err
		},
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			f := newFakeKCP(t, web, placementOf("{}"))
			f.changeWeb(func(obj *unstructured.Unstructured) { obj.SetFinalizers([]string{v1alpha1.Finalizer("north")}) })
			s := f.scheduler(fleet{"east"})
			f.refuses = conflict
			if err := write(s, f); !errors.Is(err, conflict) || len(f.told) > 0 {
				t.Errorf("refused, it returns %v, and tells of what was not done: %q", err, f.told)
			}
			f.refuses = starting
			if err := write(f.scheduler(fleet{"east"}), f); !errors.Is(err, starting) {
				t.Errorf("of a kcp that has only just started, it returns %v", err)
			}
			f.refuses = apierrors.NewNotFound(schema.GroupResource{Resource: "objects"}, map[bool]string{true: "p", false: "web"}[name == "a status"])
			if err := write(f.scheduler(fleet{"east"}), f); err != nil {
				t.Errorf("of an object that is gone, it returns %v", err)
			}
		})
	}
}

func TestRelease(t *testing.T) {
	east, west := v1alpha1.PlacementLabel("east"), v1alpha1.PlacementLabel("west")
	cases := map[string]struct {
		labels     map[string]string
		finalizers []string
		want       []string
	}{
		"held: label, report and finalizer go, and the group's label with the last of its clusters": {
			map[string]string{east: "sync", west: "sync", v1alpha1.GroupLabel("eu"): "sync"}, []string{"other/one", v1alpha1.Finalizer("east")},
			[]string{`{"metadata":{"annotations":{"status.tmc.kcp.io/east":null},"finalizers":["other/one"],"labels":{"cluster.tmc.kcp.io/east":null,"group.tmc.kcp.io/eu":null},"resourceVersion":"7","uid":"web"}}`},
		},
		"not held": {
			map[string]string{east: "sync", v1alpha1.GroupLabel("eu"): "sync"}, nil,
			[]string{`{"metadata":{"annotations":{"status.tmc.kcp.io/east":null},"labels":{"cluster.tmc.kcp.io/east":null,"group.tmc.kcp.io/eu":null},"uid":"web"}}`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeKCP(t, web)
			f.changeWeb(func(obj *unstructured.Unstructured) {
				version(obj)
				obj.SetLabels(tc.labels)
				obj.SetFinalizers(tc.finalizers)
				annotate(map[string]*string{v1alpha1.StatusAnnotation("east"): new("{}")})(obj)
			})
			s := f.scheduler(states{"east": placement.Cluster{Name: "east", Groups: []string{"eu"}}})
			if err := s.Release(t.Context(), f.keyOf("web"), "north"); err != nil || len(f.patches) > 0 {
				t.Errorf("of a cluster of which nothing is said: error %v, written %q", err, f.patches)
			}
			if err := s.Release(t.Context(), f.keyOf("web"), "east"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, f.patches); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			key := f.keyOf("web")
			delete(f.objects, key)
			if err := s.Release(t.Context(), key, "east"); err != nil || len(f.patches) != 1 {
				t.Errorf("of what is gone: error %v, written %q", err, f.patches[1:])
			}
		})
	}
}
