package transform

import (
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// removeFilledIn removes what the schema fills in: the cluster does so as well. Whether it was the schema or the user that said so
// cannot be told, and makes no difference.
func removeFilledIn(desired *unstructured.Unstructured, kind *kinds.Kind) {
	for _, field := range kind.FilledIn() {
		path, name := field.Path.Last()
		if parent := child(desired.Object, path...); reflect.DeepEqual(parent[name], field.Value) {
			delete(parent, name)
		}
	}
}

// AsBefore returns the copy with what the schema fills in, if just that lies there: before the schema filled it in, users who said
// the same had it applied, and nothing is gained by writing their copies again. Otherwise it returns the copy.
func AsBefore(desired, downstreamObj *unstructured.Unstructured, kind *kinds.Kind) *unstructured.Unstructured {
	applied := downstreamObj.GetAnnotations()[v1alpha1.AppliedHashAnnotation]
	if len(kind.FilledIn()) == 0 || applied == "" || applied == desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation] {
		return desired
	}
	before := desired.DeepCopy()
	unstructured.RemoveNestedField(before.Object, metadataField, annotationsField, v1alpha1.AppliedHashAnnotation)
	for _, field := range kind.FilledIn() {
		path, name := field.Path.Last()
		parent := child(before.Object, path...)
		if _, present := parent[name]; present || parent == nil {
			return desired
		}
		parent[name] = runtime.DeepCopyJSONValue(field.Value)
	}
	if before, err := seal(before); err == nil && before.GetAnnotations()[v1alpha1.AppliedHashAnnotation] == applied {
		return before
	}
	return desired
}
