package scheduler

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// settled are Deployments that have been placed, and of which nothing is to be written.
const (
	duplicated = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 2, labels: {cluster.tmc.kcp.io/east: sync, cluster.tmc.kcp.io/west: sync},
		finalizers: [syncer.tmc.kcp.io/east, syncer.tmc.kcp.io/west], annotations: {team: blue, deployment.kubernetes.io/revision: "2", status.tmc.kcp.io/east: '{"v":1,"cluster":"east","want":4}', status.tmc.kcp.io/west: '{"v":1,"cluster":"west","want":4}',
		tmc.kcp.io/placement: '{"by":"default","clusters":{"east":"default: every ready cluster","west":"default: every ready cluster"}}'}}, spec: {replicas: 4}}`
	// split has shares that nothing but what it says tells: by weight, or with other shares before, it would be two each.
	split = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 2, labels: {cluster.tmc.kcp.io/east: sync, cluster.tmc.kcp.io/west: sync},
		finalizers: [syncer.tmc.kcp.io/east, syncer.tmc.kcp.io/west], annotations: {team: blue, deployment.kubernetes.io/revision: "2", replicas.tmc.kcp.io/east: "3", replicas.tmc.kcp.io/west: "1",
		status.tmc.kcp.io/east: '{"v":1,"cluster":"east","want":3}', status.tmc.kcp.io/west: '{"v":1,"cluster":"west","want":1}',
		tmc.kcp.io/placement: '{"by":"placement","name":"p","replicas":4,"clusters":{"east":"placement p: spread","west":"placement p: spread"}}'}}, spec: {replicas: 4}}`
	// moved is on east, and is leaving west, which the placement would choose as well.
	moved = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 2, labels: {cluster.tmc.kcp.io/east: sync, cluster.tmc.kcp.io/west: sync},
		finalizers: [syncer.tmc.kcp.io/east, syncer.tmc.kcp.io/west], annotations: {team: blue, deployment.kubernetes.io/revision: "2", deletion.tmc.kcp.io/west: "1970-01-01T00:00:00Z",
		status.tmc.kcp.io/east: '{"v":1,"cluster":"east","want":4}', status.tmc.kcp.io/west: '{"v":1,"cluster":"west","want":4}',
		tmc.kcp.io/placement: '{"by":"placement","name":"p","clusters":{"east":"placement p: spread"}}'}}, spec: {replicas: 4}}`
	// leftAll leaves all its clusters, and nobody says why it was there.
	leftAll = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 2, labels: {cluster.tmc.kcp.io/west: sync}, finalizers: [syncer.tmc.kcp.io/west],
		annotations: {deployment.kubernetes.io/revision: "2", tmc.kcp.io/target-clusters: "", deletion.tmc.kcp.io/west: "1970-01-01T00:00:00Z", tmc.kcp.io/placement: '{"by":"annotation"}'}}, spec: {replicas: 4}}`
)

// undo gives web these annotations instead of all others, and tells the scheduler.
func (f *fakeKCP) undo(s *Scheduler, annotations map[string]string) {
	before := f.object("web")
	f.changeWeb(func(obj *unstructured.Unstructured) {
		obj.SetAnnotations(inWorkspace(annotations))
		obj.SetGeneration(before.GetGeneration() + 1)
	})
	s.OnUpstream(f.keyOf("web"), before, f.object("web"))
}

// inWorkspace adds the annotations that an undo does not take off: that of kcp, and the number of the revision.
func inWorkspace(annotations map[string]string) map[string]string {
	return merge(maps.Clone(annotations), map[string]*string{logicalcluster.AnnotationKey: new("ws"), "deployment.kubernetes.io/revision": new("2")})
}

// protocols returns those annotations of web that are not its user's.
func (f *fakeKCP) protocols() map[string]string {
	annotations := f.object("web").GetAnnotations()
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		return !strings.Contains(key, v1alpha1.GroupName) || key == v1alpha1.TargetClustersAnnotation
	})
	return annotations
}

// turn takes a turn of web.
func (f *fakeKCP) turn(t *testing.T, s *Scheduler) time.Duration {
	t.Helper()
	before := f.object("web")
	again, err := s.sync(t.Context(), f.keyOf("web"))
	if err != nil {
		t.Fatal(err)
	}
	if now := f.object("web"); now != before {
		s.OnUpstream(f.keyOf("web"), before, now)
	}
	return again
}

