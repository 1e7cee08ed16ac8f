package install

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kcp-dev/logicalcluster/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

	// IsolatedClusters are clusters with an APIExport of their own, and IsolationGroups those
	// that share one, for a caller who may not see which there are.
	IsolatedClusters, IsolationGroups []string
}

// Bind makes the workspace that the options' configuration points at a consumer: it
// binds the APIExport of the provider workspace, and those of isolated clusters and of
// isolation groups, accepts exactly the permission claims of those exports, for what is
// placed there, adds the policies by which kcp guards what is tmc's on the objects, lets the
// hub see whether the workspace is at its path, and waits until all can be used. Without the
// permission to make policies, it leaves that to tmc-controller; without that to make roles,
// it says so. It fails when the configuration points at no workspace
// or at no kcp, when an export is missing or may not be bound, when the workspace has one
// of the kinds from elsewhere, and when the timeout is over. A binding that was made stays,
// also then.
func Bind(ctx context.Context, options BindOptions) error {
	if !logicalcluster.NewPath(options.ProviderWorkspace).IsValid() {
		return fmt.Errorf("%q is not the path of a workspace, such as root:tmc", options.ProviderWorkspace)
	}
	named, err := options.views()
	if err != nil {
		return err
	}
	s, err := newServer(options.Options)
	if err != nil {
		return err
	}
	if s.workspace == "" {
		return fmt.Errorf("the kubeconfig's server %s points to no workspace: it should end in %s<workspace>", options.Config.Host, clustersPath)
	}
	b := &binder{server: s, claims: map[string][]apisv1alpha2.PermissionClaim{}}
	if b.present, err = s.bindings(ctx); err != nil {
		return err
	}
	wanted, err := b.wanted(ctx, named)
	if err != nil {
		return err
	}
	return b.bind(ctx, wanted)
}

// views are those that the options name.
func (o BindOptions) views() ([]ownView, error) {
	var views []ownView
	for _, cluster := range o.IsolatedClusters {
		if err := v1alpha1.ValidateClusterName(cluster); err != nil {
			return nil, err
		}
		view, _ := viewCalled(v1alpha1.ClusterExport(cluster))
		views = append(views, view)
	}
	for _, group := range o.IsolationGroups {
		if err := v1alpha1.ValidateGroupName(group); err != nil {
			return nil, err
		}
		view, _ := viewCalled(v1alpha1.GroupExport(group))
		views = append(views, view)
	}
	return views, nil
}

// binder is one run of Bind.
type binder struct {
	*server

	// present are the bindings that the workspace has at first.
	present []apisv1alpha2.APIBinding
	// claims are those of the exports that could be read.
	claims map[string][]apisv1alpha2.PermissionClaim
}

// atATime is how many bindings are made at a time.
const atATime = 8

// bind makes all bindings, and then waits until what they bring can be used.
func (b *binder) bind(ctx context.Context, wanted []consumed) error {
	names := make([]string, len(wanted))
	making, together := errgroup.WithContext(ctx)
	making.SetLimit(atATime)
	for i, bound := range wanted {
		making.Go(func() (err error) {
			names[i], err = b.ensureBinding(together, bound)
			return err
		})
	}
	if err := making.Wait(); err != nil {
		return err
	}
	ready, err := b.waitForBindings(ctx, wanted, names)
	if err != nil {
		return err
	}
	// The first is the one that brings the kinds.
	if err := b.applyConsumerRBAC(ctx, &ready[0]); err != nil {
		return err
	}
	if err := b.applyConsumerPolicies(ctx, &ready[0]); err != nil {
		return err
	}
	var resources []schema.GroupResource
	for _, binding := range ready {
		for _, bound := range binding.Status.BoundResources {
			resources = append(resources, schema.GroupResource{Group: bound.Group, Resource: bound.Resource})
		}
	}
	return b.waitForResources(ctx, b.workspace, resources)
}

