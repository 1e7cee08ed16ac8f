package transform

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Input is all that a copy is made from.
type Input struct {
	// Object is the upstream object. It is not changed.
	Object *unstructured.Unstructured
	// Origin says where it comes from, and for which cluster the copy is.
	Origin Origin
	// Rule is that cluster's.
	Rule v1alpha1.TransformRule
	// OmitReplicas leaves the number of replicas out: somebody downstream decides it.
	OmitReplicas bool
	// Kinds say what only a cluster owns, and where replicas are. The zero value is the built-in table.
	Kinds kinds.Kinds
}

// Desired returns the copy that the cluster of the origin is to have, as the body of a server-side apply. The steps, in
// this order:
//
//  1. what belongs to the upstream server, to kcp or to tmc is removed;
//  2. what only a cluster can own is removed, and what kcp's schema fills in as a cluster does;
//  3. the cluster's rule is applied;
//  4. the number of replicas becomes the cluster's share where replicas are divided, or is left out if OmitReplicas is set; and
//     their partition becomes the cluster's part of it;
//  5. the user's override for the cluster is applied;
//  6. labels and annotations by which the user's deployment tool knows its own, and those that the rule drops, are removed
//     from its metadata: after the override, which may remove them as well;
//  7. marks of tmc are removed from the templates within, whoever wrote them;
//  8. selectors that cross namespaces are confined to those of the workspace;
//  9. the copy is stamped with its origin.
//
// All other fields stay as they are, unknown ones included. The copy shares no memory with the input.
//
// It fails when labels or annotations are no maps of strings, when the share is no number, when the object yields what cannot
// be yielded (with a kinds.YieldError), when the override fails (with an OverrideError) or makes an object that is never
// synced (with a NeverSyncedError in an OverrideError), and when the object cannot be encoded. The copy of a namespace is that of DesiredNamespace.
func Desired(in Input) (*unstructured.Unstructured, error) {
	if isNamespace(in.Object) {
		return DesiredNamespace(in.Object, in.Origin, in.Rule)
	}
	desired, err := strip(in)
	if err != nil {
		return nil, err
	}
	kind := in.Kinds.Of(in.Object.GroupVersionKind().GroupKind())
	removeOwned(desired, kind)
	removeFilledIn(desired, kind)
	applyRule(desired, in.Rule, in.Origin.Workspace)
	if err := applyShare(desired, in, kind); err != nil {
		return nil, err
	}
	if err := applyOverride(desired, in); err != nil {
		return nil, err
	}
	dropKeys(desired, in)
	dropNulls(desired.Object)
	for field, value := range desired.Object {
		if field != metadataField {
			removeMarksBelow(value)
		}
	}
	if err := checkSynced(desired, in); err != nil {
		return nil, err
	}
	confine(desired, in.Rule, in.Origin.Workspace)
	stamp(desired, in)
	if err := noteYielded(desired, in); err != nil {
		return nil, err
	}
	return seal(desired)
}

// strip returns the user's part of the object under the name that its copy has. Labels and annotations are there even
// when they are empty: upstream they are there too, where the override that may add to them is an annotation.
func strip(in Input) (*unstructured.Unstructured, error) {
	labels, err := stringsOf(in.Object, labelsField)
	if err != nil {
		return nil, err
	}
	annotations, err := stringsOf(in.Object, annotationsField)
	if err != nil {
		return nil, err
	}
	content := runtime.DeepCopyJSON(in.Object.Object)
	delete(content, "status")
	delete(content, metadataField)
	dropNulls(content)

	desired := &unstructured.Unstructured{Object: content}
	namespace, name := in.Origin.Target(in.Rule)
	desired.SetName(name)
	desired.SetNamespace(namespace)
	desired.SetLabels(protocol.UsersOwn(labels))
	desired.SetAnnotations(protocol.UsersOwn(annotations))
	return desired, nil
}

// stringsOf returns the labels or the annotations of an object. A null counts as the empty string, as it does for a
// server.
func stringsOf(obj *unstructured.Unstructured, field string) (map[string]string, error) {
	all, _, err := unstructured.NestedNullCoercingStringMap(obj.Object, metadataField, field)
	if err != nil {
		return nil, fmt.Errorf("metadata.%s: must be a map of strings: %w", field, err)
	}
	return all, nil
}

