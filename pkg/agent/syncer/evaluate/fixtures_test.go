package evaluate

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

var origin = transform.Origin{Workspace: "ws", Namespace: "default", Name: "web", Cluster: "east"}

// option shapes an object of a test.
type option func(*unstructured.Unstructured)

func annotated(key, value string) option {
	return func(obj *unstructured.Unstructured) {
		annotations := obj.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[key] = value
		obj.SetAnnotations(annotations)
	}
}

func labelled(key string) option {
	return func(obj *unstructured.Unstructured) { obj.SetLabels(map[string]string{key: "sync"}) }
}

func generation(number int64) option {
	return func(obj *unstructured.Unstructured) { obj.SetGeneration(number) }
}

// placed places an object on east, as the hub does: it says why.
func placed(obj *unstructured.Unstructured) {
	labelled(v1alpha1.PlacementLabel("east"))(obj)
	annotated(v1alpha1.PlacementAnnotation, "{}")(obj)
}

func held(obj *unstructured.Unstructured) {
	obj.SetFinalizers([]string{"someone.else/finalizer", v1alpha1.Finalizer("east")})
}

// deleting has an object be deleted that nobody but tmc holds; see deletingBy.
func deleting(obj *unstructured.Unstructured) {
	obj.SetDeletionTimestamp(new(metav1.NewTime(time.Unix(1000, 0))))
	obj.SetFinalizers(slices.DeleteFunc(obj.GetFinalizers(), func(finalizer string) bool { return finalizer == "someone.else/finalizer" }))
}

// deletingBy has an object be deleted that has these finalizers as well.
func deletingBy(finalizers ...string) option {
	return func(obj *unstructured.Unstructured) {
		deleting(obj)
		obj.SetFinalizers(append(finalizers, obj.GetFinalizers()...))
	}
}

// stripped takes the annotations off by which a copy says what it is of.
func stripped(obj *unstructured.Unstructured) {
	obj.SetAnnotations(nil)
	obj.SetManagedFields(nil)
}

// drifted has none of the fields that were applied owned by us.
func drifted(obj *unstructured.Unstructured) { obj.SetManagedFields(nil) }

func elsewhere(obj *unstructured.Unstructured) { obj.SetNamespace("elsewhere") }

func asJob(obj *unstructured.Unstructured) {
	obj.SetAPIVersion("batch/v1")
	obj.SetKind("Job")
}

func withStatus(status map[string]any) option {
	return func(obj *unstructured.Unstructured) { obj.Object["status"] = status }
}

var ended = withStatus(map[string]any{"conditions": []any{map[string]any{"type": "Failed", "status": "True"}}})

// reported gives an upstream object the report of a condition.
func reported(conditionType string, generation int64) option {
	report := protocol.Report{
		Version: protocol.ReportVersion, Cluster: "east", Generation: generation,
		Conditions: []protocol.ReportCondition{{Type: conditionType, Status: "True"}},
	}
	encoded, err := report.Encode()
	if err != nil {
		panic(err)
	}
	return annotated(v1alpha1.StatusAnnotation("east"), encoded)
}

func upstreamDeployment(options ...option) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "spec": map[string]any{"replicas": int64(3)}}}
	obj.SetNamespace("default")
	obj.SetName("web")
	obj.SetUID("upstream-uid")
	obj.SetGeneration(1)
	for _, shape := range options {
		shape(obj)
	}
	return obj
}

// copyOf returns what the cluster has after the apply of the copy.
func copyOf(t *testing.T, upstreamObj *unstructured.Unstructured, options ...option) *unstructured.Unstructured {
	t.Helper()
	obj, err := transform.Desired(transform.Input{Object: upstreamObj, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	obj.SetUID("downstream-uid")
	obj.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1",
		// The leaves stand for all that is below them.
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{},"f:annotations":{}},"f:spec":{"f:replicas":{}}}`),
	}})
	for _, shape := range options {
		shape(obj)
	}
	return obj
}

var settings = &Settings{Rule: v1alpha1.TransformRule{NamespaceMode: v1alpha1.NamespaceModeShared}}

// inputOf returns the input of an object and its copy, nil for none, in a namespace that tmc made.
func inputOf(upstreamObj, downstreamObj *unstructured.Unstructured) Input {
	return Input{
		Origin: origin, Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"},
		Namespace: "default", Name: "web", Settings: settings, Upstream: upstreamObj, Downstream: downstreamObj,
		Target: Target{Marked: true, Made: true},
	}
}

func evaluated(t *testing.T, in Input, last *Evaluation) *Evaluation {
	t.Helper()
	e, err := Evaluate(in, last)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
