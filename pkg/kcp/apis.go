package kcp

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"
	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
	"github.com/kcp-dev/sdk/apis/core"
)

// The resources of kcp's own APIs. Workspaces and WorkspaceTypes have no Go types here:
// kcp's bring a test framework into every program that imports them.
var (
	APIExportsResource      = apisv1alpha2.SchemeGroupVersion.WithResource("apiexports")
	APIBindingsResource     = apisv1alpha2.SchemeGroupVersion.WithResource("apibindings")
	EndpointSlicesResource  = apisv1alpha1.SchemeGroupVersion.WithResource("apiexportendpointslices")
	ResourceSchemasResource = apisv1alpha1.SchemeGroupVersion.WithResource("apiresourceschemas")
	WorkspacesResource      = schema.GroupVersionResource{Group: "tenancy.kcp.io", Version: "v1alpha1", Resource: "workspaces"}
	WorkspaceTypesResource  = WorkspacesResource.GroupVersion().WithResource("workspacetypes")
	LogicalClustersResource = schema.GroupVersionResource{Group: core.GroupName, Version: "v1alpha1", Resource: "logicalclusters"}
)

// The kinds of kcp's own APIs.
var (
	APIExportKind     = apisv1alpha2.SchemeGroupVersion.WithKind("APIExport")
	APIBindingKind    = apisv1alpha2.SchemeGroupVersion.WithKind("APIBinding")
	WorkspaceKind     = WorkspacesResource.GroupVersion().WithKind("Workspace")
	WorkspaceTypeKind = WorkspacesResource.GroupVersion().WithKind("WorkspaceType")
)

// LogicalClusterName is the name of the one LogicalCluster that each workspace has. It
// holds what the workspace knows of itself.
const LogicalClusterName = "cluster"

// WorkspaceTypeAnnotation is where kcp notes, on a LogicalCluster, the type of its
// workspace as path:name (kcp v0.31, LogicalClusterTypeAnnotationKey in
// sdk/apis/tenancy/v1alpha1).
const WorkspaceTypeAnnotation = "internal.tenancy.kcp.io/type"

// longestPath is more bytes than any path of workspaces takes that people use.
const longestPath = 256

// SaidPath returns the path that an object says its workspace has, empty when it says
// none, no valid one, or one longer than 256 bytes. It proves nothing: whoever
// administers the workspace may write any path on its LogicalCluster, and kcp copies
// that to its APIBindings (kcp v0.31, pkg/admission/pathannotation).
func SaidPath(obj metav1.Object) string {
	said := obj.GetAnnotations()[core.LogicalClusterPathAnnotationKey]
	if path := logicalcluster.NewPath(said); len(said) <= longestPath && path != logicalcluster.Wildcard && path.IsValid() {
		return said
	}
	return ""
}

// VirtualWorkspaceURLs returns the URLs of the virtual workspaces that an
// APIExportEndpointSlice lists, one for each shard that has consumers of the APIExport,
// sorted and without duplicates. A slice of the APIExport's own name lists those of the
// APIExport; kcp makes and keeps it.
func VirtualWorkspaceURLs(endpointSlice *unstructured.Unstructured) []string {
	return urlsIn(endpointSlice, func(map[string]any) bool { return true }, "status", "endpoints")
}

// InitializingURLs returns the URLs of the virtual workspaces that show the
// LogicalClusters which kcp initializes for a WorkspaceType, one for each shard, sorted
// and without duplicates. The other virtual workspaces in the list are of other types
// (kcp v0.31, pkg/reconciler/tenancy/workspacetype).
func InitializingURLs(workspaceType *unstructured.Unstructured) []string {
	return urlsIn(workspaceType, func(entry map[string]any) bool { return entry["type"] == "initializing" }, "status", "virtualWorkspaces")
}

// urlsIn returns the URLs of the wanted entries of a list.
func urlsIn(obj *unstructured.Unstructured, isWanted func(entry map[string]any) bool, path ...string) []string {
	// An error would mean that the field is no list: its schema does not let it be.
	entries, _, _ := unstructured.NestedSlice(obj.Object, path...)
	var urls []string
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		if url, _ := fields["url"].(string); url != "" && isWanted(fields) {
			urls = append(urls, url)
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// IsClaimed reports whether one of the claims, which are in force, is on all objects of
// the resource and allows all of the verbs.
func IsClaimed(claims []apisv1alpha2.ScopedPermissionClaim, resource schema.GroupVersionResource, verbs ...string) bool {
	return slices.ContainsFunc(claims, func(claim apisv1alpha2.ScopedPermissionClaim) bool {
		isOnAll := claim.Group == resource.Group && claim.Resource == resource.Resource && claim.Selector.MatchAll
		return isOnAll && (slices.Contains(claim.Verbs, "*") || sets.New(claim.Verbs...).HasAll(verbs...))
	})
}