// applyShare sets how many replicas the cluster is to run, and how many of them a roll-out leaves as they are.
func applyShare(desired *unstructured.Unstructured, in Input, kind *kinds.Kind) error {
	if len(kind.Replicas) == 0 {
		return nil // the kind has none
	}
	said := protocol.Read(in.Object)
	share, divided, err := said.Share(in.Origin.Cluster)
	switch {
	case in.OmitReplicas:
		unstructured.RemoveNestedField(desired.Object, kind.Replicas...)
	case err != nil:
		return err
	case divided:
		if err := unstructured.SetNestedField(desired.Object, share, kind.Replicas...); err != nil {
			return err
		}
	}
	partition := kind.PartitionOf(in.Object)
	if !divided || partition == nil {
		return nil
	}
	return unstructured.SetNestedField(desired.Object, said.OwnPartition(in.Origin.Cluster, *partition), kind.Partition...)
}

// stamp adds the marks by which a syncer knows its copies, and what they are copies of.
func stamp(desired *unstructured.Unstructured, in Input) {
	origin := in.Origin
	add(desired, map[string]string{
		v1alpha1.ManagedByLabel:  v1alpha1.ManagedByValue,
		v1alpha1.SourceHashLabel: origin.Hash(),
	}, map[string]string{
		v1alpha1.SourceWorkspaceAnnotation:  origin.Workspace,
		v1alpha1.SourceNamespaceAnnotation:  origin.Namespace,
		v1alpha1.SourceNameAnnotation:       origin.Name,
		v1alpha1.SourceUIDAnnotation:        string(in.Object.GetUID()),
		v1alpha1.SourceGenerationAnnotation: strconv.FormatInt(in.Object.GetGeneration(), 10),
		v1alpha1.SourceInputsAnnotation:     protocol.Read(in.Object).Inputs(origin.Cluster),
		v1alpha1.TargetClusterAnnotation:    origin.Cluster,
	})
}

// noteYielded adds what the copy yields to its cluster: see Onto. It fails with a kinds.YieldError.
func noteYielded(desired *unstructured.Unstructured, in Input) error {
	paths, err := in.Kinds.Yields(in.Object)
	if err != nil || len(paths) == 0 {
		return err
	}
	hashes, err := hashesOfYielded(desired, paths)
	if err != nil {
		return fmt.Errorf("encoding what the copy %s/%s yields: %w", desired.GetNamespace(), desired.GetName(), err)
	}
	add(desired, nil, map[string]string{v1alpha1.YieldedAnnotation: hashes})
	return nil
}

// seal adds the hash of all that is applied, and returns the copy. It fails when the copy cannot be encoded.
func seal(desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	data, err := json.Marshal(desired.Object)
	if err != nil {
		return nil, fmt.Errorf("encoding the copy %s/%s: %w", desired.GetNamespace(), desired.GetName(), err)
	}
	add(desired, nil, map[string]string{v1alpha1.AppliedHashAnnotation: hash(data)})
	return desired, nil
}

// add adds labels and annotations, which replace those that are there.
func add(obj *unstructured.Unstructured, labels, annotations map[string]string) {
	obj.SetLabels(merged(obj.GetLabels(), labels))
	obj.SetAnnotations(merged(obj.GetAnnotations(), annotations))
}

// merged returns the entries of both maps; those of winners win.
func merged(base, winners map[string]string) map[string]string {
	all := make(map[string]string, len(base)+len(winners))
	maps.Copy(all, base)
	maps.Copy(all, winners)
	return all
}

// dropNulls removes the fields that are null, at any depth. To the typed kinds downstream null and absent are the same,
// but server-side apply would record that we own the field. Nulls in lists stay: their positions mean something.
func dropNulls(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, field := range value {
			if field == nil {
				delete(value, key)
				continue
			}
			dropNulls(field)
		}
	case []any:
		for _, element := range value {
			dropNulls(element)
		}
	}
}

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

// podSpecs returns the pod specifications of an object. It recognises pod templates by their shape, so that it finds
// those of unknown kinds too.
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
