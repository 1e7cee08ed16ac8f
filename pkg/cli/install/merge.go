package install

import (
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// merger returns what a live object should become so that it is as desired. It changes neither, and returns something
// equal to live when there is nothing to do.
type merger func(live, desired *unstructured.Unstructured) *unstructured.Unstructured

// keepLive is the merger for objects that nobody can or should change once they exist.
func keepLive(live, _ *unstructured.Unstructured) *unstructured.Unstructured { return live }

// overlayObject is the merger for most objects: fields of desired win, others stay.
func overlayObject(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: overlayMap(live.Object, desired.Object)}
}

// Fields that are read and written by their names.
const (
	nameField   = "name"
	pathField   = "path"
	exportField = "export"
)

var (
	// mergeDefinition is the merger for a CustomResourceDefinition. It replaces the versions as a whole: a schema also
	// means something by what it leaves out. The API server fills in nothing there.
	mergeDefinition = mergeLists(map[string]listMerge{"versions": {replace: true}})
	// mergePolicy is the merger for a ValidatingAdmissionPolicy and its binding. It replaces these lists as a whole:
	// what is left over in them would deny, or let pass, what it should not. The API server fills in nothing there.
	mergePolicy = mergeLists(map[string]listMerge{
		"matchConditions": {replace: true}, "variables": {replace: true}, "validations": {replace: true},
	})
	// mergeExport is the merger for an APIExport. It swaps the schemas of resources that it knows, and keeps those that
	// others have added to the export.
	mergeExport = mergeLists(map[string]listMerge{
		"resources": {keys: []string{"group", nameField}, keepOthers: true}, "permissionClaims": {keys: claimKeys},
	})
	// mergeBinding is the merger for an APIBinding. It accepts exactly the desired claims.
	mergeBinding = mergeLists(map[string]listMerge{"permissionClaims": acceptedClaims})
	// mergeTenantType is the merger for the WorkspaceType of tenants: the exports of other clusters stay.
	mergeTenantType = mergeLists(map[string]listMerge{"defaultAPIBindings": {keys: []string{exportField, pathField}, keepOthers: true}})

	// acceptedClaims merges the claims that an APIBinding accepts. A claim that the binding has keeps its selector,
	// which nobody can change in kcp.
	acceptedClaims = listMerge{keys: claimKeys, keepFields: []string{"selector"}}
	// claimKeys are the list map keys of permission claims in the apis.kcp.io API.
	claimKeys = []string{"group", "resource", "identityHash"}
)

// listMerge says how to merge a list of objects that are found by keys.
type listMerge struct {
	keys []string
	// replace takes the desired list as it is.
	replace bool
	// keepOthers keeps items that are not desired.
	keepOthers bool
	// keepFields are fields that a live item keeps.
	keepFields []string
}

// mergeLists returns a merger that lays desired over live, with the named lists of the spec merged item by item.
func mergeLists(lists map[string]listMerge) merger {
	return func(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
		result := overlayObject(live, desired)
		for name, how := range lists {
			// An error means that the field is no list, which the API server does not let it be.
			merged, _, _ := unstructured.NestedSlice(desired.Object, "spec", name)
			if !how.replace {
				items, _, _ := unstructured.NestedSlice(live.Object, "spec", name)
				merged = how.merge(items, merged)
			}
			if len(merged) > 0 {
				_ = unstructured.SetNestedSlice(result.Object, merged, "spec", name)
			} else {
				unstructured.RemoveNestedField(result.Object, "spec", name)
			}
		}
		return result
	}
}

// merge returns the merged list: live items first, in their order.
func (m listMerge) merge(live, desired []any) []any {
	var result []any
	for _, item := range live {
		at := slices.IndexFunc(desired, func(candidate any) bool { return m.same(item, candidate) })
		switch {
		case at >= 0:
			result = append(result, overlay(item, m.without(item, desired[at])))
		case m.keepOthers:
			result = append(result, item)
		}
	}
	for _, item := range desired {
		if !slices.ContainsFunc(live, func(candidate any) bool { return m.same(item, candidate) }) {
			result = append(result, item)
		}
	}
	return result
}

// same reports whether two items have the same keys. A key that is left out is empty.
func (m listMerge) same(a, b any) bool {
	first, _ := a.(map[string]any)
	second, _ := b.(map[string]any)
	return !slices.ContainsFunc(m.keys, func(key string) bool {
		x, _ := first[key].(string)
		y, _ := second[key].(string)
		return x != y
	})
}

// without returns the desired item without the fields that the live one has and keeps.
func (m listMerge) without(live, desired any) any {
	liveFields, _ := live.(map[string]any)
	fields, _ := desired.(map[string]any)
	result := maps.Clone(fields)
	maps.DeleteFunc(result, func(name string, _ any) bool {
		_, has := liveFields[name]
		return has && slices.Contains(m.keepFields, name)
	})
	return result
}

// overlay returns live with desired laid over it: fields of objects one by one, anything else as a whole. A list that
// has all that is desired, and what the server has filled in, stays as it is.
func overlay(live, desired any) any {
	liveMap, isLiveMap := live.(map[string]any)
	desiredMap, isDesiredMap := desired.(map[string]any)
	switch {
	case isLiveMap && isDesiredMap:
		return overlayMap(liveMap, desiredMap)
	case covers(live, desired):
		return live
	default:
		return runtime.DeepCopyJSONValue(desired)
	}
}

// overlayMap is overlay for objects.
func overlayMap(live, desired map[string]any) map[string]any {
	result := runtime.DeepCopyJSON(live)
	for name, value := range desired {
		existing, ok := result[name]
		if !ok {
			result[name] = runtime.DeepCopyJSONValue(value)
			continue
		}
		result[name] = overlay(existing, value)
	}
	return result
}

// covers reports whether live has everything that desired has.
func covers(live, desired any) bool {
	switch desired := desired.(type) {
	case map[string]any:
		fields, ok := live.(map[string]any)
		for name, value := range desired {
			existing, has := fields[name]
			if !has || !covers(existing, value) {
				return false
			}
		}
		return ok
	case []any:
		items, ok := live.([]any)
		if !ok || len(items) != len(desired) {
			return false
		}
		for i := range desired {
			if !covers(items[i], desired[i]) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(live, desired)
	}
}
