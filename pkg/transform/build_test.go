package transform

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// parsed reads a value from YAML; integers are int64, as they come from a server.
// The indentation of the test around it may be of tabs.
func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	data, err := yaml.YAMLToJSONStrict([]byte(strings.ReplaceAll(text, "\t", "  ")))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	value := map[string]any{}
	if err := utiljson.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// object reads an object from YAML and gives it a name where it has none.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{Object: parsed(t, text)}
	if obj.GetName() == "" {
		obj.SetName("web")
		obj.SetNamespace("default")
	}
	return obj
}

func ruleOf(t *testing.T, text string) v1alpha1.TransformRule {
	t.Helper()
	rule, err := ParseRule([]byte(strings.ReplaceAll(text, "\t", "  ")))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return rule
}

func inputOf(obj *unstructured.Unstructured, rule v1alpha1.TransformRule) Input {
	return Input{
		Object: obj, Rule: rule,
		Origin: Origin{Workspace: "ws", Namespace: obj.GetNamespace(), Name: obj.GetName(), Cluster: "east"},
	}
}

func transformed(t *testing.T, in Input) *unstructured.Unstructured {
	t.Helper()
	desired, err := Desired(in)
	if err != nil {
		t.Fatal(err)
	}
	return desired
}

// content returns an object without the keys of ours, and without its name.
func content(obj *unstructured.Unstructured) map[string]any {
	bare := obj.DeepCopy()
	bare.SetName("")
	bare.SetNamespace("")
	bare.SetLabels(protocol.UsersOwn(bare.GetLabels()))
	bare.SetAnnotations(protocol.UsersOwn(bare.GetAnnotations()))
	metadata := child(bare.Object, "metadata")
	for _, part := range []string{"labels", "annotations"} {
		if len(child(metadata, part)) == 0 {
			delete(metadata, part)
		}
	}
	if len(metadata) == 0 {
		delete(bare.Object, "metadata")
	}
	return bare.Object
}

// container is the only one of a Deployment's template.
func container(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := object(t, "{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: [{}]}}}}")
	child(obj.Object, "spec", "template", "spec")["containers"] = []any{parsed(t, text)}
	return obj
}

func containerOf(t *testing.T, obj *unstructured.Unstructured) map[string]any {
	t.Helper()
	all := children(podSpecs(obj)[0], "containers")
	if len(all) != 1 {
		t.Fatalf("%d containers", len(all))
	}
	return all[0]
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
