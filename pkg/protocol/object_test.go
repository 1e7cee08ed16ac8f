package protocol

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// inputsOfEarlierVersions is what they wrote for a certain object.
const inputsOfEarlierVersions = "366f99240fa2c6dd"

type change = func(*unstructured.Unstructured)

// object returns a Deployment of generation 3, changed.
func object(changes ...change) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment"}}
	obj.SetName("web")
	obj.SetUID("u-1")
	obj.SetResourceVersion("7")
	obj.SetGeneration(3)
	for _, change := range changes {
		change(obj)
	}
	return obj
}

func labelled(pairs ...string) change {
	return func(obj *unstructured.Unstructured) { obj.SetLabels(with(obj.GetLabels(), pairs)) }
}

func annotated(pairs ...string) change {
	return func(obj *unstructured.Unstructured) { obj.SetAnnotations(with(obj.GetAnnotations(), pairs)) }
}

func with(entries map[string]string, pairs []string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, entries)
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

func placedOn(clusters ...string) change {
	return func(obj *unstructured.Unstructured) {
		for _, cluster := range clusters {
			labelled(v1alpha1.PlacementLabel(cluster), v1alpha1.PlacementLabelValue)(obj)
		}
	}
}

func leaving(cluster string) change {
	return annotated(v1alpha1.DeletionAnnotation(cluster), "2026-01-02T03:04:05Z")
}

func heldBy(clusters ...string) change {
	return func(obj *unstructured.Unstructured) {
		for _, cluster := range clusters {
			obj.SetFinalizers(append(obj.GetFinalizers(), v1alpha1.Finalizer(cluster)))
		}
	}
}

func deleting(obj *unstructured.Unstructured) {
	obj.SetDeletionTimestamp(new(metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))))
}

