package revisions

import (
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Kinds of workloads that have revisions, and of revisions.
const (
	deploymentKind         = "Deployment"
	statefulSetKind        = "StatefulSet"
	daemonSetKind          = "DaemonSet"
	replicaSetKind         = "ReplicaSet"
	controllerRevisionKind = "ControllerRevision"
)

// resources are those of the kinds of workloads.
var resources = map[string]string{deploymentKind: "deployments", statefulSetKind: "statefulsets", daemonSetKind: "daemonsets"}

// ResourceOf returns what the revisions of a resource's objects are, and whether they have any.
func ResourceOf(workloads schema.GroupResource) (revisions schema.GroupVersionResource, has bool) {
	if workloads.Group != appsv1.GroupName {
		return schema.GroupVersionResource{}, false
	}
	switch workloads.Resource {
	case resources[deploymentKind]:
		return v1alpha1.ReplicaSetsResource, true
	case resources[statefulSetKind], resources[daemonSetKind]:
		return v1alpha1.ControllerRevisionsResource, true
	default:
		return schema.GroupVersionResource{}, false
	}
}

// Revision is what matters of a ReplicaSet or a ControllerRevision.
type Revision struct {
	Name            string
	UID             types.UID
	ResourceVersion string
	Generation      int64
	Created         metav1.Time
	IsDeleting      bool
	// Owner is the UID of the workload that controls it, empty where it has none. Orphan is set then. Of says what and where the owner
	// is.
	Owner  types.UID
	Of     Workload
	Orphan *Orphan
	// Digest is that of its pod template.
	Digest string
	// Number is its revision number, 0 where it has none.
	Number int64
	// Annotations are all that it has, but kcp's own.
	Annotations map[string]string
	// MinReadySeconds and Numbers are of ReplicaSets alone.
	MinReadySeconds int64
	Numbers         Numbers
}

const metadataField = "metadata"

// Workload names a workload within the namespace of its revision.
type Workload struct{ Resource, Name string }

// Orphan is what it takes to adopt a revision that nothing controls.
type Orphan struct {
	Labels          map[string]string
	OwnerReferences []metav1.OwnerReference
}

// Numbers are those of a ReplicaSet: how many it is to have, and what its status says that there is.
type Numbers struct {
	Wanted, Replicas, Ready, Available int64
}

// Fields of a cached object that no API server has. The first is the digest of a workload's template, a text; the other is a
// *Revision.
const (
	digestField   = "templateDigest"
	revisionField = "revision.tmc.kcp.io"
)

// Slim prepares an object of kcp for a cache, in place: a workload gets the digest of its pod template, for the template itself may go
// from it; of a revision nothing stays but its identity and what Of returns. Other objects stay as they are, and so do those that are
// slim already: an informer transforms twice what it lists. A slim revision is neither to be copied deeply nor to be encoded.
func Slim(obj *unstructured.Unstructured) {
	if !strings.HasPrefix(obj.GetAPIVersion(), appsv1.GroupName+"/") {
		return
	}
	switch obj.GetKind() {
	case deploymentKind, statefulSetKind, daemonSetKind:
		if _, isSlim := obj.Object[digestField]; !isSlim {
			obj.Object[digestField] = DigestOf(obj)
		}
	case replicaSetKind, controllerRevisionKind:
		if _, isSlim := obj.Object[revisionField]; !isSlim {
			slim(obj)
		}
	}
}

func slim(obj *unstructured.Unstructured) {
	revision := Of(obj)
	annotations := map[string]any{} // of kcp's own, one says in which workspace it is
	for key, value := range obj.GetAnnotations() {
		if isKCPs(key) {
			annotations[key] = value
		}
	}
	obj.Object = map[string]any{
		"apiVersion": appsv1.SchemeGroupVersion.String(), "kind": obj.GetKind(), revisionField: revision,
		metadataField: map[string]any{
			"name": revision.Name, "namespace": obj.GetNamespace(), "uid": string(revision.UID), "resourceVersion": revision.ResourceVersion,
			"annotations": annotations,
		},
	}
}

// DigestOf returns the digest of a workload's pod template, whether it is slim or as kcp has it.
func DigestOf(workload *unstructured.Unstructured) string {
	if digest, isSlim := workload.Object[digestField].(string); isSlim {
		return digest
	}
	template, _, _ := unstructured.NestedFieldNoCopy(workload.Object, "spec", "template")
	object, _ := template.(map[string]any)
	return Digest(object)
}

// Of returns what matters of a ReplicaSet or ControllerRevision, whether it is slim or as kcp has it. Callers must not change it.
func Of(obj *unstructured.Unstructured) *Revision {
	if revision, isSlim := obj.Object[revisionField].(*Revision); isSlim {
		return revision
	}
	revision := &Revision{
		Name: obj.GetName(), UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(), Generation: obj.GetGeneration(),
		Created: obj.GetCreationTimestamp(), IsDeleting: obj.GetDeletionTimestamp() != nil,
		Annotations: obj.GetAnnotations(),
	}
	maps.DeleteFunc(revision.Annotations, func(key, _ string) bool { return isKCPs(key) })
	if controller := metav1.GetControllerOf(obj); controller != nil {
		revision.Owner, revision.Of = controller.UID, Workload{resources[controller.Kind], controller.Name}
	} else {
		revision.Orphan = &Orphan{Labels: obj.GetLabels(), OwnerReferences: obj.GetOwnerReferences()}
	}
	if obj.GetKind() == controllerRevisionKind {
		revision.Number, _ = obj.Object["revision"].(int64)
		revision.Digest = digestAt(obj, "data", "spec", "template")
		return revision
	}
	revision.Number, _ = strconv.ParseInt(revision.Annotations[revisionAnnotation], 10, 64)
	revision.Digest = digestAt(obj, "spec", "template")
	revision.MinReadySeconds = number(obj, "spec", "minReadySeconds")
	revision.Numbers = Numbers{
		Wanted: number(obj, "spec", "replicas"), Replicas: number(obj, "status", "replicas"),
		Ready: number(obj, "status", "readyReplicas"), Available: number(obj, "status", "availableReplicas"),
	}
	return revision
}

func digestAt(obj *unstructured.Unstructured, path ...string) string {
	template, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	object, _ := template.(map[string]any)
	return Digest(object)
}

// number returns a whole number of an object, 0 where there is none.
func number(obj *unstructured.Unstructured, path ...string) int64 {
	value, _, _ := unstructured.NestedInt64(obj.Object, path...)
	return value
}
