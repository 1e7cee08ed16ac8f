package bootstrap

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// grant is one thing that a rule allows: a verb on a resource, of one name or of all ("").
type grant struct {
	verb, name string
	resource   schema.GroupResource
}

func grantsOf(rule rbacv1.PolicyRule) []grant {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var grants []grant
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					grants = append(grants, grant{verb, name, schema.GroupResource{Group: group, Resource: resource}})
				}
			}
		}
	}
	return grants
}

// allows reports whether the rules allow what is asked.
func allows(rules []rbacv1.PolicyRule, verb string, resource schema.GroupResource, name string) bool {
	return slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
		return slices.ContainsFunc(grantsOf(rule), func(g grant) bool {
			return g.verb == verb && g.resource == resource && (g.name == "" || g.name == name)
		})
	})
}

func verbsFor(rules []rbacv1.PolicyRule, resource schema.GroupResource) []string {
	var verbs []string
	for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate"} {
		if allows(rules, verb, resource, "") {
			verbs = append(verbs, verb)
		}
	}
	return verbs
}

func parsed(names ...string) []schema.GroupResource {
	var kinds []schema.GroupResource
	for _, name := range names {
		kinds = append(kinds, schema.ParseGroupResource(name))
	}
	return kinds
}

var (
	nothing = []string(nil)
	look    = []string{"list"}
	follow  = []string{"list", "watch"}
	sync    = []string{"get", "list", "watch", "create", "patch", "delete"}
)

func TestRulesAllow(t *testing.T) {
	cases := map[string]struct {
		reason string
		kinds  []schema.GroupResource
		want   map[string][]string
	}{
		"Deployments": {
			"what is not synced is looked at, where it keeps a namespace, and no more",
			parsed("deployments.apps"),
			map[string][]string{
				"deployments.apps": sync, "statefulsets.apps": look, "replicasets.apps": look, "configmaps": look, "secrets": nothing,
				"serviceaccounts": look, "roles.rbac.authorization.k8s.io": look, "events": follow, "events.events.k8s.io": nothing,
				"pods": follow, "nodes": follow, "horizontalpodautoscalers.autoscaling": follow,
				"namespaces":              {"list", "watch", "create", "patch", "delete"},
				"deployments.apps/status": nothing, "clusterroles.rbac.authorization.k8s.io": nothing, "customresourcedefinitions.apiextensions.k8s.io": nothing,
			},
		},
		"what is followed anyway": {
			"a kind has one rule",
			parsed("horizontalpodautoscalers.autoscaling", "pods"),
			map[string][]string{"pods": sync, "horizontalpodautoscalers.autoscaling": sync, "nodes": follow, "deployments.apps": look},
		},
		"Secrets": {
			"they are a kind like others, when they are one",
			parsed("secrets"),
			map[string][]string{"secrets": sync, "configmaps": look},
		},
		"a CustomResource": {
			"kinds are named, not known",
			parsed("widgets.example.com"),
			map[string][]string{"widgets.example.com": sync, "others.example.com": nothing},
		},
		"RBAC": {
			"the API server holds what it may hand out",
			parsed("roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"),
			map[string][]string{"roles.rbac.authorization.k8s.io": sync, "rolebindings.rbac.authorization.k8s.io": sync, "clusterroles.rbac.authorization.k8s.io": nothing},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rules := Rules(c.kinds)
			for resource, want := range c.want {
				if diff := cmp.Diff(want, verbsFor(rules, schema.ParseGroupResource(resource))); diff != "" {
					t.Errorf("%s: %s (-want +got)\n%s", c.reason, resource, diff)
				}
			}
		})
	}
}

func TestRules(t *testing.T) {
	t.Run("the UID of kube-system can be read", func(t *testing.T) {
		rules := Rules(parsed("deployments.apps"))
		for name, want := range map[string]bool{"kube-system": true, "default": false, "": false} {
			if allows(rules, "get", namespaces, name) != want {
				t.Errorf("get namespace %q: want %v", name, want)
			}
		}
	})
	// TestNoRuleIsMoreThanItSays holds for any kinds: nothing stands for everything, secrets are read only where they are
	// synced, and no rule allows what another does.
	t.Run("no rule allows more than it says", func(t *testing.T) {
		eachOfManyKinds(func(kinds []schema.GroupResource) {
			seen := map[grant]bool{}
			for _, rule := range Rules(kinds) {
				if len(rule.APIGroups) != 1 || len(rule.Resources) == 0 || len(rule.Verbs) == 0 || len(rule.NonResourceURLs) > 0 {
					t.Fatalf("%v: expected one group, some resources and verbs", rule)
				}
				for _, g := range grantsOf(rule) {
					if problem := problemOf(g, kinds); problem != "" {
						t.Fatalf("it may %s %s: %s", g.verb, g.resource, problem)
					}
					if seen[g] {
						t.Fatalf("two rules allow to %s %s: one is for nothing", g.verb, g.resource)
					}
					seen[g] = true
				}
			}
		})
	})
	t.Run("synced kinds are allowed", func(t *testing.T) {
		eachOfManyKinds(func(kinds []schema.GroupResource) {
			rules := Rules(kinds)
			for _, kind := range kinds {
				if diff := cmp.Diff(sync, verbsFor(rules, kind)); diff != "" {
					t.Fatalf("%s (-want +got)\n%s", kind, diff)
				}
			}
			reversed := slices.Clone(kinds)
			slices.Reverse(reversed)
			if diff := cmp.Diff(rules, Rules(reversed)); diff != "" {
				t.Fatalf("rules depend on the order of the kinds (-one +other)\n%s", diff)
			}
		})
	})
}

func problemOf(g grant, kinds []schema.GroupResource) string {
	switch {
	case !slices.Contains(sync, g.verb):
		return "no syncer uses that verb"
	case !isResource(g.resource):
		return "that is no resource"
	case g.resource == secrets && !slices.Contains(kinds, secrets):
		return "secrets are not synced"
	}
	return ""
}

// eachOfManyKinds calls check with many a choice of kinds, the same in each run.
func eachOfManyKinds(check func([]schema.GroupResource)) {
	all := slices.Concat(inNamespaces, parsed("pods", "secrets", "horizontalpodautoscalers.autoscaling", "widgets.example.com", "gadgets.example.com"))
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		check(all[:1+random.IntN(len(all))])
	}
}

func TestRulesOwnNamespace(t *testing.T) {
	rules := ownRules(parsed("deployments.apps"))
	for _, c := range []struct {
		verb     string
		resource schema.GroupResource
		name     string
		want     bool
	}{
		{"get", leases, "tmc-syncer", true},
		{"update", leases, "tmc-syncer", true},
		{"create", leases, "", true},
		{"get", leases, "other", false},
		{"update", leases, "other", false},
		{"delete", leases, "tmc-syncer", false},
		{"get", secrets, "tmc-syncer-kcp", true},
		{"patch", secrets, "tmc-syncer-kcp", true},
		{"get", secrets, "other", false},
		{"list", secrets, "", false},
		{"watch", secrets, "", false},
		{"create", secrets, "", false},
		{"update", secrets, "tmc-syncer-kcp", false},
	} {
		if got := allows(rules, c.verb, c.resource, c.name); got != c.want {
			t.Errorf("%s %s %q: %v, want %v", c.verb, c.resource, c.name, got, c.want)
		}
	}
	if allows(ownRules(parsed("secrets")), "get", secrets, "tmc-syncer-kcp") {
		t.Error("a rule for its Secret, although it may read all of them")
	}
}
