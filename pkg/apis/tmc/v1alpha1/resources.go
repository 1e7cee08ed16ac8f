package v1alpha1

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
)

// NamespacesResource is the one cluster-scoped resource that is followed: copies
// lie in namespaces that are made after their likeness.
var NamespacesResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// APIBindingsResource is where consumer workspaces bind APIExports. The APIExport's claim
// shows them all to the hub: they say the paths of the workspaces, and which isolated
// clusters may see anything of them.
var APIBindingsResource = schema.GroupVersionResource{Group: "apis.kcp.io", Version: "v1alpha2", Resource: "apibindings"}

// PoliciesResource and PolicyBindingsResource are those by which kcp itself checks who writes what is tmc's. The
// APIExport's claims let the hub keep tmc's in every workspace.
var (
	PoliciesResource       = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}
	PolicyBindingsResource = PoliciesResource.GroupVersion().WithResource("validatingadmissionpolicybindings")
)

// IsPolicy reports whether a resource is one of those by which kcp checks who writes what.
func IsPolicy(resource schema.GroupResource) bool {
	return resource == PoliciesResource.GroupResource() || resource == PolicyBindingsResource.GroupResource()
}

// ReplicaSetsResource and ControllerRevisionsResource are where the hub keeps the revisions of workloads, and PodsResource
// is served so that clients may ask: none is stored there. Clusters have their own of all three.
var (
	ReplicaSetsResource         = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	ControllerRevisionsResource = ReplicaSetsResource.GroupVersion().WithResource("controllerrevisions")
	PodsResource                = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

// IsRevision reports whether the objects of a resource are revisions of workloads. They have the labels of pod templates,
// in which anybody may write anything, so nothing may read the protocol from them.
func IsRevision(resource schema.GroupResource) bool {
	return resource == ReplicaSetsResource.GroupResource() || resource == ControllerRevisionsResource.GroupResource()
}

// IsSynced reports whether the objects of a resource that the APIExport serves are
// synced: what is namespaced, but not the events, which tmc writes itself, nor revisions
// and pods, which clusters make themselves, nor what tells tmc or kcp itself what to do.
// There is no list: any other kind that the export serves is synced.
func IsSynced(resource schema.GroupResource, namespaced bool) bool {
	return namespaced && resource.Resource != "events" && resource.Group != GroupName && resource.Group != APIBindingsResource.Group &&
		resource.Group != PoliciesResource.Group && !IsRevision(resource) && resource != PodsResource.GroupResource()
}

// IsWatched reports whether hub and agents look at the objects of a resource: those
// that are synced, and namespaces.
func IsWatched(resource schema.GroupResource, namespaced bool) bool {
	return IsSynced(resource, namespaced) || resource == NamespacesResource.GroupResource()
}

// reportedGroups are those of what Kubernetes' workloads are made of.
var reportedGroups = sets.New("", "apps", "autoscaling", "batch", "networking.k8s.io", "policy")

// IsReported reports whether the registration of a cluster says of the resources of a group
// which the cluster serves, also where its syncer takes all kinds.
func IsReported(group string) bool { return reportedGroups.Has(group) }

// ReportedResource returns how the registration of a cluster names a resource that the
// cluster serves.
func ReportedResource(resource schema.GroupVersionResource) string {
	return resource.GroupResource().String() + "/" + resource.Version
}

// IsWatchedByHub reports whether the hub looks at the objects of a resource: besides what
// IsWatched, where things are to go, what workspaces are called, what they have bound, and
// what kcp checks there.
func IsWatchedByHub(resource schema.GroupResource, namespaced bool) bool {
	return IsWatched(resource, namespaced) ||
		resource == WorkloadPlacementsResource.GroupResource() ||
		resource == APIBindingsResource.GroupResource() ||
		IsPolicy(resource)
}
