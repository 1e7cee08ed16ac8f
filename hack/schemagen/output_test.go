package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"

	"github.com/kcp-tmc/tmc/manifests"
)

func TestOutputTableSchemasAndExportAgree(t *testing.T) {
	schemas := embedded()
	export := manifests.Export()
	// What is served, by the name of its schema.
	inTable, inSchemas, inExport := map[string]string{}, map[string]string{}, map[string]string{}
	for _, k := range kinds {
		inTable[served(t, k.resource).Name] = resourceName(k) + " " + k.version + " " + k.kind
	}
	for _, schema := range schemas {
		version := schema.Spec.Versions[0].Name
		resource := resourceName(kind{group: schema.Spec.Group, resource: schema.Spec.Names.Plural})
		inSchemas[schema.Name] = resource + " " + version + " " + schema.Spec.Names.Kind
	}
	for _, resource := range export.Spec.Resources {
		k := kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.group == resource.Group && k.resource == resource.Name })]
		inExport[resource.Schema] = resourceName(k) + " " + k.version + " " + k.kind
	}
	if diff := cmp.Diff(inTable, inSchemas); diff != "" {
		t.Errorf("the schemas are not those of the table (-table +schemas)\n%s", diff)
	}
	if diff := cmp.Diff(inTable, inExport); diff != "" {
		t.Errorf("the export does not serve the table (-table +export)\n%s", diff)
	}
}

