package install

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/kcp-dev/logicalcluster/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// kcp binds what the WorkspaceType of tenants says when it makes a workspace. It could also do so later
// (defaultAPIBindingLifecycle: Maintain), but v0.31 then accepts claims in a form that their virtual workspace does not
// recognise: see newBinding. So Join and Init bind in existing workspaces of the type, as far as the caller may.

// consumerBinding is the APIBinding of a workspace that has an APIExport bound.
type consumerBinding struct {
	// workspace is the name of the logical cluster. path is what the binding gives as its path, for messages: a tenant
	// may have written it, so that nothing is decided by it, and no command that people are told to run contains it.
	workspace, path string
	name            string
	uid             types.UID
	// claims are those that it accepts or rejects.
	claims []any
}

// bindingsOf returns the bindings of an APIExport in all workspaces, sorted, as its virtual workspaces show them.
func (s *server) bindingsOf(ctx context.Context, export string) ([]consumerBinding, error) {
	objects, err := s.objects(s.provider)
	if err != nil {
		return nil, err
	}
	slice, err := objects.Resource(kcp.EndpointSlicesResource).Get(ctx, export, metav1.GetOptions{})
	if kcp.IsMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, s.explain(s.provider, err)
	}
	var found []consumerBinding
	for _, url := range kcp.VirtualWorkspaceURLs(slice) {
		client, err := dynamic.NewForConfigAndClient(kcp.ForAllWorkspaces(s.config, url), s.http)
		if err != nil {
			return nil, err
		}
		list, err := client.Resource(kcp.APIBindingsResource).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("listing the bindings of APIExport %s: %w", export, err)
		}
		for i := range list.Items {
			item := &list.Items[i]
			if !isOf(item, export, logicalcluster.From(slice)) {
				continue // the claim on bindings shows those of all other exports, too
			}
			// An error means that the field is no list, which the API server does not let it be.
			claims, _, _ := unstructured.NestedSlice(item.Object, "spec", "permissionClaims")
			workspace := logicalcluster.From(item).String()
			found = append(found, consumerBinding{workspace, cmp.Or(kcp.SaidPath(item), workspace), item.GetName(), item.GetUID(), claims})
		}
	}
	slices.SortFunc(found, func(a, b consumerBinding) int { return strings.Compare(a.path+"|"+a.name, b.path+"|"+b.name) })
	return found, nil
}

// isOf reports whether a binding is of the APIExport of a name in the workspace of a name. The binding says which that is
// once kcp has bound it.
func isOf(binding *unstructured.Unstructured, export string, provider logicalcluster.Name) bool {
	// Errors would mean that the fields are no texts, which the API server does not let them be.
	name, _, _ := unstructured.NestedString(binding.Object, "spec", "reference", "export", "name")
	bound, _, _ := unstructured.NestedString(binding.Object, "status", "apiExportClusterName")
	return name == export && (bound == "" || provider.Empty() || bound == provider.String())
}

