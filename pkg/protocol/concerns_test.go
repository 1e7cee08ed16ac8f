package protocol

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

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

func TestKeepFor(t *testing.T) {
	obj := &metav1.ObjectMeta{Annotations: map[string]string{
		"note": "hi", v1alpha1.PlacementAnnotation: "{}", v1alpha1.StatusAnnotation("west"): "{}", v1alpha1.StatusAnnotation("east"): "{}",
	}}
	KeepFor("east", obj)
	if diff := cmp.Diff(map[string]string{"note": "hi", v1alpha1.StatusAnnotation("east"): "{}"}, obj.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}