func TestOutputNamesOfKinds(t *testing.T) {
	type names struct {
		Singular               string
		ShortNames, Categories []string
		Scale                  bool
	}
	all := []string{"all"}
	want := map[string]names{
		"deployments.apps":                     {"deployment", []string{"deploy"}, all, true},
		"statefulsets.apps":                    {"statefulset", []string{"sts"}, all, true},
		"daemonsets.apps":                      {"daemonset", []string{"ds"}, all, false},
		"jobs.batch":                           {"job", nil, all, false},
		"cronjobs.batch":                       {"cronjob", []string{"cj"}, all, false},
		"services.core":                        {"service", []string{"svc"}, all, false},
		"persistentvolumeclaims.core":          {"persistentvolumeclaim", []string{"pvc"}, nil, false},
		"ingresses.networking.k8s.io":          {"ingress", []string{"ing"}, nil, false},
		"networkpolicies.networking.k8s.io":    {"networkpolicy", []string{"netpol"}, nil, false},
		"poddisruptionbudgets.policy":          {"poddisruptionbudget", []string{"pdb"}, nil, false},
		"workloadplacements.tmc.kcp.io":        {"workloadplacement", []string{"wp"}, []string{"tmc"}, false},
		"horizontalpodautoscalers.autoscaling": {"horizontalpodautoscaler", []string{"hpa"}, all, false},
		"replicasets.apps":                     {"replicaset", []string{"rs"}, all, false},
		"controllerrevisions.apps":             {"controllerrevision", nil, nil, false},
		"pods.core":                            {"pod", []string{"po"}, all, false},
	}
	got := map[string]names{}
	for _, k := range kinds {
		schema := served(t, k.resource)
		subresources := schema.Spec.Versions[0].Subresources
		_, isNotSynced := revisionSpecs[k.resource]
		if subresources.Status == nil != isNotSynced {
			t.Errorf("%s: status subresource: %t; where it is synced, somebody has to say what became of it, and revisions are written at once", k.resource, subresources.Status != nil)
		}
		got[resourceName(k)] = names{
			schema.Spec.Names.Singular, schema.Spec.Names.ShortNames, schema.Spec.Names.Categories, subresources.Scale != nil,
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("people type what kubectl takes for a cluster (-want +got)\n%s", diff)
	}
}

func TestOutputSchemaName(t *testing.T) {
	deployments := kind{group: "apps", version: "v1", resource: "deployments"}
	services := kind{version: "v1", resource: "services"}
	spec := apisv1alpha1.APIResourceSchemaSpec{Group: "apps"}
	name := func(k kind, spec apisv1alpha1.APIResourceSchemaSpec) string {
		t.Helper()
		name, err := schemaName(k, spec)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}

	if got := name(deployments, spec); !strings.HasPrefix(got, "v1-") || !strings.HasSuffix(got, ".deployments.apps") {
		t.Errorf("got %s, want v1-<hash>.deployments.apps, the form that kcp's admission wants", got)
	}
	if got := name(services, spec); !strings.HasSuffix(got, ".services.core") {
		t.Errorf("got %s, want the core group to be called core, as kcp does", got)
	}
	if first, second := name(deployments, spec), name(deployments, *spec.DeepCopy()); first != second {
		t.Errorf("the same content is called %s and %s", first, second)
	}
	if name(deployments, spec) == name(deployments, apisv1alpha1.APIResourceSchemaSpec{Group: "other"}) {
		t.Error("different content gives the same name, but nobody can change a schema")
	}
}

func TestOutputSchemaOfCustomResourceDefinition(t *testing.T) {
	root := t.TempDir()
	crd := `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.k8s.io}
spec:
  group: test.k8s.io
  scope: Cluster
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Age, type: date, jsonPath: .metadata.creationTimestamp}]
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: string}}}}
`
	if err := os.WriteFile(filepath.Join(root, "crd.yaml"), []byte(crd), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := schemaFor(kind{group: "test.k8s.io", version: "v1", resource: "widgets", crdFile: "crd.yaml"}, nil, root)
	if err != nil {
		t.Fatal(err)
	}
	version := got.Spec.Versions[0]
	if version.Subresources.Status == nil || len(version.AdditionalPrinterColumns) != 1 {
		t.Errorf("subresources or columns are lost: %+v", version)
	}
	if want := `{"type":"object","properties":{"spec":{"type":"string"}}}`; string(version.Schema.Raw) != want {
		t.Errorf("got the schema %s, want %s", version.Schema.Raw, want)
	}
	if got.Annotations["api-approved.kubernetes.io"] == "" {
		t.Error("the annotation is missing without which a server takes no kind of a k8s.io group")
	}
}

func TestOutputYAMLSurvivesAnyText(t *testing.T) {
	for _, text := range []string{
		"a: b # c", " leading", "trailing ", "tabs\tand\nnew lines\n\n", "'quotes' \"both\"",
		"- list\n  more", "null", "0x10", "\u2028", strings.Repeat("long ", 100), "`backticks`\n - x\n",
	} {
		data, err := encode(map[string]any{"description": text})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var got map[string]string
		if err := yaml.Unmarshal(data, &got); err != nil || got["description"] != text {
			t.Errorf("%q became %q (%v)", text, got["description"], err)
		}
	}
}

func TestOutputWriteChangesOnlyDifferences(t *testing.T) {
	dir := t.TempDir()
	files := map[string][]byte{"a.yaml": []byte("a"), "schemas/b.yaml": []byte("b")}
	steps := []struct {
		reason string
		files  map[string][]byte
		want   []string
	}{
		{"everything is new", files, []string{"a.yaml", "schemas/b.yaml"}},
		{"nothing has changed", files, nil},
		{"one file has changed", map[string][]byte{"a.yaml": []byte("A"), "schemas/b.yaml": []byte("b")}, []string{"a.yaml"}},
		{"a kind is not served any more", map[string][]byte{"a.yaml": []byte("A")}, []string{"schemas/b.yaml"}},
		{"the provider gets a kind", map[string][]byte{"a.yaml": []byte("A"), "crds/c.yaml": []byte("c")}, []string{"crds/c.yaml"}},
		{"the provider loses a kind", map[string][]byte{"a.yaml": []byte("A")}, []string{"crds/c.yaml"}},
	}
	for _, step := range steps {
		got, err := write(dir, step.files)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", step.reason, diff)
		}
		if stale, err := compare(dir, step.files); err != nil || len(stale) > 0 {
			t.Errorf("%s: after writing, %v is out of date (%v)", step.reason, stale, err)
		}
	}
}
