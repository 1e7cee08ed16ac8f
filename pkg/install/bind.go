package install

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kcp-dev/logicalcluster/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/discovery"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// conflictGrace is how long a conflict has to last to be believed: kcp takes some
// seconds to see that the other side of a conflict is gone.
const conflictGrace = 10 * time.Second

// BindOptions say what to bind.
type BindOptions struct {
	Options

	// IsolatedClusters are clusters with an APIExport of their own, for a caller who may
	// not see which there are.
	IsolatedClusters []string
}

// Bind makes the workspace that the options' configuration points at a consumer: it
// binds the APIExport of the provider workspace, accepts exactly the permission claims
// of that export, adds the policies by which kcp guards what is tmc's on the objects, and
// waits until the kinds can be used. Without the permission to make policies, it goes on
// and says so. Then it does so with the APIExports of isolated clusters, whose claims it
// accepts for what is placed there. It fails when the configuration points at no workspace
// or at no kcp, when the export is missing or may not be bound, when the workspace has one
// of the kinds from elsewhere, and when the timeout is over. A binding that was made stays,
// also then.
func Bind(ctx context.Context, options BindOptions) error {
	if !logicalcluster.NewPath(options.ProviderWorkspace).IsValid() {
		return fmt.Errorf("%q is not the path of a workspace, such as root:tmc", options.ProviderWorkspace)
	}
	s, err := newServer(options.Options)
	if err != nil {
		return err
	}
	if s.workspace == "" {
		return fmt.Errorf("the kubeconfig's server %s points to no workspace: it should end in %s<workspace>", options.Config.Host, clustersPath)
	}
	// The claims of the others are about the kinds that this one brings.
	if err := s.bind(ctx, workloads()); err != nil {
		return err
	}
	clusters, err := s.isolatedClusters(ctx, options.IsolatedClusters)
	if err != nil {
		return err
	}
	for _, cluster := range clusters {
		if err := s.bind(ctx, isolated(cluster)); err != nil {
			return err
		}
	}
	return nil
}

// bind binds one export, and waits until what it brings can be used.
func (s *server) bind(ctx context.Context, bound consumed) error {
	name, err := s.ensureBinding(ctx, bound)
	if err != nil {
		return err
	}
	binding, err := s.waitForBinding(ctx, name)
	if err != nil {
		return err
	}
	if bound.export == v1alpha1.APIExportName {
		if err := s.applyConsumerPolicies(ctx, binding); err != nil {
			return err
		}
	}
	for _, bound := range binding.Status.BoundResources {
		if err := s.waitForResource(ctx, s.workspace, schema.GroupResource{Group: bound.Group, Resource: bound.Resource}); err != nil {
			return err
		}
	}
	return nil
}

// isolatedClusters returns the isolated clusters, sorted: those that there are, if the
// caller may see them, and otherwise those that are bound already; and those named.
func (s *server) isolatedClusters(ctx context.Context, named []string) ([]string, error) {
	clusters := sets.New(named...)
	objects, err := s.objects(s.options.ProviderWorkspace)
	if err != nil {
		return nil, err
	}
	exports, err := objects.Resource(exportResource).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.ClusterLabel})
	switch {
	case err == nil:
		for _, export := range exports.Items {
			if cluster := export.GetLabels()[v1alpha1.ClusterLabel]; export.GetName() == v1alpha1.ClusterExport(cluster) {
				clusters.Insert(cluster)
			}
		}
		return sets.List(clusters), nil
	case !apierrors.IsForbidden(err) || isForeign(err):
		return nil, s.explain(s.options.ProviderWorkspace, err)
	}
	bindings, err := s.bindings(ctx)
	if err != nil {
		return nil, err
	}
	clusters.Insert(boundClusters(bindings, s.options.ProviderWorkspace)...)
	s.notice(fmt.Sprintf("you may not see which clusters of workspace %s are isolated: of those, only what is named or bound already is bound (%s)",
		s.options.ProviderWorkspace, cmp.Or(strings.Join(sets.List(clusters), ", "), "none")))
	return sets.List(clusters), nil
}

