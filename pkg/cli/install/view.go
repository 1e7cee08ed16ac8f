package install

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// view is an APIExport that a consumer workspace binds. Either it brings tmc's kinds, or it is made for one isolated
// cluster or one isolation group: such a view brings no kinds, and claims the objects that have a label.
type view struct {
	// export is the name of the APIExport.
	export string
	// marks are the labels of what was made for the view.
	marks map[string]string
	// label is that of the objects that are seen; empty for the view that brings tmc's kinds.
	label string
	// owner says, for people, whose view it is.
	owner string
}

// workloads is the view that brings tmc's kinds.
var workloads = view{export: v1alpha1.APIExportName}

// viewNamed returns the view of a cluster or a group whose APIExport has the name; false when there cannot be one.
func viewNamed(export string) (view, bool) {
	if cluster, ok := v1alpha1.ClusterOfExport(export); ok {
		return view{export, map[string]string{v1alpha1.ClusterLabel: cluster}, v1alpha1.PlacementLabel(cluster), "cluster " + cluster}, true
	}
	if group, ok := v1alpha1.GroupOfExport(export); ok {
		return view{export, map[string]string{v1alpha1.IsolationGroupLabel: group}, v1alpha1.GroupLabel(group), "the clusters of group " + group}, true
	}
	return view{}, false
}

// selector selects the objects that are seen.
func (v view) selector() apisv1alpha2.PermissionClaimSelector {
	if v.label == "" {
		return apisv1alpha2.PermissionClaimSelector{MatchAll: true}
	}
	return apisv1alpha2.PermissionClaimSelector{LabelSelector: metav1.LabelSelector{
		MatchLabels: map[string]string{v.label: v1alpha1.PlacementLabelValue},
	}}
}

// purpose says, for people, what a binding of the view is for.
func (v view) purpose() string {
	if v.label == "" {
		return "the kinds that applications are made of"
	}
	return v.owner + " to see what is placed there"
}

// steps returns what makes the view: the APIExport, the right of everybody to bind it, and its entry in the
// WorkspaceType of tenants, which has to come last. The cluster uses the view, and was joined with the kinds. served
// are all kinds.
func (v view) steps(provider, cluster, kinds string, served []servedKind) []step {
	export := v.newExport(map[string]string{v1alpha1.KindsAnnotation(cluster): kinds}, served)
	return slices.Concat(stepsOf(v.merge(served), export), v.bindSteps(), []step{{newTenantType(provider, v1alpha1.APIExportName, v.export), mergeTenantType}})
}

// bindSteps returns the role of those who may bind the view, and its binding.
func (v view) bindSteps() []step {
	return stepsOf(overlayObject, openRole(v.marks, "tmc-bind-"+v.export, rule(apisv1alpha2.SchemeGroupVersion.Group, "apiexports", []string{v.export}, "bind"))...)
}

// openRole returns a role for everybody who may use kcp, and its binding.
func openRole(labels map[string]string, name string, rule rbacv1.PolicyRule) []any {
	everybody := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:authenticated"}}
	return roleAndBinding(metav1.ObjectMeta{Name: name, Labels: labels}, everybody, rule)
}

// newExport returns the view's APIExport for clusters that were joined with the kinds of the annotations.
func (v view) newExport(annotations map[string]string, served []servedKind) *unstructured.Unstructured {
	return encode(&apisv1alpha2.APIExport{
		TypeMeta:   metav1.TypeMeta{APIVersion: apisv1alpha2.SchemeGroupVersion.String(), Kind: "APIExport"},
		ObjectMeta: metav1.ObjectMeta{Name: v.export, Labels: v.marks, Annotations: annotations},
		Spec:       apisv1alpha2.APIExportSpec{PermissionClaims: v.claims(kindsOf(annotations, served))},
	})
}

// claims returns the claims on kinds. Their default selector holds for bindings that a WorkspaceType makes.
func (v view) claims(kinds []servedKind) []apisv1alpha2.PermissionClaim {
	claim := func(kind servedKind, verbs ...string) apisv1alpha2.PermissionClaim {
		return apisv1alpha2.PermissionClaim{
			GroupResource:   apisv1alpha2.GroupResource{Group: kind.Group, Resource: kind.Resource},
			IdentityHash:    kind.identityHash,
			Verbs:           verbs,
			DefaultSelector: new(v.selector()),
		}
	}
	// Nobody reports on namespaces.
	claims := []apisv1alpha2.PermissionClaim{claim(servedKind{GroupResource: v1alpha1.NamespacesResource.GroupResource()}, "get", "list", "watch")}
	for _, kind := range kinds {
		claims = append(claims, claim(kind, "get", "list", "watch", "patch"))
	}
	return claims
}

