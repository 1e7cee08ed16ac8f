package bootstrap

import (
	"cmp"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Rules returns what a syncer may do on its cluster, outside its own namespace, when it
// syncs kinds: each rule has one reason, and none allows what another does. The result
// is the same for the same kinds in whatever order. Every verb is one that pkg/agent/syncer or
// pkg/agent/heartbeat uses; there is no subresource among them, for /status and /scale are
// read and written by others, and no URL beside the resources: what a syncer asks for
// there (/readyz, /version, /api, /apis) every authenticated user may read
// (system:public-info-viewer, system:discovery).
//
// RBAC has no label selectors: who may write copies of a kind may write all objects of
// that kind. What a kind means for the cluster is to be thought of when it is chosen:
//
//   - With workloads, whoever may write them upstream runs pods in the namespaces that
//     the cluster's rule leads to, as any ServiceAccount that is there.
//   - With secrets, the syncer can read every Secret of the cluster, and by that what
//     its ServiceAccount tokens and its other agents may do. Without, it can read none
//     but its own.
//   - With roles and rolebindings, the API server lets the syncer write only such as
//     allow no more than these rules do, and refuses others: it may neither escalate nor
//     bind. But what the rules allow, tenants can then hand on within a namespace,
//     secrets included if they are synced.
func Rules(kinds []schema.GroupResource) []rbacv1.PolicyRule {
	synced := sets.New(kinds...)
	var rules []rbacv1.PolicyRule
	rules = append(rules, copyRules(synced)...)
	rules = append(rules, namespaceRules()...)
	rules = append(rules, capacityRule(synced))
	rules = append(rules, autoscalerRules(synced)...)
	rules = append(rules, emptinessRules(synced)...)
	return rules
}

// copyRules are for the copies: a cache of those that tmc made (list, watch), the
// server-side apply, which creates what is not there yet (patch, create), the deletion
// (delete), and a look at the one object before kcp is told that it is gone, or that
// something else has its name (get).
func copyRules(synced sets.Set[schema.GroupResource]) []rbacv1.PolicyRule {
	return byGroup(synced, "get", "list", "watch", "create", "patch", "delete")
}

// namespaceRules are for the namespaces of the copies, which are handled like them; for
// noting on those of others which workspace uses them, after a look at the one (a list of
// that name); and for the UID of kube-system, which is the identity of
// the cluster.
func namespaceRules() []rbacv1.PolicyRule {
	identity := rule(namespaces.Group, []string{namespaces.Resource}, "get")
	identity.ResourceNames = []string{metav1.NamespaceSystem}
	return []rbacv1.PolicyRule{
		rule(namespaces.Group, []string{namespaces.Resource}, "list", "watch", "create", "patch", "delete"),
		identity,
	}
}

// capacityRule is for the size of the cluster, and how much of it is taken. Pods also
// count when a namespace is looked at before it is removed.
func capacityRule(synced sets.Set[schema.GroupResource]) rbacv1.PolicyRule {
	resources := []string{nodes.Resource}
	if !synced.Has(pods) {
		resources = append(resources, pods.Resource)
	}
	return rule(nodes.Group, resources, "list", "watch")
}

// autoscalerRules are for knowing that somebody else decides how many replicas a copy
// has, where autoscalers are not synced themselves.
func autoscalerRules(synced sets.Set[schema.GroupResource]) []rbacv1.PolicyRule {
	if synced.Has(autoscalers) {
		return nil
	}
	return []rbacv1.PolicyRule{rule(autoscalers.Group, []string{autoscalers.Resource}, "list", "watch")}
}

// emptinessRules are for the look into a namespace that tmc made, before it is removed:
// a kind that may not be listed there keeps it. A cluster that has kinds of its own can
// allow the syncer to list those with a role of its own.
func emptinessRules(synced sets.Set[schema.GroupResource]) []rbacv1.PolicyRule {
	return byGroup(sets.New(inNamespaces...).Difference(synced), "list")
}

// byGroup returns one rule for each group: a rule over several would allow every
// resource in every group.
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

// ownRules are what a syncer may do in its own namespace, besides what Rules lets it do
// everywhere.
func ownRules(kinds []schema.GroupResource) []rbacv1.PolicyRule {
	// The leader renews the Lease, the others look at it.
	elect := rule(leases.Group, []string{leases.Resource}, "get", "update")
	elect.ResourceNames = []string{Name}
	// The first one makes it: what does not exist yet has no name that a rule could ask for.
	makeLease := rule(leases.Group, []string{leases.Resource}, "create")
	rules := []rbacv1.PolicyRule{elect, makeLease}
	if slices.Contains(kinds, secrets) {
		return rules // it may read and write every Secret
	}
	// A renewed token goes into the Secret.
	keep := rule(secrets.Group, []string{secrets.Resource}, "get", "patch")
	keep.ResourceNames = []string{SecretName}
	return append(rules, keep)
}
