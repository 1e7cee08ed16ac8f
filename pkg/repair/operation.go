package repair

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Operation is one of a JSON patch (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// pointerEscapes are those of RFC 6901.
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// operation returns what makes the list of an object as it should be.
func (l list) operation(object map[string]any) Operation {
	var path strings.Builder
	for _, name := range l.path {
		path.WriteString("/" + pointerEscapes.Replace(name))
	}
	switch {
	case l.want == nil:
		return Operation{Op: "remove", Path: path.String()}
	case at(object, l.path) == nil:
		return Operation{Op: "add", Path: path.String(), Value: l.want}
	default:
		return Operation{Op: "replace", Path: path.String(), Value: l.want}
	}
}

// ownership returns what gives others back the ownership of the fields that are back. kcp has taken it from them with
// the fields, or, where it could not make out the object, dropped it all.
func ownership(w Write) []Operation {
	old := (&unstructured.Unstructured{Object: w.Old}).GetManagedFields()
	current := (&unstructured.Unstructured{Object: w.New}).GetManagedFields()
	owners := mergeOwners(old, current, w.Manager)
	switch {
	case reflect.DeepEqual(owners, current):
		return nil
	case len(current) == 0:
		return []Operation{{Op: "add", Path: "/metadata/managedFields", Value: owners}}
	default:
		return []Operation{{Op: "replace", Path: "/metadata/managedFields", Value: owners}}
	}
}

// mergeOwners returns the owners that there were, each with what it had; the writer has besides what it has now.
func mergeOwners(old, current []metav1.ManagedFieldsEntry, writer string) []metav1.ManagedFieldsEntry {
	owners := slices.Clone(old)
	for _, entry := range current {
		if entry.Manager != writer {
			continue
		}
		at := slices.IndexFunc(owners, func(owner metav1.ManagedFieldsEntry) bool { return isSameOwner(owner, entry) })
		if at < 0 {
			owners = append(owners, entry)
			continue
		}
		owners[at].FieldsV1 = union(owners[at].FieldsV1, entry.FieldsV1)
		owners[at].Time = entry.Time
	}
	return owners
}

// isSameOwner compares what tells owners apart (apimachinery, pkg/util/managedfields/internal/managedfields.go).
func isSameOwner(a, b metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.APIVersion == b.APIVersion && a.Subresource == b.Subresource
}

// union returns the fields of both, and the first where they cannot be read.
func union(a, b *metav1.FieldsV1) *metav1.FieldsV1 {
	if a == nil || b == nil {
		return a
	}
	var first, second fieldpath.Set
	if first.FromJSON(a.GetRawReader()) != nil || second.FromJSON(b.GetRawReader()) != nil {
		return a
	}
	data, err := first.Union(&second).ToJSON()
	if err != nil {
		return a
	}
	return metav1.NewFieldsV1(string(data))
}

// Encode returns the patch as JSON, nil when there is nothing to do.
func Encode(patch []Operation) ([]byte, error) {
	if len(patch) == 0 {
		return nil, nil
	}
	return json.Marshal(patch)
}
