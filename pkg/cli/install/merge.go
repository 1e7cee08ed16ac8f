package install

import (
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// merger returns what a live object should become so that it is as desired. It changes
// neither, and returns something equal to live when there is nothing to do.
type merger func(live, desired *unstructured.Unstructured) *unstructured.Unstructured

// keepLive is the merger for objects that nobody can or should change once they exist.
func keepLive(live, _ *unstructured.Unstructured) *unstructured.Unstructured { return live }

// overlayObject is the merger for most objects: fields of desired win, others stay.
func overlayObject(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: overlayMap(live.Object, desired.Object)}
}

// mergeDefinition is the merger for a CustomResourceDefinition. Its versions become the
// desired ones as a whole: a schema means something by what it does not say, too. The
// API server fills in nothing there, but in the fields beside them.
func mergeDefinition(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
	result := overlayObject(live, desired)
	// An error means that the field is no list: the API server sees to that.
	if versions, found, err := unstructured.NestedSlice(desired.Object, "spec", "versions"); found && err == nil {
		_ = unstructured.SetNestedSlice(result.Object, versions, "spec", "versions")
	}
	return result
}

// mergePolicy is the merger for a ValidatingAdmissionPolicy and its binding. Its conditions,
// variables and validations become the desired ones as a whole: what is left over would
// deny, or let pass, what it should not. The API server fills in nothing there.
func mergePolicy(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
	result := overlayObject(live, desired)
	for _, name := range []string{"matchConditions", "variables", "validations"} {
		// An error means that the field is no list: the API server sees to that.
		if items, found, err := unstructured.NestedSlice(desired.Object, "spec", name); found && err == nil {
			_ = unstructured.SetNestedSlice(result.Object, items, "spec", name)
		} else {
			unstructured.RemoveNestedField(result.Object, "spec", name)
		}
	}
	return result
}

// mergeExport is the merger for the APIExport. It swaps schemas of resources that it
// knows and keeps those that others have added to the export.
func mergeExport(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
	return overlayLists(live, desired, map[string]listMerge{
		"resources":        {keys: []string{"group", "name"}, keepOthers: true},
		"permissionClaims": {keys: claimKeys()},
	})
}

// mergeBinding is the merger for an APIBinding. It accepts exactly the desired claims.
// A claim that the binding has keeps its selector, which kcp lets nobody change.
func mergeBinding(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
	return overlayLists(live, desired, map[string]listMerge{
		"permissionClaims": acceptedClaims(),
	})
}

// acceptedClaims is how the claims that an APIBinding accepts are merged.
func acceptedClaims() listMerge {
	return listMerge{keys: claimKeys(), keepFields: []string{"selector"}}
}

// claimKeys are the list map keys of permission claims in the apis.kcp.io API.
func claimKeys() []string { return []string{"group", "resource", "identityHash"} }

// listMerge says how to merge a list of objects that are found by keys.
type listMerge struct {
	keys []string
	// keepOthers keeps items that are not desired.
	keepOthers bool
	// keepFields are fields that a live item keeps.
	keepFields []string
}

// overlayLists overlays desired over live, with the named lists of the spec merged item
// by item.
func overlayLists(live, desired *unstructured.Unstructured, lists map[string]listMerge) *unstructured.Unstructured {
	result := overlayObject(live, desired)
	for name, how := range lists {
		// Both errors mean that the field is no list: the API server sees to that.
		liveItems, _, _ := unstructured.NestedSlice(live.Object, "spec", name)
		desiredItems, _, _ := unstructured.NestedSlice(desired.Object, "spec", name)
		if merged := how.merge(liveItems, desiredItems); len(merged) > 0 {
			_ = unstructured.SetNestedSlice(result.Object, merged, "spec", name)
		} else {
			unstructured.RemoveNestedField(result.Object, "spec", name)
		}
	}
	return result
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
	desiredFields, _ := desired.(map[string]any)
	result := map[string]any{}
	for name, value := range desiredFields {
		if _, has := liveFields[name]; has && slices.Contains(m.keepFields, name) {
			continue
		}
		result[name] = value
	}
	return result
}

// overlay returns live with desired laid over it: fields of objects one by one, anything
// else as a whole. A list that has all that is desired, and what the server has filled
// in, stays as it is.
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
