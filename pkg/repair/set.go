package repair

import (
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// setFields are the fields of a container that kubectl set changes: one of them at a time (kubectl, pkg/cmd/set).
var setFields = []string{"env", "image", "resources"}

// containerName is the merge key of containers.
const containerName = "name"

// set returns the lists of containers that kcp got wrong in a kubectl set, as they were meant. Where kcp puts the
// patch's list in place of the object's, the new object contains the patch's list with its directives ($patch: delete,
// $setElementOrder, nulls): admission sees it before kcp drops what the schema does not have. That list, applied as a
// patch to the old object, gives the meant list. It lacks only the order of the outermost list, which kubectl set never
// changes.
//
// The result is verified: the smallest patch from the old object to the meant one must have led kcp to exactly the new
// object. A list that was merged already, or replaced on purpose, does not pass.
func (k kind) set(w Write) ([]list, error) {
	paths, err := k.mergedLists(w.Old, w.New)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	patch := map[string]any{}
	for _, path := range paths {
		if err := unstructured.SetNestedField(patch, at(w.New, path), path...); err != nil {
			return nil, err
		}
	}
	meant, err := k.merge(specOf(w.Old), patch)
	if err != nil {
		return nil, err
	}
	if areAsMeant(w.New, meant, paths) {
		return nil, nil
	}
	if !areOfSet(w, paths) {
		return nil, errNotOfSet
	}
	return k.confirmed(w, meant, paths)
}

// confirmed returns the lists as they were meant. It fails unless kcp's fault explains the new object.
func (k kind) confirmed(w Write, meant map[string]any, paths [][]string) ([]list, error) {
	smallest, err := strategicpatch.CreateTwoWayMergeMapPatchUsingLookupPatchMeta(runtime.DeepCopyJSON(specOf(w.Old)), runtime.DeepCopyJSON(meant), k.meta)
	if err != nil {
		return nil, err
	}
	byKCP, err := k.mergeAsKCP(specOf(w.Old), smallest)
	if err != nil {
		return nil, err
	}
	lists := make([]list, 0, len(paths))
	for _, path := range paths {
		if !reflect.DeepEqual(at(w.New, path), at(byKCP, path)) {
			return nil, errInconsistent
		}
		lists = append(lists, list{path, at(meant, path)})
	}
	return lists, nil
}

// areAsMeant reports whether all the lists of an object are as they were meant.
func areAsMeant(object, meant map[string]any, paths [][]string) bool {
	return !slices.ContainsFunc(paths, func(path []string) bool { return !reflect.DeepEqual(at(object, path), at(meant, path)) })
}

// areOfSet reports whether kubectl set could have sent the lists: containers that the old object has, and the same
// field of all of them.
func areOfSet(w Write, paths [][]string) bool {
	changed := map[string]bool{}
	for _, path := range paths {
		names := containerNames(at(w.Old, path))
		items, _ := at(w.New, path).([]any)
		for _, item := range items {
			container, _ := item.(map[string]any)
			name, _ := container[containerName].(string)
			if !names[name] {
				return false
			}
			for field := range container {
				if field != containerName && !strings.HasPrefix(field, "$setElementOrder/") {
					changed[field] = true
				}
			}
		}
	}
	for field := range changed {
		if len(changed) != 1 || !slices.Contains(setFields, field) {
			return false
		}
	}
	return len(changed) == 1
}

// containerNames returns the names of a list of containers.
func containerNames(containers any) map[string]bool {
	names := map[string]bool{}
	items, _ := containers.([]any)
	for _, item := range items {
		container, _ := item.(map[string]any)
		if name, ok := container[containerName].(string); ok {
			names[name] = true
		}
	}
	return names
}
