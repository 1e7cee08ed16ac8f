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
	clusters := []string{"west", "east", "north"}
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
			got := Decide(&metav1.ObjectMeta{Annotations: tc.annotations}, true, clusters, tc.byDefault)
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
	clusters := []string{"east", "west"}
	if got := Decide(&metav1.ObjectMeta{}, false, clusters, DefaultAll); !got.Follows || len(got.Clusters) > 0 {
		t.Errorf("without an annotation: %+v, want to follow", got)
	}
	named := &metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.TargetClustersAnnotation: "west"}}
	if diff := cmp.Diff(Decision{Clusters: []string{"west"}}, Decide(named, false, clusters, DefaultAll)); diff != "" {
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
			got := Plan(&tc.obj, tc.selected, now)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