func TestUndoIsPutBack(t *testing.T) {
	const divide = "{numberOfClusters: 2, replicas: Divided, divideBy: FreeCapacity, strategy: Spread}"
	cases := map[string]struct {
		web, placement string
		// annotations are those of the ReplicaSet.
		annotations map[string]string
		// want are changes of the annotations of before.
		want map[string]*string
		told []string
	}{
		"duplicated":        {web: duplicated, annotations: map[string]string{"team": "red"}},
		"without any":       {web: duplicated},
		"divided":           {web: split, placement: divide},
		"a cluster is left": {web: moved, placement: "{numberOfClusters: 1, strategy: Spread}"},
		"all clusters are":  {web: leftAll, annotations: map[string]string{v1alpha1.TargetClustersAnnotation: ""}},
		"it goes elsewhere": {
			web: duplicated, annotations: map[string]string{v1alpha1.TargetClustersAnnotation: "east"},
			want: map[string]*string{
				v1alpha1.PlacementAnnotation: new(`{"by":"annotation","clusters":{"east":"named in the annotation"}}`), v1alpha1.DeletionAnnotation("west"): new("1970-01-01T00:00:00Z"),
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			documents := []string{tc.web, namespace}
			if tc.placement != "" {
				documents = append(documents, placementOf(tc.placement))
			}
			f := newFakeKCP(t, documents...)
			s := f.scheduler(fleet{"east", "west"})
			f.settleWith(t, s)
			if slices.Contains(f.written, "web") {
				t.Fatalf("it was not settled: %v", f.patches)
			}
			before := f.protocols()
			for _, times := range []string{"once", "once more", "twice"} {
				f.patches = nil
				f.undo(s, maps.Clone(tc.annotations))
				if times == "twice" {
					f.undo(s, maps.Clone(tc.annotations))
				}
				f.turn(t, s)
				if diff := cmp.Diff(merge(maps.Clone(before), tc.want), f.protocols()); diff != "" {
					t.Errorf("undone %s (-want +got):\n%s", times, diff)
				}
				if len(f.patches) != 1 {
					t.Errorf("undone %s: written %q, want one write", times, f.patches)
				}
				if again := f.turn(t, s); again != 0 || len(f.patches) != 1 {
					t.Errorf("undone %s: then again after %s: %q", times, again, f.patches)
				}
				tc.want, before = nil, f.protocols()
			}
			if len(f.told) > 0 || len(s.bares.byKey) > 0 {
				t.Errorf("told %q; remembered %v", f.told, s.bares.byKey)
			}
		})
	}
}

// TestUndoIsPutBackBesideAReport has a syncer report between the undo and the turn: what it says is newer.
func TestUndoIsPutBackBesideAReport(t *testing.T) {
	f := newFakeKCP(t, duplicated, namespace)
	s := f.scheduler(fleet{"east", "west"})
	f.settleWith(t, s)
	want := f.protocols()
	want[v1alpha1.StatusAnnotation("east")] = "newer"
	f.undo(s, nil)
	bare := f.object("web")
	f.changeWeb(func(obj *unstructured.Unstructured) {
		obj.SetAnnotations(inWorkspace(map[string]string{v1alpha1.StatusAnnotation("east"): "newer"}))
	})
	s.OnUpstream(f.keyOf("web"), bare, f.object("web"))
	f.turn(t, s)
	if diff := cmp.Diff(want, f.protocols()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestUndoWhileNobodySaw has a hub start that has not seen the object before.
func TestUndoWhileNobodySaw(t *testing.T) {
	const divide = "{numberOfClusters: 2, replicas: Divided, divideBy: FreeCapacity, strategy: Spread}"
	reports := map[string]string{v1alpha1.StatusAnnotation("east"): `{"v":1,"cluster":"east","want":3}`, v1alpha1.StatusAnnotation("west"): `{"v":1,"cluster":"west","want":1}`}
	cases := map[string]struct {
		web, placement string
		clusters       registry
		// reports are those on the object when it is first seen, and later those that come.
		reports, later map[string]string
		waits          bool
		shares         map[string]string
	}{
		"duplicated":                       {web: duplicated},
		"divided and reported":             {web: split, placement: divide, reports: reports, shares: map[string]string{"east": "3", "west": "1"}},
		"divided and reported soon":        {web: split, placement: divide, later: reports, waits: true, shares: map[string]string{"east": "3", "west": "1"}},
		"divided and never reported":       {web: split, placement: divide, waits: true, shares: map[string]string{"east": "2", "west": "2"}},
		"who is not heard of is not asked": {web: split, placement: divide, clusters: states{"east": {Name: "east"}, "west": {Name: "west"}}, shares: map[string]string{"east": "2", "west": "2"}},
		"it was divided":                   {web: split, placement: "{numberOfClusters: 2, strategy: Spread}", reports: reports},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			documents := []string{tc.web, namespace}
			if tc.placement != "" {
				documents = append(documents, placementOf(tc.placement))
			}
			if tc.clusters == nil {
				tc.clusters = fleet{"east", "west"}
			}
			f := newFakeKCP(t, documents...)
			f.changeWeb(func(obj *unstructured.Unstructured) { obj.SetAnnotations(inWorkspace(tc.reports)) })
			s := f.scheduler(tc.clusters)
			now := time.Unix(1_000_000, 0)
			s.now = func() time.Time { return now }
			s.config.FailoverAfter = time.Hour
			s.OnUpstream(f.keyOf("web"), nil, f.object("web"))
			for _, key := range f.keys() {
				if key.Name != "web" {
					if _, err := s.sync(t.Context(), key); err != nil {
						t.Fatal(err)
					}
				}
			}
			f.patches = nil
			if again := f.turn(t, s); (again == reportsRetry) != tc.waits || tc.waits && len(f.patches) > 0 {
				t.Fatalf("again after %s, written %q", again, f.patches)
			}
			if tc.later != nil {
				bare := f.object("web")
				f.changeWeb(func(obj *unstructured.Unstructured) { obj.SetAnnotations(inWorkspace(tc.later)) })
				s.OnUpstream(f.keyOf("web"), bare, f.object("web"))
			} else if tc.waits {
				now = now.Add(reportsGrace)
			}
			f.turn(t, s)
			if len(f.patches) != 1 {
				t.Errorf("written %q, want one write", f.patches)
			}
			shares := map[string]string{}
			for _, cluster := range []string{"east", "west"} {
				if share, divided := f.protocols()[v1alpha1.ReplicasAnnotation(cluster)]; divided {
					shares[cluster] = share
				}
			}
			if tc.shares == nil {
				tc.shares = map[string]string{}
			}
			if diff := cmp.Diff(tc.shares, shares); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
			if f.protocols()[v1alpha1.PlacementAnnotation] == "" {
				t.Error("it is still bare")
			}
			if f.turn(t, s); len(f.patches) != 1 {
				t.Errorf("it does not come to rest: %q", f.patches)
			}
		})
	}
}

