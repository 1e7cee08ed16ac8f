package placement

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestDecideByAnnotation(t *testing.T) {
	clusters := fleet("west", "east", "north")
	named := func(value string) map[string]string {
		return map[string]string{v1alpha1.TargetClustersAnnotation: value}
	}
	cases := map[string]struct {
		annotations map[string]string
		byDefault   Default
		want        []string
		// problems are what each message has to hold.
		problems [][]string
	}{
		"no annotation: the default is every cluster":                  {nil, DefaultAll, []string{"east", "north", "west"}, nil},
		"no annotation opt in: unless placement is opt-in":             {nil, DefaultNone, nil, nil},
		"empty: explicitly nowhere":                                    {named(""), DefaultAll, nil, nil},
		"blank":                                                        {named("  "), DefaultAll, nil, nil},
		"all: also where placement is opt-in":                          {named("*"), DefaultNone, []string{"east", "north", "west"}, nil},
		"some: spaces and repetitions do not matter":                   {named("west , east,west"), DefaultAll, []string{"east", "west"}, nil},
		"an unknown name: the others are heeded":                       {named("east,nope"), DefaultAll, []string{"east"}, [][]string{{v1alpha1.TargetClustersAnnotation, `"nope"`, "east, north, west"}}},
		"a malformed name":                                             {named("east,Not OK"), DefaultAll, []string{"east"}, [][]string{{v1alpha1.TargetClustersAnnotation, `"Not OK"`, "expected"}}},
		"a missing name: a comma too many is an error, not everything": {named("east,"), DefaultAll, []string{"east"}, [][]string{{`""`}}},
		"nothing but mistakes: nowhere, rather than everywhere":        {named("nope"), DefaultAll, nil, [][]string{{"nope"}}},
		"the same mistake twice: is told once":                         {named("nope,nope"), DefaultAll, nil, [][]string{{"nope"}}},
		"all beside another name: is all":                              {named("east,*"), DefaultAll, []string{"east", "north", "west"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(Request{Object: deployment(annotated(tc.annotations)), Clusters: clusters, Default: tc.byDefault})
			if diff := cmp.Diff(tc.want, got.Clusters, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
			if len(got.Problems) != len(tc.problems) {
				t.Fatalf("problems are %q, want %d", got.Problems, len(tc.problems))
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

func TestDecideFollowing(t *testing.T) {
	request := Request{Object: object("v1", "ConfigMap"), Clusters: fleet("east", "west"), Default: DefaultAll}
	if diff := cmp.Diff(Decision{Follows: true}, Decide(request)); diff != "" {
		t.Errorf("without an annotation (-want +got):\n%s", diff)
	}
	request.Object.SetAnnotations(map[string]string{v1alpha1.TargetClustersAnnotation: "west"})
	want := Decision{Clusters: []string{"west"}, By: protocol.ByAnnotation, Reasons: map[string]string{"west": "named in the annotation"}}
	if diff := cmp.Diff(want, Decide(request)); diff != "" {
		t.Errorf("with an annotation (-want +got):\n%s", diff)
	}
}

func TestOccupied(t *testing.T) {
	deleted := metav1.Now()
	label, finalizer := v1alpha1.PlacementLabel, v1alpha1.Finalizer
	cases := map[string]struct {
		obj      metav1.ObjectMeta
		decision Decision
		want     []string
	}{
		"about to enter: what is needed goes first": {metav1.ObjectMeta{}, Decision{Clusters: []string{"east"}}, []string{"east"}},
		"leaving: until its copy is gone": {

			metav1.ObjectMeta{Labels: map[string]string{label("west"): "sync"}, Annotations: map[string]string{v1alpha1.DeletionAnnotation("west"): "x"}},
			Decision{Clusters: []string{"east"}}, []string{"east", "west"},
		},
		"held without a label: a label may be lost": {metav1.ObjectMeta{Finalizers: []string{finalizer("west")}}, Decision{}, []string{"west"}},
		"being deleted: it enters nothing more":     {metav1.ObjectMeta{DeletionTimestamp: &deleted, Finalizers: []string{finalizer("west")}}, Decision{Clusters: []string{"east"}}, []string{"west"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, sets.List(Occupied(&tc.obj, tc.decision))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanEntersAndLeaves(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	label, deletion, report := v1alpha1.PlacementLabel, v1alpha1.DeletionAnnotation, v1alpha1.StatusAnnotation
	held := []string{"someone.else/finalizer", v1alpha1.Finalizer("east")}
	cases := map[string]struct {
		obj      metav1.ObjectMeta
		selected []string
		want     protocol.Change
	}{
		"new: a label each": {
			selected: []string{"east", "west"},
			want:     protocol.Change{Labels: map[string]*string{label("east"): new("sync"), label("west"): new("sync")}},
		},
		"in place: nothing to write": {
			obj:      metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync", "app": "x"}, Finalizers: held, Annotations: map[string]string{report("east"): "{}"}},
			selected: []string{"east"},
		},
		"leaving while held: the syncer is asked to clean up; the label stays, or it would not see it": {
			obj:  metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync"}, Finalizers: held},
			want: protocol.Change{Annotations: map[string]*string{deletion("east"): new("2026-01-02T03:04:05Z")}},
		},
		"leaving and asked: the time of the request stands": {
			obj: metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync"}, Finalizers: held, Annotations: map[string]string{deletion("east"): "2025-01-01T00:00:00Z"}},
		},
		"left: the syncer has let go: everything about the cluster goes, its report too": {
			obj: metav1.ObjectMeta{
				Labels:      map[string]string{label("east"): "sync", "app": "x"},
				Annotations: map[string]string{deletion("east"): "2025-01-01T00:00:00Z", report("east"): "{}", "note": "hi"},
				Finalizers:  []string{"someone.else/finalizer"},
			},
			want: protocol.Change{
				Labels:      map[string]*string{label("east"): nil},
				Annotations: map[string]*string{deletion("east"): nil, report("east"): nil},
			},
		},
		"never entered: a cluster whose syncer has not begun is left at once": {
			obj:  metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync"}},
			want: protocol.Change{Labels: map[string]*string{label("east"): nil}},
		},
		"coming back while leaving: the request is withdrawn": {
			obj:      metav1.ObjectMeta{Labels: map[string]string{label("east"): "sync"}, Finalizers: held, Annotations: map[string]string{deletion("east"): "2025-01-01T00:00:00Z"}},
			selected: []string{"east"},
			want:     protocol.Change{Annotations: map[string]*string{deletion("east"): nil}},
		},
		"the label was taken off: it is put back": {
			obj:      metav1.ObjectMeta{Finalizers: held},
			selected: []string{"east"},
			want:     protocol.Change{Labels: map[string]*string{label("east"): new("sync")}},
		},
		"the label was taken off while leaving: its syncer has to see the object to clean up": {
			obj:  metav1.ObjectMeta{Finalizers: held, Annotations: map[string]string{deletion("east"): "2025-01-01T00:00:00Z"}},
			want: protocol.Change{Labels: map[string]*string{label("east"): new("sync")}},
		},
		"a forged report: a report of a cluster that has nothing to do with it goes": {
			obj:  metav1.ObjectMeta{Annotations: map[string]string{report("north"): "{}"}},
			want: protocol.Change{Annotations: map[string]*string{report("north"): nil}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Plan(&tc.obj, Decision{Clusters: tc.selected}, tc.selected, groupsOf, now)
			if diff := cmp.Diff(&tc.want, got, sameChange...); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanExplainsOnce(t *testing.T) {
	label, deletion, share, placement := v1alpha1.PlacementLabel, v1alpha1.DeletionAnnotation, v1alpha1.ReplicasAnnotation, v1alpha1.PlacementAnnotation
	decision := Decision{
		Clusters: []string{"a", "b", "c"}, Kept: []string{"c"}, Shares: map[string]int64{"a": 2, "b": 0}, By: protocol.ByPlacement, Placement: "p",
		Reasons: map[string]string{"a": "x", "b": "y", "c": reasonKept}, Unsatisfied: "too few",
	}
	says := func(a, message string) string {
		return `{"by":"placement","name":"p","replicas":2,"clusters":{"a":"` + a + `","b":"y","c":"` + reasonKept + `"},"kept":["c"],"message":"` + message + `"}`
	}
	said := func(by, a, c, message string) string { // in the former form
		return `{"by":"` + by + `","replicas":2,"clusters":{"a":"` + a + `","b":"y","c":"` + c + `"},"message":"` + message + `"}`
	}
	all := map[string]string{label("a"): "sync", label("b"): "sync", label("c"): "sync"}
	with := func(explanation string) map[string]string {
		return map[string]string{share("a"): "2", share("b"): "0", share("c"): "5", placement: explanation}
	}
	right := says("x", "too few")
	explains := func(explanation string) protocol.Change {
		return protocol.Change{Annotations: map[string]*string{placement: &explanation}}
	}
	cases := map[string]struct {
		labels, annotations map[string]string
		finalizers          []string
		enter               []string
		want                protocol.Change
	}{
		"the labels, the shares and why come in one write": {
			nil, nil, nil, []string{"a"},
			protocol.Change{Labels: map[string]*string{label("a"): new("sync")}, Annotations: map[string]*string{share("a"): new("2"), placement: new(`{"by":"placement","name":"p","replicas":2,"clusters":{"a":"x"},"message":"too few"}`)}},
		},
		"nothing is said before the first label":        {nil, nil, nil, nil, protocol.Change{}},
		"nothing has changed":                           {all, with(right), nil, []string{"a", "b", "c"}, protocol.Change{}},
		"where it is, it need not enter":                {all, with(right), nil, nil, protocol.Change{}},
		"nothing has changed since an earlier version":  {all, with(said("placement p", "x", reasonKept, "too few")), nil, nil, protocol.Change{}},
		"an earlier version has worded it otherwise":    {all, with(said("placement p", "because", reasonKept, "too few")), nil, nil, protocol.Change{}},
		"another text stays while the rest does":        {all, with(says("because", "too few")), nil, nil, protocol.Change{}},
		"another message is news, and other texts stay": {all, with(said("placement p", "because", reasonKept, "none")), nil, nil, explains(says("because", "too few"))},
		"that it is kept is news":                       {all, with(said("placement p", "x", "for good", "too few")), nil, nil, explains(right)},
		"texts of another that decided do not stay":     {all, with(said("default", "because", reasonKept, "too few")), nil, nil, explains(right)},
		"texts of another placement do not stay":        {all, with(said("placement q", "because", reasonKept, "too few")), nil, nil, explains(right)},
		"what nobody can read is written anew":          {all, with("?"), nil, nil, explains(right)},
		"forged shares go, or are put right":            {all, map[string]string{share("a"): "9", share("b"): "0", share("c"): "5", share("x"): "1", placement: right}, nil, nil, protocol.Change{Annotations: map[string]*string{share("a"): new("2"), share("x"): nil}}},
		"what is to leave and comes back leaves first": {
			all, map[string]string{share("a"): "2", share("b"): "0", share("c"): "5", deletion("a"): "x", placement: right}, nil, nil,
			protocol.Change{Labels: map[string]*string{label("a"): nil}, Annotations: map[string]*string{share("a"): nil, deletion("a"): nil, placement: new(`{"by":"placement","name":"p","replicas":2,"clusters":{"b":"y","c":"` + reasonKept + `"},"kept":["c"],"message":"too few"}`)}},
		},
		"where its label was taken off, it is held and need not enter": {
			map[string]string{label("b"): "sync", label("c"): "sync"}, with(right), []string{v1alpha1.Finalizer("a")}, nil,
			protocol.Change{Labels: map[string]*string{label("a"): new("sync")}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object("apps/v1", "Deployment")
			obj.SetLabels(tc.labels)
			obj.SetAnnotations(tc.annotations)
			obj.SetFinalizers(tc.finalizers)
			got := Plan(obj, decision, tc.enter, groupsOf, theTime)
			if diff := cmp.Diff(&tc.want, got, sameChange...); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			apply(obj, got)
			if again := Plan(obj, decision, tc.enter, groupsOf, theTime.Add(time.Hour)); !again.IsEmpty() {
				t.Errorf("once more: %+v", again)
			}
		})
	}
}

func TestPlanFollowing(t *testing.T) {
	obj := object("v1", "ConfigMap", share("a", 3), annotated(map[string]string{v1alpha1.PlacementAnnotation: "{}"}))
	want := protocol.Change{
		Labels:      map[string]*string{v1alpha1.PlacementLabel("b"): new("sync")},
		Annotations: map[string]*string{v1alpha1.PlacementAnnotation: nil, v1alpha1.ReplicasAnnotation("a"): nil},
	}
	if diff := cmp.Diff(&want, Plan(obj, Decision{Follows: true}, []string{"a", "b"}, groupsOf, theTime), sameChange...); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// sameChange compares changes by what they write.
var sameChange = cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(protocol.Change{})}

// apply carries out a change, as a patch does.
func apply(obj *unstructuredObject, change *protocol.Change) {
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

// TestPlanForgetsReportsOfWhatReturns has a cluster taken back that the object was leaving. Its copy may be gone by then, and its
// report from before would have a roll-out read as done.
func TestPlanForgetsReportsOfWhatReturns(t *testing.T) {
	leaving := annotated(map[string]string{v1alpha1.DeletionAnnotation("east"): "2026-01-02T03:00:00Z"})
	ended := reporting(t, protocol.Report{Version: protocol.ReportVersion, Cluster: "east", Generation: 1, Conditions: []protocol.ReportCondition{{Type: "Complete", Status: "True"}}})
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		want bool
	}{
		"one that was leaving":                       {deployment(on("east"), leaving, available(t, "east", 1, 2)), true},
		"one that was leaving, and has not reported": {deployment(on("east"), leaving), false},
		"one that stays":                             {deployment(on("east"), available(t, "east", 1, 2)), false},
		"one where a Job has ended":                  {object("batch/v1", "Job", on("east"), leaving, ended), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			decision := Decide(request(tc.obj, fleet("east")))
			change := Plan(tc.obj, decision, decision.Clusters, groupsOf, theTime)
			value, mentioned := change.Annotations[v1alpha1.StatusAnnotation("east")]
			if forgets := mentioned && value == nil; forgets != tc.want {
				t.Errorf("forgets the report: %t, want %t; annotations %v", forgets, tc.want, change.Annotations)
			}
		})
	}
}
