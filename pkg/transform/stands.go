package transform

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Stands reports whether downstreamObj still is what applying desired gave: its
// hash annotation says that just this was applied, and the server's record of
// field ownership (metadata.managedFields, KEP-555) says that nobody has changed
// or removed any of it since. Whoever changes a field that we applied takes its
// ownership from us, so no value has to be compared: a quantity that the server
// rewrote or a default that it filled in is no drift, and what others add is
// theirs.
func Stands(desired, downstreamObj *unstructured.Unstructured) bool {
	wanted := desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation]
	if downstreamObj.GetAnnotations()[v1alpha1.AppliedHashAnnotation] != wanted {
		return false
	}
	owned, ok := ownedFields(downstreamObj)
	return ok && ownsApplied(desired, owned)
}

// Fingerprint stands for all of a downstream object that Stands looks at, and for
// its spec: it stays the same while only the status moves.
func Fingerprint(downstreamObj *unstructured.Unstructured) string {
	fields := ""
	for _, entry := range OwnManagedFields(downstreamObj.GetManagedFields()) {
		if entry.FieldsV1 != nil {
			fields = entry.FieldsV1.GetRawString()
		}
	}
	return fmt.Sprintf("%s/%d/%s", downstreamObj.GetUID(), downstreamObj.GetGeneration(), hash([]byte(fields)))
}

// OwnManagedFields returns the entry of our own server-side applies, all that
// Stands needs to see of an object's managedFields.
func OwnManagedFields(managedFields []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	for _, entry := range managedFields {
		if isOwnApply(entry) {
			return []metav1.ManagedFieldsEntry{entry}
		}
	}
	return nil
}

func isOwnApply(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == v1alpha1.FieldManager &&
		entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
}

// ownedFields returns the set of fields that our applies own.
func ownedFields(downstreamObj metav1.Object) (*fieldpath.Set, bool) {
	for _, entry := range downstreamObj.GetManagedFields() {
		if !isOwnApply(entry) || entry.FieldsV1 == nil {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
			return nil, false // not readable: apply again, which rewrites it
		}
		return set, true
	}
	return nil, false
}

// ownsApplied reports whether owned covers all that desired applies; the fields
// that address the object are never owned.
func ownsApplied(desired *unstructured.Unstructured, owned *fieldpath.Set) bool {
	for name, field := range desired.Object {
		switch name {
		case "apiVersion", "kind":
		case metadataField:
			metadata := owned.Children.Descend(fieldpath.FieldNameElement(metadataField))
			for _, part := range []string{labelsField, annotationsField} {
				applied, _, _ := unstructured.NestedFieldNoCopy(desired.Object, metadataField, part)
				if !ownsField(applied, metadata, fieldpath.FieldNameElement(part)) {
					return false
				}
			}
		default:
			if !ownsField(field, owned, fieldpath.FieldNameElement(name)) {
				return false
			}
		}
	}
	return true
}

// ownsField reports whether the set of a parent covers its field at element.
func ownsField(applied any, parent *fieldpath.Set, element fieldpath.PathElement) bool {
	below, hasBelow := parent.Children.Get(element)
	if !hasBelow {
		// A leaf: a scalar, something atomic, or something empty.
		return parent.Members.Has(element)
	}
	switch applied := applied.(type) {
	case map[string]any:
		for name, field := range applied {
			if !ownsField(field, below, fieldpath.FieldNameElement(name)) {
				return false
			}
		}
	case []any:
		for _, item := range applied {
			if !ownsItem(item, below) {
				return false
			}
		}
	}
	return true
}

// ownsItem reports whether the set of an associative list covers the item.
func ownsItem(item any, list *fieldpath.Set) bool {
	element, found := elementOf(item, list)
	return found && ownsField(item, list, element)
}

// elementOf finds the element of an associative list that the item is.
func elementOf(item any, list *fieldpath.Set) (element fieldpath.PathElement, found bool) {
	look := func(candidate fieldpath.PathElement) {
		if !found && isElement(item, candidate) {
			element, found = candidate, true
		}
	}
	list.Members.Iterate(look)
	for candidate := range list.Children.All() {
		look(candidate)
	}
	return element, found
}

// isElement reports whether the element addresses the item: by its keys in a list
// of objects, by its value in a set. A key that the item leaves out has been
// defaulted by the server (a port's protocol).
func isElement(item any, element fieldpath.PathElement) bool {
	if element.Value != nil {
		return value.Equals(*element.Value, value.NewValueInterface(item))
	}
	fields, isMap := item.(map[string]any)
	if element.Key == nil || !isMap {
		return false
	}
	for _, key := range *element.Key {
		field, present := fields[key.Name]
		if present && !value.Equals(key.Value, value.NewValueInterface(field)) {
			return false
		}
	}
	return true
}
