package protocol

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// divided is a Deployment on east, and leaving west.
func divided() *metav1.ObjectMeta {
	return &metav1.ObjectMeta{
		UID: "web", Generation: 2, ResourceVersion: "7",
		Labels:     map[string]string{"app": "web", v1alpha1.PlacementLabel("east"): "sync", v1alpha1.PlacementLabel("west"): "sync"},
		Finalizers: []string{v1alpha1.Finalizer("east"), v1alpha1.Finalizer("west")},
		Annotations: map[string]string{
			"team": "blue", RevisionAnnotation: "2", v1alpha1.TargetClustersAnnotation: "east", v1alpha1.PlacementAnnotation: `{"by":"annotation","replicas":3}`,
			v1alpha1.ReplicasAnnotation("east"): "3", v1alpha1.DeletionAnnotation("west"): "2026-01-02T03:04:05Z",
			v1alpha1.StatusAnnotation("east"): `{"v":1,"cluster":"east","want":3}`,
		},
	}
}

// undone is what an undo of it leaves: these annotations, and the number of the revision.
func undone(annotations map[string]string) *metav1.ObjectMeta {
	obj := divided()
	obj.Generation, obj.Annotations = 3, map[string]string{RevisionAnnotation: "2"}
	maps.Copy(obj.Annotations, annotations)
	return obj
}

