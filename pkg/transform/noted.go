package transform

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// What our applies own of a copy (FieldsV1) is decoded to a map for each field: more memory than all else that is read of the copy. So a
// cache notes it as JSON, which is also what it is decoded from to be looked at, and copies that were made alike share one set.

// OwnedField is where a slimmed copy has what our applies own, as a handle of its JSON. What a server sends there has another type, and is not looked at.
const OwnedField = "owned fields"

type ownedJSON string

// owned is what is noted: equal JSON is one in memory, and is compared by its address.
type owned = unique.Handle[ownedJSON]

// stub stands in managedFields for our entry, which is noted. All objects share it.
var stub = map[string]any{"manager": v1alpha1.FieldManager, "operation": string(metav1.ManagedFieldsOperationApply)}

// NoteOwned notes in a downstream object what our applies own of it by its managedFields, and takes that out of them. It reports whether
// an earlier state of the object, nil for none, has noted the same. Where managedFields say nothing of us, nothing is noted. An object
// that has it noted already stays as it is.
func NoteOwned(before, downstreamObj *unstructured.Unstructured) (isSame bool) {
	if at, entries := ownEntry(downstreamObj); at < 0 {
		delete(downstreamObj.Object, OwnedField)
	} else if noted, isNew := notedOf(entries[at]); isNew {
		entries[at], downstreamObj.Object[OwnedField] = stub, noted
	}
	_, isNoted := downstreamObj.Object[OwnedField].(owned)
	return before != nil && isNoted && SameOwned(before, downstreamObj)
}

// notedOf returns what an entry of managedFields says that its applies own, as it is noted. isNew is not set for the stub, of which that
// is noted already.
func notedOf(entry any) (noted any, isNew bool) {
	fields, _ := entry.(map[string]any)
	set, isObject := fields["fieldsV1"].(map[string]any)
	if !isObject {
		return nil, false
	}
	data, err := json.Marshal(set)
	if err != nil {
		return nil, false // it came from JSON
	}
	return unique.Make(ownedJSON(data)), true
}

// ownEntry returns the managedFields of an object as they are decoded without a type, and where our entry is among them; -1 for nowhere.
func ownEntry(downstreamObj *unstructured.Unstructured) (at int, entries []any) {
	metadata, _ := downstreamObj.Object[metadataField].(map[string]any)
	entries, _ = metadata["managedFields"].([]any)
	return slices.IndexFunc(entries, func(entry any) bool {
		fields, _ := entry.(map[string]any)
		return IsOwnEntry(fields)
	}), entries
}

// notedIn returns what is noted in an object, unless its managedFields say it themselves.
func notedIn(downstreamObj *unstructured.Unstructured) (noted owned, isNoted bool) {
	if noted, isNoted = downstreamObj.Object[OwnedField].(owned); !isNoted {
		return noted, false
	}
	at, entries := ownEntry(downstreamObj)
	if at < 0 {
		return noted, false
	}
	_, saysItself := entries[at].(map[string]any)["fieldsV1"]
	return noted, !saysItself
}

// IsOwnEntry reports whether an entry of managedFields, as it is decoded without a type, is that of our own server-side applies.
func IsOwnEntry(entry map[string]any) bool {
	subresource, _ := entry["subresource"].(string)
	return entry["manager"] == v1alpha1.FieldManager && entry["operation"] == string(metav1.ManagedFieldsOperationApply) && subresource == ""
}

// SameOwned reports whether two downstream objects have noted the same of what our applies own.
func SameOwned(some, other *unstructured.Unstructured) bool {
	return some.Object[OwnedField] == other.Object[OwnedField]
}

// Owns reports whether our applies own the field of a downstream object at the path.
func Owns(downstreamObj *unstructured.Unstructured, path fieldpath.Path) bool {
	set, ok := ownedFields(downstreamObj)
	return ok && set.Has(path)
}

// decodedSets are the last sets that were decoded. Nobody changes a set.
var decodedSets = struct {
	sync.Mutex

	byJSON map[owned]*fieldpath.Set
}{byJSON: map[owned]*fieldpath.Set{}}

// mostSets is how many are kept: some tens of kilobytes each.
const mostSets = 128

// notedSet returns the set of a noted JSON, and whether it can be read.
func notedSet(noted owned) (*fieldpath.Set, bool) {
	decodedSets.Lock()
	found := decodedSets.byJSON[noted]
	decodedSets.Unlock()
	if found != nil {
		return found, true
	}
	set := &fieldpath.Set{}
	if err := set.FromJSON(strings.NewReader(string(noted.Value()))); err != nil {
		return nil, false
	}
	decodedSets.Lock()
	defer decodedSets.Unlock()
	if len(decodedSets.byJSON) >= mostSets {
		clear(decodedSets.byJSON)
	}
	decodedSets.byJSON[noted] = set
	return set, true
}

// setBelow returns what a set has below an element of it, an empty set for nothing. Descend of the set's own would add that to it.
func setBelow(set *fieldpath.Set, element fieldpath.PathElement) *fieldpath.Set {
	if found, ok := set.Children.Get(element); ok {
		return found
	}
	return &fieldpath.Set{}
}