// merge returns the merger for the view's APIExport. The clusters that use it stay, with their kinds, less those that
// are gone; the claims become those that all of them need.
func (v view) merge(served []servedKind, gone ...string) merger {
	return func(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
		annotations := map[string]string{}
		maps.Copy(annotations, live.GetAnnotations())
		if desired != nil {
			maps.Copy(annotations, desired.GetAnnotations())
		}
		for _, cluster := range gone {
			delete(annotations, v1alpha1.KindsAnnotation(cluster))
		}
		next := mergeExport(live, v.newExport(annotations, served))
		if len(annotations) < len(live.GetAnnotations()) {
			next.SetAnnotations(annotations)
		}
		return next
	}
}

// membersOf returns the clusters that use a view, sorted, as its APIExport's annotations say.
func membersOf(annotations map[string]string) []string {
	var members []string
	for key := range annotations {
		if cluster, ok := strings.CutPrefix(key, v1alpha1.KindsAnnotationPrefix); ok {
			members = append(members, cluster)
		}
	}
	slices.Sort(members)
	return members
}

// kindsOf returns the served kinds that the clusters of a view were joined with; all of them when one takes all kinds,
// or the annotations name none.
func kindsOf(annotations map[string]string, served []servedKind) []servedKind {
	members := membersOf(annotations)
	wanted := map[schema.GroupResource]bool{}
	for _, cluster := range members {
		for kind := range strings.SplitSeq(annotations[v1alpha1.KindsAnnotation(cluster)], ",") {
			if kind == v1alpha1.AllKinds {
				return served
			}
			wanted[schema.ParseGroupResource(kind)] = true
		}
	}
	if len(members) == 0 {
		return served
	}
	return slices.DeleteFunc(slices.Clone(served), func(kind servedKind) bool { return !wanted[kind.GroupResource] })
}

// viewExport is the APIExport of a view as it is in the provider workspace.
type viewExport struct {
	view

	live   *unstructured.Unstructured
	claims []apisv1alpha2.PermissionClaim
}

// viewExports returns the APIExports of the views of clusters and groups, sorted. A label tells them from others of
// such a name.
func (s *server) viewExports(ctx context.Context) ([]viewExport, error) {
	objects, err := s.objects(s.provider)
	if err != nil {
		return nil, err
	}
	list, err := objects.Resource(kcp.APIExportsResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, s.explain(s.provider, err)
	}
	var found []viewExport
	for i := range list.Items {
		live := &list.Items[i]
		view, isView := viewNamed(live.GetName())
		for key, value := range view.marks {
			isView = isView && live.GetLabels()[key] == value
		}
		if !isView {
			continue
		}
		var export apisv1alpha2.APIExport
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(live.Object, &export); err != nil {
			return nil, err
		}
		found = append(found, viewExport{view, live, export.Spec.PermissionClaims})
	}
	slices.SortFunc(found, func(a, b viewExport) int { return strings.Compare(a.export, b.export) })
	return found, nil
}

// tenantSteps returns the WorkspaceType of tenants, with the APIExport that brings tmc's kinds, and the right of
// everybody to make workspaces of it.
func tenantSteps(provider string) []step {
	role := openRole(nil, v1alpha1.TenantWorkspaceType, rule(kcp.WorkspaceTypesResource.Group, kcp.WorkspaceTypesResource.Resource, []string{v1alpha1.TenantWorkspaceType}, "use"))
	return append(stepsOf(overlayObject, role...), step{newTenantType(provider, v1alpha1.APIExportName), mergeTenantType})
}

// newTenantType returns the WorkspaceType of tenants. kcp binds the exports in each new workspace of the type.
func newTenantType(provider string, exports ...string) *unstructured.Unstructured {
	bindings := []any{}
	for _, export := range exports {
		bindings = append(bindings, map[string]any{pathField: provider, exportField: export})
	}
	desired := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"extend": map[string]any{"with": []any{map[string]any{pathField: "root", nameField: "universal"}}},
		// Not Maintain: see tenants.go.
		"defaultAPIBindingLifecycle": "InitializeOnly",
		"defaultAPIBindings":         bindings,
	}}}
	desired.SetGroupVersionKind(kcp.WorkspaceTypeKind)
	desired.SetName(v1alpha1.TenantWorkspaceType)
	return desired
}

