package placement

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestAWorkloadGoesWhereItsAnnotationSays(t *testing.T) {
	clusters := fleet("west", "east", "north")
	named := func(value string) map[string]string {
		return map[string]string{v1alpha1.TargetClustersAnnotation: value}
	}
	cases := map[string]struct {
		reason      string
		annotations map[string]string
		byDefault   Default
		want        []string
		// problems are what each message has to hold.
		problems [][]string
	}{
		"NoAnnotation":         {"the default is every cluster", nil, DefaultAll, []string{"east", "north", "west"}, nil},
		"NoAnnotationOptIn":    {"unless placement is opt-in", nil, DefaultNone, nil, nil},
		"Empty":                {"explicitly nowhere", named(""), DefaultAll, nil, nil},
		"Blank":                {"likewise", named("  "), DefaultAll, nil, nil},
		"All":                  {"also where placement is opt-in", named("*"), DefaultNone, []string{"east", "north", "west"}, nil},
		"Some":                 {"spaces and repetitions do not matter", named("west , east,west"), DefaultAll, []string{"east", "west"}, nil},
		"AnUnknownName":        {"the others are heeded", named("east,nope"), DefaultAll, []string{"east"}, [][]string{{v1alpha1.TargetClustersAnnotation, `"nope"`, "east, north, west"}}},
		"AMalformedName":       {"likewise", named("east,Not OK"), DefaultAll, []string{"east"}, [][]string{{v1alpha1.TargetClustersAnnotation, `"Not OK"`, "expected"}}},
		"AMissingName":         {"a comma too many is an error, not everything", named("east,"), DefaultAll, []string{"east"}, [][]string{{`""`}}},
		"NothingButMistakes":   {"nowhere, rather than everywhere", named("nope"), DefaultAll, nil, [][]string{{"nope"}}},
		"TheSameMistakeTwice":  {"is told once", named("nope,nope"), DefaultAll, nil, [][]string{{"nope"}}},
		"AllBesideAnotherName": {"is all", named("east,*"), DefaultAll, []string{"east", "north", "west"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(Request{Object: deployment(annotated(tc.annotations)), IsWorkload: true, Clusters: clusters, Default: tc.byDefault})
			if diff := cmp.Diff(tc.want, got.Clusters, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: clusters (-want +got):\n%s", tc.reason, diff)
			}
			if len(got.Problems) != len(tc.problems) {
				t.Fatalf("%s: problems are %q, want %d", tc.reason, got.Problems, len(tc.problems))
			}
			for i, parts := range tc.problems {
				for _, part := range parts {
					if !strings.Contains(got.Problems[i], part) {
						t.Errorf("problem %q does not say %s", got.Problems[i], part)
					}
				}
			}
		})
	}
}

func TestWhatIsNoWorkloadFollowsUnlessItIsPlaced(t *testing.T) {
	request := Request{Object: object("v1", "ConfigMap"), Clusters: fleet("east", "west"), Default: DefaultAll}
	if diff := cmp.Diff(Decision{Follows: true}, Decide(request)); diff != "" {
		t.Errorf("without an annotation (-want +got):\n%s", diff)
	}
	request.Object.SetAnnotations(map[string]string{v1alpha1.TargetClustersAnnotation: "west"})
	want := Decision{Clusters: []string{"west"}, By: "annotation", Reasons: map[string]string{"west": "named in the annotation"}}
	if diff := cmp.Diff(want, Decide(request)); diff != "" {
		t.Errorf("with an annotation (-want +got):\n%s", diff)
	}
}