func TestIsBare(t *testing.T) {
	cases := map[string]struct {
		reason string
		obj    *metav1.ObjectMeta
		want   bool
	}{
		"Whole":     {"it has all", divided(), false},
		"Undone":    {"it has nothing", undone(nil), true},
		"UsersOwn":  {"what the user says is not the hub's", undone(map[string]string{"team": "blue", v1alpha1.TargetClustersAnnotation: "east", v1alpha1.OverrideAnnotation("east"): "[]"}), true},
		"Reported":  {"a report is a syncer's", undone(map[string]string{v1alpha1.StatusAnnotation("east"): "{}"}), true},
		"Explained": {"the hub has written", undone(map[string]string{v1alpha1.PlacementAnnotation: "{}"}), false},
		"Divided":   {"what is divided is written with a share, be there no room for more", undone(map[string]string{v1alpha1.ReplicasAnnotation("west"): "1"}), false},
		"Part":      {"likewise", undone(map[string]string{v1alpha1.PartitionAnnotation("west"): "1/2"}), false},
		"Leaving":   {"it leaves all its clusters, and nobody says why it is there", undone(map[string]string{v1alpha1.DeletionAnnotation("west"): "now"}), false},
		"ByHand":    {"no hub has ever written on it", &metav1.ObjectMeta{Generation: 3, Labels: divided().Labels}, false},
		"Nowhere":   {"the hub says nothing of it", &metav1.ObjectMeta{Generation: 3, Labels: map[string]string{"app": "web"}, Annotations: map[string]string{RevisionAnnotation: "1"}}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Read(tc.obj).IsBare(); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}

func TestLost(t *testing.T) {
	all := map[string]string{
		v1alpha1.PlacementAnnotation: divided().Annotations[v1alpha1.PlacementAnnotation], v1alpha1.ReplicasAnnotation("east"): "3",
		v1alpha1.DeletionAnnotation("west"): "2026-01-02T03:04:05Z", v1alpha1.StatusAnnotation("east"): divided().Annotations[v1alpha1.StatusAnnotation("east")],
	}
	another := undone(nil)
	another.UID = "another"
	unlabelled := undone(nil)
	unlabelled.Labels = nil
	cases := map[string]struct {
		before, after *metav1.ObjectMeta
		want          map[string]string
	}{
		"an undo":                  {divided(), undone(map[string]string{"team": "red"}), all},
		"a report came after it":   {divided(), undone(map[string]string{v1alpha1.StatusAnnotation("east"): "{}"}), all},
		"another undo":             {undone(map[string]string{"team": "red"}), undone(nil), nil},
		"nothing happened":         {divided(), divided(), nil},
		"it is another object":     {divided(), another, nil},
		"it has left all clusters": {divided(), unlabelled, nil},
		"it had nothing":           {&metav1.ObjectMeta{UID: "web", Generation: 1, Labels: divided().Labels}, undone(nil), nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Read(tc.after).Lost(Read(tc.before))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegained(t *testing.T) {
	obj := undone(map[string]string{v1alpha1.StatusAnnotation("east"): `{"v":1,"cluster":"east","want":2}`})
	lost := Read(undone(nil)).Lost(Read(divided()))
	want := map[string]string{
		v1alpha1.PlacementAnnotation: divided().Annotations[v1alpha1.PlacementAnnotation], v1alpha1.ReplicasAnnotation("east"): "3",
		v1alpha1.DeletionAnnotation("west"): "2026-01-02T03:04:05Z",
	}
	if diff := cmp.Diff(want, Read(obj).Regained(lost)); diff != "" {
		t.Errorf("a newer report stays (-want +got):\n%s", diff)
	}
	delete(obj.Labels, v1alpha1.PlacementLabel("west"))
	obj.Finalizers = obj.Finalizers[:1]
	delete(want, v1alpha1.DeletionAnnotation("west"))
	if diff := cmp.Diff(want, Read(obj).Regained(lost)); diff != "" {
		t.Errorf("what is of a cluster that was left does not come back (-want +got):\n%s", diff)
	}
}

func TestFromReports(t *testing.T) {
	obj := undone(map[string]string{v1alpha1.StatusAnnotation("east"): `{"v":1,"cluster":"east","want":3}`})
	obj.Labels[v1alpha1.PlacementLabel("north")] = "sync"
	obj.Annotations[v1alpha1.StatusAnnotation("north")] = `{"v":1,"cluster":"north"}`
	shares, silent := Read(obj).FromReports()
	if diff := cmp.Diff(map[string]string{v1alpha1.ReplicasAnnotation("east"): "3"}, shares); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"north", "west"}, silent); diff != "" {
		t.Errorf("silent (-want +got):\n%s", diff)
	}
}

// TestRegaining has what was lost written again in one patch with what changes, and nothing of what is gone.
func TestRegaining(t *testing.T) {
	bare := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{
		"uid": "web", "resourceVersion": "8", "labels": map[string]any{v1alpha1.PlacementLabel("east"): "sync", v1alpha1.PlacementLabel("west"): "sync"},
		"annotations": map[string]any{v1alpha1.StatusAnnotation("east"): "new"},
	}}}
	regained := map[string]string{
		v1alpha1.PlacementAnnotation: `{"by":"default"}`, v1alpha1.ReplicasAnnotation("east"): "3", v1alpha1.ReplicasAnnotation("west"): "1",
		v1alpha1.StatusAnnotation("west"): "old",
	}
	whole := WithAnnotations(bare, regained)
	change := Read(whole).NewChange()
	change.Forget("west")
	change.SetShare("east", new(int64(4)))
	change.IfUnchanged = true
	got := string(change.Regaining(Read(bare), regained).Patch())
	want := `{"metadata":{"annotations":{"replicas.tmc.kcp.io/east":"4","tmc.kcp.io/placement":"{\"by\":\"default\"}"},` +
		`"labels":{"cluster.tmc.kcp.io/west":null},"resourceVersion":"8","uid":"web"}}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, touched := bare.GetAnnotations()[v1alpha1.PlacementAnnotation]; touched {
		t.Error("the object itself is changed")
	}
	if same := change.Regaining(Read(bare), nil); same != change {
		t.Error("a change of an object that has lost nothing is another one")
	}
	change.SetReport("east", nil)
	if value, has := change.Regaining(Read(bare), regained).Annotations[v1alpha1.StatusAnnotation("east")]; !has || value != nil {
		t.Error("what the bare object has, and is to go, is not removed")
	}
}

func TestWithAnnotationsOfNone(t *testing.T) {
	obj := WithAnnotations(&unstructured.Unstructured{Object: map[string]any{}}, map[string]string{"a": "b"})
	if diff := cmp.Diff(map[string]string{"a": "b"}, obj.GetAnnotations()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestShortened keeps, where there is little room, what the parts of tmc need of why an object is placed.
func TestShortened(t *testing.T) {
	change := Read(undone(map[string]string{v1alpha1.StatusAnnotation("west"): "old"})).NewChange()
	long := Placement{By: ByPlacement, Name: "split", Replicas: new(int64(3)), Clusters: map[string]string{"east": strings.Repeat("because ", 100)}, Message: "m"}
	change.Explain(long)
	change.SetShare("east", new(int64(3)))
	change.SetReport("east", new("put back"))
	change.SetReport("west", nil)
	want := map[string]*string{
		v1alpha1.ReplicasAnnotation("east"): new("3"), v1alpha1.PlacementAnnotation: new(`{"by":"placement","name":"split","replicas":3}`),
		v1alpha1.StatusAnnotation("west"): nil,
	}
	if diff := cmp.Diff(want, change.Shortened().Annotations); diff != "" {
		t.Errorf("shortened (-want +got):\n%s", diff)
	}
	delete(want, v1alpha1.PlacementAnnotation)
	if diff := cmp.Diff(want, change.WithoutExplanation().Annotations); diff != "" {
		t.Errorf("without (-want +got):\n%s", diff)
	}
	again := Read(undone(map[string]string{v1alpha1.PlacementAnnotation: `{"by":"placement","name":"split","replicas":3}`})).NewChange()
	again.Explain(long)
	if again.IsEmpty() || !again.Shortened().IsEmpty() {
		t.Error("what is said in short already is said in short again")
	}
}

func TestKeepFor(t *testing.T) {
	full := strings.Repeat("x", 256<<10-roomOfExplanation)
	cases := map[string]struct {
		reason      string
		annotations map[string]string
		want        map[string]string
	}{
		"Explained": {
			"its own report counts, and that it is explained",
			map[string]string{"note": "hi", v1alpha1.PlacementAnnotation: `{"by":"default"}`, v1alpha1.StatusAnnotation("west"): "{}", v1alpha1.StatusAnnotation("east"): "{}"},
			map[string]string{"note": "hi", v1alpha1.PlacementAnnotation: explanationTrace, v1alpha1.StatusAnnotation("east"): "{}"},
		},
		"Bare":   {"nobody explains it", map[string]string{"note": "hi"}, map[string]string{"note": "hi"}},
		"NoRoom": {"nobody can", map[string]string{"note": full}, map[string]string{"note": full, v1alpha1.PlacementAnnotation: explanationTrace}},
		"RoomLeft": {
			"the hub has room for the shortest explanation", map[string]string{"note": full[:len(full)-4]},
			map[string]string{"note": full[:len(full)-4]},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &metav1.ObjectMeta{Annotations: tc.annotations}
			KeepFor("east", obj)
			if diff := cmp.Diff(tc.want, obj.Annotations); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	none := &metav1.ObjectMeta{}
	if KeepFor("east", none); len(none.Annotations) > 0 {
		t.Errorf("an object without any gets %v", none.Annotations)
	}
}
