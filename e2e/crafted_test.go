package e2e

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// withOverride adds a JSON patch for one cluster's copy.
func withOverride(clusterName, patch string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Annotations[v1alpha1.OverrideAnnotation(clusterName)] = patch }
}

// TestCraftedWorkloadStaysInItsNamespace has a tenant try to reach what is not theirs on a cluster.
func TestCraftedWorkloadStaysInItsNamespace(t *testing.T) {
	t.Parallel()
	for namespace, words := range map[string][]string{
		metav1.NamespaceSystem:           {"kube-system", "kube-*"},
		env.shared.syncerNamespace(east): {env.shared.syncerNamespace(east), "the syncer's own"},
		"istio-system":                   {"istio-system", "*-system"},
	} {
		t.Run("into "+namespace, func(t *testing.T) {
			u := newTenantIn(t, env.shared, unique("crafted"), namespace)
			u.apply(t, some(deployment("crafted", on(east))))
			u.eventuallyRefused(t, "crafted", "NamespaceDenied", east, words...)
			u.onCluster(east).isNotThere(t, "deployment/crafted")
			u.kubectl(t, "delete", "deployment", "crafted", "--timeout=120s") // nothing holds it
		})
	}

	u := newTenant(t, env.shared, "crafted")
	for name, c := range map[string]struct{ patch, word string }{
		"prefix":   {`[{"op":"replace","path":"/metadata/namespace","value":"kube-system"}]`, "must not change metadata.name or metadata.namespace"},
		"role":     {`[{"op":"replace","path":"/kind","value":"ClusterRole"},{"op":"replace","path":"/apiVersion","value":"rbac.authorization.k8s.io/v1"}]`, "must not change apiVersion or kind"},
		"identity": {`[{"op":"replace","path":"/metadata/labels/tmc.kcp.io~1managed-by","value":"me"}]`, "override.tmc.kcp.io/"},
		"owner":    {`[{"op":"add","path":"/metadata/ownerReferences","value":[]}]`, "must not set metadata.ownerReferences"},
	} {
		t.Run("an override of its "+name, func(t *testing.T) {
			u.apply(t, some(deployment("by-"+name, on(east), withOverride(east, c.patch))))
			u.eventuallyRefused(t, "by-"+name, "InvalidOverride", east, c.word)
			u.onCluster(east).isNotThere(t, "deployment/by-"+name)
		})
	}
	t.Run("the account of a syncer has no way out", func(t *testing.T) {
		namespace := env.shared.syncerNamespace(east)
		account := fmt.Sprintf("system:serviceaccount:%s:tmc-syncer", namespace)
		may := func(args ...string) bool {
			args = append([]string{"auth", "can-i", "--quiet", "--as=" + account}, args...)
			_, err := u.onCluster(east).try(t.Context(), args...)
			return err == nil
		}
		if !may("patch", "deployments.apps", "--all-namespaces") {
			t.Fatal("it may not even do what it is for: the answers say nothing")
		}
		for _, verb := range []string{"create", "patch", "bind", "escalate", "delete"} {
			for _, resource := range []string{"clusterroles", "clusterrolebindings", "roles", "rolebindings"} {
				if may(verb, resource+".rbac.authorization.k8s.io", "--all-namespaces") {
					t.Errorf("it may %s %s", verb, resource)
				}
			}
		}
		for _, forbidden := range [][]string{
			{"impersonate", "users"}, {"create", "pods"}, {"create", "pods", "--subresource=exec"}, {"create", "serviceaccounts", "--subresource=token"}, {"update", "nodes"},
			{"create", "tokenreviews.authentication.k8s.io"}, {"patch", "validatingwebhookconfigurations.admissionregistration.k8s.io"},
			{"patch", "deployments.apps", "--subresource=status"}, {"*", "*"},
		} {
			if may(append(forbidden, "--all-namespaces")...) {
				t.Errorf("it may %s", forbidden)
			}
		}
	})
}
