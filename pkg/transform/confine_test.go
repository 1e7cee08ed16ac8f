package transform

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// namespacesOfACluster are the labels of its namespaces, by name.
func namespacesOfACluster(t *testing.T, rule v1alpha1.TransformRule) map[string]labels.Set {
	t.Helper()
	all := map[string]labels.Set{"kube-system": {}, "monitoring": {"team": "a"}, "older": {v1alpha1.ManagedByLabel: "tmc-syncer", "team": "a"}}
	for _, one := range []struct{ workspace, name string }{{"ws", "front"}, {"ws", "default"}, {"victim", "front2"}, {"victim", "prod"}} {
		upstream := BareNamespace(one.name)
		upstream.SetLabels(map[string]string{"team": "a", v1alpha1.WorkspaceLabel: "ws"})
		made, err := DesiredNamespace(upstream, Origin{Workspace: one.workspace, Name: one.name, Cluster: "east"}, rule)
		if err != nil {
			t.Fatal(err)
		}
		all[one.workspace+":"+one.name] = made.GetLabels()
		all[one.workspace+":"+one.name]["kubernetes.io/metadata.name"] = made.GetName()
	}
	noted, err := NotedNamespace("payments", Origin{Workspace: "victim", Name: "payments", Cluster: "east"})
	if err != nil {
		t.Fatal(err)
	}
	all["victim:payments"] = noted.GetLabels()
	for name, set := range all {
		if set["kubernetes.io/metadata.name"] == "" {
			set["kubernetes.io/metadata.name"] = name
		}
	}
	all["victim:payments"]["kubernetes.io/metadata.name"] = "payments"
	return all
}

// reached returns the namespaces that the selectors select together.
func reached(t *testing.T, selectors []map[string]any, all map[string]labels.Set) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, content := range selectors {
		selector := &metav1.LabelSelector{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, selector); err != nil {
			t.Fatal(err)
		}
		compiled, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		for name, set := range all {
			if compiled.Matches(set) {
				found[name] = true
			}
		}
	}
	return found
}

func selectorsOf(desired *unstructured.Unstructured) []map[string]any {
	var selectors []map[string]any
	for _, rule := range children(child(desired.Object, "spec"), "ingress", "egress") {
		for _, peer := range children(rule, "from", "to") {
			if selector := child(peer, "namespaceSelector"); selector != nil {
				selectors = append(selectors, selector)
			}
		}
	}
	return selectors
}

func set(names ...string) map[string]bool {
	found := map[string]bool{}
	for _, name := range names {
		found[name] = true
	}
	return found
}

func TestConfineNetworkPolicies(t *testing.T) {
	cases := map[string]struct {
		reason, selector string
		want             map[string]bool
	}{
		"All":                  {"all of the workspace, and the cluster's own", `{}`, set("ws:front", "ws:default", "kube-system", "monitoring")},
		"by name":              {"its own", `{matchLabels: {kubernetes.io/metadata.name: front}}`, set("ws:front")},
		"DNS":                  {"kube-system, as everybody allows it", `{matchLabels: {kubernetes.io/metadata.name: kube-system}}`, set("kube-system")},
		"a victim":             {"the name is another's", `{matchLabels: {kubernetes.io/metadata.name: payments}}`, set()},
		"a label":              {"of those who have it", `{matchLabels: {team: a}}`, set("ws:front", "ws:default", "monitoring")},
		"OurLabel":             {"to ask for another's is to ask for nothing", `{matchLabels: {tmc.kcp.io/workspace: victim}}`, set()},
		"our label expression": {"likewise", `{matchExpressions: [{key: tmc.kcp.io/workspace, operator: NotIn, values: [ws]}]}`, set("kube-system", "monitoring")},
		"the mark":             {"likewise", `{matchLabels: {tmc.kcp.io/managed-by: others}}`, set()},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []string{"", "namespaceMode: Isolated"} {
				rule := ruleOf(t, "namespaceLabels: [team]\n"+mode)
				policy := object(t, `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, spec: {ingress: [{from: [{namespaceSelector: `+tc.selector+`, podSelector: {}}]}], egress: [{to: [{namespaceSelector: `+tc.selector+`}, {ipBlock: {cidr: 10.0.0.0/8}}, {podSelector: {}}]}]}}`)
				before := policy.DeepCopy()
				got := transformed(t, inputOf(policy, rule))
				if diff := cmp.Diff(tc.want, reached(t, selectorsOf(got), namespacesOfACluster(t, rule))); diff != "" {
					t.Errorf("%s: with %q it reaches (-want +got):\n%s", tc.reason, mode, diff)
				}
				egress, _, _ := unstructured.NestedSlice(got.Object, "spec", "egress")
				if to := egress[0].(map[string]any)["to"].([]any); len(to) != 4 || child(to[2].(map[string]any), "ipBlock") == nil || child(to[3].(map[string]any), "podSelector") == nil {
					t.Errorf("the other peers are not as they were: %v", to)
				}
				if diff := cmp.Diff(before, policy); diff != "" {
					t.Errorf("the upstream object was changed:\n%s", diff)
				}
			}
		})
	}
}

