package kcp

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
)

// IsClaimed reports whether one of the claims, which are in force, is on all objects of the
// resource, and on all of the verbs.
func IsClaimed(claims []apisv1alpha2.ScopedPermissionClaim, resource schema.GroupVersionResource, verbs ...string) bool {
	return slices.ContainsFunc(claims, func(claim apisv1alpha2.ScopedPermissionClaim) bool {
		isOnAll := claim.Group == resource.Group && claim.Resource == resource.Resource && claim.Selector.MatchAll
		return isOnAll && (slices.Contains(claim.Verbs, "*") || sets.New(claim.Verbs...).HasAll(verbs...))
	})
}
