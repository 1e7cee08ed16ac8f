package syncer

import (
	"maps"
	"reflect"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// stripUpstream returns a transform that leaves of an upstream object what this
// cluster's syncer looks at: not its status, not who owns its fields, not the reports
// of others, nor why it is placed.
func stripUpstream(cluster string) cache.TransformFunc {
	own := v1alpha1.StatusAnnotation(cluster)
	isOthers := func(key, _ string) bool {
		return key == v1alpha1.PlacementAnnotation || strings.HasPrefix(key, v1alpha1.StatusAnnotationPrefix) && key != own
	}
	return func(obj any) (any, error) {
		upstreamObj, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return obj, nil
		}
		upstreamObj.SetManagedFields(nil)
		delete(upstreamObj.Object, "status")
		annotations := upstreamObj.GetAnnotations()
		maps.DeleteFunc(annotations, isOthers)
		upstreamObj.SetAnnotations(annotations)
		return upstreamObj, nil
	}
}

// sameForSpec reports whether two states of an upstream object are one to the spec
// loop: most changes in kcp are reports and merged statuses, and with many
// clusters the labels and finalizers of others.
func sameForSpec(oldObj, newObj *unstructured.Unstructured, cluster string) bool {
	return oldObj.GetUID() == newObj.GetUID() &&
		oldObj.GetGeneration() == newObj.GetGeneration() &&
		sameContent(oldObj, newObj) &&
		isDeleting(oldObj) == isDeleting(newObj) &&
		hasFinalizer(oldObj, cluster) == hasFinalizer(newObj, cluster) &&
		reflect.DeepEqual(concerned(oldObj.GetLabels(), cluster), concerned(newObj.GetLabels(), cluster)) &&
		reflect.DeepEqual(concerned(oldObj.GetAnnotations(), cluster), concerned(newObj.GetAnnotations(), cluster))
}

// sameContent reports whether two states of an object of equal generation have the
// same content, other than metadata and status. Kinds without generations (ConfigMaps,
// Secrets) do not count.
func sameContent(oldObj, newObj *unstructured.Unstructured) bool {
	if newObj.GetGeneration() != 0 {
		return true
	}
	for _, one := range []struct{ some, other map[string]any }{{oldObj.Object, newObj.Object}, {newObj.Object, oldObj.Object}} {
		for name, field := range one.some {
			if name != "metadata" && !reflect.DeepEqual(field, one.other[name]) {
				return false
			}
		}
	}
	return true
}

// concerned leaves out of labels or annotations the keys that name another
// cluster, and every report.
func concerned(all map[string]string, cluster string) map[string]string {
	kept := make(map[string]string, len(all))
	for key, value := range all {
		domain, name, _ := strings.Cut(key, "/")
		isForOne := strings.HasSuffix(domain, "."+v1alpha1.GroupName)
		if isForOne && (name != cluster || strings.HasPrefix(key, v1alpha1.StatusAnnotationPrefix)) {
			continue
		}
		kept[key] = value
	}
	return kept
}

// sameButStatus reports whether two states of a copy differ in their status at
// most.
func sameButStatus(oldObj, newObj *unstructured.Unstructured) bool {
	return oldObj.GetUID() == newObj.GetUID() &&
		oldObj.GetGeneration() == newObj.GetGeneration() &&
		isDeleting(oldObj) == isDeleting(newObj) &&
		reflect.DeepEqual(oldObj.GetLabels(), newObj.GetLabels()) &&
		reflect.DeepEqual(oldObj.GetAnnotations(), newObj.GetAnnotations()) &&
		apiequality.Semantic.DeepEqual(oldObj.GetManagedFields(), newObj.GetManagedFields())
}
