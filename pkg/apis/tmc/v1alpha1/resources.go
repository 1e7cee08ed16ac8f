package v1alpha1

import "k8s.io/apimachinery/pkg/runtime/schema"

// NamespacesResource is the one cluster-scoped resource that is followed: copies
// lie in namespaces that are made after their likeness.
var NamespacesResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// IsSynced tells whether the objects of a resource that the APIExport serves are
// synced: what is namespaced, but not the events, which tmc writes itself. There is
// no list: a kind that the export serves is synced.
func IsSynced(resource schema.GroupResource, namespaced bool) bool {
	return namespaced && resource.Resource != "events"
}

// IsWatched tells whether hub and agents look at the objects of a resource: those
// that are synced, and namespaces.
func IsWatched(resource schema.GroupResource, namespaced bool) bool {
	return IsSynced(resource, namespaced) || resource == NamespacesResource.GroupResource()
}
