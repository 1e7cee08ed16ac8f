package syncer

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Who decides how many replicas a copy has: what kcp says, unless an autoscaler or
// `kubectl scale` on the cluster has taken the field over. That is read from
// managedFields, where a write through the scale subresource has an entry of its
// own, and from the autoscalers that there are: an entry stays when its writer is
// gone.

var autoscalersResource = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}

// autoscalerManager is the field manager of the HPA controller, which is one of
// kube-controller-manager's.
const autoscalerManager = "kube-controller-manager"

// scaleSubresource is what managedFields call the writes of `kubectl scale` and of
// autoscalers.
const scaleSubresource = "scale"

// scaleTarget is a workload that an autoscaler scales.
type scaleTarget struct{ namespace, group, kind, name string }

// scaleTargetIndex finds the autoscalers of a workload.
const scaleTargetIndex = "scale-target"

func targetOf(downstreamObj *unstructured.Unstructured) scaleTarget {
	gvk := downstreamObj.GroupVersionKind()
	return scaleTarget{downstreamObj.GetNamespace(), gvk.Group, gvk.Kind, downstreamObj.GetName()}
}

func (t scaleTarget) String() string {
	return t.namespace + "/" + t.group + "/" + t.kind + "/" + t.name
}

// targetOfAutoscaler returns what an autoscaler scales.
func targetOfAutoscaler(autoscaler *unstructured.Unstructured) scaleTarget {
	field := func(name string) string {
		value, _, _ := unstructured.NestedString(autoscaler.Object, "spec", "scaleTargetRef", name)
		return value
	}
	group := schema.FromAPIVersionAndKind(field("apiVersion"), "").Group
	return scaleTarget{autoscaler.GetNamespace(), group, field("kind"), field("name")}
}

func indexByScaleTarget(obj any) ([]string, error) {
	autoscaler, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("the cache of autoscalers holds %T", obj)
	}
	return []string{targetOfAutoscaler(autoscaler).String()}, nil
}

// stripAutoscaler leaves of an autoscaler what it scales.
func stripAutoscaler(obj any) (any, error) {
	autoscaler, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj, nil
	}
	reference, _, _ := unstructured.NestedFieldNoCopy(autoscaler.Object, "spec", "scaleTargetRef")
	autoscaler.SetManagedFields(nil)
	delete(autoscaler.Object, "status")
	autoscaler.Object["spec"] = map[string]any{"scaleTargetRef": reference}
	return autoscaler, nil
}

// onAutoscaler tells of the workloads that an autoscaler has begun or ceased to
// scale.
func (c *copies) onAutoscaler(oldObj, newObj *unstructured.Unstructured) {
	for _, autoscaler := range []*unstructured.Unstructured{oldObj, newObj} {
		if autoscaler != nil {
			c.handlers.onTarget(targetOfAutoscaler(autoscaler))
		}
	}
}

// isScaled reports whether an autoscaler, of ours or not, scales the object.
func (c *copies) isScaled(downstreamObj *unstructured.Unstructured) bool {
	return len(c.autoscalers.by(scaleTargetIndex, targetOf(downstreamObj).String())) > 0
}

// scaleManagedFields returns the entries of those who have set the replicas through
// the scale subresource.
func scaleManagedFields(managedFields []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	var entries []metav1.ManagedFieldsEntry
	for _, entry := range managedFields {
		if entry.Subresource == scaleSubresource && ownsReplicas(entry) {
			entries = append(entries, entry)
		}
	}
	return entries
}

func ownsReplicas(entry metav1.ManagedFieldsEntry) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	set := &fieldpath.Set{}
	if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
		return false // nobody's that we could name
	}
	return set.Has(fieldpath.MakePathOrDie("spec", "replicas"))
}

// isScaledElsewhere reports whether somebody on the cluster decides how many replicas
// the copy has: whoever has set the number through the scale subresource, and taken
// the field from us by that. An autoscaler does for as long as it is there. A person
// does for as long as the number is not that of kcp: who sets it to what kcp says
// gives it back, and from then on the field is ours as well.
func isScaledElsewhere(downstreamObj *unstructured.Unstructured, upstreamReplicas int64, hasAutoscaler bool) bool {
	managedFields := downstreamObj.GetManagedFields()
	if slices.ContainsFunc(transform.OwnManagedFields(managedFields), ownsReplicas) {
		return false
	}
	replicas, _, _ := unstructured.NestedInt64(downstreamObj.Object, "spec", "replicas")
	return slices.ContainsFunc(scaleManagedFields(managedFields), func(entry metav1.ManagedFieldsEntry) bool {
		// The entry of an autoscaler that is gone stays.
		return hasAutoscaler || entry.Manager != autoscalerManager && replicas != upstreamReplicas
	})
}