// ensureBinding makes or updates the binding and returns its name.
func (s *server) ensureBinding(ctx context.Context, bound consumed) (string, error) {
	bindings, err := s.bindings(ctx)
	if err != nil {
		return "", err
	}
	name, exists, err := bindingFor(bindings, s.options.ProviderWorkspace, bound.export)
	if err != nil {
		return "", fmt.Errorf("workspace %s: %w", s.workspace, err)
	}
	claims, known, err := s.exportClaims(ctx, bound.export)
	if err != nil {
		return "", err
	}
	if known {
		return name, s.applyBinding(ctx, name, bound, claims, mergeBinding)
	}
	// The caller may bind the export but not read it. The binding tells its claims.
	if !exists {
		if err := s.applyBinding(ctx, name, bound, nil, keepLive); err != nil {
			return "", err
		}
	}
	claims, err = s.waitForClaims(ctx, name)
	if err != nil {
		return "", err
	}
	return name, s.applyBinding(ctx, name, bound, claims, mergeBinding)
}

// bindings lists the bindings of the consumer workspace.
func (s *server) bindings(ctx context.Context) ([]apisv1alpha2.APIBinding, error) {
	objects, err := s.objects(s.workspace)
	if err != nil {
		return nil, err
	}
	list, err := objects.Resource(bindingResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, s.explain(s.workspace, err)
	}
	var typed apisv1alpha2.APIBindingList
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(list.UnstructuredContent(), &typed)
	return typed.Items, err
}

// exportClaims returns the claims of the export, and whether the caller may know them.
// kcp answers a request in a workspace that does not exist like one that is forbidden,
// so a missing provider workspace shows only when the binding is made.
func (s *server) exportClaims(ctx context.Context, name string) ([]apisv1alpha2.PermissionClaim, bool, error) {
	var export apisv1alpha2.APIExport
	err := s.get(ctx, s.options.ProviderWorkspace, exportResource, name, &export)
	switch {
	case isMissing(err):
		return nil, false, fmt.Errorf("workspace %s has no APIExport %s: %s first: %w",
			s.options.ProviderWorkspace, name, whatExports(name), err)
	case apierrors.IsForbidden(err) && !isForeign(err):
		return nil, false, nil
	default:
		return export.Spec.PermissionClaims, err == nil, err
	}
}

// whatExports says what to do for an export to be there.
func whatExports(name string) string {
	if name == v1alpha1.APIExportName {
		return "run `kubectl tmc init`"
	}
	return "join the cluster as an isolated one with `kubectl tmc join`"
}

// applyBinding makes or updates the binding with the claims.
func (s *server) applyBinding(ctx context.Context, name string, bound consumed, claims []apisv1alpha2.PermissionClaim, merge merger) error {
	desired, err := toUnstructured(newBinding(name, s.options.ProviderWorkspace, bound, claims))
	if err != nil {
		return err
	}
	_, err = s.apply(ctx, s.workspace, desired, merge)
	if apierrors.IsForbidden(err) && !isForeign(err) {
		return fmt.Errorf("APIExport %s of workspace %s cannot be bound in workspace %s: "+
			"it is not there (%s first), or you lack the verb bind on it, or the right to make APIBindings here: %w",
			bound.export, s.options.ProviderWorkspace, s.workspace, whatExports(bound.export), errors.Unwrap(err))
	}
	return err
}

// waitForClaims waits until kcp has noted the export's claims in the binding.
func (s *server) waitForClaims(ctx context.Context, name string) ([]apisv1alpha2.PermissionClaim, error) {
	var binding apisv1alpha2.APIBinding
	what := fmt.Sprintf("the permission claims of APIBinding %s in workspace %s", name, s.workspace)
	err := s.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
		binding = apisv1alpha2.APIBinding{}
		if err := s.get(ctx, s.workspace, bindingResource, name, &binding); err != nil {
			return progress{}, err
		}
		// An export without claims leaves the list empty for good.
		return progress{done: len(binding.Status.ExportPermissionClaims) > 0 || binding.Status.Phase == apisv1alpha2.APIBindingPhaseBound}, nil
	})
	return binding.Status.ExportPermissionClaims, err
}

