package repair

import (
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// mergeStrategy is the patch strategy of lists that are merged entry by entry (kubernetes/community,
// contributors/devel/sig-api-machinery/strategic-merge-patch.md).
const mergeStrategy = "merge"

// list is a list of an object, and what it should be.
type list struct {
	path []string
	// want is the list, and is nil where there should be none.
	want any
}

// at returns what an object has at a path, nil when that is nothing.
func at(object map[string]any, path []string) any {
	value, _, err := unstructured.NestedFieldNoCopy(object, path...)
	if err != nil {
		return nil
	}
	return value
}

// mergedLists returns the paths of the lists that strategic merge patches merge, and in which the objects differ. It goes
// into maps and not into lists, for a list contains all that is in it. It fails when the objects differ in something
// that the Go type does not know.
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
		// What is no struct, such as a map of labels, has no lists that are merged.
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