// wanted returns what is to be bound: what brings the kinds first, and then the views,
// sorted: those that there are, if the caller may see them, and otherwise those that are
// bound already; and those named.
func (b *binder) wanted(ctx context.Context, named []ownView) ([]consumed, error) {
	views := map[string]ownView{}
	for _, view := range named {
		views[view.export] = view
	}
	exports, err := b.viewExports(ctx)
	switch {
	case err == nil:
		for i := range exports {
			view, _ := viewOf(&exports[i])
			views[view.export] = view
			var export apisv1alpha2.APIExport
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(exports[i].Object, &export); err != nil {
				return nil, err
			}
			b.claims[view.export] = export.Spec.PermissionClaims
		}
	case isMissing(err): // the workspace itself
		return nil, b.notInitialized(err)
	case !isDenied(err):
		return nil, err
	default:
		for _, view := range boundViews(b.present, b.options.ProviderWorkspace) {
			views[view.export] = view
		}
		b.notice(fmt.Sprintf("you may not see which clusters of workspace %s are isolated: of those, only what is named or bound already is bound (%s)",
			b.options.ProviderWorkspace, cmp.Or(strings.Join(slices.Sorted(maps.Keys(views)), ", "), "none")))
	}
	wanted := []consumed{workloads()}
	for _, export := range slices.Sorted(maps.Keys(views)) {
		wanted = append(wanted, shown(views[export]))
	}
	return wanted, nil
}

// ensureBinding makes or updates the binding and returns its name.
func (b *binder) ensureBinding(ctx context.Context, bound consumed) (string, error) {
	name, exists, err := bindingFor(b.present, b.options.ProviderWorkspace, bound.export)
	if err != nil {
		return "", fmt.Errorf("workspace %s: %w", b.workspace, err)
	}
	if bound.export != v1alpha1.APIExportName {
		if err := b.freeBinding(ctx, name); err != nil {
			return "", err
		}
	}
	claims, known := b.claims[bound.export]
	if !known {
		if claims, known, err = b.exportClaims(ctx, bound.export); err != nil {
			return "", err
		}
	}
	if known {
		return name, b.applyBinding(ctx, name, bound, claims, mergeBinding)
	}
	// The caller may bind the export but not read it. The binding tells its claims.
	if !exists {
		if err := b.applyBinding(ctx, name, bound, nil, keepLive); err != nil {
			return "", err
		}
	}
	claims, err = b.waitForClaims(ctx, name)
	if err != nil {
		return "", err
	}
	return name, b.applyBinding(ctx, name, bound, claims, mergeBinding)
}

// freeBinding lets a view's binding go that somebody has deleted, and that the hub keeps while
// the view is used: it is about to be made anew, and what is on clusters stays for that long.
// It waits until the binding is gone.
func (b *binder) freeBinding(ctx context.Context, name string) error {
	isKept := slices.ContainsFunc(b.present, func(binding apisv1alpha2.APIBinding) bool {
		return binding.Name == name && binding.DeletionTimestamp != nil && slices.Contains(binding.Finalizers, v1alpha1.InUseFinalizer)
	})
	if !isKept || b.dryRun {
		return nil
	}
	objects, err := b.objects(b.workspace)
	if err != nil {
		return err
	}
	client := objects.Resource(bindingResource)
	b.notice(fmt.Sprintf("APIBinding %s of workspace %s was deleted, and is bound anew", name, b.workspace))
	return b.waitFor(ctx, fmt.Sprintf("APIBinding %s in workspace %s to be gone", name, b.workspace), func(ctx context.Context) (progress, error) {
		live, err := client.Get(ctx, name, metav1.GetOptions{})
		switch {
		case isMissing(err):
			return progress{done: true}, nil
		case err != nil:
			return progress{}, err
		case live.GetDeletionTimestamp() == nil:
			return progress{done: true}, nil // somebody else was faster
		}
		live.SetFinalizers(slices.DeleteFunc(live.GetFinalizers(), func(finalizer string) bool { return finalizer == v1alpha1.InUseFinalizer }))
		_, err = client.Update(ctx, live, metav1.UpdateOptions{FieldManager: fieldManager})
		if isMissing(err) || apierrors.IsConflict(err) {
			err = nil // it has changed meanwhile
		}
		return progress{state: fmt.Sprintf("its finalizers were %v", live.GetFinalizers())}, err
	})
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
	case isDenied(err):
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
	return "let the cluster join, or join anew, with `kubectl tmc join`"
}

