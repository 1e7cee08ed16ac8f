package revisions

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/revisions"
	caching "github.com/kcp-tmc/tmc/pkg/upstream"
)

// ownerIndex finds the revisions that a workload controls, and those of a namespace that nothing controls.
const ownerIndex = "revisions-by-owner"

// Indexers returns the indexers that the caches of revisions must have.
func Indexers() cache.Indexers {
	return cache.Indexers{ownerIndex: func(obj any) ([]string, error) {
		upstreamObj, isObject := obj.(*unstructured.Unstructured)
		if !isObject {
			return nil, nil
		}
		return []string{ownerValue(kcp.WorkspaceOf(upstreamObj), upstreamObj.GetNamespace(), revisions.Of(upstreamObj).Owner)}, nil
	}}
}

// ownerValue is the value of the index for what a workload controls. Without an owner it is that for what nothing does.
func ownerValue(workspace logicalcluster.Name, namespace string, owner types.UID) string {
	return workspace.String() + "|" + namespace + "|" + string(owner)
}

// Slim prepares an object for the caches of revisions. It is a cache.TransformFunc.
func Slim(obj any) (any, error) {
	if upstreamObj, isObject := obj.(*unstructured.Unstructured); isObject {
		revisions.Slim(upstreamObj)
		caching.Intern(upstreamObj)
	}
	return obj, nil
}

// cached returns the revisions in the caches that a workload controls, and those of its namespace that nothing controls.
func (k *Keeper) cached(key kcp.ObjectKey, workload *unstructured.Unstructured) []*revisions.Revision {
	resource, _ := revisions.ResourceOf(key.Resource.GroupResource())
	var found []*revisions.Revision
	collect := func(revisionKey kcp.ObjectKey, revision *unstructured.Unstructured) {
		if revisionKey.Resource == resource {
			found = append(found, revisions.Of(revision))
		}
	}
	k.config.Revisions.EachBy(ownerIndex, ownerValue(key.Workspace, key.Namespace, workload.GetUID()), collect)
	k.config.Revisions.EachBy(ownerIndex, ownerValue(key.Workspace, key.Namespace, ""), collect)
	return found
}
