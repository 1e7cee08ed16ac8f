package protocol

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestSame(t *testing.T) {
	placed := func() *unstructured.Unstructured {
		return object(placedOn("east"), heldBy("east"), reported(), annotated("note", "hi", v1alpha1.StatusAnnotation("west"), "{}"))
	}
	cases := map[string]struct {
		change                change
		butReports, forSyncer bool
	}{
		"nothing has changed":             {func(*unstructured.Unstructured) {}, true, true},
		"the cluster's report":            {annotated(v1alpha1.StatusAnnotation("east"), "{}"), true, true},
		"another's report":                {annotated(v1alpha1.StatusAnnotation("north"), "{}"), true, true},
		"a report is gone":                {func(obj *unstructured.Unstructured) { obj.SetAnnotations(map[string]string{"note": "hi"}) }, true, true},
		"an annotation is gone":           {func(obj *unstructured.Unstructured) { obj.SetAnnotations(nil) }, false, false},
		"an annotation has another value": {annotated("note", "ho"), false, false},
		"a label more":                    {labelled("app", "web"), false, false},
		"it is to leave the cluster":      {leaving("east"), false, false},
		"it is to leave another":          {leaving("west"), false, true},
		"it enters another":               {placedOn("west"), false, true},
		"it is held for another":          {heldBy("west"), false, true},
		"it is not held any more":         {func(obj *unstructured.Unstructured) { obj.SetFinalizers(nil) }, false, false},
		"it is being deleted":             {deleting, false, false},
		"its user names clusters":         {annotated(v1alpha1.TargetClustersAnnotation, "*"), false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			changed := placed()
			tc.change(changed)
			before, after := Read(placed()), Read(changed)
			if before.SameButReports(after) != tc.butReports || after.SameButReports(before) != tc.butReports {
				t.Errorf("the same but reports: %t", !tc.butReports)
			}
			if before.SameFor("east", after) != tc.forSyncer || after.SameFor("east", before) != tc.forSyncer {
				t.Errorf("the same to its syncer: %t", !tc.forSyncer)
			}
		})
	}
}

func TestIsForSyncer(t *testing.T) {
	for key, want := range map[string]bool{
		v1alpha1.PlacementAnnotation: false, v1alpha1.StatusAnnotation("west"): false, v1alpha1.StatusAnnotation("east"): true,
		v1alpha1.ReplicasAnnotation("west"): true, "note": true,
	} {
		if got := IsForSyncer(key, "east"); got != want {
			t.Errorf("%s: %t", key, got)
		}
	}
}