// withoutExports returns a merger that removes exports from the WorkspaceType of tenants.
func withoutExports(provider string, exports []string) merger {
	return func(live, _ *unstructured.Unstructured) *unstructured.Unstructured {
		result := live.DeepCopy()
		// An error means that the field is no list, which the API server does not let it be.
		bindings, _, _ := unstructured.NestedSlice(live.Object, "spec", "defaultAPIBindings")
		others := slices.DeleteFunc(slices.Clone(bindings), func(binding any) bool {
			fields, _ := binding.(map[string]any)
			export, _ := fields[exportField].(string)
			return fields[pathField] == provider && slices.Contains(exports, export)
		})
		if len(others) < len(bindings) {
			_ = unstructured.SetNestedSlice(result.Object, others, "spec", "defaultAPIBindings")
		}
		return result
	}
}

// servedKind is a resource that consumers have by the APIExport.
type servedKind struct {
	schema.GroupResource

	// identityHash is that of the export that brings it; empty when it is kcp's own.
	identityHash string
}

// servedKinds returns the resources whose objects can be synced, sorted: what the export brings, and what it claims of
// kcp's own resources.
func (s *server) servedKinds(ctx context.Context, export *apisv1alpha2.APIExport) ([]servedKind, error) {
	var kinds []servedKind
	for _, resource := range export.Spec.Resources {
		kind := servedKind{schema.GroupResource{Group: resource.Group, Resource: resource.Name}, export.Status.IdentityHash}
		if !v1alpha1.IsSynced(kind.GroupResource, true) {
			continue
		}
		var definition struct {
			Spec struct {
				Scope string `json:"scope"`
			} `json:"spec"`
		}
		if err := s.get(ctx, s.provider, kcp.ResourceSchemasResource, resource.Schema, &definition); err != nil {
			return nil, fmt.Errorf("the schema of %s: %w", kind, err)
		}
		if v1alpha1.IsSynced(kind.GroupResource, definition.Spec.Scope == "Namespaced") {
			kinds = append(kinds, kind)
		}
	}
	// The provider workspace has the same kinds of kcp's own as any other workspace.
	resources, err := s.resources(s.provider)
	if err != nil {
		return nil, err
	}
	clusterScoped := map[schema.GroupResource]bool{}
	for _, resource := range resources {
		if !resource.Namespaced {
			clusterScoped[schema.GroupResource{Group: resource.Group, Resource: resource.Name}] = true
		}
	}
	for _, claim := range export.Spec.PermissionClaims {
		kind := servedKind{schema.GroupResource{Group: claim.Group, Resource: claim.Resource}, claim.IdentityHash}
		if v1alpha1.IsSynced(kind.GroupResource, !clusterScoped[kind.GroupResource]) {
			kinds = append(kinds, kind)
		}
	}
	slices.SortFunc(kinds, compareKinds)
	return kinds, nil
}

// chooseKinds returns those of the served kinds that are wanted, as in "deployments" or "deployments.apps"; all when
// none are. A name that means no kind, or more than one, is an error that says what is served.
func chooseKinds(served []servedKind, wanted []string) ([]servedKind, error) {
	if len(wanted) == 0 {
		return served, nil
	}
	var chosen []servedKind
	for _, name := range wanted {
		var matches []servedKind
		for _, kind := range served {
			if kind.String() == name { // the whole name wins over the same name in other groups
				matches = []servedKind{kind}
				break
			}
			if kind.Resource == name {
				matches = append(matches, kind)
			}
		}
		switch {
		case len(matches) == 0:
			return nil, fmt.Errorf("--kinds: kind %q is not served; there are: %s", name, listKinds(served, ", "))
		case len(matches) > 1:
			return nil, fmt.Errorf("--kinds: kind %q may be %s: say which", name, listKinds(matches, " or "))
		case !slices.Contains(chosen, matches[0]):
			chosen = append(chosen, matches[0])
		}
	}
	slices.SortFunc(chosen, compareKinds)
	return chosen, nil
}

func compareKinds(a, b servedKind) int { return strings.Compare(a.String(), b.String()) }

// listKinds returns the names of kinds, or of anything with names, for people.
func listKinds[T fmt.Stringer](kinds []T, separator string) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = kind.String()
	}
	return strings.Join(names, separator)
}
