package kinds

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Slim drops from the object, in place, most of what neither Needs nor Follows nor the merging of statuses looks at, so
// that caches need not hold it: of pod templates all but labels, references and what they request, the data of ConfigMaps
// and Secrets, what `kubectl apply` and the API server note of who wrote what. Every other field stays, the rest of the
// spec among them. Needs and Follows say the same of the object as before.
func Slim(obj *unstructured.Unstructured) {
	for _, at := range templatePaths {
		if template := podTemplate(obj.Object, at); template != nil {
			parent, name := at.Last()
			parent.In(obj.Object).(map[string]any)[name] = pruneTemplate(template, func(Need) {}) // there is a template in it
		}
	}
	for _, field := range []string{"data", "stringData", "binaryData"} {
		delete(obj.Object, field)
	}
	metadata, _ := obj.Object[metadataField].(map[string]any)
	delete(metadata, "managedFields")
	annotations, _ := metadata["annotations"].(map[string]any)
	delete(annotations, corev1.LastAppliedConfigAnnotation)
}

// pruneTemplate returns what of a pod template is looked at, sharing with it only what is kept as a whole. It tells found
// of each reference.
func pruneTemplate(template map[string]any, found func(Need)) map[string]any {
	labels := map[string]any{}
	for key, value := range templateLabels(template) {
		labels[key] = value
	}
	spec, _ := template["spec"].(map[string]any)
	kept, _ := podSpec.prune(spec, found).(map[string]any)
	if kept == nil {
		kept = map[string]any{}
	}
	if _, hasContainers := kept["containers"]; !hasContainers {
		kept["containers"] = []any{} // a template is known by them
	}
	if account := accountOf(spec); account != "" {
		kept["serviceAccountName"] = account
		found(Need{Resource: serviceAccounts, Name: account})
	}
	return map[string]any{metadataField: map[string]any{"labels": labels}, "spec": kept}
}

// shape says where in a value the names of other objects are. Needs and Slim walk the same shapes, so that what one keeps
// is what the other reads; and a value that is malformed somewhere still gives the rest.
type shape struct {
	// fields are those of an object in which names may be, items is the shape of a list's items.
	fields map[string]*shape
	items  *shape
	// need is set where the value is the name of an object: it is that object, without its name. within is where the name is in
	// the value, which is JSON; empty where the value is the name.
	need   *Need
	within Path
	// whole is set where the value is kept as it is.
	whole bool
}

// shapeOf returns the shape of an object that has these references.
func shapeOf(references ...Reference) *shape {
	s := &shape{}
	for _, reference := range references {
		at := s.at(reference.Path)
		at.need, at.within = &Need{Resource: reference.GroupResource(), Optional: reference.Optional}, reference.Within
	}
	return s
}

// readReferences makes the shape of the kind's References: once, for objects are asked at every event.
func (k *Kind) readReferences() {
	if k.needs = nil; len(k.References) > 0 {
		k.needs = shapeOf(k.References...)
	}
}

// at returns the shape at the path, which it makes where there is none.
func (s *shape) at(path Path) *shape {
	for _, element := range path {
		switch {
		case element == Items && s.items == nil:
			s.items = &shape{}
			s = s.items
		case element == Items:
			s = s.items
		default:
			if s.fields == nil {
				s.fields = map[string]*shape{}
			}
			if s.fields[element] == nil {
				s.fields[element] = &shape{}
			}
			s = s.fields[element]
		}
	}
	return s
}

// prune returns what of the value bears references or is kept as a whole, nil when nothing does; list items that do not are
// left out. It tells found of each reference.
func (s *shape) prune(value any, found func(Need)) any {
	if s.whole {
		return value
	}
	if s.items != nil {
		return s.pruneList(value, found)
	}
	object, _ := value.(map[string]any)
	kept := map[string]any{}
	for field, inner := range s.fields {
		if inner.need == nil {
			if pruned := inner.prune(object[field], found); pruned != nil {
				kept[field] = pruned
			}
			continue
		}
		text, _ := object[field].(string)
		name := nameWithin(text, inner.within)
		if name == "" {
			continue
		}
		kept[field] = text
		optional, _ := object["optional"].(bool)
		if optional {
			kept["optional"] = true
		}
		found(Need{Resource: inner.need.Resource, Name: name, Optional: optional || inner.need.Optional})
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

func (s *shape) pruneList(value any, found func(Need)) any {
	list, _ := value.([]any)
	var kept []any
	for _, item := range list {
		if pruned := s.items.prune(item, found); pruned != nil {
			kept = append(kept, pruned)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}
