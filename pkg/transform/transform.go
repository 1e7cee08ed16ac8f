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
	// OmitReplicas leaves spec.replicas out: it belongs to somebody downstream.
	OmitReplicas bool
	// Kinds say what only a cluster owns, and where replicas are. The zero value is the built-in table.
	Kinds kinds.Kinds
}

// Desired returns the copy that the cluster named by the origin is to have, as the
// body of a server-side apply. In this order: what belongs to the upstream server,
// to kcp or to tmc is left out; then what only a cluster can own; the cluster's rule
// is applied; spec.replicas becomes the cluster's share where they are divided, or is
// left out if asked for; the user's override for the cluster is applied; marks of tmc go
// out of the templates within, whoever put them there; what crosses namespaces is confined
// to those of the workspace; and the copy is stamped with its origin. All other fields are
// kept as they are, unknown ones
// included. The copy shares no memory with the input.
//
// It fails when labels or annotations are none, when the share is no number, when the
// override fails (with an OverrideError) or makes what is never synced (with a
// NeverSyncedError in an OverrideError), and when the object cannot be encoded. The copy
// of a namespace is that of DesiredNamespace.
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
	applyRule(desired, in.Rule, in.Origin.Workspace)
	if err := applyShare(desired, in, kind.Replicas); err != nil {
		return nil, err
	}
	if err := applyOverride(desired, in); err != nil {
		return nil, err
	}
	dropNulls(desired.Object)
	removeNestedMarks(desired)
	if err := checkSynced(desired, in); err != nil {
		return nil, err
	}
	confine(desired, in.Rule, in.Origin.Workspace)
	if err := stamp(desired, in); err != nil {
		return nil, err
	}
	return desired, nil
}

// applyShare sets what of the replicas the cluster is to run.
func applyShare(desired *unstructured.Unstructured, in Input, replicas kinds.Path) error {
	if len(replicas) == 0 {
		return nil // the kind has none
	}
	if in.OmitReplicas {
		unstructured.RemoveNestedField(desired.Object, replicas...)
		return nil
	}
	share, divided, err := protocol.Read(in.Object).Share(in.Origin.Cluster)
	if err != nil || !divided {
		return err
	}
	return unstructured.SetNestedField(desired.Object, share, replicas...)
}

// strip returns the user's part of the object under the name that its copy has.
// Labels and annotations are there even when they are empty, as they are upstream,
// where the override that may add to them is one of them.
func strip(in Input) (*unstructured.Unstructured, error) {
	labels, err := stringsOf(in.Object, "labels")
	if err != nil {
		return nil, err
	}
	annotations, err := stringsOf(in.Object, "annotations")
	if err != nil {
		return nil, err
	}
	content := runtime.DeepCopyJSON(in.Object.Object)
	delete(content, "status")
	delete(content, "metadata")
	dropNulls(content)

	desired := &unstructured.Unstructured{Object: content}
	namespace, name := in.Origin.Target(in.Rule)
	desired.SetName(name)
	desired.SetNamespace(namespace)
	desired.SetLabels(protocol.UsersOwn(labels))
	desired.SetAnnotations(protocol.UsersOwn(annotations))
	return desired, nil
}

// stringsOf returns the labels or the annotations of an object. Null is the empty
// string, as it is to a server.
func stringsOf(obj *unstructured.Unstructured, field string) (map[string]string, error) {
	all, _, err := unstructured.NestedNullCoercingStringMap(obj.Object, "metadata", field)
	if err != nil {
		return nil, fmt.Errorf("metadata.%s: must be a map of strings: %w", field, err)
	}
	return all, nil
}

// stamp marks the copy as ours and as what it is of.
func stamp(desired *unstructured.Unstructured, in Input) error {
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
	return seal(desired)
}

// seal adds the hash of all that is applied.
func seal(desired *unstructured.Unstructured) error {
	data, err := json.Marshal(desired.Object)
	if err != nil {
		return fmt.Errorf("encoding the copy %s/%s: %w", desired.GetNamespace(), desired.GetName(), err)
	}
	add(desired, nil, map[string]string{v1alpha1.AppliedHashAnnotation: hash(data)})
	return nil
}

// add adds labels and annotations, which win over those that are there.
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

// Inputs is protocol.Object.Inputs of an upstream object.
func Inputs(upstreamObj *unstructured.Unstructured, cluster string) string {
	return protocol.Read(upstreamObj).Inputs(cluster)
}

// dropNulls removes the fields that are null, at any depth. To the typed kinds
// downstream null and absent are one, but server-side apply would record that we
// own the field. (Elements of lists stay: their places mean something.)
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

// AppliedGeneration returns the upstream generation that a copy was made from,
// 0 when the copy does not say.
func AppliedGeneration(downstreamObj *unstructured.Unstructured) int64 {
	value := downstreamObj.GetAnnotations()[v1alpha1.SourceGenerationAnnotation]
	generation, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0 // absent or tampered with: the next apply mends it
	}
	return generation
}