func TestWhatIsNeededStaysUntilNobodyIsLeft(t *testing.T) {
	deleted := metav1.Now()
	label, finalizer := v1alpha1.PlacementLabel, v1alpha1.Finalizer
	cases := map[string]struct {
		reason   string
		obj      metav1.ObjectMeta
		decision Decision
		want     []string
	}{
		"AboutToEnter": {"what is needed goes first", metav1.ObjectMeta{}, Decision{Clusters: []string{"east"}}, []string{"east"}},
		"Leaving": {
			"until its copy is gone",
			metav1.ObjectMeta{Labels: map[string]string{label("west"): "sync"}, Annotations: map[string]string{v1alpha1.DeletionAnnotation("west"): "x"}},
			Decision{Clusters: []string{"east"}}, []string{"east", "west"},
		},
		"HeldWithoutALabel": {"a label may be lost", metav1.ObjectMeta{Finalizers: []string{finalizer("west")}}, Decision{}, []string{"west"}},
		"BeingDeleted":      {"it enters nothing more", metav1.ObjectMeta{DeletionTimestamp: &deleted, Finalizers: []string{finalizer("west")}}, Decision{Clusters: []string{"east"}}, []string{"west"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, sets.List(Held(&tc.obj, tc.decision))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestClustersAreEnteredByALabelAndLeftInTwoSteps(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	label, deletion, report := v1alpha1.PlacementLabel, v1alpha1.DeletionAnnotation, v1alpha1.StatusAnnotation
	held := []string{"someone.else/finalizer", v1alpha1.Finalizer("east")}
	cases := map[string]struct {
		reason   string
		obj      metav1.ObjectMeta
		selected []string
		want     Change
	}{
		"New": {
			reason:   "a label each",
			selected: []string{"east", "west"},
			want:     Change{Labels: map[string]*string{label("east"): new("sync"), label("west"): new("sync")}},
		},
		"InPlace": {
			reason:   "nothing to write",
			obj:      metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync", "app": "x"}, Finalizers: held, Annotations: map[string]string{report("east"): "{}"}},
			selected: []string{"east"},
		},
		"LeavingWhileHeld": {
			reason: "the syncer is asked to clean up; the label stays, or it would not see it",
			obj:    metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync"}, Finalizers: held},
			want:   Change{Annotations: map[string]*string{deletion("east"): new("2026-01-02T03:04:05Z")}},
		},
		"LeavingAndAsked": {
			reason: "the time of the request stands",
			obj:    metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync"}, Finalizers: held, Annotations: map[string]string{deletion("east"): "2025-01-01T00:00:00Z"}},
		},
		"Left": {
			reason: "the syncer has let go: everything about the cluster goes, its report too",
			obj: metav1.ObjectMeta{
				Labels:      map[string]string{label("east"): "sync", "app": "x"},
				Annotations: map[string]string{deletion("east"): "2025-01-01T00:00:00Z", report("east"): "{}", "note": "hi"},
				Finalizers:  []string{"someone.else/finalizer"},
			},
			want: Change{
				Labels:      map[string]*string{label("east"): nil},
				Annotations: map[string]*string{deletion("east"): nil, report("east"): nil},
			},
		},
		"NeverEntered": {
			reason: "a cluster whose syncer has not begun is left at once",
			obj:    metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync"}},
			want:   Change{Labels: map[string]*string{label("east"): nil}},
		},
		"ComingBackWhileLeaving": {
			reason:   "the request is withdrawn",
			obj:      metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync"}, Finalizers: held, Annotations: map[string]string{deletion("east"): "2025-01-01T00:00:00Z"}},
			selected: []string{"east"},
			want:     Change{Annotations: map[string]*string{deletion("east"): nil}},
		},
		"TheLabelWasTakenOff": {
			reason:   "it is put back",
			obj:      metav1.ObjectMeta{Finalizers: held},
			selected: []string{"east"},
			want:     Change{Labels: map[string]*string{label("east"): new("sync")}},
		},
		"TheLabelWasTakenOffWhileLeaving": {
			reason: "its syncer has to see the object to clean up",
			obj:    metav1.ObjectMeta{Finalizers: held, Annotations: map[string]string{deletion("east"): "2025-01-01T00:00:00Z"}},
			want:   Change{Labels: map[string]*string{label("east"): new("sync")}},
		},
		"AForgedReport": {
			reason: "a report of a cluster that has nothing to do with it goes",
			obj:    metav1.ObjectMeta{Annotations: map[string]string{report("north"): "{}"}},
			want:   Change{Annotations: map[string]*string{report("north"): nil}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Plan(&tc.obj, Decision{Clusters: tc.selected}, tc.selected, groupsOf, now)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestASecondPlanWithASteadyDecisionIsEmpty(t *testing.T) {
	label, deletion, share, placement := v1alpha1.PlacementLabel, v1alpha1.DeletionAnnotation, v1alpha1.ReplicasAnnotation, v1alpha1.PlacementAnnotation
	decision := Decision{
		Clusters: []string{"a", "b", "c"}, Kept: []string{"c"}, Shares: map[string]int64{"a": 2, "b": 0}, By: "placement p",
		Reasons: map[string]string{"a": "x", "b": "y", "c": v1alpha1.ReasonKept}, Unsatisfied: "too few",
	}
	stands := func(by, a, c, message string) string {
		return `{"by":"` + by + `","replicas":2,"clusters":{"a":"` + a + `","b":"y","c":"` + c + `"},"message":"` + message + `"}`
	}
	all := map[string]string{label("a"): "sync", label("b"): "sync", label("c"): "sync"}
	with := func(reason string) map[string]string {
		return map[string]string{share("a"): "2", share("b"): "0", share("c"): "5", placement: reason}
	}
	right := stands("placement p", "x", v1alpha1.ReasonKept, "too few")
	cases := map[string]struct {
		reason              string
		labels, annotations map[string]string
		finalizers          []string
		enter               []string
		want                Change
	}{
		"New": {
			"the labels, the shares and why, in one", nil, nil, nil, []string{"a"},
			Change{Labels: map[string]*string{label("a"): new("sync")}, Annotations: map[string]*string{share("a"): new("2"), placement: new(`{"by":"placement p","replicas":2,"clusters":{"a":"x"},"message":"too few"}`)}},
		},
		"NothingEnteredYet": {"it is said with the first label", nil, nil, nil, nil, Change{}},
		"Steady":            {"nothing to write", all, with(right), nil, []string{"a", "b", "c"}, Change{}},
		"SteadyNotEntered":  {"what is there is no cluster to enter", all, with(right), nil, nil, Change{}},
		"AnotherText":       {"it stands while the rest does", all, with(stands("placement p", "because", v1alpha1.ReasonKept, "too few")), nil, nil, Change{}},
		"AnotherMessage":    {"it is news; other texts stand", all, with(stands("placement p", "because", v1alpha1.ReasonKept, "none")), nil, nil, Change{Annotations: map[string]*string{placement: new(stands("placement p", "because", v1alpha1.ReasonKept, "too few"))}}},
		"NotYetKept":        {"it is news", all, with(stands("placement p", "x", "for good", "too few")), nil, nil, Change{Annotations: map[string]*string{placement: &right}}},
		"AnotherDecided":    {"other texts are another's", all, with(stands("default", "because", v1alpha1.ReasonKept, "too few")), nil, nil, Change{Annotations: map[string]*string{placement: &right}}},
		"Unreadable":        {"it is rewritten", all, with("?"), nil, nil, Change{Annotations: map[string]*string{placement: &right}}},
		"AForgedShare": {
			"it goes, or is put right", all, map[string]string{share("a"): "9", share("b"): "0", share("c"): "5", share("x"): "1", placement: right}, nil, nil,
			Change{Annotations: map[string]*string{share("a"): new("2"), share("x"): nil}},
		},
		"LeavingAndComingBack": {
			"as what is not there: first it leaves", map[string]string{label("a"): "sync", label("b"): "sync", label("c"): "sync"},
			map[string]string{share("a"): "2", share("b"): "0", share("c"): "5", deletion("a"): "x", placement: stands("placement p", "x", v1alpha1.ReasonKept, "too few")}, nil, nil,
			Change{Labels: map[string]*string{label("a"): nil}, Annotations: map[string]*string{share("a"): nil, deletion("a"): nil, placement: new(`{"by":"placement p","replicas":2,"clusters":{"b":"y","c":"` + v1alpha1.ReasonKept + `"},"message":"too few"}`)}},
		},
		"ItsLabelTakenOff": {
			"its syncer has to do with it: it does not enter, it is there", map[string]string{label("b"): "sync", label("c"): "sync"}, with(right), []string{v1alpha1.Finalizer("a")}, nil,
			Change{Labels: map[string]*string{label("a"): new("sync")}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object("apps/v1", "Deployment")
			obj.SetLabels(tc.labels)
			obj.SetAnnotations(tc.annotations)
			obj.SetFinalizers(tc.finalizers)
			got := Plan(obj, decision, tc.enter, groupsOf, theTime)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			apply(obj, got)
			if again := Plan(obj, decision, tc.enter, groupsOf, theTime.Add(time.Hour)); !again.IsEmpty() {
				t.Errorf("%s: once more: %+v", tc.reason, again)
			}
		})
	}
}

func TestWhatFollowsSaysNoReasonAndHasNoShare(t *testing.T) {
	obj := object("v1", "ConfigMap", share("a", 3), annotated(map[string]string{v1alpha1.PlacementAnnotation: "{}"}))
	want := Change{
		Labels:      map[string]*string{v1alpha1.PlacementLabel("b"): new("sync")},
		Annotations: map[string]*string{v1alpha1.PlacementAnnotation: nil, v1alpha1.ReplicasAnnotation("a"): nil},
	}
	if diff := cmp.Diff(want, Plan(obj, Decision{Follows: true}, []string{"a", "b"}, groupsOf, theTime)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// apply carries out a change, as a patch does.
func apply(obj *unstructuredObject, change Change) {
	obj.SetLabels(changed(obj.GetLabels(), change.Labels))
	obj.SetAnnotations(changed(obj.GetAnnotations(), change.Annotations))
}

func changed(values map[string]string, change map[string]*string) map[string]string {
	if values == nil {
		values = map[string]string{}
	}
	for key, value := range change {
		if value == nil {
			delete(values, key)
		} else {
			values[key] = *value
		}
	}
	return values
}

func TestWhatEntersAClusterIsHeldForItsSyncer(t *testing.T) {
	label, finalizer := v1alpha1.PlacementLabel, v1alpha1.Finalizer
	isReady := func(cluster string) bool { return cluster != "silent" }
	cases := map[string]struct {
		reason  string
		present []string
		labels  map[string]*string
		want    []string
	}{
		"Enters":         {"others' finalizers stay", []string{"other/one"}, map[string]*string{label("west"): new("sync"), label("east"): new("sync")}, []string{"other/one", finalizer("east"), finalizer("west")}},
		"IsHeld":         {"there is nothing to add", []string{finalizer("east")}, map[string]*string{label("east"): new("sync")}, nil},
		"IsNotHeardOf":   {"its syncer sets it, if it ever comes", nil, map[string]*string{label("silent"): new("sync")}, nil},
		"Leaves":         {"its syncer takes it off", []string{finalizer("east")}, map[string]*string{label("east"): nil}, nil},
		"NothingChanges": {"nothing is written", nil, nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Holders(&metav1.ObjectMeta{Finalizers: tc.present}, Change{Labels: tc.labels}, isReady)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
