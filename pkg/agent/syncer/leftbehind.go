package syncer

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/transform"
)

// runners are what runs pods, each after what makes it, and the pods.
var runners = []schema.GroupVersionResource{
	{Group: appsv1.GroupName, Version: "v1", Resource: "deployments"},
	{Group: appsv1.GroupName, Version: "v1", Resource: "statefulsets"},
	{Group: appsv1.GroupName, Version: "v1", Resource: "daemonsets"},
	{Group: appsv1.GroupName, Version: "v1", Resource: "replicasets"},
	{Group: batchv1.GroupName, Version: "v1", Resource: "cronjobs"},
	{Group: batchv1.GroupName, Version: "v1", Resource: "jobs"},
	{Version: "v1", Resource: "pods"},
}

// runnerKinds are the kinds of runners that make others.
var runnerKinds = sets.New(
	schema.GroupKind{Group: appsv1.GroupName, Kind: "Deployment"}, schema.GroupKind{Group: appsv1.GroupName, Kind: "StatefulSet"},
	schema.GroupKind{Group: appsv1.GroupName, Kind: "DaemonSet"}, schema.GroupKind{Group: appsv1.GroupName, Kind: "ReplicaSet"},
	schema.GroupKind{Group: batchv1.GroupName, Kind: "CronJob"}, schema.GroupKind{Group: batchv1.GroupName, Kind: "Job"},
)

var claimsResource = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}

// leftBehind returns what the workspace that had a namespace has left there beside its
// copies, the first thing found, "" for nothing: pods and what runs them, being deleted or
// about to be because their maker is gone; and any claim of a volume, for a StatefulSet
// leaves its own behind, and the data in it with them. A claim of somebody else, which
// cannot be told from that, counts as well. Nothing else does: pods of somebody else run on.
func (d *downstream) leftBehind(ctx context.Context, namespace string) (string, error) {
	alive := sets.New[types.UID]()
	for _, resource := range runners {
		items, err := d.list(ctx, resource, namespace)
		if err != nil {
			return unlessForbidden(resource, err)
		}
		for i := range items {
			if isGoing(&items[i], alive) {
				return resource.GroupResource().String() + " " + items[i].Name, nil
			}
			alive.Insert(items[i].UID)
		}
	}
	volumes, err := d.list(ctx, claimsResource, namespace)
	if err != nil {
		return unlessForbidden(claimsResource, err)
	}
	for i := range volumes {
		if transform.KeepOwnMarks(&volumes[i]); !transform.IsCopy(&volumes[i]) {
			return claimsResource.Resource + " " + volumes[i].Name, nil
		}
	}
	return "", nil
}

// unlessForbidden says, of a look that has failed because the syncer may not look, that
// there may be something.
func unlessForbidden(resource schema.GroupVersionResource, err error) (string, error) {
	if apierrors.IsForbidden(err) {
		return fmt.Sprintf("%s, perhaps: the syncer's account may not list them", resource.GroupResource()), nil
	}
	return "", err
}

// isGoing reports whether an object is being deleted, or was made by a runner that is not
// among those alive.
func isGoing(item *metav1.PartialObjectMetadata, alive sets.Set[types.UID]) bool {
	if item.DeletionTimestamp != nil {
		return true
	}
	maker := metav1.GetControllerOf(item)
	if maker == nil || alive.Has(maker.UID) {
		return false
	}
	return runnerKinds.Has(schema.FromAPIVersionAndKind(maker.APIVersion, maker.Kind).GroupKind())
}

// list returns the metadata of all objects of a resource in a namespace; none where the
// cluster does not serve it.
func (d *downstream) list(ctx context.Context, resource schema.GroupVersionResource, namespace string) ([]metav1.PartialObjectMetadata, error) {
	found, err := d.metadata.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return found.Items, nil
}
