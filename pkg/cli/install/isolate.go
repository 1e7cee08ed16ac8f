package install

import (
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	rbacv1 "k8s.io/api/rbac/v1"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// tenantRole names the role of those who may make workspaces of the tenants' type.
const tenantRole = v1alpha1.TenantWorkspaceType

// ownView is the view of kcp that an isolated cluster has for itself, or that the clusters
// of an isolation group share: an APIExport that has nothing, and claims what has a label.
type ownView struct {
	// export is the name of the APIExport.
	export string
	// marks is the label that is on what was made for the view.
	marks map[string]string
	// shows is the label of the objects that are seen.
	shows string
	// whose says, for people, whose it is.
	whose string
}

// viewCalled returns the view whose APIExport has a name; false when that is no such
// APIExport.
func viewCalled(export string) (ownView, bool) {
	if cluster, ok := strings.CutPrefix(export, v1alpha1.ClusterExportPrefix); ok {
		return ownView{export, map[string]string{v1alpha1.ClusterLabel: cluster}, v1alpha1.PlacementLabel(cluster), "cluster " + cluster}, true
	}
	if group, ok := strings.CutPrefix(export, v1alpha1.GroupExportPrefix); ok {
		return ownView{export, map[string]string{v1alpha1.IsolationGroupLabel: group}, v1alpha1.GroupLabel(group), "the clusters of group " + group}, true
	}
	return ownView{}, false
}

// viewOf returns the view that an APIExport makes; false when it makes none. Its label
// tells it from one that somebody else has called so.
func viewOf(export metav1.Object) (ownView, bool) {
	view, ok := viewCalled(export.GetName())
	for key, value := range view.marks {
		ok = ok && export.GetLabels()[key] == value
	}
	return view, ok
}

// selector selects the objects that are seen.
func (v ownView) selector() apisv1alpha2.PermissionClaimSelector {
	return apisv1alpha2.PermissionClaimSelector{LabelSelector: metav1.LabelSelector{
		MatchLabels: map[string]string{v.shows: v1alpha1.PlacementLabelValue},
	}}
}

// bindRole names the role of those who may bind the view's APIExport, and its binding.
func (v ownView) bindRole() string { return "tmc-bind-" + v.export }

// steps returns what makes the view: the APIExport, the right of everybody to bind it, and
// its entry in the WorkspaceType of tenants. The cluster, which was joined with the kinds,
// is one of those that use it; served is all that there is.
func (v ownView) steps(provider string, cluster string, kinds string, served []servedKind) ([]step, error) {
	export, err := v.newExport(map[string]string{v1alpha1.KindsAnnotation(cluster): kinds}, served)
	if err != nil {
		return nil, err
	}
	roles, err := stepsFor(openRole(v.marks, v.bindRole(), rule(apisv1alpha2.SchemeGroupVersion.Group, "apiexports", []string{v.export}, "bind")), overlayObject)
	if err != nil {
		return nil, err
	}
	tenants, err := newTenantType(provider, v1alpha1.APIExportName, v.export)
	// The export has to be there before a type has it bound.
	return append(append([]step{{export, v.merge(served)}}, roles...), step{tenants, mergeTenantType}), err
}

// tenantSteps returns the WorkspaceType of tenants, with the APIExport that brings tmc's
// kinds, and the right of everybody to make workspaces of it.
func tenantSteps(provider string) ([]step, error) {
	steps, err := stepsFor(openRole(nil, tenantRole, rule(workspaceTypeResource.Group, workspaceTypeResource.Resource, []string{v1alpha1.TenantWorkspaceType}, "use")), overlayObject)
	if err != nil {
		return nil, err
	}
	tenants, err := newTenantType(provider, v1alpha1.APIExportName)
	return append(steps, step{tenants, mergeTenantType}), err
}

// newExport returns the view's APIExport for clusters that were joined with the kinds of the
// annotations.
func (v ownView) newExport(annotations map[string]string, served []servedKind) (*unstructured.Unstructured, error) {
	return toUnstructured(&apisv1alpha2.APIExport{
		TypeMeta:   metav1.TypeMeta{APIVersion: apisv1alpha2.SchemeGroupVersion.String(), Kind: "APIExport"},
		ObjectMeta: metav1.ObjectMeta{Name: v.export, Labels: v.marks, Annotations: annotations},
		Spec:       apisv1alpha2.APIExportSpec{PermissionClaims: v.claims(kindsOf(annotations, served))},
	})
}

// claims returns the claims on kinds. A binding that nobody asked for shows what they
// select.
func (v ownView) claims(kinds []servedKind) []apisv1alpha2.PermissionClaim {
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

// merge is the merger for the view's APIExport: the clusters that use it stay, with their
// kinds, and the claims become those that all of them need.
func (v ownView) merge(served []servedKind) merger {
	return func(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
		annotations := live.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		maps.Copy(annotations, desired.GetAnnotations())
		return v.mergeFor(live, annotations, served)
	}
}

// withoutMembers is a merger for the view's APIExport: those of the clusters that use it no
// more are taken out.
func (v ownView) withoutMembers(gone []string, served []servedKind) merger {
	return func(live, _ *unstructured.Unstructured) *unstructured.Unstructured {
		annotations := live.GetAnnotations()
		for _, cluster := range gone {
			delete(annotations, v1alpha1.KindsAnnotation(cluster))
		}
		next := v.mergeFor(live, annotations, served)
		if len(annotations) < len(live.GetAnnotations()) {
			next.SetAnnotations(annotations)
		}
		return next
	}
}

func (v ownView) mergeFor(live *unstructured.Unstructured, annotations map[string]string, served []servedKind) *unstructured.Unstructured {
	desired, err := v.newExport(annotations, served)
	if err != nil {
		return live // there is nothing in it that cannot be encoded
	}
	return mergeExport(live, desired)
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

// kindsOf returns the kinds that the clusters of a view were joined with, of those that are
// served; all of them when one takes all kinds, or nothing is said.
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

// openRole returns a role for whoever may use kcp, and its binding, with labels.
func openRole(labels map[string]string, name string, rule rbacv1.PolicyRule) []any {
	role := metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"}
	meta := metav1.ObjectMeta{Name: name, Labels: labels}
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
// bound when they are made.
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
	// Not Maintain: see bindTenants.
	desired.Spec.DefaultAPIBindingLifecycle = "InitializeOnly"
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

// withoutExports returns a merger that takes exports out of the WorkspaceType.
func withoutExports(provider string, exports []string) merger {
	return func(live, _ *unstructured.Unstructured) *unstructured.Unstructured {
		result := live.DeepCopy()
		// An error means that the field is no list: the API server sees to that.
		bindings, _, _ := unstructured.NestedSlice(live.Object, "spec", "defaultAPIBindings")
		isOne := func(binding any) bool {
			fields, _ := binding.(map[string]any)
			export, _ := fields["export"].(string)
			return fields["path"] == provider && slices.Contains(exports, export)
		}
		if others := slices.DeleteFunc(slices.Clone(bindings), isOne); len(others) < len(bindings) {
			_ = unstructured.SetNestedSlice(result.Object, others, "spec", "defaultAPIBindings")
		}
		return result
	}
}

// exportsFor returns the APIExports that a cluster's account needs: that of its
// registration's spec, and of those that its role names already the one through which its
// syncer sees its objects at present, until it runs with another manifest. A syncer that
// does not say which that is may use any of them. What a syncer says of itself gives it
// nothing that it has not got.
func exportsFor(registration *v1alpha1.ClusterRegistration, role *rbacv1.ClusterRole) []string {
	exports := []string{registration.Spec.ExportFor(registration.Name)}
	if role == nil || registration.Status.ClusterUID == "" {
		return exports
	}
	for _, export := range exportsOf(*role) {
		if at := registration.Status.Export; export != exports[0] && (at == "" || at == export) {
			exports = append(exports, export)
		}
	}
	return exports
}

// isOfExports tells a rule about what is seen through APIExports.
func isOfExports(rule rbacv1.PolicyRule) bool {
	return slices.Equal(rule.APIGroups, []string{apisv1alpha2.SchemeGroupVersion.Group})
}

// exportsOf returns the APIExports whose content an account's role lets it see.
func exportsOf(role rbacv1.ClusterRole) []string {
	var exports []string
	for _, rule := range role.Rules {
		if isOfExports(rule) {
			exports = append(exports, rule.ResourceNames...)
		}
	}
	slices.Sort(exports)
	return slices.Compact(exports)
}
