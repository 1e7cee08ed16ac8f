package install

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// fleet is what the provider workspace has of clusters and their views.
type fleet struct {
	registrations []v1alpha1.ClusterRegistration
	// roles are those of the clusters' accounts, by the clusters' names.
	roles map[string]rbacv1.ClusterRole
	// exports are those of the views, sorted.
	exports []unstructured.Unstructured
}

// settlement is what is to be done so that every cluster has the view that its registration
// says, and there is nothing else.
type settlement struct {
	// accounts are the APIExports that accounts may use, of those that may use more.
	accounts map[string][]string
	// gone are, by the APIExports that stay, the clusters that use them no more.
	gone map[string][]string
	// unused are the views that no cluster uses.
	unused []ownView
}

// settle has the APIExports of clusters and groups claim, of the served kinds, those that
// their clusters were joined with, and takes away what no cluster uses any more: views, and
// the right to use them. A view is used by the clusters whose registrations say so, and by
// those whose syncers run with the manifest of an earlier join.
func (s *server) settle(ctx context.Context, served []servedKind) error {
	all, err := s.fleet(ctx)
	if err != nil {
		return err
	}
	todo := all.settle()
	provider := s.options.ProviderWorkspace
	for _, cluster := range slices.Sorted(maps.Keys(todo.accounts)) {
		role := &unstructured.Unstructured{}
		role.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind("ClusterRole"))
		role.SetName(accountName(cluster))
		if err := s.amend(ctx, provider, role, withExports(todo.accounts[cluster])); err != nil {
			return err
		}
	}
	for i := range all.exports {
		export := &all.exports[i]
		view, _ := viewOf(export)
		merge := view.withoutMembers(todo.gone[view.export], served)
		// There may be hundreds, and most are in order.
		if todo.isUnused(view) || reflect.DeepEqual(merge(export, nil).Object, export.Object) {
			continue
		}
		if err := s.amend(ctx, provider, export, merge); err != nil {
			return err
		}
	}
	return s.removeViews(ctx, todo.unused)
}

// settleAll is settle with what is served now. Where there is no APIExport that serves
// anything, there is nothing to settle.
func (s *server) settleAll(ctx context.Context) error {
	var export apisv1alpha2.APIExport
	err := s.get(ctx, s.options.ProviderWorkspace, exportResource, v1alpha1.APIExportName, &export)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	served, err := s.servedKinds(ctx, &export)
	if err != nil {
		return err
	}
	return s.settle(ctx, served)
}

// isUnused reports whether no cluster uses a view.
func (t settlement) isUnused(view ownView) bool {
	return slices.ContainsFunc(t.unused, func(unused ownView) bool { return unused.export == view.export })
}

// fleet reads what there is.
func (s *server) fleet(ctx context.Context) (fleet, error) {
	all := fleet{roles: map[string]rbacv1.ClusterRole{}}
	var registrations v1alpha1.ClusterRegistrationList
	if err := s.list(ctx, v1alpha1.ClusterRegistrationsResource, "", &registrations); err != nil {
		return fleet{}, err
	}
	all.registrations = registrations.Items
	var roles rbacv1.ClusterRoleList
	if err := s.list(ctx, clusterRoleResource, v1alpha1.ClusterLabel, &roles); err != nil {
		return fleet{}, err
	}
	for _, role := range roles.Items {
		if cluster := role.Labels[v1alpha1.ClusterLabel]; role.Name == accountName(cluster) {
			all.roles[cluster] = role
		}
	}
	var err error
	all.exports, err = s.viewExports(ctx)
	return all, err
}

