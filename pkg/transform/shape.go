package transform

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// child returns the object at the path, nil when there is none. It is no copy.
func child(of map[string]any, path ...string) map[string]any {
	for _, field := range path {
		of, _ = of[field].(map[string]any)
	}
	return of
}

// children returns the objects in the lists of those names. They are no copies.
func children(of map[string]any, lists ...string) []map[string]any {
	var all []map[string]any
	for _, list := range lists {
		elements, _ := of[list].([]any)
		for _, element := range elements {
			if object, isObject := element.(map[string]any); isObject {
				all = append(all, object)
			}
		}
	}
	return all
}

// podSpecs returns the pod specifications of an object. Pod templates are told by
// their shape, so that those of kinds that nobody has heard of are found too.
func podSpecs(obj *unstructured.Unstructured) []map[string]any {
	spec := child(obj.Object, "spec")
	candidates := []map[string]any{
		child(spec, "template", "spec"),
		child(spec, "jobTemplate", "spec", "template", "spec"),
	}
	if obj.GetAPIVersion() == "v1" && obj.GetKind() == "Pod" {
		candidates = append(candidates, spec)
	}
	var found []map[string]any
	for _, candidate := range candidates {
		if _, isPod := candidate["containers"].([]any); isPod {
			found = append(found, candidate)
		}
	}
	return found
}
