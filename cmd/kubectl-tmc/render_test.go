package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

const upstreamWeb = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  uid: u-1
  generation: 3
  annotations:
    kcp.io/cluster: 2x8qmtefdpwqbb2u
    override.tmc.kcp.io/east: '[{"op":"replace","path":"/spec/replicas","value":5}]'
spec:
  replicas: 3
  template:
    spec:
      containers:
      - {name: web, image: nginx, resources: {limits: {cpu: 4}}}
status: {replicas: 3}
`

const rule = "namespacePrefix: kcp-\nimageRegistry: registry.example.com\nresourceLimits: {cpu: 2}\n"

// render runs the command on a file of that content, which it calls objects.yaml.
func render(t *testing.T, objects string, args ...string) (out, notes string, err error) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"objects.yaml": objects, "rule.yaml": rule, "bad.yaml": "imageRegistry: hub\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	command := newCommand()
	command.SetArgs(append([]string{"render"}, args...))
	command.SetIn(strings.NewReader(objects))
	command.SetOut(&stdout)
	command.SetErr(&stderr)
	err = command.Execute()
	return stdout.String(), stderr.String(), err
}

// upstream is upstreamWeb as a client reads it.
func upstream(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	return yamltest.Object(t, upstreamWeb)
}

// applied is the copy of obj that a syncer under the rule applies, in YAML.
func applied(t *testing.T, obj *unstructured.Unstructured) string {
	t.Helper()
	parsedRule, err := transform.ParseRule([]byte(rule))
	if err != nil {
		t.Fatal(err)
	}
	desired, err := transform.Desired(transform.Input{Object: obj, Rule: parsedRule, Origin: transform.Origin{
		Workspace: "2x8qmtefdpwqbb2u", Namespace: "shop", Name: "web", Cluster: "east",
	}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := yaml.Marshal(desired.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRender(t *testing.T) {
	t.Run("it prints what is applied", func(t *testing.T) {
		obj := upstream(t)
		want := applied(t, obj)
		for _, line := range []string{"namespace: kcp-shop", "image: registry.example.com/library/nginx", `cpu: "2"`, "replicas: 5", `source-generation: "3"`} {
			if !strings.Contains(want, line) {
				t.Fatalf("the copy has no line %q:\n%s", line, want)
			}
		}
		data, err := obj.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		list := "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(upstreamWeb), "\n", "\n  ") + "\n"
		for name, tc := range map[string]struct{ objects, filename, want string }{
			"a file":                {upstreamWeb, "objects.yaml", want},
			"StandardInput":         {upstreamWeb, "-", want},
			"JSON":                  {string(data), "-", want},
			"a list":                {list, "-", want},
			"SeveralDocuments":      {"---\n" + upstreamWeb + "---\n# nothing here\n---\n" + upstreamWeb, "-", want + "---\n" + want},
			"a list and a document": {list + "---\n" + upstreamWeb, "-", want + "---\n" + want},
		} {
			t.Run(name, func(t *testing.T) {
				out, notes, err := render(t, tc.objects, "-f", tc.filename, "--cluster", "east", "--transform-config", "rule.yaml")
				if err != nil || notes != "" {
					t.Fatalf("%v, %q on stderr", err, notes)
				}
				if diff := cmp.Diff(tc.want, out); diff != "" {
					t.Errorf("output (-want +got):\n%s", diff)
				}
			})
		}
	})
	t.Run("flags give the workspace and the namespace that objects do not name", func(t *testing.T) {
		out, _, err := render(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", "-f", "-", "--cluster", "east", "--workspace", "ws1", "-n", "shop")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"namespace: shop", "source-cluster: ws1", "source-namespace: shop"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		out, _, err = render(t, "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}", "-f", "-", "--cluster", "east", "--workspace", "ws1", "--transform-config", "rule.yaml")
		if err != nil || !strings.Contains(out, "\n  name: kcp-shop\n") || strings.Contains(out, "source-namespace") {
			t.Errorf("a namespace: %v\n%s", err, out)
		}
	})
	t.Run("it says what is never synced", func(t *testing.T) {
		out, notes, err := render(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}}\n---\n"+upstreamWeb, "-f", "objects.yaml", "--cluster", "east")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(notes, "# objects.yaml: document 1 (ConfigMap shop/kube-root-ca.crt) is not synced: ") || strings.Count(notes, "\n") != 1 {
			t.Errorf("stderr is %q", notes)
		}
		if strings.Contains(out, "ConfigMap") || strings.HasPrefix(out, "---") || !strings.Contains(out, "kind: Deployment") {
			t.Errorf("stdout is\n%s", out)
		}
	})
}

func TestRenderErrors(t *testing.T) {
	const named = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, annotations: {kcp.io/cluster: ws, %s}}}"
	cases := map[string]struct {
		objects string
		args    []string
		want    []string
	}{
		"no file":                {"", []string{"--cluster", "east"}, []string{"--filename"}},
		"no cluster":             {"", []string{"-f", "-"}, []string{"--cluster"}},
		"no cluster name":        {"", []string{"-f", "-", "--cluster", "East"}, []string{"--cluster", "East"}},
		"a workspace path":       {"", []string{"-f", "-", "--cluster", "east", "--workspace", "root:team"}, []string{"--workspace", "root:team", "kcp.io/cluster"}},
		"a file that is missing": {"", []string{"-f", "none.yaml", "--cluster", "east"}, []string{"none.yaml"}},
		"a rule that is missing": {"", []string{"-f", "-", "--cluster", "east", "--transform-config", "none.yaml"}, []string{"none.yaml"}},
		"a rule that cannot be":  {"", []string{"-f", "-", "--cluster", "east", "--transform-config", "bad.yaml"}, []string{"bad.yaml", "imageRegistry", "HOST"}},
		"nothing in the file":    {"# nothing\n", nil, []string{"objects.yaml", "no objects"}},
		"no YAML":                {upstreamWeb + "---\na: [\n", nil, []string{"objects.yaml: document 2", "yaml"}},
		"a field twice":          {"a: 1\na: 2\n", nil, []string{"objects.yaml: document 1", `"a"`}},
		"no object":              {"- a\n", nil, []string{"objects.yaml: document 1", "no object"}},
		"no name":                {"{apiVersion: v1, kind: ConfigMap}", nil, []string{"objects.yaml: document 1", "metadata.name"}},
		"no kind":                {"{apiVersion: v1, metadata: {name: a}}", nil, []string{"objects.yaml: document 1: kind"}},
		"no kind in a list":      {"{apiVersion: v1, kind: List, items: [{apiVersion: v1}]}", nil, []string{"objects.yaml: document 1, items[0]: kind"}},
		"no object in a list":    {"{apiVersion: v1, kind: List, items: [5]}", nil, []string{"objects.yaml: document 1, items[0]", "no object"}},
		"no workspace":           {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", nil, []string{"objects.yaml: document 1 (ConfigMap a)", "--workspace"}},
		"an annotation of none":  {strings.Replace(named, "%s", "a: 5", 1), []string{"-f", "objects.yaml", "--cluster", "east", "--workspace", "ws"}, []string{"document 1 (ConfigMap a)", "metadata.annotations"}},
		"an override that fails": {strings.Replace(named, "%s", `override.tmc.kcp.io/east: '[{"op":"remove","path":"/x"}]'`, 1), nil, []string{"objects.yaml: document 1 (ConfigMap a): metadata.annotations[override.tmc.kcp.io/east]: operation 1 (remove /x)"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.args == nil {
				tc.args = []string{"-f", "objects.yaml", "--cluster", "east"}
			}
			out, _, err := render(t, tc.objects, tc.args...)
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error that says %q", err, want)
				}
			}
			if out != "" {
				t.Errorf("printed %q all the same", out)
			}
		})
	}
}
