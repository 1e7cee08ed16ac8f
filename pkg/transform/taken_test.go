package transform

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestTaken has somebody change a copy, and names the fields and who has them, with the code of API servers.
func TestTaken(t *testing.T) {
	desired := transformed(t, inputOf(object(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: default, labels: {a: b}}, spec: {replicas: 2,
		template: {metadata: {labels: {app: web}}, spec: {nodeSelector: {a: b}, tolerations: [{key: a}], containers: [{name: main, image: c, args: [a]}, {name: side, image: d}]}}}}`), v1alpha1.TransformRule{}))
	spec := func(obj *unstructured.Unstructured) map[string]any {
		return child(obj.Object, "spec", "template", "spec")
	}
	cases := map[string]struct {
		change  func(obj *unstructured.Unstructured)
		fields  []string
		holders []string
	}{
		"nothing":               {func(*unstructured.Unstructured) {}, nil, nil},
		"an image":              {func(obj *unstructured.Unstructured) { children(spec(obj), "containers")[0]["image"] = "x" }, []string{`spec.template.spec.containers[name="main"].image`}, []string{"somebody"}},
		"an atomic list":        {func(obj *unstructured.Unstructured) { children(spec(obj), "containers")[0]["args"] = []any{"x"} }, []string{`spec.template.spec.containers[name="main"].args`}, []string{"somebody"}},
		"a removed label":       {func(obj *unstructured.Unstructured) { delete(child(obj.Object, "metadata", "labels"), "a") }, []string{"metadata.labels.a"}, nil},
		"a map that is another": {func(obj *unstructured.Unstructured) { spec(obj)["nodeSelector"] = map[string]any{"x": "y"} }, []string{"spec.template.spec.nodeSelector.a"}, nil},
		"a removed container": {func(obj *unstructured.Unstructured) {
			spec(obj)["containers"] = []any{children(spec(obj), "containers")[0]}
		}, []string{"spec.template.spec.containers"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, desired.GroupVersionKind())
			s.apply(desired)
			live := s.update(tc.change)
			taken := Taken(desired, live)
			var fields []string
			for _, path := range taken {
				fields = append(fields, FieldName(path))
			}
			if diff := cmp.Diff(tc.fields, fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.holders, Holders(live, taken)); diff != "" && tc.holders != nil {
				t.Errorf("holders (-want +got):\n%s", diff)
			}
		})
	}
	bare := desired.DeepCopy()
	if taken := Taken(desired, bare); len(taken) != mostTaken {
		t.Errorf("of all that nobody owns %d are named, want %d", len(taken), mostTaken)
	}
	bare.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: "empty"}, {Manager: "unreadable", FieldsV1: metav1.NewFieldsV1(`{"x":{}}`)},
		{Manager: "below", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:template":{"f:spec":{"f:nodeSelector":{"f:x":{}}}}}}`)},
	})
	path := Taken(desired, bare)[:0]
	if got := Holders(bare, append(path, nil)); got != nil {
		t.Errorf("the holders of no field are %v", got)
	}
}
