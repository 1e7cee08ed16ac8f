package evaluate

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestIsScaledElsewhere(t *testing.T) {
	owning := metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`)
	entry := func(manager, subresource string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource, FieldsV1: owning}
	}
	ours := metav1.ManagedFieldsEntry{Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: owning}
	person, autoscaler := entry("kubectl", "scale"), entry(autoscalerManager, "scale")
	otherwise := metav1.ManagedFieldsEntry{Manager: "x", Subresource: "scale", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:paused":{}}}`)}
	unreadable := metav1.ManagedFieldsEntry{Manager: "x", Subresource: "scale", FieldsV1: metav1.NewFieldsV1(`{"x":{}}`)}
	without := metav1.ManagedFieldsEntry{Manager: "x", Subresource: "scale"}
	share, noShare := annotated(v1alpha1.ReplicasAnnotation("east"), "2"), annotated(v1alpha1.ReplicasAnnotation("east"), "0")
	zero := func(obj *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(obj.Object, int64(0), "spec", "replicas")
	}
	cases := map[string]struct {
		entries       []metav1.ManagedFieldsEntry
		hasAutoscaler bool
		upstream      option
		want          bool
	}{
		"the field is ours":                               {[]metav1.ManagedFieldsEntry{ours}, false, placed, false},
		"a field that is nobody's is put back":            {nil, false, placed, false},
		"kubectl scale says another number than kcp":      {[]metav1.ManagedFieldsEntry{person}, false, placed, true},
		"who says the number of kcp gives the field back": {[]metav1.ManagedFieldsEntry{person}, false, share, false},
		"a later change in kcp counts after that":         {[]metav1.ManagedFieldsEntry{person, ours}, false, placed, false},
		"an edit is drift":                                {[]metav1.ManagedFieldsEntry{entry("kubectl-edit", "")}, false, placed, false},
		"an autoscaler decides":                           {[]metav1.ManagedFieldsEntry{autoscaler}, true, placed, true},
		"an autoscaler that agrees goes on deciding":      {[]metav1.ManagedFieldsEntry{autoscaler}, true, share, true},
		"the entry of an autoscaler that is gone stays":   {[]metav1.ManagedFieldsEntry{autoscaler}, false, placed, false},
		"the field is ours until the autoscaler writes":   {[]metav1.ManagedFieldsEntry{ours}, true, placed, false},
		"another field of the scale subresource":          {[]metav1.ManagedFieldsEntry{otherwise, unreadable, without}, false, placed, false},
		"where kcp says no number, nobody is in its way":  {[]metav1.ManagedFieldsEntry{person}, false, func(obj *unstructured.Unstructured) { delete(obj.Object, "spec") }, false},
		"zero in kcp is zero beside an autoscaler":        {[]metav1.ManagedFieldsEntry{autoscaler}, true, zero, false},
		"a share of zero is zero beside an autoscaler":    {[]metav1.ManagedFieldsEntry{autoscaler}, true, noShare, false},
		"zero in kcp is zero after kubectl scale":         {[]metav1.ManagedFieldsEntry{person}, false, zero, false},
		"zero in kcp, a share of two":                     {[]metav1.ManagedFieldsEntry{autoscaler}, true, func(obj *unstructured.Unstructured) { zero(obj); share(obj) }, true},
		"a zero of ours is lifted beside an autoscaler":   {[]metav1.ManagedFieldsEntry{autoscaler, ours}, true, placed, false},
		"a share that is no number":                       {[]metav1.ManagedFieldsEntry{person}, false, annotated(v1alpha1.ReplicasAnnotation("east"), "x"), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": int64(2)}}}
			obj.SetManagedFields(c.entries)
			in := inputOf(upstreamDeployment(placed, c.upstream), obj)
			in.HasAutoscaler = c.hasAutoscaler
			if got := isScaledElsewhere(in, in.Upstream); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}

func TestHasRun(t *testing.T) {
	replace := annotated(v1alpha1.ReplaceAnnotation, "true")
	job := func(options ...option) *unstructured.Unstructured {
		return upstreamDeployment(append(options, asJob)...)
	}
	cases := map[string]struct {
		upstream, final *unstructured.Unstructured
		want            bool
	}{
		"a Job of which nothing is known is run":       {job(), nil, false},
		"the report outlives the copy":                 {job(reported("Complete", 1)), nil, true},
		"a suspended Job has not ended":                {job(reported("Suspended", 1)), nil, false},
		"it went before its end was reported":          {job(), copyOf(t, job(), ended), true},
		"a namesake is another Job":                    {job(), copyOf(t, job(), ended, annotated(v1alpha1.SourceUIDAnnotation, "earlier")), false},
		"somebody deleted it while it ran":             {job(), copyOf(t, job()), false},
		"the user has a changed one replace it":        {job(replace, reported("Complete", 0)), nil, false},
		"a changed one replaces the one that was seen": {job(replace, generation(2)), copyOf(t, job(), ended), false},
		"there is nothing to replace without a change": {job(replace, reported("Complete", 1)), nil, true},
		"a Deployment never ends":                      {upstreamDeployment(reported("Complete", 1)), nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := inputOf(c.upstream, nil)
			in.Final = c.final
			if got := hasRun(in); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}
