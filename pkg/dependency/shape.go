package dependency

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// shape says where in a value the names of other objects stand. References and Slim
// walk the same shapes, so that what one keeps is what the other reads; and a value
// that is malformed somewhere still gives the rest.
type shape interface {
	// prune returns what of the value bears references, sharing nothing with it, and
	// nil when nothing does. It tells found of each.
	prune(value any, found func(Reference)) any
}

// fields is an object in which these fields may bear references.
type fields map[string]shape

func (f fields) prune(value any, found func(Reference)) any {
	object, _ := value.(map[string]any)
	kept := map[string]any{}
	for name, inner := range f {
		if pruned := inner.prune(object[name], found); pruned != nil {
			kept[name] = pruned
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// each is a list of which each item may bear references. Those that do not are left
// out.
type each struct{ item shape }

func (e each) prune(value any, found func(Reference)) any {
	list, _ := value.([]any)
	var kept []any
	for _, item := range list {
		if pruned := e.item.prune(item, found); pruned != nil {
			kept = append(kept, pruned)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// reference is an object whose field names another object.
type reference struct {
	resource schema.GroupResource
	field    string
	// tolerated is whether the absence of the other is, whatever the object says.
	tolerated bool
}

// optionalField marks, next to a name, that its owner does without.
const optionalField = "optional"

func (r reference) prune(value any, found func(Reference)) any {
	object, _ := value.(map[string]any)
	name, _ := object[r.field].(string)
	if name == "" {
		return nil
	}
	kept := map[string]any{r.field: name}
	optional, _ := object[optionalField].(bool)
	if optional {
		kept[optionalField] = true
	}
	found(Reference{Resource: r.resource, Name: name, Optional: optional || r.tolerated})
	return kept
}

// whole keeps a value as it is.
type whole struct{}

func (whole) prune(value any, _ func(Reference)) any { return value }

// mapAt returns the object at the path, without a copy; nil when there is none.
func mapAt(object map[string]any, path ...string) map[string]any {
	for _, name := range path {
		object, _ = object[name].(map[string]any)
	}
	return object
}
