package install

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	rbacv1 "k8s.io/api/rbac/v1"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// tenantRole names the role of those who may make workspaces of the tenants' type.
const tenantRole = v1alpha1.TenantWorkspaceType

// isolationSteps returns what gives a cluster a view of its own: an APIExport that has
// nothing and claims what is placed on the cluster, the right of everybody to bind it,
// and the WorkspaceType whose workspaces have it bound.
func isolationSteps(cluster, provider string, kinds []servedKind) ([]step, error) {
	export := newClusterExport(cluster, kinds)
	exports, err := stepsFor([]any{export}, mergeExport)
	if err != nil {
		return nil, err
	}
	roles, err := stepsFor(append(openRole(cluster, "tmc-bind-"+export.Name, rule(apisv1alpha2.SchemeGroupVersion.Group, "apiexports", []string{export.Name}, "bind")),
		openRole("", tenantRole, rule(workspaceTypeResource.Group, workspaceTypeResource.Resource, []string{v1alpha1.TenantWorkspaceType}, "use"))...), overlayObject)
	if err != nil {
		return nil, err
	}
	tenants, err := newTenantType(provider, v1alpha1.APIExportName, export.Name)
	// The export has to be there before a type has it bound.
	return append(append(exports, roles...), step{tenants, mergeTenantType}), err
}

// newClusterExport returns the APIExport of an isolated cluster. A binding that nobody
// asked for shows the cluster what is placed on it.
func newClusterExport(cluster string, kinds []servedKind) *apisv1alpha2.APIExport {
	export := &apisv1alpha2.APIExport{
		TypeMeta:   metav1.TypeMeta{APIVersion: apisv1alpha2.SchemeGroupVersion.String(), Kind: "APIExport"},
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.ClusterExport(cluster), Labels: map[string]string{v1alpha1.ClusterLabel: cluster}},
	}
	claim := func(kind servedKind, verbs ...string) {
		export.Spec.PermissionClaims = append(export.Spec.PermissionClaims, apisv1alpha2.PermissionClaim{
			GroupResource:   apisv1alpha2.GroupResource{Group: kind.Group, Resource: kind.Resource},
			IdentityHash:    kind.identityHash,
			Verbs:           verbs,
			DefaultSelector: new(placedOn(cluster)),
		})
	}
	// Nobody reports on namespaces.
	claim(servedKind{GroupResource: v1alpha1.NamespacesResource.GroupResource()}, "get", "list", "watch")
	for _, kind := range kinds {
		claim(kind, "get", "list", "watch", "patch")
	}
	return export
}

// placedOn selects what is placed on a cluster.
func placedOn(cluster string) apisv1alpha2.PermissionClaimSelector {
	return apisv1alpha2.PermissionClaimSelector{LabelSelector: metav1.LabelSelector{
		MatchLabels: map[string]string{v1alpha1.PlacementLabel(cluster): v1alpha1.PlacementLabelValue},
	}}
}

// openRole returns a role for whoever may use kcp, and its binding. cluster may be empty.
func openRole(cluster, name string, rule rbacv1.PolicyRule) []any {
	role := metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"}
	meta := metav1.ObjectMeta{Name: name}
	if cluster != "" {
		meta.Labels = map[string]string{v1alpha1.ClusterLabel: cluster}
	}
	return []any{
		&rbacv1.ClusterRole{TypeMeta: role, ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}},
		&rbacv1.ClusterRoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: role.APIVersion, Kind: "ClusterRoleBinding"}, ObjectMeta: meta, RoleRef: roleRef(role, name),
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:authenticated"}},
		},
	}
}

// reference refers to an object of a workspace, in the words of a WorkspaceType.
type reference struct {
	Path   string `json:"path"`
	Name   string `json:"name,omitempty"`
	Export string `json:"export,omitempty"`
}

// newTenantType returns the WorkspaceType of tenants, whose workspaces have the exports
// bound, those too that come later.
func newTenantType(provider string, exports ...string) (*unstructured.Unstructured, error) {
	var desired struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`

		Spec struct {
			Extend struct {
				With []reference `json:"with"`
			} `json:"extend"`
			DefaultAPIBindingLifecycle string      `json:"defaultAPIBindingLifecycle"`
			DefaultAPIBindings         []reference `json:"defaultAPIBindings"`
		} `json:"spec"`
	}
	desired.TypeMeta = metav1.TypeMeta{APIVersion: workspaceTypeResource.GroupVersion().String(), Kind: "WorkspaceType"}
	desired.Name = v1alpha1.TenantWorkspaceType
	desired.Spec.Extend.With = []reference{{Path: "root", Name: "universal"}}
	desired.Spec.DefaultAPIBindingLifecycle = "Maintain"
	for _, export := range exports {
		desired.Spec.DefaultAPIBindings = append(desired.Spec.DefaultAPIBindings, reference{Path: provider, Export: export})
	}
	return toUnstructured(desired)
}

// mergeTenantType is the merger for the WorkspaceType of tenants: other clusters' exports
// stay.
func mergeTenantType(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
	return overlayLists(live, desired, map[string]listMerge{"defaultAPIBindings": {keys: []string{"export", "path"}, keepOthers: true}})
}

// withoutExport returns a merger that takes an export out of the WorkspaceType.
func withoutExport(provider, export string) merger {
	return func(live, _ *unstructured.Unstructured) *unstructured.Unstructured {
		result := live.DeepCopy()
		// An error means that the field is no list: the API server sees to that.
		bindings, _, _ := unstructured.NestedSlice(live.Object, "spec", "defaultAPIBindings")
		isIt := func(binding any) bool {
			fields, _ := binding.(map[string]any)
			return fields["path"] == provider && fields["export"] == export
		}
		if others := slices.DeleteFunc(slices.Clone(bindings), isIt); len(others) < len(bindings) {
			_ = unstructured.SetNestedSlice(result.Object, others, "spec", "defaultAPIBindings")
		}
		return result
	}
}

// checkNotIsolated fails when the cluster was joined as an isolated one: its account
// must not come to see more by mistake.
func (j *joining) checkNotIsolated(ctx context.Context) error {
	name := v1alpha1.ClusterExport(j.options.Cluster)
	var export metav1.PartialObjectMetadata
	err := j.get(ctx, j.options.ProviderWorkspace, exportResource, name, &export)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("cluster %s is isolated, by APIExport %s: join it with --isolated again, or take it out first (kubectl tmc unjoin %s)",
		j.options.Cluster, name, j.options.Cluster)
}
