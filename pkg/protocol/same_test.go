package protocol

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestObjectSameButReports(t *testing.T) {
	placed := func() *unstructured.Unstructured {
		return object(placedOn("east"), heldBy("east"), reported(), annotated("note", "hi", v1alpha1.StatusAnnotation("west"), "{}"))
	}
	cases := map[string]struct {
		change change
		want   bool
	}{
		"nothing has changed":             {func(*unstructured.Unstructured) {}, true},
		"the cluster's report":            {annotated(v1alpha1.StatusAnnotation("east"), "{}"), true},
		"another's report":                {annotated(v1alpha1.StatusAnnotation("north"), "{}"), true},
		"a report is gone":                {func(obj *unstructured.Unstructured) { obj.SetAnnotations(map[string]string{"note": "hi"}) }, true},
		"an annotation is gone":           {func(obj *unstructured.Unstructured) { obj.SetAnnotations(nil) }, false},
		"an annotation has another value": {annotated("note", "ho"), false},
		"a label more":                    {labelled("app", "web"), false},
		"it is to leave the cluster":      {leaving("east"), false},
		"it is to leave another":          {leaving("west"), false},
		"it enters another":               {placedOn("west"), false},
		"it is held for another":          {heldBy("west"), false},
		"it is not held any more":         {func(obj *unstructured.Unstructured) { obj.SetFinalizers(nil) }, false},
		"it is being deleted":             {deleting, false},
		"its user names clusters":         {annotated(v1alpha1.TargetClustersAnnotation, "*"), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			changed := placed()
			tc.change(changed)
			before, after := Read(placed()), Read(changed)
			if before.SameButReports(after) != tc.want || after.SameButReports(before) != tc.want {
				t.Errorf("the same but reports: %t", !tc.want)
			}
		})
	}
}

func TestObjectSaysSameTo(t *testing.T) {
	cases := map[string]struct {
		label, annotation string
		same              bool
	}{
		"another cluster's placement": {label: v1alpha1.PlacementLabel("west"), same: true},
		"the cluster's own placement": {label: v1alpha1.PlacementLabel("east")},
		"a label of the user's":       {label: "app"},
		"another cluster's deletion":  {annotation: v1alpha1.DeletionAnnotation("west"), same: true},
		"the cluster's own deletion":  {annotation: v1alpha1.DeletionAnnotation("east")},
		"another cluster's report":    {annotation: v1alpha1.StatusAnnotation("west"), same: true},
		"the cluster's own report":    {annotation: v1alpha1.StatusAnnotation("east"), same: true},
		"an annotation for everybody": {annotation: v1alpha1.ReplaceAnnotation},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			changed := &metav1.ObjectMeta{}
			if tc.label != "" {
				changed.Labels = map[string]string{tc.label: "x"}
			}
			if tc.annotation != "" {
				changed.Annotations = map[string]string{tc.annotation: "x"}
			}
			if got := Read(&metav1.ObjectMeta{}).SaysSameTo("east", Read(changed)); got != tc.same {
				t.Errorf("same: %t, want %t", got, tc.same)
			}
		})
	}
}