func TestObjectClusters(t *testing.T) {
	type clusters struct{ Labelled, Placed, Held, Present, Mentioned []string }
	none := []string{}
	east := []string{"east"}
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		want clusters
	}{
		"nothing is said":                     {object(), clusters{none, none, none, none, none}},
		"placed and not held yet":             {object(placedOn("east")), clusters{east, east, none, east, east}},
		"placed and held":                     {object(placedOn("east"), heldBy("east")), clusters{east, east, east, east, east}},
		"leaving":                             {object(placedOn("east"), heldBy("east"), leaving("east")), clusters{east, none, east, east, east}},
		"held without a label":                {object(heldBy("east")), clusters{none, none, east, east, east}},
		"a label with another value":          {object(labelled(v1alpha1.PlacementLabel("east"), "yes")), clusters{none, none, none, none, east}},
		"a request to leave alone":            {object(leaving("east")), clusters{none, none, none, none, east}},
		"a report alone":                      {object(annotated(v1alpha1.StatusAnnotation("east"), "")), clusters{none, none, none, none, east}},
		"a part alone":                        {object(annotated(v1alpha1.PartitionAnnotation("east"), "")), clusters{none, none, none, none, east}},
		"a share alone":                       {object(annotated(v1alpha1.ReplicasAnnotation("east"), "")), clusters{none, none, none, none, east}},
		"an override is the user's":           {object(annotated(v1alpha1.OverrideAnnotation("east"), "")), clusters{none, none, none, none, none}},
		"another's finalizer":                 {object(func(obj *unstructured.Unstructured) { obj.SetFinalizers([]string{"example.com/east"}) }), clusters{none, none, none, none, none}},
		"several, sorted and each once":       {object(placedOn("west", "east"), heldBy("west", "north")), clusters{[]string{"east", "west"}, []string{"east", "west"}, []string{"north", "west"}, []string{"east", "north", "west"}, []string{"east", "north", "west"}}},
		"it does not matter that it is going": {object(placedOn("east"), deleting), clusters{east, east, none, east, east}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := Read(tc.obj)
			got := clusters{o.Labelled(), o.Placed(), o.Held(), o.Present(), o.Mentioned()}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestObjectOfOneCluster(t *testing.T) {
	type answers struct{ Labelled, Placed, Held, Entered, Leaving, Deleting bool }
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		want answers
	}{
		"nothing is said":          {object(), answers{}},
		"placed":                   {object(placedOn("east")), answers{Labelled: true, Placed: true, Entered: true}},
		"placed elsewhere":         {object(placedOn("west"), heldBy("west"), leaving("west")), answers{}},
		"leaving":                  {object(placedOn("east"), heldBy("east"), leaving("east")), answers{Labelled: true, Held: true, Leaving: true}},
		"held, its label was lost": {object(heldBy("east")), answers{Held: true, Entered: true}},
		"being deleted":            {object(placedOn("east"), heldBy("east"), deleting), answers{Labelled: true, Placed: true, Held: true, Entered: true, Deleting: true}},
		"another value":            {object(labelled(v1alpha1.PlacementLabel("east"), "yes")), answers{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := Read(tc.obj)
			_, leaving := o.LeavingSince("east")
			got := answers{o.IsLabelled("east"), o.IsPlaced("east"), o.IsHeld("east"), o.HasEntered("east"), leaving, o.IsDeleting()}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadTakesTypedObjectsAndOddOnes(t *testing.T) {
	typed := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Labels: map[string]string{v1alpha1.PlacementLabel("east"): "sync"}, Annotations: map[string]string{v1alpha1.TargetClustersAnnotation: "east"},
	}}
	if o := Read(typed); !o.IsPlaced("east") || len(o.Labelled()) != 1 {
		t.Errorf("a typed object is on %v", o.Labelled())
	} else if targets, named := o.Targets(); targets != "east" || !named {
		t.Errorf("its targets are %q (%t)", targets, named)
	}
	odd := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{
		"labels": map[string]any{v1alpha1.PlacementLabel("east"): 1, v1alpha1.PlacementLabel("west"): "sync"}, "annotations": "none",
	}}}
	if o := Read(odd); o.IsPlaced("east") || !o.IsPlaced("west") || len(o.Labelled()) != 1 || len(o.Inputs("east")) != 16 {
		t.Errorf("an odd object is on %v", o.Labelled())
	}
	if o := Read(&unstructured.Unstructured{}); len(o.Mentioned()) != 0 || o.Placement().By != ByNobody {
		t.Error("an empty object says something")
	}
}

func TestReadCopiesNothing(t *testing.T) {
	obj := object(placedOn("east", "west"), heldBy("east"), annotated("a", "b"))
	if allocations := testing.AllocsPerRun(100, func() { _ = Read(obj).IsPlaced("east") }); allocations > 3 {
		t.Errorf("asking for one cluster allocates %v times", allocations) // the keys
	}
}

func TestObjectOfTheUser(t *testing.T) {
	o := Read(object(annotated(
		v1alpha1.TargetClustersAnnotation, "", v1alpha1.StatusStrategyAnnotation, "latest", v1alpha1.StatusCountersAnnotation, "sum", v1alpha1.ReplaceAnnotation, "true", v1alpha1.OverrideAnnotation("east"), "[]"),
		labelled(v1alpha1.GroupLabel("us"), "sync", v1alpha1.GroupLabel("eu"), "sync")))
	if value, named := o.Targets(); value != "" || !named {
		t.Errorf("Targets: %q, %t", value, named)
	}
	if value, named := o.Strategy(); value != "latest" || !named {
		t.Errorf("Strategy: %q, %t", value, named)
	}
	if value, named := o.Counters(); value != "sum" || !named {
		t.Errorf("Counters: %q, %t", value, named)
	}
	if value, overridden := o.Override("east"); value != "[]" || !overridden {
		t.Errorf("Override: %q, %t", value, overridden)
	}
	if _, overridden := o.Override("west"); overridden || !o.Replaces() || Read(object()).Replaces() {
		t.Error("an override for another cluster counts, or Replaces is wrong")
	}
	if diff := cmp.Diff([]string{"eu", "us"}, o.Groups()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestObjectShare(t *testing.T) {
	cases := map[string]struct {
		value   string
		want    int64
		divided bool
		wrong   bool
	}{
		"none":           {divided: false},
		"some":           {value: "3", want: 3, divided: true},
		"nothing":        {value: "0", divided: true},
		"the most":       {value: "2147483647", want: 2147483647, divided: true},
		"too many":       {value: "2147483648", divided: true, wrong: true},
		"fewer than 0":   {value: "-1", divided: true, wrong: true},
		"no number":      {value: "many", divided: true, wrong: true},
		"no whole one":   {value: "1.5", divided: true, wrong: true},
		"a blank behind": {value: "1 ", divided: true, wrong: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object(placedOn("east"))
			if tc.divided {
				annotated(v1alpha1.ReplicasAnnotation("east"), tc.value)(obj)
			}
			o := Read(obj)
			got, divided, err := o.Share("east")
			if got != tc.want || divided != tc.divided || (err != nil) != tc.wrong {
				t.Errorf("got %d, %t, %v; want %d, %t, an error: %t", got, divided, err, tc.want, tc.divided, tc.wrong)
			}
			if err != nil && (!strings.Contains(err.Error(), v1alpha1.ReplicasAnnotation("east")) || !strings.Contains(err.Error(), "0 to 2147483647")) {
				t.Errorf("%q does not name the annotation and what is expected", err)
			}
			if o.IsDivided() != tc.divided {
				t.Errorf("IsDivided: %t", o.IsDivided())
			}
		})
	}
}

func TestObjectInputs(t *testing.T) {
	plain := Read(object()).Inputs("east")
	if len(plain) != 16 {
		t.Fatalf("inputs are %q", plain)
	}
	cases := map[string]struct {
		change  change
		differs bool
	}{
		"the user's label":          {labelled("app", "web"), true},
		"the user's annotation":     {annotated("note", "hi"), true},
		"the cluster's override":    {annotated(v1alpha1.OverrideAnnotation("east"), "[]"), true},
		"the cluster's share":       {annotated(v1alpha1.ReplicasAnnotation("east"), "1"), true},
		"the cluster's part":        {annotated(v1alpha1.PartitionAnnotation("east"), "1/2"), true},
		"another's part":            {annotated(v1alpha1.PartitionAnnotation("west"), "1/2"), false},
		"what the user yields":      {annotated(v1alpha1.YieldAnnotation, "spec.suspend"), true},
		"another's override":        {annotated(v1alpha1.OverrideAnnotation("west"), "[]"), false},
		"another's share":           {annotated(v1alpha1.ReplicasAnnotation("west"), "1"), false},
		"a report":                  {annotated(v1alpha1.StatusAnnotation("east"), "{}"), false},
		"a placement":               {placedOn("east"), false},
		"last applied":              {annotated("kubectl.kubernetes.io/last-applied-configuration", "{}"), false},
		"a deployment's revision":   {annotated("deployment.kubernetes.io/revision", "4"), false},
		"kcp's own":                 {annotated("kcp.io/cluster", "abc"), false},
		"the generation stands for": {func(obj *unstructured.Unstructured) { obj.SetGeneration(9) }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Read(object(tc.change)).Inputs("east"); (got != plain) != tc.differs {
				t.Errorf("got %s after %s", got, plain)
			}
		})
	}
	// Copies on clusters bear it: another value would have all of them written again.
	if got := Read(object(labelled("app", "web"), annotated("note", "hi", v1alpha1.ReplicasAnnotation("east"), "2"))).Inputs("east"); got != inputsOfEarlierVersions {
		t.Errorf("inputs are %s, and were %s in earlier versions", got, inputsOfEarlierVersions)
	}
	own := UsersOwn(map[string]string{"app": "web", "kcp.io/cluster": "abc"})
	if diff := cmp.Diff(map[string]string{"app": "web"}, own); diff != "" {
		t.Errorf("the user's own (-want +got):\n%s", diff)
	}
}

func TestObjectReport(t *testing.T) {
	obj := object(annotated(v1alpha1.StatusAnnotation("east"), `{"v":1,"cluster":"east","gen":3}`, v1alpha1.StatusAnnotation("west"), `{"v":1,"cluster":"east"}`))
	o := Read(obj)
	if report, err := o.Report("east"); err != nil || report.Generation != 3 {
		t.Errorf("got %+v, %v", report, err)
	}
	if _, err := o.Report("west"); err == nil {
		t.Error("another cluster's report is believed")
	}
	if _, err := o.Report("north"); err == nil || fmt.Sprint(err) != "has not reported" {
		t.Errorf("error %v", err)
	}
	if value, reported := o.EncodedReport("east"); !reported || !strings.HasPrefix(value, "{") {
		t.Errorf("the annotation is %q", value)
	}
}

func TestRetry(t *testing.T) {
	asking := object(annotated(v1alpha1.RetryAnnotation, "2026-01-01T00:00:00Z"))
	if got := Read(asking).Retry(); got != "2026-01-01T00:00:00Z" || Read(object()).Retry() != "" {
		t.Errorf("got %q", got)
	}
	if Read(asking).Inputs("east") != Read(object()).Inputs("east") {
		t.Error("copies change by it")
	}
	if Read(asking).SaysSameTo("east", Read(object())) {
		t.Error("it is no news to a cluster")
	}
}
