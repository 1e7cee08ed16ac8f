package transform

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// mostTaken is how many fields are named that were taken from us: some are enough to say what is going on.
const mostTaken = 8

// Taken returns the fields of desired that our applies do not own in downstreamObj any more, where IsInSync is false: the first
// few of many. It is empty where it is the order of a list that is another one.
func Taken(desired, downstreamObj *unstructured.Unstructured) []fieldpath.Path {
	owned, ok := ownedFields(downstreamObj)
	if !ok {
		owned = fieldpath.NewSet()
	}
	var taken []fieldpath.Path
	eachApplied(desired, func(path fieldpath.Path, value any) {
		taken = append(taken, takenAt(path, value, owned)...)
	})
	slices.SortFunc(taken, func(a, b fieldpath.Path) int {
		// Labels and annotations, most of which are tmc's own marks, come last.
		isMetadata := func(path fieldpath.Path) int { return map[bool]int{true: 1}[*path[0].FieldName == metadataField] }
		return cmp.Or(isMetadata(a)-isMetadata(b), a.Compare(b))
	})
	return taken[:min(len(taken), mostTaken)]
}

// eachApplied visits the fields that an apply of desired owns, each as a whole: those that address the object are nobody's.
func eachApplied(desired *unstructured.Unstructured, visit func(path fieldpath.Path, value any)) {
	for name, value := range desired.Object {
		switch name {
		case apiVersionField, kindField:
		case metadataField:
			metadata, _ := value.(map[string]any)
			for _, field := range []string{labelsField, annotationsField} {
				if entries, present := metadata[field]; present {
					visit(fieldpath.MakePathOrDie(metadataField, field), entries)
				}
			}
		default:
			visit(fieldpath.MakePathOrDie(name), value)
		}
	}
}

// takenAt returns what of the value at the path the set lacks.
func takenAt(path fieldpath.Path, value any, owned *fieldpath.Set) []fieldpath.Path {
	below := owned
	for _, element := range path[:len(path)-1] {
		below = setBelow(below, element)
	}
	return takenIn(path, value, below)
}

// takenIn is takenAt with the set of what is in the parent of the value.
func takenIn(path fieldpath.Path, value any, parent *fieldpath.Set) []fieldpath.Path {
	element := path[len(path)-1]
	below, hasBelow := parent.Children.Get(element)
	if !hasBelow {
		if parent.Members.Has(element) {
			return nil
		}
		if fields, isMap := value.(map[string]any); !isMap || len(fields) == 0 {
			return []fieldpath.Path{path.Copy()}
		}
		below = fieldpath.NewSet() // nothing of it is ours: its fields are named
	}
	var taken []fieldpath.Path
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			taken = append(taken, takenIn(append(path.Copy(), fieldpath.FieldNameElement(name)), field, below)...)
		}
	case []any:
		for _, item := range value {
			if found, isOwned := elementOf(item, below); isOwned {
				taken = append(taken, takenIn(append(path.Copy(), found), item, below)...)
			} else {
				taken = append(taken, path.Copy())
			}
		}
	}
	return taken
}

// FieldName returns a field's path as people write it: spec.template.spec.containers[name="web"].image.
func FieldName(path fieldpath.Path) string { return strings.TrimPrefix(path.String(), ".") }

// Holders returns who but our applies owns one of the fields of an object, or something in it, by metadata.managedFields:
// names of field managers, sorted. A field that somebody has removed is nobody's.
func Holders(downstreamObj metav1.Object, fields []fieldpath.Path) []string {
	var holders []string
	for _, entry := range downstreamObj.GetManagedFields() {
		set, ok := setOf(entry)
		if isOwnApply(entry) || !ok {
			continue // ours, or nobody's that we could name
		}
		if slices.ContainsFunc(fields, func(path fieldpath.Path) bool { return ownsAt(set, path) }) {
			holders = append(holders, entry.Manager)
		}
	}
	slices.Sort(holders)
	return slices.Compact(holders)
}