// waitForBinding waits until the export is bound, and returns the binding. It fails when
// the workspace has one of the APIs from elsewhere.
func (s *server) waitForBinding(ctx context.Context, name string) (*apisv1alpha2.APIBinding, error) {
	var binding apisv1alpha2.APIBinding
	var conflictSince time.Time
	what := fmt.Sprintf("APIBinding %s in workspace %s", name, s.workspace)
	err := s.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
		binding = apisv1alpha2.APIBinding{}
		if err := s.get(ctx, s.workspace, bindingResource, name, &binding); err != nil {
			return progress{}, err
		}
		conflict := conflictIn(&binding)
		switch {
		case conflict == "":
			conflictSince = time.Time{}
		case conflictSince.IsZero():
			conflictSince = time.Now()
		case time.Since(conflictSince) >= conflictGrace:
			return progress{}, s.conflictError(ctx, &binding, conflict)
		}
		return bindingProgress(&binding), nil
	})
	return &binding, err
}

// conflictError names what keeps the binding's APIs out of the workspace. message is
// what kcp says about it.
func (s *server) conflictError(ctx context.Context, binding *apisv1alpha2.APIBinding, message string) error {
	bindings, err := s.bindings(ctx)
	if err != nil {
		return err
	}
	export, err := manifests.Export()
	if err != nil {
		return err
	}
	owners := ownersOf(export.Spec.Resources, bindings, binding.Name)
	for _, resource := range export.Spec.Resources {
		name := resource.Name + "." + resource.Group
		var definition metav1.PartialObjectMetadata
		if s.get(ctx, s.workspace, crdResource, name, &definition) == nil {
			owners = append(owners, "CustomResourceDefinition "+name)
		}
	}
	if len(owners) == 0 {
		owners = []string{"elsewhere"}
	}
	return fmt.Errorf("workspace %s has what APIBinding %s brings from %s already: delete one of the two (kcp says: %s)",
		s.workspace, binding.Name, strings.Join(owners, " and from "), message)
}

// waitForResource waits until a resource can be used in a workspace: that it is bound or
// established does not mean that every kcp server knows it already.
func (s *server) waitForResource(ctx context.Context, workspace string, resource schema.GroupResource) error {
	discoveryClient, err := s.discovery(workspace)
	if err != nil {
		return err
	}
	objects, err := s.objects(workspace)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s in workspace %s", resource, workspace)
	return s.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
		found, err := discover(discoveryClient, resource)
		if err != nil {
			return progress{}, s.explain(workspace, err)
		}
		if found.Empty() {
			return progress{state: "it is not served yet"}, nil
		}
		_, err = objects.Resource(found).List(ctx, metav1.ListOptions{Limit: 1})
		if apierrors.IsNotFound(err) {
			return progress{state: "it is not served yet"}, nil
		}
		// Who may bind need not be allowed to use what is bound.
		if apierrors.IsForbidden(err) {
			err = nil
		}
		return progress{done: err == nil}, s.explain(workspace, err)
	})
}

// discover returns a version in which the resource is served, or an empty one.
func discover(client discovery.DiscoveryInterface, wanted schema.GroupResource) (schema.GroupVersionResource, error) {
	_, lists, err := client.ServerGroupsAndResources()
	// Groups that are broken are not ours, or show as missing.
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return schema.GroupVersionResource{}, err
	}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil || version.Group != wanted.Group {
			continue
		}
		for _, resource := range list.APIResources {
			if resource.Name == wanted.Resource {
				return version.WithResource(resource.Name), nil
			}
		}
	}
	return schema.GroupVersionResource{}, nil
}
