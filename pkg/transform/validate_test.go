package transform

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestParseRule(t *testing.T) {
	want := v1alpha1.TransformRule{
		NamespacePrefix: "kcp-", NamespaceMode: v1alpha1.NamespaceModeIsolated, ImageRegistry: "registry.example.com:5000/mirror",
		ResourceLimits: corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi"), "example.com/gpu": resource.MustParse("1")},
		Labels:         map[string]string{"tier": "edge"}, Annotations: map[string]string{"example.com/owner": "us"},
	}
	for name, text := range map[string]string{
		"YAML": "namespacePrefix: kcp-\nnamespaceMode: Isolated\nimageRegistry: registry.example.com:5000/mirror\n" +
			"resourceLimits: {cpu: 2, memory: 1Gi, example.com/gpu: \"1\"}\nlabels: {tier: edge}\nannotations: {example.com/owner: us}\n",
		"JSON": `{"namespacePrefix":"kcp-","namespaceMode":"Isolated","imageRegistry":"registry.example.com:5000/mirror",
			"resourceLimits":{"cpu":2,"memory":"1Gi","example.com/gpu":1},"labels":{"tier":"edge"},"annotations":{"example.com/owner":"us"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseRule([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rule (-want +got):\n%s", diff)
			}
		})
	}
	for _, nothing := range []string{"", "\n", "# nothing yet\n", "{}", "null"} {
		got, err := ParseRule([]byte(nothing))
		if diff := cmp.Diff(v1alpha1.TransformRule{}, got); err != nil || diff != "" {
			t.Errorf("of %q: %v, rule (-want +got):\n%s", nothing, err, diff)
		}
	}
}

func TestParseRuleErrors(t *testing.T) {
	cases := map[string]struct {
		rule string
		want []string
	}{
		"an unknown field":                 {"imageregistries: x", []string{"imageregistries"}},
		"a field twice":                    {"imageRegistry: a.example.com\nimageRegistry: b.example.com", []string{"imageRegistry"}},
		"no object":                        {"- 1", []string{"not a transform rule"}},
		"a number for a label":             {"labels: {a: [1]}", []string{"labels"}},
		"an unknown mode":                  {"namespaceMode: Private", []string{`namespaceMode: Unsupported value: "Private"`, "Exclusive", "Isolated", "Shared"}},
		"a prefix with uppercase":          {"namespacePrefix: Kcp-", []string{"namespacePrefix: Invalid value"}},
		"a prefix that begins with a dash": {"namespacePrefix: -a", []string{"namespacePrefix: Invalid value"}},
		"a prefix that is too long":        {"namespacePrefix: " + strings.Repeat("a", 33), []string{"namespacePrefix: Too long", "32"}},
		"a prefix of Kubernetes":           {"namespacePrefix: kube-x-", []string{"namespacePrefix: Invalid value", "kube-"}},
		"a prefix that completes kube":     {"namespacePrefix: ku", []string{"namespacePrefix: Invalid value", "kube-"}},
		"a registry that is no host":       {"imageRegistry: registry", []string{`imageRegistry: Invalid value: "registry"`, "HOST[:PORT][/PATH]"}},
		"a registry with a scheme":         {"imageRegistry: https://registry.example.com", []string{"imageRegistry: Invalid value", "without a scheme"}},
		"a registry with a slash":          {"imageRegistry: registry.example.com/", []string{"imageRegistry"}},
		"a registry with a tag":            {"imageRegistry: \"registry.example.com/mirror:v1\"", []string{"imageRegistry"}},
		"a registry with a digest":         {"imageRegistry: \"registry.example.com/m@sha256:" + strings.Repeat("a", 64) + "\"", []string{"imageRegistry"}},
		"a registry in uppercase":          {"imageRegistry: registry.example.com/Mirror", []string{"imageRegistry"}},
		"a registry without a port":        {"imageRegistry: \"registry.example.com:\"", []string{"imageRegistry"}},
		"a cap that takes hours":           {"resourceLimits: {cpu: 1e2000000000}", []string{"resourceLimits[cpu]: Invalid value", "exponent"}},
		"half a key":                       {"namespaceLabels: [team, istio-*]", []string{"namespaceLabels[1]: Invalid value", "example.com/*"}},
		"no key":                           {"namespaceAnnotations: ['a b']", []string{"namespaceAnnotations[0]: Invalid value"}},
		"a cap that is no quantity":        {"resourceLimits: {cpu: many}", []string{"resourceLimits[cpu]: Invalid value", "quantity"}},
		"a cap of nothing":                 {"resourceLimits: {cpu: 0}", []string{"resourceLimits[cpu]: Invalid value", "more than 0"}},
		"a negative cap":                   {"resourceLimits: {memory: -1Gi}", []string{"resourceLimits[memory]: Invalid value", "more than 0"}},
		"an unknown resource":              {"resourceLimits: {cpus: 1}", []string{"resourceLimits[cpus]: Invalid value", "ephemeral-storage"}},
		"a resource that is no name":       {"resourceLimits: {\"a b\": 1}", []string{"resourceLimits[a b]: Invalid value"}},
		"half a g p u":                     {"resourceLimits: {example.com/gpu: 500m}", []string{"resourceLimits[example.com/gpu]: Invalid value", "whole"}},
		"a label key":                      {"labels: {\"a b\": x}", []string{"labels"}},
		"a label value":                    {"labels: {a: \"x y\"}", []string{"labels"}},
		"a label of ours":                  {"labels: {tmc.kcp.io/managed-by: x}", []string{"labels[tmc.kcp.io/managed-by]: Forbidden"}},
		"the namespace label":              {"labels: {kubernetes.io/metadata.name: x}", []string{"labels[kubernetes.io/metadata.name]: Forbidden"}},
		"an annotation key":                {"annotations: {a/b/c: x}", []string{"annotations"}},
		"an annotation of kcp":             {"annotations: {kcp.io/cluster: x}", []string{"annotations[kcp.io/cluster]: Forbidden"}},
		"half a key to drop":               {"dropLabels: [team, istio-*]", []string{"dropLabels[1]: Invalid value", "example.com/"}},
		"a path to drop":                   {"dropAnnotations: [a/b/c]", []string{"dropAnnotations[0]: Invalid value"}},
		"nothing to drop":                  {"dropLabels: ['']", []string{"dropLabels[0]: Invalid value"}},
		"a label of ours to drop":          {"dropLabels: [tmc.kcp.io/managed-by]", []string{"dropLabels[0]: Forbidden", "tmc.kcp.io/managed-by is written by tmc"}},
		"all of kcp to drop":               {"dropAnnotations: [a, cluster.tmc.kcp.io/, kcp.io/]", []string{"dropAnnotations[1]: Forbidden", "dropAnnotations[2]: Forbidden"}},
		"several at once":                  {"namespaceMode: x\nimageRegistry: hub\nresourceLimits: {cpu: z, memory: 0}", []string{"namespaceMode", "imageRegistry", "resourceLimits[cpu]", "resourceLimits[memory]"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRule([]byte(tc.rule))
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error that says %q", err, want)
				}
			}
		})
	}
}

func TestRuleLabelsAndAnnotations(t *testing.T) {
	obj := object(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default, labels: {tier: users, app: web}, annotations: {owner: users, note: hi}}
spec:
  selector: {matchLabels: {tier: users}}
  template: {metadata: {labels: {tier: users}}, spec: {containers: []}}
`)
	got := transformed(t, inputOf(obj, ruleOf(t, "labels: {tier: operators, zone: a}\nannotations: {owner: operators}")))
	want := parsed(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {labels: {tier: operators, app: web, zone: a}, annotations: {owner: operators, note: hi}}
spec:
  selector: {matchLabels: {tier: users}}
  template: {metadata: {labels: {tier: users}}, spec: {containers: []}}
`)
	if diff := cmp.Diff(want, content(got)); diff != "" {
		t.Errorf("the operator's win, and neither selector nor pods change (-want +got):\n%s", diff)
	}
}

func TestInputsIgnoreRule(t *testing.T) {
	obj := container(t, "{name: web, image: nginx}")
	plain := transformed(t, inputOf(obj, v1alpha1.TransformRule{}))
	ruled := transformed(t, inputOf(obj, ruleOf(t, "imageRegistry: registry.example.com\nlabels: {a: b}")))
	inputs, applied := v1alpha1.SourceInputsAnnotation, v1alpha1.AppliedHashAnnotation
	if plain.GetAnnotations()[inputs] != ruled.GetAnnotations()[inputs] {
		t.Error("the hub, which does not know the rule, would wait for ever")
	}
	if plain.GetAnnotations()[applied] == ruled.GetAnnotations()[applied] {
		t.Error("a new rule would not be applied")
	}
}
