package syncer

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

var origin = transform.Origin{Workspace: "ws", Namespace: "default", Name: "web", Cluster: "east"}

// option shapes an object of a test.
type option func(*unstructured.Unstructured)

func annotated(key, value string) option {
	return func(obj *unstructured.Unstructured) {
		annotations := obj.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[key] = value
		obj.SetAnnotations(annotations)
	}
}

func labelled(key string) option {
	return func(obj *unstructured.Unstructured) { obj.SetLabels(map[string]string{key: "sync"}) }
}

func held(obj *unstructured.Unstructured) {
	obj.SetFinalizers([]string{"someone.else/finalizer", v1alpha1.Finalizer("east")})
}

func deleting(obj *unstructured.Unstructured) {
	at := metav1.NewTime(time.Unix(1000, 0))
	obj.SetDeletionTimestamp(&at)
}

var placed = labelled(v1alpha1.PlacementLabel("east"))

func upstreamDeployment(options ...option) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment"}}
	obj.SetNamespace("default")
	obj.SetName("web")
	obj.SetUID("upstream-uid")
	obj.SetGeneration(1)
	for _, shape := range options {
		shape(obj)
	}
	return obj
}

// copyOf returns what the cluster has after the apply of desired.
func copyOf(t *testing.T, upstreamObj *unstructured.Unstructured, options ...option) *unstructured.Unstructured {
	t.Helper()
	obj, err := transform.Desired(transform.Input{Object: upstreamObj, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	obj.SetUID("downstream-uid")
	obj.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply,
		// The leaves stand for all that is below them.
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{},"f:annotations":{}}}`),
	}})
	for _, shape := range options {
		shape(obj)
	}
	return obj
}

func TestEveryStateHasOneAction(t *testing.T) {
	here := upstreamDeployment(placed, held)
	leaving := annotated(v1alpha1.DeletionAnnotation("east"), "2026-01-01T00:00:00Z")
	cases := map[string]struct {
		reason     string
		upstream   *unstructured.Unstructured
		downstream *unstructured.Unstructured
		settled    bool
		want       action
	}{
		"NothingAnywhere":        {"there is nothing to do", nil, nil, false, actNothing},
		"FreshlyPlaced":          {"the finalizer comes before the first write downstream", upstreamDeployment(placed), nil, false, actHold},
		"FreshlyPlacedOverACopy": {"also when a copy is there already", upstreamDeployment(placed), copyOf(t, here), false, actHold},
		"Held":                   {"now the copy may be made", here, nil, false, actCreate},
		"Standing":               {"steady state is silent", here, copyOf(t, here), false, actNothing},
		"Drifted":                {"what we applied was taken", here, copyOf(t, here, func(o *unstructured.Unstructured) { o.SetManagedFields(nil) }), false, actUpdate},
		"DriftedAndSettled":      {"applying did not help, so it will not", here, copyOf(t, here, func(o *unstructured.Unstructured) { o.SetManagedFields(nil) }), true, actNothing},
		"ChangedUpstream":        {"the copy follows", upstreamDeployment(placed, held, func(o *unstructured.Unstructured) { o.SetGeneration(2) }), copyOf(t, here), false, actUpdate},
		"AForeignObject":         {"it is never overwritten", here, upstreamDeployment(), false, actRefuse},
		"AnotherWorkspacesCopy":  {"it has that name already", here, copyOf(t, here, annotated(v1alpha1.SourceWorkspaceAnnotation, "other")), false, actRefuse},
		"AnotherSyncersCopy":     {"made under another cluster name", here, copyOf(t, here, annotated(v1alpha1.TargetClusterAnnotation, "west")), false, actRefuse},
		"ANamesakesCopy":         {"its upstream object was deleted, and with it goes the copy", here, copyOf(t, here, annotated(v1alpha1.SourceUIDAnnotation, "earlier")), false, actDelete},
		"ACopyWithoutAUID":       {"an annotation that was taken off is drift", here, copyOf(t, here, annotated(v1alpha1.SourceUIDAnnotation, ""), func(o *unstructured.Unstructured) { o.SetManagedFields(nil) }), false, actUpdate},
		"ACopyWithoutOrigin":     {"the hash in its label says whose it is", here, copyOf(t, here, stripped), false, actUpdate},
		"ACopyOnItsWayOut":       {"it is made anew once it is gone", here, copyOf(t, here, deleting), false, actNothing},

		"DeletedUpstream":           {"the copy goes first", upstreamDeployment(placed, held, deleting), copyOf(t, here), false, actDelete},
		"DeletedUpstreamWaiting":    {"until it is gone", upstreamDeployment(placed, held, deleting), copyOf(t, here, deleting), false, actNothing},
		"DeletedUpstreamGone":       {"then we let go", upstreamDeployment(placed, held, deleting), nil, false, actRelease},
		"DeletedUpstreamNeverHeld":  {"a finalizer is never set on an object that is being deleted", upstreamDeployment(placed, deleting), nil, false, actNothing},
		"DeletedUpstreamForeign":    {"what is not ours stays", upstreamDeployment(placed, held, deleting), upstreamDeployment(), false, actRelease},
		"AskedToLeave":              {"the copy goes first", upstreamDeployment(placed, held, leaving), copyOf(t, here), false, actDelete},
		"AskedToLeaveGone":          {"then we let go", upstreamDeployment(placed, held, leaving), nil, false, actRelease},
		"AskedToLeaveReleased":      {"the hub does the rest", upstreamDeployment(placed, leaving), nil, false, actNothing},
		"DeletedUpstreamStripped":   {"a copy that lost its origin is no orphan", upstreamDeployment(placed, held, deleting), copyOf(t, here, stripped), false, actDelete},
		"OutOfTheCaches":            {"kcp itself is asked before the copy goes", nil, copyOf(t, here), false, actInquire},
		"OutOfTheCachesNotOurs":     {"that is no business of ours", nil, copyOf(t, here, annotated(v1alpha1.SourceNameAnnotation, "other")), false, actNothing},
		"OutOfTheCachesAndForeign":  {"likewise", nil, upstreamDeployment(), false, actNothing},
		"PlacedOnAnotherButHeldBy":  {"a lost label is not a deletion, but then the object would not be in the caches", upstreamDeployment(held), copyOf(t, here), false, actDelete},
		"PlacedOnAnotherAndNotHeld": {"nothing of ours is left", upstreamDeployment(labelled(v1alpha1.PlacementLabel("west"))), nil, false, actNothing},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			st := state{origin: origin, namespace: "default", name: "web", upstreamObj: tc.upstream, downstreamObj: tc.downstream, settled: tc.settled}
			if tc.upstream != nil && isPlaced(tc.upstream, "east") {
				desired, err := transform.Desired(transform.Input{Object: tc.upstream, Origin: origin})
				if err != nil {
					t.Fatal(err)
				}
				st.desired = desired
			}
			if got := decide(st); got != tc.want {
				t.Errorf("got %s, want %s: %s", got, tc.want, tc.reason)
			}
		})
	}
}

// stripped takes the annotations off by which a copy says what it is of.
func stripped(obj *unstructured.Unstructured) {
	obj.SetAnnotations(nil)
	obj.SetManagedFields(nil)
}

func TestWhatKeepsACopyFromBeingMade(t *testing.T) {
	here := upstreamDeployment(placed, held)
	changed := upstreamDeployment(placed, held, func(o *unstructured.Unstructured) { o.SetGeneration(2) })
	stray := copyOf(t, here, func(o *unstructured.Unstructured) { o.SetNamespace("elsewhere") })
	needs := []need{{}}
	broken := &v1alpha1.Problem{Reason: reasonBadOverride}
	cases := map[string]struct {
		reason string
		state  state
		want   action
	}{
		"ANeedOfANewObject":      {"what it needs goes first", state{upstreamObj: here, needs: needs}, actWait},
		"ANeedOfAChangedObject":  {"the copy that runs stays until then", state{upstreamObj: changed, downstreamObj: copyOf(t, here), needs: needs}, actWait},
		"ABadOverride":           {"nothing is sent down", state{upstreamObj: here, broken: broken}, actComplain},
		"ABadOverrideOverACopy":  {"the copy that runs stays", state{upstreamObj: changed, downstreamObj: copyOf(t, here), broken: broken}, actComplain},
		"ABadOverrideAndLeaving": {"that needs no transformation", state{upstreamObj: upstreamDeployment(placed, held, deleting), downstreamObj: copyOf(t, here), broken: broken}, actDelete},
		"AJobThatHasRun":         {"it is not run again", state{upstreamObj: here, hasRun: true}, actNothing},
		"AJobThatHasRunMoves":    {"what is left of it goes", state{upstreamObj: here, hasRun: true, strays: []*unstructured.Unstructured{stray}, mayClear: true}, actClear},

		"MovedNotYetMade":       {"the new one comes first", state{upstreamObj: here, strays: []*unstructured.Unstructured{stray}, mayClear: true}, actCreate},
		"MovedNotYetUp":         {"the old one serves until the new one does", state{upstreamObj: here, downstreamObj: copyOf(t, here), strays: []*unstructured.Unstructured{stray}}, actLinger},
		"MovedAndUp":            {"then the old one goes", state{upstreamObj: here, downstreamObj: copyOf(t, here), strays: []*unstructured.Unstructured{stray}, mayClear: true}, actClear},
		"DeletedWhileItMoves":   {"both go", state{upstreamObj: upstreamDeployment(placed, held, deleting), strays: []*unstructured.Unstructured{stray}}, actDelete},
		"OutOfCachesWhileMoved": {"kcp is asked", state{strays: []*unstructured.Unstructured{stray}}, actInquire},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			st := tc.state
			st.origin, st.namespace, st.name = origin, "default", "web"
			if st.broken == nil && st.upstreamObj != nil && isPlaced(st.upstreamObj, "east") {
				desired, err := transform.Desired(transform.Input{Object: st.upstreamObj, Origin: origin})
				if err != nil {
					t.Fatal(err)
				}
				st.desired = desired
			}
			if got := decide(st); got != tc.want {
				t.Errorf("got %s, want %s: %s", got, tc.want, tc.reason)
			}
		})
	}
}

func TestReleasedMeansNeitherPlacedNorHeld(t *testing.T) {
	for name, tc := range map[string]struct {
		obj  *unstructured.Unstructured
		want bool
	}{
		"Placed":        {upstreamDeployment(placed), false},
		"HeldUnplaced":  {upstreamDeployment(held), false},
		"Neither":       {upstreamDeployment(), true},
		"OnlyElsewhere": {upstreamDeployment(labelled(v1alpha1.PlacementLabel("west"))), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := isReleased(tc.obj, "east"); got != tc.want {
				t.Errorf("released: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestTheSpecLoopSleepsThroughWhatConcernsOthers(t *testing.T) {
	base := upstreamDeployment(placed, held, annotated("note", "hi"))
	cases := map[string]struct {
		change option
		same   bool
	}{
		"OwnReport":        {annotated(v1alpha1.StatusAnnotation("east"), "{}"), true},
		"AnothersReport":   {annotated(v1alpha1.StatusAnnotation("west"), "{}"), true},
		"AnothersDeletion": {annotated(v1alpha1.DeletionAnnotation("west"), "2026-01-01T00:00:00Z"), true},
		"OwnDeletion":      {annotated(v1alpha1.DeletionAnnotation("east"), "2026-01-01T00:00:00Z"), false},
		"AUsersAnnotation": {annotated("note", "bye"), false},
		"AUsersLabel":      {labelled("app"), false},
		"Generation":       {func(o *unstructured.Unstructured) { o.SetGeneration(2) }, false},
		"AnotherObject":    {func(o *unstructured.Unstructured) { o.SetUID("other") }, false},
		"Deletion":         {deleting, false},
		"OwnFinalizerLost": {func(o *unstructured.Unstructured) { o.SetFinalizers(nil) }, false},
		"AnothersFinalizer": {func(o *unstructured.Unstructured) {
			o.SetFinalizers(append(slices.Clone(o.GetFinalizers()), v1alpha1.Finalizer("west")))
		}, true},
		"DataWithoutGeneration": {func(o *unstructured.Unstructured) {
			o.SetGeneration(0)
			o.Object["data"] = map[string]any{"key": "value"}
		}, false},
		"AResourceVersionOnly": {func(o *unstructured.Unstructured) { o.SetResourceVersion("99") }, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			changed := base.DeepCopy()
			tc.change(changed)
			if got := sameForSpec(base, changed, "east"); got != tc.same {
				t.Errorf("same: %t, want %t", got, tc.same)
			}
		})
	}
}
