package install

import (
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// account is the identity of a cluster's syncer in kcp.
type account struct {
	cluster string
	// exports are the APIExports through which it may see its objects. That is the one that the cluster is joined with;
	// while the syncer still runs with the manifest of another isolation, the export of that as well.
	exports []string
	// formerNames are clusters whose registrations it may read.
	formerNames []string
}

// accountName names the roles of a cluster's account, and their bindings.
func accountName(cluster string) string { return "tmc-syncer-" + cluster }

// steps returns the ServiceAccount, its permissions and the Lease that it renews. It could not create the Lease itself:
// RBAC cannot restrict the names of what is created.
func (a account) steps() []step {
	objects := []any{&corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: a.meta(v1alpha1.SyncersNamespace, a.cluster),
	}}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: v1alpha1.SyncersNamespace, Name: a.cluster}}
	role := a.meta("", accountName(a.cluster))
	if len(a.exports) > 0 {
		role.Annotations = map[string]string{v1alpha1.ExportAnnotation: a.exports[0]}
	}
	objects = append(objects, roleAndBinding(role, subjects, a.workspaceRules()...)...)
	for _, namespaced := range []struct {
		namespace string
		rule      rbacv1.PolicyRule
	}{
		// The heartbeat is one patch.
		{v1alpha1.HeartbeatNamespace, rule(coordinationv1.GroupName, "leases", []string{a.cluster}, "patch")},
		// It renews its own token only.
		{v1alpha1.SyncersNamespace, rule("", "serviceaccounts/token", []string{a.cluster}, "create")},
	} {
		objects = append(objects, roleAndBinding(a.meta(namespaced.namespace, accountName(a.cluster)), subjects, namespaced.rule)...)
	}
	return append(stepsOf(overlayObject, objects...), stepsOf(keepLive, &coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"},
		ObjectMeta: a.meta(v1alpha1.HeartbeatNamespace, a.cluster),
	})...)
}

// workspaceRules returns the permissions of the account outside of namespaces.
func (a account) workspaceRules() []rbacv1.PolicyRule {
	registrations := v1alpha1.ClusterRegistrationsResource.Resource
	rules := []rbacv1.PolicyRule{
		// It finds the export's virtual workspaces.
		rule(apisv1alpha2.SchemeGroupVersion.Group, "apiexportendpointslices", a.exports, "get", "list", "watch"),
		// This is what it may do in them: it creates and deletes nothing.
		rule(apisv1alpha2.SchemeGroupVersion.Group, "apiexports/content", a.exports, "get", "list", "watch", "patch"),
		rule(v1alpha1.GroupName, registrations, []string{a.cluster}, "get", "list", "watch"),
		rule(v1alpha1.GroupName, registrations+"/status", []string{a.cluster}, "patch"),
	}
	if len(a.formerNames) > 0 {
		names := slices.Compact(slices.Sorted(slices.Values(a.formerNames)))
		rules = append(rules, rule(v1alpha1.GroupName, registrations, names, "get"))
	}
	return rules
}

// meta returns the metadata of an object of the account.
func (a account) meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{v1alpha1.ClusterLabel: a.cluster}}
}

// roleAndBinding returns a role with the metadata, and the binding of the same name that gives it to the subjects. Both
// are for the whole workspace unless the metadata has a namespace.
func roleAndBinding(meta metav1.ObjectMeta, subjects []rbacv1.Subject, rules ...rbacv1.PolicyRule) []any {
	typed := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
	}
	if meta.Namespace == "" {
		return []any{
			&rbacv1.ClusterRole{TypeMeta: typed("ClusterRole"), ObjectMeta: meta, Rules: rules},
			&rbacv1.ClusterRoleBinding{
				TypeMeta: typed("ClusterRoleBinding"), ObjectMeta: meta, Subjects: subjects,
				RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
			},
		}
	}
	return []any{
		&rbacv1.Role{TypeMeta: typed("Role"), ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{
			TypeMeta: typed("RoleBinding"), ObjectMeta: meta, Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		},
	}
}

func rule(group, resource string, names []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names, Verbs: verbs}
}

// isOfExports reports whether a rule is about what is seen through APIExports.
func isOfExports(rule rbacv1.PolicyRule) bool {
	return slices.Equal(rule.APIGroups, []string{apisv1alpha2.SchemeGroupVersion.Group})
}

// exportsOf returns the APIExports, sorted, whose content an account's role lets it see.
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

// withExports returns a merger that restricts an account's role to the exports.
func withExports(exports []string) merger {
	return func(live, _ *unstructured.Unstructured) *unstructured.Unstructured {
		result := live.DeepCopy()
		// An error means that the field is no list, which the API server does not let it be.
		rules, _, _ := unstructured.NestedSlice(result.Object, "rules")
		for _, item := range rules {
			if fields, isObject := item.(map[string]any); isObject {
				if groups, _, _ := unstructured.NestedStringSlice(fields, "apiGroups"); isOfExports(rbacv1.PolicyRule{APIGroups: groups}) {
					_ = unstructured.SetNestedStringSlice(fields, exports, "resourceNames")
				}
			}
		}
		if len(rules) > 0 {
			_ = unstructured.SetNestedSlice(result.Object, rules, "rules")
		}
		return result
	}
}

// exportsFor returns the APIExports that a cluster's account needs: first the one of its registration's spec, then, of
// those that its role names already, the one through which its syncer sees its objects until it runs with another
// manifest. A syncer that does not report which export that is may use any of them. A report gives a syncer nothing
// that its role does not name.
func exportsFor(registration *v1alpha1.ClusterRegistration, role *rbacv1.ClusterRole) []string {
	exports := []string{registration.Spec.ExportFor(registration.Name)}
	if role == nil || registration.Status.ClusterUID == "" {
		return exports
	}
	for _, export := range exportsOf(*role) {
		if reported := registration.Status.Export; export != exports[0] && (reported == "" || reported == export) {
			exports = append(exports, export)
		}
	}
	return exports
}
