package docscheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// exampleTypes are the types of the objects that examples are of.
var exampleTypes = map[string]func() any{
	"tmc.kcp.io/v1alpha1/ClusterRegistration": func() any { return &v1alpha1.ClusterRegistration{} },
	"tmc.kcp.io/v1alpha1/WorkloadPlacement":   func() any { return &v1alpha1.WorkloadPlacement{} },
	"apps/v1/Deployment":                      func() any { return &appsv1.Deployment{} },
	"v1/Namespace":                            func() any { return &corev1.Namespace{} },
	"v1/ConfigMap":                            func() any { return &corev1.ConfigMap{} },
	// What has no kind is the rule of a cluster, as in the file of tmc-syncer --transform-config.
	"/": func() any { return &v1alpha1.TransformRule{} },
}

// TestExamplesAreValid decodes every block of YAML strictly, and validates those of tmc's own kinds by their schemas.
func TestExamplesAreValid(t *testing.T) {
	const fewest = 3
	examples := 0
	for _, document := range documents(t) {
		for start, text := range blocks(t, document, "yaml") {
			for example := range strings.SplitSeq(text, "\n---\n") {
				examples++
				if problem := checkExample(t, example); problem != "" {
					t.Errorf("%s:%d: %s", document, start, problem)
				}
			}
		}
	}
	if examples < fewest {
		t.Errorf("there are %d examples in YAML, expected at least %d", examples, fewest)
	}
}

// checkExample says what is wrong with an example.
func checkExample(t *testing.T, example string) string {
	t.Helper()
	if strings.HasPrefix(example, "- group: ") { // the entries of --kinds-file are a list
		if _, err := kinds.Parse("the example", []byte(example)); err != nil {
			return err.Error()
		}
		return ""
	}
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(example), &kind); err != nil {
		return err.Error()
	}
	of := exampleTypes[kind.APIVersion+"/"+kind.Kind]
	if of == nil {
		return "the test does not know the kind " + kind.APIVersion + "/" + kind.Kind + ": add it to exampleTypes"
	}
	if err := yaml.UnmarshalStrict([]byte(example), of()); err != nil {
		return err.Error()
	}
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(example), &content); err != nil {
		return err.Error()
	}
	if kind.Kind == "" { // the rule is a field of a registration
		kind.Kind = "ClusterRegistration"
		content = map[string]any{"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": kind.Kind, "spec": map[string]any{"transform": content}}
	}
	schema := schemaOf(t, kind.Kind)
	if schema == nil {
		return ""
	}
	validator, _, err := validation.NewSchemaValidator(schema)
	if err != nil {
		t.Fatal(err)
	}
	if problems := validation.ValidateCustomResource(nil, content, validator); len(problems) > 0 {
		return problems.ToAggregate().Error()
	}
	return ""
}

// schemaOf returns the schema of one of tmc's own kinds, nil for others.
func schemaOf(t *testing.T, kind string) *apiextensions.JSONSchemaProps {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "hack", "schemagen", "crds", "tmc.kcp.io_"+strings.ToLower(kind)+"s.yaml"))
	if os.IsNotExist(err) {
		return nil
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(content, definition); err != nil {
		t.Fatal(err)
	}
	schema := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, schema, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := structuralschema.NewStructural(schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

// blocks returns the fenced blocks of a document that have the info string, by the number of their first line.
func blocks(t *testing.T, document, info string) map[int]string {
	t.Helper()
	all := map[int]string{}
	start := 0
	for _, l := range read(t, document) {
		if !l.isFenced || l.fence != info {
			start = 0
			continue
		}
		if start == 0 {
			start = l.number
		}
		all[start] += l.text + "\n"
	}
	return all
}