// TestUndoAndDelete deletes what was just undone.
func TestUndoAndDelete(t *testing.T) {
	cases := map[string]struct {
		finalizers []string
		want       int
	}{
		"its clusters let go of it":    {[]string{v1alpha1.Finalizer("east"), v1alpha1.Finalizer("west")}, 0},
		"somebody else keeps it there": {[]string{v1alpha1.Finalizer("east"), v1alpha1.Finalizer("west"), "example.com/drain"}, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeKCP(t, split, namespace, placementOf("{numberOfClusters: 2, replicas: Divided, divideBy: FreeCapacity, strategy: Spread}"))
			s := f.scheduler(fleet{"east", "west"})
			f.settleWith(t, s)
			want := f.protocols()
			f.undo(s, nil)
			bare := f.object("web")
			f.changeWeb(func(obj *unstructured.Unstructured) {
				obj.SetFinalizers(tc.finalizers)
				obj.SetDeletionTimestamp(new(metav1.NewTime(time.Unix(1, 0))))
			})
			s.OnUpstream(f.keyOf("web"), bare, f.object("web"))
			f.patches = nil
			f.turn(t, s)
			if len(f.patches) != tc.want {
				t.Fatalf("written %q", f.patches)
			}
			if diff := cmp.Diff(want, f.protocols()); tc.want > 0 && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			s.OnUpstream(f.keyOf("web"), f.object("web"), nil)
			if len(s.bares.byKey) > 0 {
				t.Errorf("what is gone is remembered: %v", s.bares.byKey)
			}
		})
	}
}

// TestUndoWithoutRoom has the annotations of the ReplicaSet leave no room for what was there: what places the object comes back.
func TestUndoWithoutRoom(t *testing.T) {
	f := &strictKCP{fakeKCP: newFakeKCP(t, split, namespace, placementOf("{numberOfClusters: 2, replicas: Divided, divideBy: FreeCapacity, strategy: Spread}")), refuse: func(string) error { return nil }}
	s := f.scheduler(fleet{"east", "west"})
	s.config.Upstream, s.config.Notices = f, f
	f.settleWith(t, s)
	f.refuse = func(patch string) error {
		if strings.Contains(patch, v1alpha1.StatusAnnotationPrefix) || strings.Contains(patch, "placement p: spread") {
			return errTooLong
		}
		return nil
	}
	f.undo(s, nil)
	f.turn(t, s)
	want := map[string]string{
		v1alpha1.ReplicasAnnotation("east"): "3", v1alpha1.ReplicasAnnotation("west"): "1", v1alpha1.PlacementAnnotation: `{"by":"placement","name":"p","replicas":4}`,
	}
	if diff := cmp.Diff(want, f.protocols()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
