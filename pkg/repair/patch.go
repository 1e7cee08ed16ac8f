package repair

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
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

// operation returns what gives an object the meant list.
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

// ownership returns what restores the ownership of the restored fields. kcp removed it with the fields, or dropped all
// ownership if it could not decode the object.
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

// mergeOwners returns the old owners, each with its old fields, and for the writer also its current ones.
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

// isSameOwner reports whether two entries belong to one owner (apimachinery,
// pkg/util/managedfields/internal/managedfields.go).
func isSameOwner(a, b metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.APIVersion == b.APIVersion && a.Subresource == b.Subresource
}

// union returns the fields of both, or only those of the first if they cannot be decoded.
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

// Encode returns the patch as JSON, nil when it is empty.
func Encode(patch []Operation) ([]byte, error) {
	if len(patch) == 0 {
		return nil, nil
	}
	return json.Marshal(patch)
}

// mergeStrategy is the patch strategy of lists that are merged entry by entry (kubernetes/community,
// contributors/devel/sig-api-machinery/strategic-merge-patch.md).
const mergeStrategy = "merge"

// list is a list of an object, and its value as it was meant.
type list struct {
	path []string
	// want is the meant list, nil for none.
	want any
}

// at returns what an object has at a path, nil when that is nothing.
func at(object map[string]any, path []string) any {
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...) // an error comes with nil
	return value
}

// mergedLists returns the paths of the lists that strategic merge patches merge, and in which the objects differ. It
// does not descend into lists. It fails when the objects differ in a field that the Go type does not have.
func (k kind) mergedLists(objects ...map[string]any) ([][]string, error) {
	values := make([]any, len(objects))
	for i, object := range objects {
		values[i] = specOf(object)
	}
	return mergedBelow(k.meta, values, nil)
}

func mergedBelow(meta strategicpatch.PatchMetaFromStruct, values []any, path []string) ([][]string, error) {
	var found [][]string
	for _, name := range fieldNames(values) {
		fields := fieldsOf(values, name)
		if allEqual(fields) {
			continue
		}
		here := append(slices.Clone(path), name)
		below, err := mergedAt(meta, fields, here)
		if err != nil {
			return nil, err
		}
		found = append(found, below...)
	}
	return found, nil
}

// mergedAt returns the lists at or below one field, in whose values the objects differ.
func mergedAt(meta strategicpatch.PatchMetaFromStruct, values []any, path []string) ([][]string, error) {
	name := path[len(path)-1]
	switch {
	case slices.ContainsFunc(values, isList):
		_, patchMeta, err := meta.LookupPatchMetadataForSlice(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(patchMeta.GetPatchStrategies(), mergeStrategy) {
			return [][]string{path}, nil
		}
	case slices.ContainsFunc(values, isMap):
		sub, _, err := meta.LookupPatchMetadataForStruct(name)
		if err != nil {
			return nil, err
		}
		// A map that is no struct, such as labels, has no lists that are merged.
		if below := sub.(strategicpatch.PatchMetaFromStruct); isStruct(below.T) {
			return mergedBelow(below, values, path)
		}
	}
	return nil, nil
}

func isList(value any) bool { _, ok := value.([]any); return ok }

func isMap(value any) bool { _, ok := value.(map[string]any); return ok }

func isStruct(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// fieldNames returns the names of the fields that any of the values has, sorted.
func fieldNames(values []any) []string {
	names := map[string]bool{}
	for _, value := range values {
		fields, _ := value.(map[string]any)
		for name := range fields {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// fieldsOf returns the field of that name of each value, nil for one that has none.
func fieldsOf(values []any, name string) []any {
	result := make([]any, len(values))
	for i, value := range values {
		fields, _ := value.(map[string]any)
		result[i] = fields[name]
	}
	return result
}

func allEqual(values []any) bool {
	return !slices.ContainsFunc(values, func(value any) bool { return !reflect.DeepEqual(value, values[0]) })
}
