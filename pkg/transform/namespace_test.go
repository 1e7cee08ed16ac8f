package transform

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestNamespaceName(t *testing.T) {
	long := strings.Repeat("n", 63)
	cases := map[string]struct{ rule, namespace, want string }{
		"no rule":                               {``, "default", `default`},
		"no rule and a long name":               {``, long, long},
		"no rule and a name as if it were cut":  {``, "a-0123456789abcdef01234567", "a-0123456789abcdef01234567"},
		"exclusive in so many words":            {`namespaceMode: Exclusive`, "default", `default`},
		"Shared":                                {`namespaceMode: Shared`, "default", `default`},
		"a prefix":                              {`namespacePrefix: kcp-`, "default", `kcp-default`},
		"a prefix that just fits":               {`namespacePrefix: kcp-`, strings.Repeat("n", 59), "kcp-" + strings.Repeat("n", 59)},
		"a prefix and a long name":              {`namespacePrefix: kcp-`, strings.Repeat("n", 60), `kcp-n{34}-[0-9a-f]{24}`},
		"never a dash before the hash":          {`namespacePrefix: kcp-`, strings.Repeat("n", 32) + "--" + strings.Repeat("m", 29), `kcp-n{32}-[0-9a-f]{24}`},
		"a prefix and a name as if it were cut": {`namespacePrefix: kcp-`, "a-0123456789abcdef01234567", `kcp-a-0123456789abcdef01234567-[0-9a-f]{24}`},
		"Isolated":                              {`namespaceMode: Isolated`, "default", `default-[0-9a-f]{16}`},
		"isolated with a prefix":                {"namespaceMode: Isolated\nnamespacePrefix: kcp-", "default", `kcp-default-[0-9a-f]{16}`},
		"isolated that just fits":               {`namespaceMode: Isolated`, strings.Repeat("n", 46), `n{46}-[0-9a-f]{16}`},
		"isolated and a long name":              {`namespaceMode: Isolated`, strings.Repeat("n", 47), `n{38}-[0-9a-f]{24}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rule := ruleOf(t, tc.rule)
			got := Namespace(rule, "ws", tc.namespace)
			if !regexp.MustCompile("^" + tc.want + "$").MatchString(got) {
				t.Errorf("got %q, want %s", got, tc.want)
			}
			if problems := validation.IsDNS1123Label(got); len(problems) > 0 {
				t.Errorf("%q: %v", got, problems)
			}
			if again := Namespace(rule, "ws", tc.namespace); again != got {
				t.Errorf("then %q: not stable", again)
			}
			sameForAll := rule.NamespaceMode != v1alpha1.NamespaceModeIsolated
			if other := Namespace(rule, "other", tc.namespace); (other == got) != sameForAll {
				t.Errorf("another workspace's is %q: one name for all is %t", other, sameForAll)
			}
		})
	}
}

func TestNamespaceNamesDiffer(t *testing.T) {
	names := []string{"a", "b", "a-b", strings.Repeat("n", 47), strings.Repeat("n", 60), strings.Repeat("n", 61), strings.Repeat("n", 60) + "-a"}
	for _, text := range []string{"", "namespacePrefix: kcp-", "namespaceMode: Isolated", "namespaceMode: Isolated\nnamespacePrefix: kcp-"} {
		rule := ruleOf(t, text)
		seen := map[string]string{}
		take := func(namespace string) string {
			name := Namespace(rule, "ws", namespace)
			if earlier, taken := seen[name]; taken && earlier != namespace {
				t.Errorf("%q: %q and %q are both %q", text, earlier, namespace, name)
			}
			seen[name] = namespace
			return name
		}
		for _, namespace := range names {
			// Somebody may try to take the name that another gets.
			taken := take(namespace)
			take(strings.TrimPrefix(taken, rule.NamespacePrefix))
		}
	}
	isolated := ruleOf(t, "namespaceMode: Isolated")
	if Namespace(isolated, "ab", "c") == Namespace(isolated, "a", "bc") {
		t.Error("workspace and namespace run together")
	}
}

func TestNamespaceOfCopy(t *testing.T) {
	obj := container(t, "{name: a}")
	for rule, want := range map[string]string{"": "default", "namespacePrefix: p-": "p-default"} {
		got := transformed(t, inputOf(obj, ruleOf(t, rule)))
		if got.GetNamespace() != want || got.GetName() != "web" {
			t.Errorf("%q: got %s/%s, want %s/web", rule, got.GetNamespace(), got.GetName(), want)
		}
		if origin, _ := OriginOf(got); origin.Namespace != "default" {
			t.Errorf("%q: the origin's namespace is %q", rule, origin.Namespace)
		}
	}
	obj.SetNamespace("")
	if got := transformed(t, inputOf(obj, ruleOf(t, "namespacePrefix: p-"))); got.GetNamespace() != "" {
		t.Errorf("a cluster-scoped object lies in namespace %q", got.GetNamespace())
	}
}

func TestDesiredNamespaceCarriesOrigin(t *testing.T) {
	upstreamNamespace := object(t, `
apiVersion: v1
kind: Namespace
metadata:
  name: team
  uid: u
  labels: {kubernetes.io/metadata.name: team, team: a, zone: users, internal.kcp.io/x: z}
  annotations:
    note: hi
    kcp.io/cluster: ws
    kubectl.kubernetes.io/last-applied-configuration: "{}"
    openshift.io/sa.scc.uid-range: 1000/10
    openshift.io/display-name: Team A
    override.tmc.kcp.io/east: '[{"op":"remove","path":"/metadata/labels/zone"}]'
spec: {finalizers: [kubernetes]}
status: {phase: Active}
`)
	origin := Origin{Workspace: "ws", Name: "team", Cluster: "east"}
	rule := ruleOf(t, "namespacePrefix: p-\nlabels: {zone: operators}\nannotations: {owner: us}\nnamespaceLabels: ['*']\nnamespaceAnnotations: [note, openshift.io/*]")
	got, err := DesiredNamespace(upstreamNamespace, origin, rule)
	if err != nil {
		t.Fatal(err)
	}
	want := parsed(t, `
apiVersion: v1
kind: Namespace
metadata:
  name: p-team
  labels: {team: a, zone: operators, tmc.kcp.io/managed-by: tmc-syncer, tmc.kcp.io/workspace: ws}
  annotations:
    note: hi
    openshift.io/display-name: Team A
    owner: us
    tmc.kcp.io/source-cluster: ws
    tmc.kcp.io/source-name: team
    tmc.kcp.io/target-cluster: east
    tmc.kcp.io/applied-hash: `+got.GetAnnotations()[v1alpha1.AppliedHashAnnotation]+`
`)
	if diff := cmp.Diff(want, got.Object); diff != "" {
		t.Errorf("namespace (-want +got):\n%s", diff)
	}
	if back, ok := OriginOf(got); !ok || back != origin {
		t.Errorf("its origin reads %v, want %v", back, origin)
	}
	asObject := transformed(t, Input{Object: upstreamNamespace, Origin: origin, Rule: rule})
	if diff := cmp.Diff(got, asObject); diff != "" {
		t.Errorf("as an object among others (-want +got):\n%s", diff)
	}
	if again := transformed(t, Input{Object: got, Origin: origin, Rule: rule}); encoded(t, again) != encoded(t, got) {
		t.Errorf("transformed again: %s", cmp.Diff(got, again))
	}
}

func TestDesiredNamespaceFromNameAlone(t *testing.T) {
	origin := Origin{Workspace: "ws", Name: "team", Cluster: "east"}
	byName, err := DesiredNamespace(nil, origin, ruleOf(t, "namespacePrefix: p-\nlabels: {zone: operators}"))
	if err != nil {
		t.Fatal(err)
	}
	wantLabels := map[string]string{"zone": "operators", v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.WorkspaceLabel: "ws"}
	if diff := cmp.Diff(wantLabels, byName.GetLabels()); diff != "" {
		t.Errorf("labels where only the name is known (-want +got):\n%s", diff)
	}
	if back, ok := OriginOf(byName); !ok || back != origin || byName.GetName() != "p-team" {
		t.Errorf("%s reads %v, want p-team and %v", byName.GetName(), back, origin)
	}
	if byName.GetAnnotations()[v1alpha1.AppliedHashAnnotation] == "" {
		t.Error("it has no hash")
	}
}

func TestNamespaceNotMadeByTmc(t *testing.T) {
	origin := Origin{Workspace: "ws", Name: "default", Cluster: "east"}
	rule := ruleOf(t, "labels: {zone: operators}")
	noted, err := NotedNamespace("default", origin)
	if err != nil {
		t.Fatal(err)
	}
	free, err := FreeNamespace("p-team", "east", rule)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		got    *unstructured.Unstructured
		labels map[string]string
		owner  bool
		keys   []string
	}{
		"an operator's is only noted":   {noted, map[string]string{v1alpha1.ManagedByLabel: "others", v1alpha1.WorkspaceLabel: "ws"}, true, []string{"source-cluster", "source-name", "target-cluster", "applied-hash"}},
		"a free one keeps the rule":     {free, map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, "zone": "operators"}, false, []string{"target-cluster", "applied-hash"}},
		"of a bare one nothing is said": {BareNamespace("default"), nil, false, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.labels, tc.got.GetLabels()); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if back, owned := OriginOf(tc.got); owned != tc.owner || owned && back != origin {
				t.Errorf("its owner reads %v (%t), want %t", back, owned, tc.owner)
			}
			if len(tc.got.GetAnnotations()) != len(tc.keys) {
				t.Errorf("annotations are %v, want %v", tc.got.GetAnnotations(), tc.keys)
			}
			for _, key := range tc.keys {
				if tc.got.GetAnnotations()[v1alpha1.GroupName+"/"+key] == "" {
					t.Errorf("it does not say its %s", key)
				}
			}
		})
	}
}

func TestNetworkPolicyNamespaceNames(t *testing.T) {
	policy := object(t, `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
spec:
  podSelector: {matchLabels: {kubernetes.io/metadata.name: a-pods-label}}
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: front, team: a}}
      podSelector: {matchLabels: {app: web}}
    - ipBlock: {cidr: 10.0.0.0/8}
    - namespaceSelector: {}
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ""}}
  egress:
  - to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
    - namespaceSelector:
        matchExpressions:
        - {key: kubernetes.io/metadata.name, operator: In, values: [back, kube-public]}
        - {key: kubernetes.io/metadata.name, operator: NotIn, values: [front]}
        - {key: kubernetes.io/metadata.name, operator: Exists}
        - {key: team, operator: In, values: [back]}
    ports: [{port: 53}]
