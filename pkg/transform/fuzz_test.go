package transform

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// FuzzTransform holds for any object, rule and override that a copy says where it
// comes from, that the input is not changed, and that without an override, a copy's
// user content comes out of the pipeline as it went in.
func FuzzTransform(f *testing.F) {
	for _, seed := range []struct{ obj, rule, override string }{
		{`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"default","labels":{"a":"b"}},"spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"web","image":"nginx","resources":{"limits":{"cpu":4},"requests":{"cpu":"2500m"}}}],"volumes":[{"image":{"reference":"x"}}]}}},"status":{"x":1}}`, `{"namespacePrefix":"p-","imageRegistry":"registry.example.com/m","resourceLimits":{"cpu":2,"memory":"1Gi"},"labels":{"a":"c"}}`, `[{"op":"copy","from":"/spec","path":"/spec/x"},{"op":"remove","path":"/spec/template"}]`},
		{`{"apiVersion":"batch/v1","kind":"Job","spec":{"selector":{},"template":{"metadata":{"labels":{"controller-uid":"u"}},"spec":{"containers":[null,{"resources":5}]}}}}`, `{"namespaceMode":"Isolated","resourceLimits":{"cpu":1}}`, `[{"op":"test","path":"/spec","value":null}]`},
		{`{"apiVersion":"v1","kind":"Service","spec":{"clusterIP":"10.0.0.1","clusterIPs":["None"]}}`, ``, `[{"op":"move","from":"/metadata/name","path":"/metadata/labels"}]`},
		{`{"apiVersion":"v1","kind":"Secret","stringData":{"a":"b","c":1},"data":null}`, `annotations: {a: b}`, `[null]`},
		{`{"apiVersion":"v1","kind":"Namespace","metadata":{"labels":{"a":null}}}`, `namespacePrefix: p-`, `[]`},
		{`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","spec":{"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"a"},"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"In","values":["a",1]}]}}]}]}}`, `namespaceMode: Isolated`, `x`},
		{`{"metadata":{"labels":[],"annotations":5,"name":{}},"spec":[[null],{"limits":1e400}]}`, `{"imageRegistry":"localhost"}`, `[{"op":"replace","path":"/metadata","value":{}}]`},
	} {
		f.Add([]byte(seed.obj), []byte(seed.rule), seed.override, true)
	}
	f.Fuzz(func(t *testing.T, data, ruleData []byte, override string, omitReplicas bool) {
		obj := &unstructured.Unstructured{}
		if err := utiljson.Unmarshal(data, &obj.Object); err != nil || obj.Object == nil {
			return
		}
		rule, err := ParseRule(ruleData)
		if err != nil {
			rule = v1alpha1.TransformRule{}
		}
		in := Input{
			Object: obj, Rule: rule, OmitReplicas: omitReplicas,
			Origin: Origin{Workspace: "ws", Namespace: "default", Name: "web", Cluster: "east"},
		}
		if isNamespace(obj) {
			in.Origin.Namespace = ""
		}
		_ = IsNeverSynced(obj)
		checkPlain(t, in)
		checkOverridden(t, in, override)
	})
}

// checkPlain holds what is true of a copy without an override.
func checkPlain(t *testing.T, in Input) {
	t.Helper()
	before := encoded(t, in.Object.Object)
	once, err := Desired(in)
	if encoded(t, in.Object.Object) != before {
		t.Fatalf("the upstream object was changed:\n%s\n%s", before, encoded(t, in.Object.Object))
	}
	if err != nil {
		return // labels or annotations that are none
	}
	checkIdentity(t, in, once)
	again := in
	again.Object = once
	twice, err := Desired(again)
	if err != nil {
		t.Fatalf("its own copy: %v", err)
	}
	if once.GroupVersionKind().GroupKind() == networkPolicy && (in.Rule.NamespacePrefix != "" || in.Rule.NamespaceMode != "") {
		return // it names other namespaces now, and would again
	}
	if diff := cmp.Diff(encoded(t, content(once)), encoded(t, content(twice))); diff != "" {
		t.Fatalf("transformed again (-once +twice):\n%s", diff)
	}
}

