package transform

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// What is in this file fits the desired copy to what lies there already. The hash of the copy is that of what kcp wants, and stays
// the same: so what others have changed by right is no reason to write.

// Onto returns desired as it is to be applied onto downstreamObj, which may be nil for nothing: without the yielded fields that
// the cluster has taken over, and with what others have put into the merged lists of its kind. It is desired itself where there is
// nothing of either, and shares memory with it otherwise.
func Onto(desired, downstreamObj *unstructured.Unstructured, merged []kinds.Path) *unstructured.Unstructured {
	yielded := desired.GetAnnotations()[v1alpha1.YieldedAnnotation]
	if downstreamObj == nil || yielded == "" && len(merged) == 0 {
		return desired
	}
	owned, ok := ownedFields(downstreamObj)
	if !ok {
		owned = fieldpath.NewSet()
	}
	onto := desired
	if yielded != "" {
		onto = withoutYielded(onto, downstreamObj, owned)
	}
	if len(merged) > 0 {
		onto = withOthers(onto, downstreamObj, owned, merged)
	}
	return onto
}

// hashesOfYielded returns what YieldedAnnotation holds for a copy: for each path that leads to something in it a hash of that.
func hashesOfYielded(desired *unstructured.Unstructured, paths []kinds.Path) (string, error) {
	hashes := map[string]string{}
	for _, path := range paths {
		values := path.AllIn(desired.Object)
		if len(values) == 0 {
			continue
		}
		data, err := json.Marshal(values)
		if err != nil {
			return "", err
		}
		hashes[path.String()] = hash(data)[:8]
	}
	data, err := json.Marshal(hashes)
	return string(data), err
}

// withoutYielded returns the copy without what it yields and we do not own: the cluster has taken it over. What the user has
// changed since it went down last goes down once more.
func withoutYielded(desired, downstreamObj *unstructured.Unstructured, owned *fieldpath.Set) *unstructured.Unstructured {
	wanted, sent := hashesIn(desired), hashesIn(downstreamObj)
	short := desired.DeepCopy()
	for _, text := range slices.Sorted(maps.Keys(wanted)) {
		before, wasSent := sent[text]
		if isChanged := len(sent) > 0 && (!wasSent || before != wanted[text]); isChanged {
			continue
		}
		if path, err := kinds.ParsePath(text); err == nil {
			removeTaken(short.Object, owned, path)
		}
	}
	if reflect.DeepEqual(short.Object, desired.Object) {
		return desired
	}
	return short
}

func hashesIn(obj *unstructured.Unstructured) map[string]string {
	hashes := map[string]string{}
	_ = json.Unmarshal([]byte(obj.GetAnnotations()[v1alpha1.YieldedAnnotation]), &hashes) // what is none says nothing
	return hashes
}

// removeTaken removes from an object what is at the path and not in the set, entry by entry.
func removeTaken(object map[string]any, owned *fieldpath.Set, path kinds.Path) {
	value, present := object[path[0]]
	if !present {
		return
	}
	element := fieldpath.FieldNameElement(path[0])
	if kept, isLeft := ownedAt(value, owned, element, path[1:]); isLeft {
		object[path[0]] = kept
	} else {
		delete(object, path[0])
	}
}

// ownedAt returns what is left of a field at element of the set's parent when what is at the path below it, and not owned, goes;
// and whether anything is.
func ownedAt(value any, parent *fieldpath.Set, element fieldpath.PathElement, path kinds.Path) (kept any, isLeft bool) {
	below, hasBelow := parent.Children.Get(element)
	if !hasBelow && parent.Members.Has(element) {
		return value, true // it is ours as a whole
	}
	switch value := value.(type) {
	case map[string]any:
		if !hasBelow {
			below = fieldpath.NewSet()
		}
		before := len(value)
		if len(path) > 0 {
			removeTaken(value, below, path)
		} else {
			removeAllTaken(value, below)
		}
		return value, len(value) > 0 || before == 0 && len(path) > 0
	case []any:
		if !hasBelow {
			return nil, false // an atomic list that is the cluster's now, or one of which nothing is ours
		}
		items := ownedItems(value, below, path)
		return items, len(items) > 0
	default:
		return value, len(path) > 0
	}
}

