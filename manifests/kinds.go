package manifests

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Kinds returns the kinds that are synced of what the APIExport serves and claims,
// sorted by group and resource. Namespaces, which come with what is in them, are not
// among them. It fails when an embedded file is broken.
func Kinds() ([]schema.GroupResource, error) {
	export, err := Export()
	if err != nil {
		return nil, err
	}
	var offered []schema.GroupResource
	for _, resource := range export.Spec.Resources {
		offered = append(offered, schema.GroupResource{Group: resource.Group, Resource: resource.Name})
	}
	for _, claim := range export.Spec.PermissionClaims {
		offered = append(offered, schema.GroupResource{Group: claim.Group, Resource: claim.Resource})
	}
	kinds := slices.DeleteFunc(offered, func(kind schema.GroupResource) bool {
		return !v1alpha1.IsSynced(kind, kind != v1alpha1.NamespacesResource.GroupResource())
	})
	slices.SortFunc(kinds, func(a, b schema.GroupResource) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource))
	})
	return slices.Compact(kinds), nil
}