// checkOverridden holds what is true whatever the override.
func checkOverridden(t *testing.T, in Input, override string) {
	t.Helper()
	if annotations, err := stringsOf(in.Object, "annotations"); err != nil {
		return
	} else if err := unstructured.SetNestedStringMap(in.Object.Object, merged(annotations, map[string]string{v1alpha1.OverrideAnnotation("east"): override}), "metadata", "annotations"); err != nil {
		return // metadata is no object
	}
	desired, err := Desired(in)
	var failed *OverrideError
	if errors.As(err, &failed) && failed.Err == nil {
		t.Fatalf("an error without a reason: %v", err)
	}
	if err == nil {
		checkIdentity(t, in, desired)
	}
}

// checkIdentity holds what is true of every copy.
func checkIdentity(t *testing.T, in Input, desired *unstructured.Unstructured) {
	t.Helper()
	origin, ok := OriginOf(desired)
	if !ok || origin != in.Origin {
		t.Fatalf("origin is %v, want %v", origin, in.Origin)
	}
	if desired.GetAPIVersion() != in.Object.GetAPIVersion() || desired.GetKind() != in.Object.GetKind() {
		t.Fatalf("a %s %s became a %s %s", in.Object.GetAPIVersion(), in.Object.GetKind(), desired.GetAPIVersion(), desired.GetKind())
	}
	checkTarget(t, in, desired)
	checkFields(t, desired)
	if desired.GetLabels()[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue || desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation] == "" {
		t.Fatalf("it is not marked: %v", desired.GetLabels())
	}
}

// checkTarget holds that a copy lies where its origin says.
func checkTarget(t *testing.T, in Input, desired *unstructured.Unstructured) {
	t.Helper()
	namespace, name := in.Origin.Target(in.Rule)
	if isNamespace(desired) {
		name = Namespace(in.Rule, in.Origin.Workspace, in.Origin.Name)
	}
	if desired.GetNamespace() != namespace || desired.GetName() != name {
		t.Fatalf("it lies at %s/%s, want %s/%s", desired.GetNamespace(), desired.GetName(), namespace, name)
	}
}

// checkFields holds that a copy has no fields that only servers write.
func checkFields(t *testing.T, desired *unstructured.Unstructured) {
	t.Helper()
	for field := range child(desired.Object, "metadata") {
		if !slices.Contains([]string{"name", "namespace", "labels", "annotations"}, field) {
			t.Fatalf("it has metadata.%s", field)
		}
	}
	if _, present := desired.Object["status"]; present {
		t.Fatal("it has a status")
	}
	withoutNulls := desired.DeepCopy()
	dropNulls(withoutNulls.Object)
	if diff := cmp.Diff(withoutNulls, desired); diff != "" {
		t.Fatalf("it has nulls: %s", diff)
	}
}

func FuzzNamespace(f *testing.F) {
	f.Add("p-", "default", true)
	f.Add("", strings.Repeat("n", 63), false)
	f.Add("p-", strings.Repeat("n", 36)+strings.Repeat("-", 26)+"n", false)
	f.Fuzz(func(t *testing.T, prefix, namespace string, isolated bool) {
		rule := v1alpha1.TransformRule{NamespacePrefix: prefix}
		if isolated {
			rule.NamespaceMode = v1alpha1.NamespaceModeIsolated
		}
		if ValidateRule(rule) != nil || len(validation.IsDNS1123Label(namespace)) > 0 {
			return
		}
		if got := Namespace(rule, "ws", namespace); len(validation.IsDNS1123Label(got)) > 0 {
			t.Errorf("prefix %q, namespace %q: %q is no name", prefix, namespace, got)
		}
	})
}
