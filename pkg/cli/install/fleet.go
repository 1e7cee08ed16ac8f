package install

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// fleet is what the provider workspace has of clusters and their views.
type fleet struct {
	registrations []v1alpha1.ClusterRegistration
	// roles are those of the clusters' accounts, by cluster.
	roles map[string]rbacv1.ClusterRole
	// views are those of clusters and groups, sorted.
	views []viewExport
}

// alignment is what has to be done so that every cluster has the view that its registration says, and nothing else is
// left.
type alignment struct {
	// accounts are the APIExports that accounts may use, by cluster, of those whose roles differ from that.
	accounts map[string][]string
	// gone are the clusters that no longer use a view, by the APIExports of the views that stay.
	gone map[string][]string
	// unused are the APIExports of the views that no cluster uses.
	unused map[string]bool
}

// align has the views claim, of the served kinds, those that their clusters were joined with, and deletes what no
// cluster uses any more: views, and the right to use them. The clusters that use a view are those whose registrations
// say so, those whose syncers still run with the manifest of an earlier join, and those that somebody else is joining
// just now. The leaving cluster, if it is not empty, uses none.
func (s *server) align(ctx context.Context, served []servedKind, leaving string) error {
	all, err := s.readFleet(ctx)
	if err != nil {
		return err
	}
	todo := all.align(leaving)
	for _, cluster := range slices.Sorted(maps.Keys(todo.accounts)) {
		role := &unstructured.Unstructured{}
		role.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind("ClusterRole"))
		role.SetName(accountName(cluster))
		if err := s.amend(ctx, s.provider, role, withExports(todo.accounts[cluster])); err != nil {
			return err
		}
	}
	var unused []view
	for _, view := range all.views {
		merge := view.merge(served, todo.gone[view.export]...)
		switch {
		case todo.unused[view.export]:
			unused = append(unused, view.view)
			continue
		case reflect.DeepEqual(merge(view.live, nil).Object, view.live.Object):
			continue // there may be hundreds: one that is in order costs no request
		}
		if err := s.amend(ctx, s.provider, view.live, merge); err != nil {
			return err
		}
	}
	return s.removeViews(ctx, unused)
}

// alignAll is align with the kinds that are served now. It does nothing where there is no APIExport that serves any.
func (s *server) alignAll(ctx context.Context, leaving string) error {
	var export apisv1alpha2.APIExport
	err := s.get(ctx, s.provider, kcp.APIExportsResource, v1alpha1.APIExportName, &export)
	if kcp.IsMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	served, err := s.servedKinds(ctx, &export)
	if err != nil {
		return err
	}
	return s.align(ctx, served, leaving)
}

// readFleet reads the provider workspace. A join makes account, view and registration in this order, so they are read in the
// other one: whose view is there has a role that says so.
func (s *server) readFleet(ctx context.Context) (fleet, error) {
	all := fleet{roles: map[string]rbacv1.ClusterRole{}}
	var err error
	if all.views, err = s.viewExports(ctx); err != nil {
		return fleet{}, err
	}
	var roles rbacv1.ClusterRoleList
	if err := s.list(ctx, s.provider, clusterRoleResource, v1alpha1.ClusterLabel, &roles); err != nil {
		return fleet{}, err
	}
	for _, role := range roles.Items {
		if cluster := role.Labels[v1alpha1.ClusterLabel]; role.Name == accountName(cluster) {
			all.roles[cluster] = role
		}
	}
	var registrations v1alpha1.ClusterRegistrationList
	if err := s.list(ctx, s.provider, v1alpha1.ClusterRegistrationsResource, "", &registrations); err != nil {
		return fleet{}, err
	}
	all.registrations = registrations.Items
	return all, nil
}

