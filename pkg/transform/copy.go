package transform

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// The fields that address an object, and those that marks are in.
const (
	apiVersionField  = "apiVersion"
	kindField        = "kind"
	metadataField    = "metadata"
	labelsField      = "labels"
	annotationsField = "annotations"
)

// Origin says where a copy comes from, and for which cluster it was made.
type Origin struct {
	// Workspace is the name of the upstream logical cluster, not its path.
	Workspace string
	// Namespace and Name are those of the upstream object.
	Namespace, Name string
	// Cluster is the name of the cluster that the copy is for.
	Cluster string
}

// OriginOf reads the origin of a downstream object from its annotations. It returns false when the annotations do not
// name a whole origin: then tmc did not make the object, or somebody has taken an annotation off. What is in no namespace comes of
// none.
func OriginOf(downstreamObj metav1.Object) (Origin, bool) {
	annotations := downstreamObj.GetAnnotations()
	origin := Origin{
		Workspace: annotations[v1alpha1.SourceWorkspaceAnnotation],
		Namespace: annotations[v1alpha1.SourceNamespaceAnnotation],
		Name:      annotations[v1alpha1.SourceNameAnnotation],
		Cluster:   annotations[v1alpha1.TargetClusterAnnotation],
	}
	hasNamespace := origin.Namespace != "" || downstreamObj.GetNamespace() == ""
	return origin, origin.Workspace != "" && origin.Name != "" && origin.Cluster != "" && hasNamespace
}

// Hash returns 32 hexadecimal digits that stand for the origin: short enough for a label's value, and long enough
// never to collide.
func (o Origin) Hash() string {
	return hash([]byte(strings.Join([]string{o.Workspace, o.Namespace, o.Name, o.Cluster}, "\x00")))
}

// Target returns the namespace and the name of the copy on its cluster. An origin that is a namespace itself has no
// Namespace; its copy is that of DesiredNamespace.
func (o Origin) Target(rule v1alpha1.TransformRule) (namespace, name string) {
	if o.Namespace == "" {
		return "", o.Name
	}
	return Namespace(rule, o.Workspace, o.Namespace), o.Name
}

// hash returns the first 128 bits of the SHA-256 of data in hexadecimal.
func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// SourceUID returns the UID of the upstream object that a copy was made from, empty when the copy does not say.
func SourceUID(downstreamObj metav1.Object) types.UID {
	return types.UID(downstreamObj.GetAnnotations()[v1alpha1.SourceUIDAnnotation])
}

// AppliedGeneration returns the upstream generation that a copy was made from, 0 when the copy does not say.
func AppliedGeneration(downstreamObj *unstructured.Unstructured) int64 {
	generation, err := strconv.ParseInt(downstreamObj.GetAnnotations()[v1alpha1.SourceGenerationAnnotation], 10, 64)
	if err != nil {
		return 0 // missing, or changed by somebody: the next apply repairs it
	}
	return generation
}

// KeepOwnMarks removes from a downstream object the labels and annotations of tmc that no server-side apply of ours
// owns (metadata.managedFields). Anybody who may write to a cluster can write such marks, and controllers copy them
// from one object to the next; afterwards OriginOf and IsCopy can be believed. It changes the object, and replaces the
// maps that it changes.
func KeepOwnMarks(downstreamObj metav1.Object) {
	labels, annotations := downstreamObj.GetLabels(), downstreamObj.GetAnnotations()
	if !hasMark(labels) && !hasMark(annotations) {
		return
	}
	owned, _ := ownedFields(downstreamObj) // nil where they cannot be read: then nothing is ours
	downstreamObj.SetLabels(ownMarks(labels, owned, labelsField))
	downstreamObj.SetAnnotations(ownMarks(annotations, owned, annotationsField))
}

// IsCopy reports whether a downstream object, from which KeepOwnMarks has removed forged marks, is a copy. A copy that
// has lost its origin still is one.
func IsCopy(downstreamObj metav1.Object) bool {
	_, ok := OriginOf(downstreamObj)
	return ok || downstreamObj.GetLabels()[v1alpha1.SourceHashLabel] != ""
}

func hasMark(entries map[string]string) bool {
	for key := range entries {
		if v1alpha1.IsMark(key) {
			return true
		}
	}
	return false
}

// ownMarks returns the entries without the marks that are not among the owned fields; nil owns nothing.
func ownMarks(entries map[string]string, owned *fieldpath.Set, field string) map[string]string {
	kept := maps.Clone(entries)
	maps.DeleteFunc(kept, func(key, _ string) bool {
		return v1alpha1.IsMark(key) && (owned == nil || !owned.Has(fieldpath.MakePathOrDie(metadataField, field, key)))
	})
	return kept
}