// removeAllTaken removes from an object all that is not in the set.
func removeAllTaken(object map[string]any, owned *fieldpath.Set) {
	for name := range object {
		removeTaken(object, owned, kinds.Path{name})
	}
}

// ownedItems is ownedAt for the items of a list with keys. The path is that from the list on, empty for all of it.
func ownedItems(items []any, list *fieldpath.Set, path kinds.Path) []any {
	var kept []any
	for _, item := range items {
		element, isOwned := elementOf(item, list)
		below, hasBelow := list.Children.Get(element)
		if fields, isMap := item.(map[string]any); isMap {
			switch {
			case len(path) > 1 && hasBelow:
				removeTaken(fields, below, path[1:])
			case len(path) > 1:
				removeTaken(fields, fieldpath.NewSet(), path[1:])
			case hasBelow:
				removeAllTaken(fields, below)
			}
		}
		if isOwned || len(path) > 1 {
			kept = append(kept, item)
		}
	}
	return kept
}

// withOthers returns the copy with what others have put into its merged lists, beside what is kcp's. What is in a list that is ours,
// and was not noted as theirs, was kcp's: it goes when kcp does not have it any more. Who has taken the list since has put there
// what he wants: where kcp has taken something away at that very time, it stays as theirs.
func withOthers(desired, downstreamObj *unstructured.Unstructured, owned *fieldpath.Set, merged []kinds.Path) *unstructured.Unstructured {
	noted := map[string][]any{}
	_ = json.Unmarshal([]byte(downstreamObj.GetAnnotations()[v1alpha1.OthersAnnotation]), &noted) // what is none says nothing
	theirs, onto := map[string][]any{}, desired
	for _, path := range merged {
		there, _ := path.In(downstreamObj.Object).([]any)
		ours, _ := path.In(desired.Object).([]any)
		isOwned := owned.Has(fieldPath(path))
		others := slices.DeleteFunc(slices.Clone(there), func(entry any) bool {
			isTheirs := !isOwned || isIn(noted[path.String()], entry)
			return isIn(ours, entry) || !isTheirs
		})
		if len(others) == 0 || len(ours) == 0 && !isOwned {
			continue
		}
		if onto == desired {
			onto = desired.DeepCopy()
		}
		theirs[path.String()] = others
		_ = unstructured.SetNestedSlice(onto.Object, inOrder(there, ours, others), path...) // a path of the table, through maps
	}
	if len(theirs) > 0 {
		encoded, err := json.Marshal(theirs)
		if err != nil {
			return desired // what is there came from a server
		}
		add(onto, nil, map[string]string{v1alpha1.OthersAnnotation: string(encoded)})
	}
	return onto
}

// inOrder returns the entries of both lists as they lie there, or, where ours do not lie so, ours first.
func inOrder(there, ours, others []any) []any {
	asThere := slices.DeleteFunc(slices.Clone(there), func(entry any) bool { return !isIn(ours, entry) && !isIn(others, entry) })
	oursThere := slices.DeleteFunc(slices.Clone(asThere), func(entry any) bool { return !isIn(ours, entry) })
	if reflect.DeepEqual(oursThere, slices.Concat([]any{}, ours)) {
		return asThere
	}
	return slices.Concat(ours, others)
}

func isIn(entries []any, entry any) bool {
	return slices.ContainsFunc(entries, func(other any) bool { return reflect.DeepEqual(other, entry) })
}

func fieldPath(path kinds.Path) fieldpath.Path {
	elements := make(fieldpath.Path, 0, len(path))
	for _, name := range path {
		elements = append(elements, fieldpath.FieldNameElement(name))
	}
	return elements
}
