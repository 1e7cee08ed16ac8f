package kcp

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-dev/logicalcluster/v3"
)

// ObjectKey addresses one upstream object over all workspaces.
type ObjectKey struct {
	// Workspace is the name of the logical cluster, not its path.
	Workspace logicalcluster.Name
	Resource  schema.GroupVersionResource
	// Namespace is empty for cluster-scoped resources.
	Namespace, Name string
}

// KeyOf returns the key of an upstream object, which carries its workspace in the
// annotation kcp.io/cluster.
func KeyOf(resource schema.GroupVersionResource, upstreamObj metav1.Object) ObjectKey {
	return ObjectKey{
		Workspace: logicalcluster.From(upstreamObj),
		Resource:  resource,
		Namespace: upstreamObj.GetNamespace(),
		Name:      upstreamObj.GetName(),
	}
}

// String returns the key as workspace|resource.group namespace/name, for logs.
func (k ObjectKey) String() string {
	return fmt.Sprintf("%s|%s %s/%s", k.Workspace, k.Resource.GroupResource(), k.Namespace, k.Name)
}

// MarshalLog implements logr.Marshaler, so that a key stays readable in every log
// format.
func (k ObjectKey) MarshalLog() any { return k.String() }
