package evaluate

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func asStatefulSet(obj *unstructured.Unstructured) {
	obj.SetKind("StatefulSet")
	setField(obj, map[string]any{"matchLabels": map[string]any{"app": "web"}}, "spec", "selector")
}

func selecting(app string) option {
	return func(obj *unstructured.Unstructured) { setField(obj, app, "spec", "selector", "matchLabels", "app") }
}

func deletingClaims(obj *unstructured.Unstructured) {
	setField(obj, "Delete", "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted")
}

func setField(obj *unstructured.Unstructured, value any, path ...string) {
	if err := unstructured.SetNestedField(obj.Object, value, path...); err != nil {
		panic(err)
	}
}

func TestPropagation(t *testing.T) {
	const background, orphan, foreground = metav1.DeletePropagationBackground, metav1.DeletePropagationOrphan, metav1.DeletePropagationForeground
	here := upstreamDeployment(placed, held)
	set := upstreamDeployment(asStatefulSet, placed, held)
	earlier := annotated(v1alpha1.SourceUIDAnnotation, "earlier")
	leaves := func(options ...option) *unstructured.Unstructured {
		return upstreamDeployment(append([]option{placed, held}, options...)...)
	}
	cases := map[string]struct {
		upstream, downstream *unstructured.Unstructured
		isStray              bool
		remembered           metav1.DeletionPropagation
		want                 metav1.DeletionPropagation
		loses                bool
	}{
		"a deleted object takes all with it":                {leaves(deleting), copyOf(t, here), false, "", background, false},
		"what is orphaned upstream is orphaned":             {leaves(deletingBy("orphan")), copyOf(t, here), false, "", orphan, false},
		"so are copies that lie elsewhere":                  {leaves(deletingBy("orphan")), copyOf(t, here), true, "", orphan, false},
		"the hub's note counts as well":                     {leaves(deleting, annotated(v1alpha1.PropagationAnnotation, "Orphan")), copyOf(t, here), false, "", orphan, false},
		"what was seen once is not forgotten":               {leaves(deleting), copyOf(t, here), false, orphan, orphan, false},
		"a deletion in the foreground is one":               {leaves(deletingBy("foregroundDeletion")), copyOf(t, here), false, "", foreground, false},
		"who leaves a cluster takes all with him":           {upstreamDeployment(placed, held, annotated(v1alpha1.DeletionAnnotation("east"), "now")), copyOf(t, here), false, "", background, false},
		"so does a StatefulSet":                             {upstreamDeployment(asStatefulSet, held), copyOf(t, set), false, "", background, false},
		"what is not seen any more goes as was seen":        {nil, copyOf(t, here), false, orphan, orphan, false},
		"what was never seen takes all with it":             {nil, copyOf(t, here), false, "", background, false},
		"a StatefulSet made anew keeps its pods and claims": {set, copyOf(t, set, drifted, deletingClaims), false, "", orphan, false},
		"one with another selector could not take them":     {set, copyOf(t, set, selecting("other")), false, "", background, false},
		"it would lose claims that go with it":              {set, copyOf(t, set, selecting("other"), deletingClaims), false, "", background, true},
		"a Deployment made anew leaves nothing running":     {here, copyOf(t, here, drifted), false, "", background, false},
		"a namesake's claims are kept":                      {set, copyOf(t, set, earlier, deletingClaims), false, "", orphan, false},
		"a namesake that was deleted for good goes":         {set, copyOf(t, set, earlier), false, background, background, false},
		"a namesake that was orphaned leaves its pods":      {here, copyOf(t, here, earlier), false, orphan, orphan, false},
		"where it used to lie nothing takes over":           {set, copyOf(t, set), true, "", background, false},
		"what is kept is made anew as ever":                 {leaves(deletingBy("orphan", "example.com/drain")), copyOf(t, here), false, orphan, background, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := inputOf(tc.upstream, tc.downstream)
			removed := tc.downstream
			if tc.isStray {
				in.Downstream = nil
			}
			e := evaluated(t, in, nil)
			if got := e.Propagation(removed, tc.remembered); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if !tc.isStray && e.LosesClaims() != tc.loses {
				t.Errorf("LosesClaims is %t", !tc.loses)
			}
		})
	}
}