// bindTenants binds views in the existing workspaces of the tenants' type, and accepts their present claims. It tells
// the caller of workspaces where he may not do that. It neither reads nor writes in workspaces that are in order.
func (s *server) bindTenants(ctx context.Context, views []viewExport) error {
	if len(views) == 0 {
		return nil
	}
	tenants, err := s.tenants(ctx)
	if err != nil {
		s.noticef("which workspaces are of the type %s:%s cannot be told (%v): run `kubectl tmc bind` in them", s.provider, v1alpha1.TenantWorkspaceType, err)
		return nil
	}
	if len(tenants) == 0 {
		return nil
	}
	for _, view := range views {
		present, err := s.bindingsOf(ctx, view.export)
		if err != nil {
			return err
		}
		together, within := errgroup.WithContext(ctx)
		together.SetLimit(atATime)
		for _, tenant := range tenants {
			name := view.export
			at := slices.IndexFunc(present, func(binding consumerBinding) bool { return binding.workspace == tenant.workspace })
			if at >= 0 {
				name = present[at].name
			}
			desired := encode(newBinding(name, s.provider, view.view, view.claims))
			if at < 0 || !isAccepted(present[at].claims, desired) {
				together.Go(func() error { return s.bindTenant(within, tenant, desired) })
			}
		}
		if err := together.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// acceptClaims has workspaces of the tenants' type accept the present claims of the APIExport that brings tmc's kinds,
// as kcp does for new ones. It tells the caller in which other workspaces somebody has to run bind, who may accept
// claims there. It reads nothing in workspaces that are in order.
func (s *server) acceptClaims(ctx context.Context) error {
	bindings, err := s.bindingsOf(ctx, v1alpha1.APIExportName)
	if err != nil {
		s.noticef("which workspaces have to accept new claims cannot be told (%v): run `kubectl tmc bind` in all that are bound", err)
		return nil
	}
	claims := manifests.Export().Spec.PermissionClaims
	var others []string
	for _, binding := range bindings {
		desired := encode(newBinding(binding.name, s.provider, workloads, claims))
		if isAccepted(binding.claims, desired) {
			continue
		}
		isTenant, err := s.isTenant(ctx, binding)
		if err == nil && isTenant {
			err = s.bindTenant(ctx, binding, desired)
		}
		if err != nil {
			return err
		}
		if !isTenant {
			others = append(others, fmt.Sprintf("%s (called %q)", binding.workspace, binding.path)) // a tenant may have written the path
		}
	}
	if len(others) > 0 {
		s.noticef("nothing new is placed from these workspaces until somebody who administers them has run `kubectl tmc bind`, for they have not accepted all claims of APIExport %s: %s",
			v1alpha1.APIExportName, strings.Join(others, ", "))
	}
	return nil
}

// isAccepted reports whether a binding that has the claims accepts exactly those of another one.
func isAccepted(claims []any, desired *unstructured.Unstructured) bool {
	// An error would mean that the field is no list, and newBinding makes no other.
	wanted, _, _ := unstructured.NestedSlice(desired.Object, "spec", "permissionClaims")
	merged := acceptedClaims.merge(claims, wanted)
	return len(merged) == len(claims) && covers(claims, merged)
}

// bindTenant makes one binding, or tells who has to.
func (s *server) bindTenant(ctx context.Context, tenant consumerBinding, desired *unstructured.Unstructured) error {
	_, err := s.apply(ctx, tenant.workspace, desired, mergeBinding)
	if kcp.IsDenied(err) {
		s.noticef("you may not bind APIExport %s in workspace %s: have somebody run `kubectl tmc bind --server %s` who may",
			desired.GetName(), tenant.path, s.urlOf(tenant.workspace))
		return nil
	}
	return err
}

// tenants returns the bindings of tmc's kinds in workspaces of the tenants' type.
func (s *server) tenants(ctx context.Context) ([]consumerBinding, error) {
	bindings, err := s.bindingsOf(ctx, v1alpha1.APIExportName)
	if err != nil {
		return nil, err
	}
	isTenant := make([]bool, len(bindings))
	together, within := errgroup.WithContext(ctx)
	together.SetLimit(atATime)
	for i, binding := range bindings {
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

// isTenant reports whether a workspace is of the tenants' type, and tells the caller where he may not know.
func (s *server) isTenant(ctx context.Context, binding consumerBinding) (bool, error) {
	if binding.name == v1alpha1.APIExportName {
		return false, nil // bind has made it: kcp appends something to the names of bindings that a type brings
	}
	var self metav1.PartialObjectMetadata
	err := s.get(ctx, binding.workspace, kcp.LogicalClustersResource, kcp.LogicalClusterName, &self)
	switch {
	case kcp.IsDenied(err):
		s.noticef("you may not see whether workspace %s is of the type %s:%s: if it is, have somebody run `kubectl tmc bind --server %s` who may",
			binding.path, s.provider, v1alpha1.TenantWorkspaceType, s.urlOf(binding.workspace))
		return false, nil
	case kcp.IsMissing(err):
		return false, nil
	}
	return self.Annotations[kcp.WorkspaceTypeAnnotation] == s.provider+":"+v1alpha1.TenantWorkspaceType, err
}
