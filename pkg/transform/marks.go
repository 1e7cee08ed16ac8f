package transform

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Labels and annotations of tmc are for anybody to write who may write to a cluster, and
// for its controllers to copy from one object to the next. So a mark counts where the
// server's record of field ownership says that an apply of ours put it there, and is not
// looked at anywhere else.

// The fields that marks are in.
const (
	metadataField    = "metadata"
	labelsField      = "labels"
	annotationsField = "annotations"
)

// KeepOwnMarks takes those labels and annotations of tmc off a downstream object that no
// server-side apply of ours owns (metadata.managedFields). Without them, OriginOf and
// IsCopy tell what is ours from what only says so. It changes the object, and replaces
// the maps that it changes.
func KeepOwnMarks(downstreamObj metav1.Object) {
	labels, annotations := downstreamObj.GetLabels(), downstreamObj.GetAnnotations()
	if !hasMark(labels) && !hasMark(annotations) {
		return
	}
	owned, _ := ownedFields(downstreamObj) // nil, where they cannot be read: nothing is ours
	downstreamObj.SetLabels(ownMarks(labels, owned, labelsField))
	downstreamObj.SetAnnotations(ownMarks(annotations, owned, annotationsField))
}

// IsCopy reports whether a downstream object, of which KeepOwnMarks has left what is ours, is
// a copy: one that has lost what it is of included.
func IsCopy(downstreamObj metav1.Object) bool {
	_, ok := OriginOf(downstreamObj)
	return ok || downstreamObj.GetLabels()[v1alpha1.SourceHashLabel] != ""
}

func hasMark(entries map[string]string) bool {
	for key := range entries {
		if v1alpha1.IsMark(key) {
			return true
		}
	}
	return false
}

// ownMarks returns the entries less the marks that are not in the owned fields, which are
// nil for none.
func ownMarks(entries map[string]string, owned *fieldpath.Set, field string) map[string]string {
	kept := maps.Clone(entries)
	maps.DeleteFunc(kept, func(key, _ string) bool {
		return v1alpha1.IsMark(key) && (owned == nil || !owned.Has(fieldpath.MakePathOrDie(metadataField, field, key)))
	})
	return kept
}

// removeNestedMarks takes the marks of tmc out of every metadata within the object, at any
// depth: of pods, Jobs and claims of volumes that the cluster's controllers make from it,
// and that are no copies. managedFields go with them: an API server heeds those that an
// object brings along when it is made, as a StatefulSet's claims do.
func removeNestedMarks(obj *unstructured.Unstructured) {
	for field, value := range obj.Object {
		if field != metadataField {
			removeMarksBelow(value)
		}
	}
}

func removeMarksBelow(value any) {
	switch value := value.(type) {
	case map[string]any:
		for field, below := range value {
			if metadata, isObject := below.(map[string]any); isObject && field == metadataField {
				removeMarks(metadata)
			}
			removeMarksBelow(below)
		}
	case []any:
		for _, element := range value {
			removeMarksBelow(element)
		}
	}
}

// removeMarks takes the marks out of the metadata of a template, and labels and annotations
// with the last one.
func removeMarks(metadata map[string]any) {
	delete(metadata, "managedFields")
	for _, field := range []string{labelsField, annotationsField} {
		entries := child(metadata, field)
		before := len(entries)
		maps.DeleteFunc(entries, func(key string, _ any) bool { return v1alpha1.IsMark(key) })
		if before > 0 && len(entries) == 0 {
			delete(metadata, field)
		}
	}
}