// removeMarksBelow removes the marks of tmc from every metadata within a value, at any depth. The cluster's controllers
// make pods, Jobs and claims from such metadata, and these are no copies. managedFields are removed as well: an API
// server accepts those that a new object brings along, as the claims of a StatefulSet do.
func removeMarksBelow(value any) {
	switch value := value.(type) {
	case map[string]any:
		for field, below := range value {
			if metadata, isObject := below.(map[string]any); isObject && field == metadataField {
				removeMarks(metadata)
			}
			removeMarksBelow(below)
		}
	case []any:
		for _, element := range value {
			removeMarksBelow(element)
		}
	}
}

// removeMarks removes the marks from a template's metadata, and a map of labels or annotations with its last entry.
func removeMarks(metadata map[string]any) {
	delete(metadata, "managedFields")
	for _, field := range []string{labelsField, annotationsField} {
		entries := child(metadata, field)
		before := len(entries)
		maps.DeleteFunc(entries, func(key string, _ any) bool { return v1alpha1.IsMark(key) })
		if before > 0 && len(entries) == 0 {
			delete(metadata, field)
		}
	}
}

// IsInSync reports whether downstreamObj still is what applying desired made of it. Its hash annotation says that just
// this was applied. The server's record of field ownership (metadata.managedFields, KEP-555) says that nobody has
// changed or removed any of it since: whoever changes a field that we applied takes its ownership. So no value has to
// be compared. A quantity that the server rewrote and a default that it filled in are no drift, and fields that others
// add are theirs. What ownership does not tell is the order of a list's items: see Order.
func IsInSync(desired, downstreamObj *unstructured.Unstructured) bool {
	wanted := desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation]
	if downstreamObj.GetAnnotations()[v1alpha1.AppliedHashAnnotation] != wanted {
		return false
	}
	if downstreamObj.GetAnnotations()[v1alpha1.OthersAnnotation] != desired.GetAnnotations()[v1alpha1.OthersAnnotation] {
		return false // it is not in the hash
	}
	owned, ok := ownedFields(downstreamObj)
	return ok && ownsApplied(desired, owned) && Order(downstreamObj) == orderOf(desired.Object, owned, 0)
}

// Fingerprint stands for the spec of a downstream object and for all that IsInSync reads: it stays the same while only
// the status changes.
func Fingerprint(downstreamObj *unstructured.Unstructured) string {
	fields := ""
	if noted, isNoted := notedIn(downstreamObj); isNoted {
		fields = string(noted.Value())
	} else {
		for _, entry := range OwnManagedFields(downstreamObj.GetManagedFields()) {
			if entry.FieldsV1 != nil {
				fields = entry.FieldsV1.GetRawString()
			}
		}
	}
	return fmt.Sprintf("%s/%d/%s/%x", downstreamObj.GetUID(), downstreamObj.GetGeneration(), hash([]byte(fields)), Order(downstreamObj))
}

// OwnManagedFields returns the entry of our own server-side applies. IsInSync needs no other of an object's
// managedFields.
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
	if content, isUnstructured := downstreamObj.(*unstructured.Unstructured); isUnstructured {
		if noted, isNoted := notedIn(content); isNoted {
			return notedSet(noted)
		}
	}
	for _, entry := range downstreamObj.GetManagedFields() {
		if isOwnApply(entry) && entry.FieldsV1 != nil {
			return setOf(entry) // one that cannot be read is rewritten by the next apply
		}
	}
	return nil, false
}

// setOf returns the fields that an entry of managedFields has, and whether they can be read.
func setOf(entry metav1.ManagedFieldsEntry) (*fieldpath.Set, bool) {
	if entry.FieldsV1 == nil {
		return nil, false
	}
	set := &fieldpath.Set{}
	err := set.FromJSON(entry.FieldsV1.GetRawReader())
	return set, err == nil
}

// ownsAt reports whether a set has a path, or anything below it. It has no object as a whole.
func ownsAt(set *fieldpath.Set, path fieldpath.Path) bool {
	last := len(path) - 1
	if last < 0 {
		return false
	}
	for _, element := range path[:last] {
		set = setBelow(set, element)
	}
	return set.Members.Has(path[last]) || !setBelow(set, path[last]).Empty()
}

// ownsApplied reports whether owned covers all that desired applies. The fields that address the object are never
// owned.
func ownsApplied(desired *unstructured.Unstructured, owned *fieldpath.Set) bool {
	for name, field := range desired.Object {
		switch name {
		case apiVersionField, kindField:
		case metadataField:
			metadata := setBelow(owned, fieldpath.FieldNameElement(metadataField))
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
			if found, ok := elementOf(item, below); !ok || !ownsField(item, below, found) {
				return false
			}
		}
	}
	return true
}

// elementOf returns the element of an associative list that addresses the item.
func elementOf(item any, list *fieldpath.Set) (element fieldpath.PathElement, found bool) {
	try := func(candidate fieldpath.PathElement) {
		if !found && isElement(item, candidate) {
			element, found = candidate, true
		}
	}
	list.Members.Iterate(try)
	for candidate := range list.Children.All() {
		try(candidate)
	}
	return element, found
}

// isElement reports whether the element addresses the item: by its keys in a list of objects, by its value in a set. A
// key that the item leaves out has been defaulted by the server (a port's protocol).
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