// align decides what has to be done. A join writes the registration last. Until then, the role of the account says which
// view the cluster is about to use.
func (f fleet) align(leaving string) alignment {
	todo := alignment{accounts: map[string][]string{}}
	users := usersOf{}
	chosen := f.chosenExports(leaving)
	for cluster, export := range chosen {
		users.add(cluster, export)
	}
	for _, registration := range f.registrations {
		role, hasAccount := f.roles[registration.Name]
		exports := exportsFor(&registration, &role)
		if export := chosen[registration.Name]; export != "" && !slices.Contains(exports, export) {
			exports = append(exports, export)
		}
		users.add(registration.Name, exports...)
		if hasAccount && !slices.Equal(slices.Sorted(slices.Values(exports)), exportsOf(role)) {
			todo.accounts[registration.Name] = exports
		}
	}
	todo.gone, todo.unused = f.unusedBy(users)
	return todo
}

// usersOf are the clusters that use each APIExport.
type usersOf map[string]sets.Set[string]

// add notes that a cluster uses APIExports.
func (u usersOf) add(cluster string, exports ...string) {
	for _, export := range exports {
		if u[export] == nil {
			u[export] = sets.New[string]()
		}
		u[export].Insert(cluster)
	}
}

// chosenExports returns the APIExport that the last join of each cluster has chosen, without the cluster that is leaving.
func (f fleet) chosenExports(leaving string) map[string]string {
	chosen := map[string]string{}
	for cluster, role := range f.roles {
		if export := role.Annotations[v1alpha1.ExportAnnotation]; export != "" && cluster != leaving {
			chosen[cluster] = export
		}
	}
	return chosen
}

// unusedBy returns, by APIExport, the members of views that do not use them any more, and which views nobody uses.
func (f fleet) unusedBy(users usersOf) (gone map[string][]string, unused map[string]bool) {
	gone, unused = map[string][]string{}, map[string]bool{}
	for _, view := range f.views {
		unused[view.export] = users[view.export].Len() == 0
		for _, member := range membersOf(view.live.GetAnnotations()) {
			if !users[view.export].Has(member) {
				gone[view.export] = append(gone[view.export], member)
			}
		}
	}
	return gone, unused
}

// removeViews deletes views: first the entries in the WorkspaceType that would have them bound anew, then the views,
// and last their bindings in workspaces.
func (s *server) removeViews(ctx context.Context, views []view) error {
	if len(views) == 0 {
		return nil
	}
	exports := make([]string, len(views))
	for i, view := range views {
		exports[i] = view.export
	}
	if err := s.amend(ctx, s.provider, newTenantType(s.provider), withoutExports(s.provider, exports)); err != nil {
		return err
	}
	for _, view := range views {
		bindings, err := s.bindingsOf(ctx, view.export)
		if err != nil {
			s.noticef("which workspaces have APIExport %s bound cannot be told (%v): their APIBindings stay, and lead nowhere", view.export, err)
		}
		role := view.bindSteps()
		for _, object := range []*unstructured.Unstructured{role[1].desired, role[0].desired, view.newExport(nil, nil)} {
			if err := s.remove(ctx, view.marks, object); err != nil {
				return err
			}
		}
		for _, binding := range bindings {
			if err := s.removeBinding(ctx, binding); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeBinding deletes a binding whose APIExport is gone, or tells who has to.
func (s *server) removeBinding(ctx context.Context, binding consumerBinding) error {
	objects, err := s.objects(binding.workspace)
	if err != nil {
		return err
	}
	err = objects.Resource(kcp.APIBindingsResource).Delete(ctx, binding.name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(binding.uid))})
	switch {
	case kcp.IsMissing(err), apierrors.IsConflict(err):
		return nil
	case kcp.IsDenied(err):
		s.noticef("APIBinding %s of workspace %s leads nowhere now, and you may not delete it; whoever may: kubectl --server %s delete apibinding %s",
			binding.name, binding.path, s.urlOf(binding.workspace), binding.name)
		return nil
	case err != nil:
		return s.explain(binding.path, fmt.Errorf("APIBinding %s: %w", binding.name, err))
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kcp.APIBindingKind)
	object.SetName(binding.name)
	s.applied(binding.path, object, Deleted)
	return nil
}
