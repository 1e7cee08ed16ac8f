package install

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// kcp binds what the WorkspaceType of tenants says when it makes a workspace. It could also do
// so later (defaultAPIBindingLifecycle: Maintain), but v0.31 then accepts claims in a form by
// which their virtual workspace does not know them again: see newBinding. So whoever joins a
// cluster, or runs init, has the workspaces of the type that there are bound, as far as he may.

// typeAnnotation is where kcp notes, on a LogicalCluster, of which type its workspace is.
const typeAnnotation = "internal.tenancy.kcp.io/type"

// logicalClusterResource is that of what each workspace knows of itself, under the name
// logicalClusterName.
var logicalClusterResource = schema.GroupVersionResource{Group: "core.kcp.io", Version: "v1alpha1", Resource: "logicalclusters"}

const logicalClusterName = "cluster"

// bindTenants binds the APIExports of views in the workspaces of the tenants' type that have
// been made, and accepts the claims that they have now. Of workspaces where the caller may not
// do that, he is told. With nothing to do, it reads and writes nothing in any of them.
func (s *server) bindTenants(ctx context.Context, views []unstructured.Unstructured) error {
	if len(views) == 0 {
		return nil
	}
	tenants, err := s.tenants(ctx)
	if err != nil {
		s.notice(fmt.Sprintf("which workspaces are of the type %s:%s cannot be told (%v): run `kubectl tmc bind` in them",
			s.options.ProviderWorkspace, v1alpha1.TenantWorkspaceType, err))
		return nil
	}
	if len(tenants) == 0 {
		return nil
	}
	for i := range views {
		view, _ := viewOf(&views[i])
		var export apisv1alpha2.APIExport
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(views[i].Object, &export); err != nil {
			return err
		}
		present, err := s.bindingsOf(ctx, view.export)
		if err != nil {
			return err
		}
		if err := s.bindView(ctx, view, export.Spec.PermissionClaims, tenants, present); err != nil {
			return err
		}
	}
	return nil
}

// acceptClaims has workspaces of the tenants' type accept what the APIExport that brings tmc's
// kinds claims now, as kcp does for new ones, and tells in which others somebody has to run
// bind: the claims are theirs to accept. With nothing to do, it looks into none of them.
func (s *server) acceptClaims(ctx context.Context) error {
	bindings, err := s.bindingsOf(ctx, v1alpha1.APIExportName)
	if err != nil {
		s.notice(fmt.Sprintf("which workspaces have to accept new claims cannot be told (%v): run `kubectl tmc bind` in all that are bound", err))
		return nil
	}
	export, err := manifests.Export()
	if err != nil {
		return err
	}
	var others []string
	for _, binding := range bindings {
		desired, err := toUnstructured(newBinding(binding.name, s.options.ProviderWorkspace, workloads(), export.Spec.PermissionClaims))
		if err != nil {
			return err
		}
		if isAccepted(binding.claims, desired) {
			continue
		}
		isTenant := false
		if binding.name != v1alpha1.APIExportName { // see tenants
			if isTenant, err = s.isTenant(ctx, binding); err != nil {
				return err
			}
		}
		if !isTenant {
			// The path is what a tenant may have written.
			others = append(others, fmt.Sprintf("%s (called %q)", binding.workspace, binding.path))
			continue
		}
		if err := s.bindTenant(ctx, binding, desired); err != nil {
			return err
		}
	}
	if len(others) > 0 {
		s.notice(fmt.Sprintf("nothing new is placed from these workspaces until somebody who administers them has run `kubectl tmc bind`, for they have not accepted all claims of APIExport %s: %s",
			v1alpha1.APIExportName, strings.Join(others, ", ")))
	}
	return nil
}

// bindView binds one view in the tenants' workspaces; present are the bindings that there are.
func (s *server) bindView(ctx context.Context, view ownView, claims []apisv1alpha2.PermissionClaim, tenants, present []consumerBinding) error {
	together, within := errgroup.WithContext(ctx)
	together.SetLimit(atATime)
	for _, tenant := range tenants {
		name := view.export
		at := slices.IndexFunc(present, func(binding consumerBinding) bool { return binding.workspace == tenant.workspace })
		if at >= 0 {
			name = present[at].name
		}
		desired, err := toUnstructured(newBinding(name, s.options.ProviderWorkspace, shown(view), claims))
		if err != nil {
			return err
		}
		if at >= 0 && isAccepted(present[at].claims, desired) {
			continue
		}
		together.Go(func() error { return s.bindTenant(within, tenant, desired) })
	}
	return together.Wait()
}

// isAccepted reports whether a binding that has the claims accepts just those of another one.
func isAccepted(claims []any, desired *unstructured.Unstructured) bool {
	// An error would mean that the field is no list, and newBinding makes no other.
	wanted, _, _ := unstructured.NestedSlice(desired.Object, "spec", "permissionClaims")
	merged := acceptedClaims().merge(claims, wanted)
	return len(merged) == len(claims) && covers(claims, merged)
}

// bindTenant makes one binding, or says who has to.
func (s *server) bindTenant(ctx context.Context, tenant consumerBinding, desired *unstructured.Unstructured) error {
	_, err := s.apply(ctx, tenant.workspace, desired, mergeBinding)
	if isDenied(err) {
		s.notice(fmt.Sprintf("you may not bind APIExport %s in workspace %s: have somebody run `kubectl tmc bind --server %s` who may",
			desired.GetName(), tenant.path, s.base+clustersPath+tenant.workspace))
		return nil
	}
	return err
}

// tenants returns, of the bindings of the APIExport that brings tmc's kinds, those of
// workspaces of the tenants' type.
func (s *server) tenants(ctx context.Context) ([]consumerBinding, error) {
	bindings, err := s.bindingsOf(ctx, v1alpha1.APIExportName)
	if err != nil {
		return nil, err
	}
	isTenant := make([]bool, len(bindings))
	together, within := errgroup.WithContext(ctx)
	together.SetLimit(atATime)
	for i, binding := range bindings {
		// One of that name somebody has made with bind: kcp appends something.
		if binding.name == v1alpha1.APIExportName {
			continue
		}
		together.Go(func() (err error) {
			isTenant[i], err = s.isTenant(within, binding)
			return err
		})
	}
	if err := together.Wait(); err != nil {
		return nil, err
	}
	var tenants []consumerBinding
	for i, binding := range bindings {
		if isTenant[i] {
			tenants = append(tenants, binding)
		}
	}
	return tenants, nil
}

// isTenant reports whether a workspace is of the tenants' type. Where the caller may not know,
// he is told.
func (s *server) isTenant(ctx context.Context, binding consumerBinding) (bool, error) {
	var self metav1.PartialObjectMetadata
	err := s.get(ctx, binding.workspace, logicalClusterResource, logicalClusterName, &self)
	switch {
	case isDenied(err):
		s.notice(fmt.Sprintf("you may not look whether workspace %s is of the type %s:%s: if it is, have somebody run `kubectl tmc bind --server %s` who may",
			binding.path, s.options.ProviderWorkspace, v1alpha1.TenantWorkspaceType, s.base+clustersPath+binding.workspace))
		return false, nil
	case isMissing(err):
		return false, nil
	}
	return self.Annotations[typeAnnotation] == s.options.ProviderWorkspace+":"+v1alpha1.TenantWorkspaceType, err
}
