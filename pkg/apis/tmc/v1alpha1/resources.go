package v1alpha1

import "k8s.io/apimachinery/pkg/runtime/schema"

// NamespacesResource is the one cluster-scoped resource that is followed: copies
// lie in namespaces that are made after their likeness.
var NamespacesResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// APIBindingsResource is where consumer workspaces bind the APIExport: through its
// virtual workspace, they say the paths of the workspaces.
var APIBindingsResource = schema.GroupVersionResource{Group: "apis.kcp.io", Version: "v1alpha2", Resource: "apibindings"}

// IsSynced tells whether the objects of a resource that the APIExport serves are
// synced: what is namespaced, but not the events, which tmc writes itself, nor what
// tells tmc itself what to do. There is no list: a kind that the export serves is
// synced.
func IsSynced(resource schema.GroupResource, namespaced bool) bool {
	return namespaced && resource.Resource != "events" && resource.Group != GroupName
}

// IsWatched tells whether hub and agents look at the objects of a resource: those
// that are synced, and namespaces.
func IsWatched(resource schema.GroupResource, namespaced bool) bool {
	return IsSynced(resource, namespaced) || resource == NamespacesResource.GroupResource()
}

// IsWatchedByHub tells whether the hub looks at the objects of a resource: besides what
// IsWatched, where things are to go, and what workspaces are called.
func IsWatchedByHub(resource schema.GroupResource, namespaced bool) bool {
	return IsWatched(resource, namespaced) ||
		resource == WorkloadPlacementsResource.GroupResource() ||
		resource == APIBindingsResource.GroupResource()
}
