package install

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

var serviceAccountResource = corev1.SchemeGroupVersion.WithResource("serviceaccounts")

// account is whom the syncer of a cluster is to kcp.
type account struct {
	cluster string
	// exports are the APIExports through which it may see its objects: one, and while the
	// cluster's syncer runs with the manifest of another isolation, that one's, too.
	exports []string
	// formerNames are clusters whose registrations it may look for.
	formerNames []string
}

// accountName names the roles of a cluster's account, and their bindings.
func accountName(cluster string) string { return "tmc-syncer-" + cluster }

// accountSteps returns the account, its permissions and the Lease that it renews, which
// it could not make: RBAC can limit what is created to no name.
func accountSteps(a account) ([]step, error) {
	role := metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"}
	clusterRole := metav1.TypeMeta{APIVersion: role.APIVersion, Kind: "ClusterRole"}
	clusterRoleMeta := a.meta("", accountName(a.cluster))
	objects := []any{
		&corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: a.meta(v1alpha1.SyncersNamespace, a.cluster)},
		&rbacv1.ClusterRole{TypeMeta: clusterRole, ObjectMeta: clusterRoleMeta, Rules: a.workspaceRules()},
		&rbacv1.ClusterRoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: role.APIVersion, Kind: "ClusterRoleBinding"},
			ObjectMeta: clusterRoleMeta, RoleRef: roleRef(clusterRole, accountName(a.cluster)), Subjects: a.subjects(),
		},
	}
	for _, namespaced := range []struct {
		namespace string
		rule      rbacv1.PolicyRule
	}{
		// The heartbeat is one patch.
		{v1alpha1.HeartbeatNamespace, rule(coordinationv1.GroupName, "leases", []string{a.cluster}, "patch")},
		// It renews its own token, and nobody else's.
		{v1alpha1.SyncersNamespace, rule("", "serviceaccounts/token", []string{a.cluster}, "create")},
	} {
		meta := a.meta(namespaced.namespace, accountName(a.cluster))
		objects = append(objects,
			&rbacv1.Role{TypeMeta: role, ObjectMeta: meta, Rules: []rbacv1.PolicyRule{namespaced.rule}},
			&rbacv1.RoleBinding{
				TypeMeta:   metav1.TypeMeta{APIVersion: role.APIVersion, Kind: "RoleBinding"},
				ObjectMeta: meta, RoleRef: roleRef(role, accountName(a.cluster)), Subjects: a.subjects(),
			})
	}
	steps, err := stepsFor(objects, overlayObject)
	if err != nil {
		return nil, err
	}
	// The Lease is its syncer's from then on.
	lease, err := stepsFor([]any{&coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"},
		ObjectMeta: a.meta(v1alpha1.HeartbeatNamespace, a.cluster),
	}}, keepLive)
	return append(steps, lease...), err
}

// workspaceRules are the permissions of an account outside of namespaces.
func (a account) workspaceRules() []rbacv1.PolicyRule {
	registrations := v1alpha1.ClusterRegistrationsResource.Resource
	rules := []rbacv1.PolicyRule{
		// Where the export's virtual workspaces are.
		rule(apisv1alpha2.SchemeGroupVersion.Group, "apiexportendpointslices", a.exports, "get", "list", "watch"),
		// What may be done there. It makes and deletes nothing.
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

// withExports returns a merger that has an account's role be about the exports.
func withExports(exports []string) merger {
	return func(live, _ *unstructured.Unstructured) *unstructured.Unstructured {
		result := live.DeepCopy()
		// An error means that the field is no list: the API server sees to that.
		rules, _, _ := unstructured.NestedSlice(result.Object, "rules")
		names := []any{}
		for _, export := range exports {
			names = append(names, export)
		}
		for _, item := range rules {
			if rule, ok := item.(map[string]any); ok && reflect.DeepEqual(rule["apiGroups"], []any{apisv1alpha2.SchemeGroupVersion.Group}) {
				rule["resourceNames"] = names
			}
		}
		if len(rules) > 0 {
			_ = unstructured.SetNestedSlice(result.Object, rules, "rules")
		}
		return result
	}
}

// subjects is the account as a subject of bindings.
func (a account) subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: v1alpha1.SyncersNamespace, Name: a.cluster}}
}

// meta is the metadata of what is made for the account.
func (a account) meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{v1alpha1.ClusterLabel: a.cluster}}
}

func rule(group, resource string, names []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names, Verbs: verbs}
}

func roleRef(role metav1.TypeMeta, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: role.Kind, Name: name}
}

// stepsFor returns a step for each of the typed objects.
func stepsFor(objects []any, merge merger) ([]step, error) {
	return typedSteps(func() ([]any, error) { return objects, nil }, merge)
}

// requestToken asks for a token of an account of the provider workspace that kcp takes.
func (s *server) requestToken(ctx context.Context, namespace, name string, lifetime time.Duration) (authenticationv1.TokenRequest, error) {
	var answer authenticationv1.TokenRequest
	objects, err := s.objects(s.options.ProviderWorkspace)
	if err != nil {
		return answer, err
	}
	asked, err := toUnstructured(&authenticationv1.TokenRequest{
		TypeMeta:   metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenRequest"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(lifetime / time.Second))},
	})
	if err != nil {
		return answer, err
	}
	given, err := objects.Resource(serviceAccountResource).Namespace(namespace).Create(ctx, asked, metav1.CreateOptions{}, "token")
	if err != nil {
		return answer, s.explain(s.options.ProviderWorkspace, fmt.Errorf("token for ServiceAccount %s/%s: %w", namespace, name, err))
	}
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(given.Object, &answer)
	return answer, err
}