// viewExports returns the APIExports of views, sorted.
func (s *server) viewExports(ctx context.Context) ([]unstructured.Unstructured, error) {
	objects, err := s.objects(s.options.ProviderWorkspace)
	if err != nil {
		return nil, err
	}
	list, err := objects.Resource(exportResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, s.explain(s.options.ProviderWorkspace, err)
	}
	exports := slices.DeleteFunc(list.Items, func(export unstructured.Unstructured) bool {
		_, isView := viewOf(&export)
		return !isView
	})
	slices.SortFunc(exports, func(a, b unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return exports, nil
}

// list reads the objects of the provider workspace that the selector selects into a list of
// their Go type.
func (s *server) list(ctx context.Context, resource schema.GroupVersionResource, selector string, into any) error {
	objects, err := s.objects(s.options.ProviderWorkspace)
	if err != nil {
		return err
	}
	list, err := objects.Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return s.explain(s.options.ProviderWorkspace, err)
	}
	for i := range list.Items {
		list.Items[i].Object = v1alpha1.Believable(list.Items[i].Object)
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(list.UnstructuredContent(), into)
}

// settle decides what is to be done.
func (f fleet) settle() settlement {
	todo := settlement{accounts: map[string][]string{}, gone: map[string][]string{}}
	used := map[string][]string{}
	for _, registration := range f.registrations {
		role, hasAccount := f.roles[registration.Name]
		exports := exportsFor(&registration, &role)
		for _, export := range exports {
			used[export] = append(used[export], registration.Name)
		}
		if has := exportsOf(role); hasAccount && !slices.Equal(slices.Sorted(slices.Values(exports)), has) {
			todo.accounts[registration.Name] = exports
		}
	}
	for i := range f.exports {
		view, _ := viewOf(&f.exports[i])
		if len(used[view.export]) == 0 {
			todo.unused = append(todo.unused, view)
			continue
		}
		for _, member := range membersOf(f.exports[i].GetAnnotations()) {
			if !slices.Contains(used[view.export], member) {
				todo.gone[view.export] = append(todo.gone[view.export], member)
			}
		}
	}
	return todo
}

// removeViews takes views away: first what would have them bound anew, and last the bindings
// of those who have bound them.
func (s *server) removeViews(ctx context.Context, views []ownView) error {
	if len(views) == 0 {
		return nil
	}
	var exports []string
	for _, view := range views {
		exports = append(exports, view.export)
	}
	if err := s.unbind(ctx, exports); err != nil {
		return err
	}
	for _, view := range views {
		if err := s.removeView(ctx, view); err != nil {
			return err
		}
	}
	return nil
}

// removeView takes one view away.
func (s *server) removeView(ctx context.Context, view ownView) error {
	bindings, err := s.bindingsOf(ctx, view.export)
	if err != nil {
		s.notice(fmt.Sprintf("which workspaces have APIExport %s bound cannot be told (%v): their APIBindings stay, and lead nowhere", view.export, err))
	}
	export, err := view.newExport(nil, nil)
	if err != nil {
		return err
	}
	steps, err := stepsFor(openRole(view.marks, view.bindRole(), rbacv1.PolicyRule{}), keepLive)
	if err != nil {
		return err
	}
	for _, object := range []*unstructured.Unstructured{steps[1].desired, steps[0].desired, export} {
		if err := s.remove(ctx, view.marks, object); err != nil {
			return err
		}
	}
	for _, binding := range bindings {
		if err := s.removeBinding(ctx, binding); err != nil {
			return err
		}
	}
	return nil
}

// removeBinding deletes a binding that leads nowhere, or says who has to.
func (s *server) removeBinding(ctx context.Context, binding consumerBinding) error {
	objects, err := s.objects(binding.workspace)
	if err != nil {
		return err
	}
	err = objects.Resource(bindingResource).Delete(ctx, binding.name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(binding.uid))})
	switch {
	case isMissing(err), apierrors.IsConflict(err):
		return nil
	case isDenied(err):
		s.notice(fmt.Sprintf("APIBinding %s of workspace %s leads nowhere now, and you may not delete it; whoever may: kubectl --server %s delete apibinding %s",
			binding.name, binding.path, s.base+clustersPath+binding.workspace, binding.name))
		return nil
	case err != nil:
		return s.explain(binding.path, fmt.Errorf("APIBinding %s: %w", binding.name, err))
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(apisv1alpha2.SchemeGroupVersion.WithKind("APIBinding"))
	object.SetName(binding.name)
	s.applied(binding.path, object, Deleted)
	return nil
}