// applyBinding makes or updates the binding with the claims.
func (s *server) applyBinding(ctx context.Context, name string, bound consumed, claims []apisv1alpha2.PermissionClaim, merge merger) error {
	desired, err := toUnstructured(newBinding(name, s.options.ProviderWorkspace, bound, claims))
	if err != nil {
		return err
	}
	_, err = s.apply(ctx, s.workspace, desired, merge)
	if isDenied(err) {
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

// waitForBindings waits until all exports are bound, and returns their bindings. It tells of
// each that has to be waited for once. It fails when the workspace has one of the APIs from
// elsewhere.
func (s *server) waitForBindings(ctx context.Context, wanted []consumed, names []string) ([]apisv1alpha2.APIBinding, error) {
	ready := make([]apisv1alpha2.APIBinding, len(wanted))
	told := map[string]bool{}
	conflicts := map[string]time.Time{}
	what := fmt.Sprintf("the APIBindings of workspace %s", s.workspace)
	err := s.poll(ctx, what, func(ctx context.Context) (progress, error) {
		present, err := s.bindings(ctx)
		if err != nil {
			return progress{}, err
		}
		var missing []string
		for i, name := range names {
			at := slices.IndexFunc(present, func(binding apisv1alpha2.APIBinding) bool { return binding.Name == name })
			if at < 0 {
				return progress{}, fmt.Errorf("APIBinding %s of workspace %s has been deleted meanwhile", name, s.workspace)
			}
			ready[i] = present[at]
			if conflict := conflictIn(&ready[i]); conflict == "" {
				delete(conflicts, name)
			} else if since, known := conflicts[name]; !known {
				conflicts[name] = time.Now()
			} else if time.Since(since) >= conflictGrace {
				return progress{}, s.conflictError(ctx, &ready[i], conflict)
			}
			if now := bindingProgress(&ready[i]); !now.done {
				missing = append(missing, fmt.Sprintf("APIBinding %s: %s", name, now.state))
				if !told[name] {
					told[name] = true
					s.waiting(fmt.Sprintf("%s, in workspace %s", wanted[i].purpose, s.workspace), "")
				}
			}
		}
		return progress{done: len(missing) == 0, state: strings.Join(missing, "; ")}, nil
	})
	return ready, err
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

// waitForResource is waitForResources for one.
func (s *server) waitForResource(ctx context.Context, workspace string, resource schema.GroupResource) error {
	return s.waitForResources(ctx, workspace, []schema.GroupResource{resource})
}

// waitForResources waits until resources can be used in a workspace: that they are bound or
// established does not mean that every kcp server knows them already.
func (s *server) waitForResources(ctx context.Context, workspace string, resources []schema.GroupResource) error {
	discoveryClient, err := s.discovery(workspace)
	if err != nil {
		return err
	}
	objects, err := s.objects(workspace)
	if err != nil {
		return err
	}
	missing := slices.Clone(resources)
	what := fmt.Sprintf("%s in workspace %s", listResources(resources), workspace)
	return s.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
		_, lists, err := discoveryClient.ServerGroupsAndResources()
		// Groups that are broken are not ours, or show as missing.
		if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
			return progress{}, s.explain(workspace, err)
		}
		for len(missing) > 0 {
			found := discover(lists, missing[0])
			if !found.Empty() {
				_, err = objects.Resource(found).List(ctx, metav1.ListOptions{Limit: 1})
			}
			switch {
			case found.Empty(), apierrors.IsNotFound(err):
				return progress{state: "not served yet: " + listResources(missing)}, nil
			// Who may bind need not be allowed to use what is bound.
			case err != nil && !apierrors.IsForbidden(err):
				return progress{}, s.explain(workspace, err)
			}
			missing = missing[1:]
		}
		return progress{done: true}, nil
	})
}

// listResources names resources, for people.
func listResources(resources []schema.GroupResource) string {
	var names []string
	for _, resource := range resources {
		names = append(names, resource.String())
	}
	return strings.Join(names, ", ")
}

// discover returns a version in which the resource is served, or an empty one.
func discover(lists []*metav1.APIResourceList, wanted schema.GroupResource) schema.GroupVersionResource {
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil || version.Group != wanted.Group {
			continue
		}
		for _, resource := range list.APIResources {
			if resource.Name == wanted.Resource {
				return version.WithResource(resource.Name)
			}
		}
	}
	return schema.GroupVersionResource{}
}