`)
	// Without confinement, which has tests of its own.
	for _, text := range []string{"namespaceMode: Shared", "namespacePrefix: p-\nnamespaceMode: Shared"} {
		t.Run(text, func(t *testing.T) {
			rule := ruleOf(t, text)
			front, back := Namespace(rule, "ws", "front"), Namespace(rule, "ws", "back")
			want := parsed(t, `
podSelector: {matchLabels: {kubernetes.io/metadata.name: a-pods-label}}
ingress:
- from:
  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: `+front+`, team: a}}
    podSelector: {matchLabels: {app: web}}
  - ipBlock: {cidr: 10.0.0.0/8}
  - namespaceSelector: {}
  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ""}}
egress:
- to:
  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
  - namespaceSelector:
      matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: [`+back+`, kube-public]}
      - {key: kubernetes.io/metadata.name, operator: NotIn, values: [`+front+`]}
      - {key: kubernetes.io/metadata.name, operator: Exists}
      - {key: team, operator: In, values: [back]}
  ports: [{port: 53}]
`)
			got := transformed(t, inputOf(policy, rule))
			if diff := cmp.Diff(want, child(got.Object, "spec")); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDesiredNamespaceLabels(t *testing.T) {
	const granting = "pod-security.kubernetes.io/enforce"
	labels := map[string]string{
		granting: "privileged", "pod-security.kubernetes.io/warn": "baseline", "admission.gatekeeper.sh/ignore": "true", "istio-injection": "disabled", "team": "a",
		"example.com/tier": "web", "kubernetes.io/metadata.name": "x", "tmc.kcp.io/workspace": "victim", "tmc.kcp.io/managed-by": "forged",
	}
	ours := map[string]string{"tmc.kcp.io/managed-by": "tmc-syncer", "tmc.kcp.io/workspace": "ws"}
	cases := map[string]struct {
		reason, rule string
		want         map[string]string
	}{
		"Nothing":         {"by default no right on the cluster is the tenant's to grant", ``, nil},
		"a key":           {"and not those that begin alike", `namespaceLabels: [team, pod-security.kubernetes.io/warn, istio]`, map[string]string{"team": "a", "pod-security.kubernetes.io/warn": "baseline"}},
		"a domain":        {"with all its keys", `namespaceLabels: [example.com/*]`, map[string]string{"example.com/tier": "web"}},
		"another wins":    {"the operator's own level holds", "namespaceLabels: [pod-security.kubernetes.io/*]\nlabels: {" + granting + ": restricted}", map[string]string{granting: "restricted", "pod-security.kubernetes.io/warn": "baseline"}},
		"All":             {"but for what is tmc's and the cluster's", `namespaceLabels: ['*']`, map[string]string{granting: "privileged", "pod-security.kubernetes.io/warn": "baseline", "admission.gatekeeper.sh/ignore": "true", "istio-injection": "disabled", "team": "a", "example.com/tier": "web"}},
		"ours are for us": {"nobody forges whose a namespace is", `namespaceLabels: [tmc.kcp.io/*, tmc.kcp.io/workspace]`, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for field, read := range map[string]func(*unstructured.Unstructured) map[string]string{"labels": (*unstructured.Unstructured).GetLabels, "annotations": (*unstructured.Unstructured).GetAnnotations} {
				upstream := BareNamespace("team")
				upstream.Object["metadata"].(map[string]any)[field] = asAny(labels)
				rule := strings.NewReplacer("namespaceLabels", "namespace"+strings.ToUpper(field[:1])+field[1:], "\nlabels:", "\n"+field+":").Replace(tc.rule)
				got, err := DesiredNamespace(upstream, Origin{Workspace: "ws", Name: "team", Cluster: "east"}, ruleOf(t, rule))
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]string{}
				maps.Copy(want, tc.want)
				if field == "labels" {
					maps.Copy(want, ours)
				}
				have := read(got)
				maps.DeleteFunc(have, func(key, _ string) bool { return field == "annotations" && strings.HasPrefix(key, "tmc.kcp.io/") })
				if diff := cmp.Diff(want, have, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: %s (-want +got):\n%s", tc.reason, field, diff)
				}
			}
		})
	}
}

func asAny(texts map[string]string) map[string]any {
	all := map[string]any{}
	for key, text := range texts {
		all[key] = text
	}
	return all
}

func TestMatchedGlobs(t *testing.T) {
	defaults := []string{"kube-*", "*-system", "openshift", "openshift-*", "cert-manager"}
	cases := map[string]struct {
		patterns  []string
		namespace string
		want      string
	}{
		"Prefix":                 {defaults, "kube-system", "kube-*"},
		"prefix of the clusters": {defaults, "kube-node-lease", "kube-*"},
		"Suffix":                 {defaults, "istio-system", "*-system"},
		"the syncer's own":       {defaults, "tmc-system", "*-system"},
		"Exact":                  {defaults, "cert-manager", "cert-manager"},
		"no prefix of exact":     {defaults, "cert-manager-2", ""},
		"not in the middle":      {defaults, "my-kube-things", ""},
		"the prefix is no name":  {defaults, "kube", ""},
		"Ordinary":               {defaults, "default", ""},
		"Everything":             {[]string{"*"}, "default", "*"},
		"Several":                {[]string{"a*b*c"}, "a-1-b-2-c", "a*b*c"},
		"None":                   {nil, "kube-system", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Matched(c.patterns, c.namespace); got != c.want {
				t.Errorf("Matched(%q, %q) = %q, want %q", c.patterns, c.namespace, got, c.want)
			}
		})
	}
}