func TestConfineOverrides(t *testing.T) {
	policy := object(t, `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, spec: {ingress: [{from: [{podSelector: {}}]}]}}`)
	policy.SetAnnotations(map[string]string{v1alpha1.OverrideAnnotation("east"): `[{"op":"add","path":"/spec/egress","value":[{"to":[{"namespaceSelector":{}}]}]},{"op":"replace","path":"/spec/ingress/0/from/0","value":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"payments"}}}}]`})
	rule := ruleOf(t, "")
	got := reached(t, selectorsOf(transformed(t, inputOf(policy, rule))), namespacesOfACluster(t, rule))
	if diff := cmp.Diff(set("ws:front", "ws:default", "kube-system", "monitoring"), got); diff != "" {
		t.Errorf("it reaches (-want +got):\n%s", diff)
	}
}

func TestConfineNothingInSharedMode(t *testing.T) {
	policy := object(t, `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, spec: {ingress: [{from: [{namespaceSelector: {}}]}]}}`)
	got := transformed(t, inputOf(policy, ruleOf(t, "namespaceMode: Shared")))
	if diff := cmp.Diff([]map[string]any{{}}, selectorsOf(got)); diff != "" {
		t.Errorf("the selectors (-want +got):\n%s", diff)
	}
	made, err := DesiredNamespace(nil, Origin{Workspace: "ws", Name: "team", Cluster: "east"}, ruleOf(t, "namespaceMode: Shared"))
	if err != nil {
		t.Fatal(err)
	}
	if value, there := made.GetLabels()[v1alpha1.WorkspaceLabel]; there {
		t.Errorf("a namespace of several is said to be %q's", value)
	}
}

func TestConfinePodAffinity(t *testing.T) {
	cases := map[string]struct {
		reason, term string
		want         map[string]bool
		// names are those that are listed beside the selector.
		names []any
	}{
		"OwnNamespace": {"nothing crosses", `{topologyKey: x}`, set(), nil},
		"by name":      {"its own, and no other's", `{namespaces: [front, payments, prod, kube-system]}`, set("ws:front"), nil},
		"All":          {"all of the workspace", `{namespaceSelector: {}}`, set("ws:front", "ws:default"), nil},
		"by label":     {"those of the workspace", `{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: payments}}}`, set(), nil},
		"Both":         {"of the names only the pod's own can be kept", `{namespaces: [default, payments], namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: front}}}`, set("ws:front"), []any{"default"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, at := range []string{
				`podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [` + tc.term + `]}`,
				`podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: ` + tc.term + `}]}`,
			} {
				obj := object(t, `{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: [], affinity: {`+at+`}}}}}`)
				rule := ruleOf(t, "")
				affinity := child(podSpecs(transformed(t, inputOf(obj, rule)))[0], "affinity")
				terms := children(child(affinity, "podAffinity"), "requiredDuringSchedulingIgnoredDuringExecution")
				for _, preferred := range children(child(affinity, "podAntiAffinity"), "preferredDuringSchedulingIgnoredDuringExecution") {
					terms = append(terms, child(preferred, "podAffinityTerm"))
				}
				var selectors []map[string]any
				if selector := child(terms[0], "namespaceSelector"); selector != nil {
					selectors = append(selectors, selector)
				}
				if diff := cmp.Diff(tc.want, reached(t, selectors, namespacesOfACluster(t, rule))); diff != "" {
					t.Errorf("%s: it sees (-want +got):\n%s", tc.reason, diff)
				}
				names, _ := terms[0]["namespaces"].([]any)
				if diff := cmp.Diff(tc.names, names); diff != "" {
					t.Errorf("%s: names (-want +got):\n%s", tc.reason, diff)
				}
			}
		})
	}
}
