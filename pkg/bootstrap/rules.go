package bootstrap

import (
	"cmp"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Rules returns what a syncer may do on its cluster, outside its own namespace, when it syncs the kinds. Each rule has
// one reason, and no two rules allow the same. The order of the kinds does not matter. pkg/agent/syncer or
// pkg/agent/heartbeat uses every verb. There is no subresource among the rules: others read and write /status and
// /scale. There is no URL either: every authenticated user may read what a syncer asks for there, which is /readyz,
// /version, /api and /apis (system:public-info-viewer, system:discovery).
//
// RBAC has no label selectors: whoever may write copies of a kind may write all objects of that kind. Choose the kinds
// with that in mind:
//
//   - With workloads, everybody who may write them upstream can run pods in the namespaces that the cluster's rule
//     leads to, as any ServiceAccount that is there.
//   - With secrets, the syncer can read every Secret of the cluster, and can do what tokens in them allow. Without, it
//     can read its own Secret only.
//   - With roles and rolebindings, the API server refuses those that allow more than these rules do: the syncer may
//     neither escalate nor bind. But tenants can hand on what the rules allow within a namespace, which includes
//     secrets if these are synced.
func Rules(kinds []schema.GroupResource) []rbacv1.PolicyRule {
	synced := sets.New(kinds...)
	// The syncer caches its copies (list, watch), applies them (patch, create) and deletes them (delete). It reads a
	// copy before it reports that the copy is gone, or that something else has its name (get).
	rules := byGroup(synced, "get", "list", "watch", "create", "patch", "delete")
	// It handles the namespaces of copies in the same way, and notes on namespaces of others which workspace uses them,
	// which it reads by a list of one name.
	rules = append(rules, rule(namespaces.Group, []string{namespaces.Resource}, "list", "watch", "create", "patch", "delete"))
	// The UID of kube-system is the identity of the cluster.
	identity := rule(namespaces.Group, []string{namespaces.Resource}, "get")
	identity.ResourceNames = []string{metav1.NamespaceSystem}
	// Nodes and pods tell the size of the cluster, and how much of it is used. Pods also count when the syncer checks
	// whether a namespace is empty, and those of a copy that is not ready say why.
	capacity := []string{nodes.Resource}
	if !synced.Has(pods) {
		capacity = append(capacity, pods.Resource)
	}
	// Where the pods do not say it, events of their namespace do: probes that fail, pods and volumes that cannot be made.
	capacity = append(capacity, events.Resource)
	rules = append(rules, identity, rule(nodes.Group, capacity, "list", "watch"))
	if !synced.Has(autoscalers) { // they tell that somebody else decides how many replicas a copy has
		rules = append(rules, rule(autoscalers.Group, []string{autoscalers.Resource}, "list", "watch"))
	}
	// The syncer lists what is in a namespace that tmc made before it removes the namespace, and keeps it when it may
	// not list a kind. A cluster with kinds of its own can allow that in another role.
	return append(rules, byGroup(sets.New(inNamespaces...).Difference(synced), "list")...)
}

// byGroup returns one rule for each group: a rule with several groups would allow every resource in each of them.
func byGroup(resources sets.Set[schema.GroupResource], verbs ...string) []rbacv1.PolicyRule {
	sorted := slices.SortedFunc(slices.Values(resources.UnsortedList()), func(a, b schema.GroupResource) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource))
	})
	var rules []rbacv1.PolicyRule
	for _, resource := range sorted {
		if last := len(rules) - 1; last >= 0 && rules[last].APIGroups[0] == resource.Group {
			rules[last].Resources = append(rules[last].Resources, resource.Resource)
			continue
		}
		rules = append(rules, rule(resource.Group, []string{resource.Resource}, verbs...))
	}
	return rules
}

func rule(group string, resources []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

// ownRules returns what a syncer may do in its own namespace, besides Rules.
func ownRules(kinds []schema.GroupResource) []rbacv1.PolicyRule {
	// The leader renews the Lease, the others read it.
	elect := rule(leases.Group, []string{leases.Resource}, "get", "update")
	elect.ResourceNames = []string{Name}
	// The first leader makes it. RBAC cannot restrict the names of what is created.
	makeLease := rule(leases.Group, []string{leases.Resource}, "create")
	rules := []rbacv1.PolicyRule{elect, makeLease}
	if slices.Contains(kinds, secrets) {
		return rules // it may read and write every Secret
	}
	// The syncer keeps a renewed token in the Secret.
	keep := rule(secrets.Group, []string{secrets.Resource}, "get", "patch")
	keep.ResourceNames = []string{SecretName}
	return append(rules, keep)
}
