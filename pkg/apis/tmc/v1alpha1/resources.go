package v1alpha1

import "k8s.io/apimachinery/pkg/runtime/schema"

// SyncedResources returns the resources that the APIExport serves and that are
// synced, the one place that names them.
func SyncedResources() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"},
	}
}
