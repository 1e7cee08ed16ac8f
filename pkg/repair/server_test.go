package repair

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// What is here plays both sides of a write without any server: kubectl, which computes a patch, a Kubernetes API server,
// which merges it by the tags of Go types, and kcp, which merges it by a schema that has lost the strategies. That kcp
// does what it is said to do here is seen in e2e/repair_test.go.

type patchMeta = strategicpatch.PatchMetaFromStruct

// emptyOf returns an empty object of a kind.
func emptyOf(tb testing.TB, kind string) runtime.Object {
	tb.Helper()
	switch kind {
	case "Deployment":
		return &appsv1.Deployment{}
	case "StatefulSet":
		return &appsv1.StatefulSet{}
	case "DaemonSet":
		return &appsv1.DaemonSet{}
	case "Job":
		return &batchv1.Job{}
	case "CronJob":
		return &batchv1.CronJob{}
	case "Service":
		return &corev1.Service{}
	}
	tb.Fatalf("no type for %q", kind)
	return nil
}

// applyPatch is what `kubectl apply` sends: the manifest is applied over the object, whose annotation has the one that
// was applied before. It fails where kubectl does.
func applyPatch(tb testing.TB, live, manifest map[string]any) ([]byte, error) {
	tb.Helper()
	meta, err := strategicpatch.NewPatchMetaFromStruct(emptyOf(tb, live["kind"].(string)))
	must(tb, err)
	before := lastApplied(live)
	return strategicpatch.CreateThreeWayMergePatch([]byte(before), encode(tb, withLastApplied(tb, manifest)), encode(tb, live), meta, true)
}

// setPatch is what `kubectl set` sends: the smallest patch that leads from the object to the changed one, both as the Go
// type has them.
func setPatch(tb testing.TB, live map[string]any, change func(*corev1.PodSpec)) []byte {
	tb.Helper()
	object := emptyOf(tb, live["kind"].(string))
	must(tb, runtime.DefaultUnstructuredConverter.FromUnstructured(runtime.DeepCopyJSON(live), object))
	before, err := json.Marshal(object)
	must(tb, err)
	change(podSpecOf(tb, object))
	after, err := json.Marshal(object)
	must(tb, err)
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, object)
	must(tb, err)
	return patch
}

func podSpecOf(tb testing.TB, object runtime.Object) *corev1.PodSpec {
	tb.Helper()
	switch object := object.(type) {
	case *appsv1.Deployment:
		return &object.Spec.Template.Spec
	case *appsv1.StatefulSet:
		return &object.Spec.Template.Spec
	case *appsv1.DaemonSet:
		return &object.Spec.Template.Spec
	case *batchv1.Job:
		return &object.Spec.Template.Spec
	case *batchv1.CronJob:
		return &object.Spec.JobTemplate.Spec.Template.Spec
	}
	tb.Fatalf("%T has no pods", object)
	return nil
}

// kubernetes is what an API server of Kubernetes makes of a patch.
func kubernetes(t *testing.T, live map[string]any, patch []byte) map[string]any {
	t.Helper()
	data, err := strategicpatch.StrategicMergePatch(encode(t, live), patch, emptyOf(t, live["kind"].(string)))
	must(t, err)
	return withDefaults(decode(t, data))
}

// kcp is what admission in kcp is shown: its merge knows the keys of lists, and no strategy.
func kcp(tb testing.TB, live map[string]any, patch []byte) map[string]any {
	tb.Helper()
	meta, err := strategicpatch.NewPatchMetaFromStruct(emptyOf(tb, live["kind"].(string)))
	must(tb, err)
	merged, err := strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(runtime.DeepCopyJSON(live), decode(tb, patch), withoutStrategies{meta})
	must(tb, err)
	return withDefaults(decode(tb, encode(tb, merged)))
}

// withoutStrategies is a schema as kcp has it, but for metadata: that part of the schema is Kubernetes' own.
type withoutStrategies struct {
	strategicpatch.PatchMetaFromStruct
}

func (w withoutStrategies) LookupPatchMetadataForStruct(key string) (strategicpatch.LookupPatchMeta, strategicpatch.PatchMeta, error) {
	sub, meta, err := w.PatchMetaFromStruct.LookupPatchMetadataForStruct(key)
	if err != nil || key == "metadata" && w.hasStatus() {
		return sub, meta, err
	}
	meta.SetPatchStrategies([]string{})
	return withoutStrategies{sub.(strategicpatch.PatchMetaFromStruct)}, meta, nil
}

func (w withoutStrategies) LookupPatchMetadataForSlice(key string) (strategicpatch.LookupPatchMeta, strategicpatch.PatchMeta, error) {
	sub, meta, err := w.PatchMetaFromStruct.LookupPatchMetadataForSlice(key)
	if err != nil {
		return sub, meta, err
	}
	meta.SetPatchStrategies([]string{})
	return withoutStrategies{sub.(strategicpatch.PatchMetaFromStruct)}, meta, nil
}

// hasStatus tells a whole object from a template.
func (w withoutStrategies) hasStatus() bool {
	_, found := w.T.FieldByName("Status")
	return found && w.T.Kind() == reflect.Struct
}

// withDefaults fills in what kcp's schema says of ports, and changes the object.
func withDefaults(object map[string]any) map[string]any {
	each(object["spec"], func(fields map[string]any) {
		for _, name := range []string{"containerPort", "port"} {
			if _, isPort := fields[name]; isPort && fields["protocol"] == nil {
				fields["protocol"] = "TCP"
			}
		}
	})
	return object
}

// each calls do for the entries of all lists of ports within value.
func each(value any, do func(map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			if ports, ok := field.([]any); ok && name == "ports" {
				for _, port := range ports {
					do(port.(map[string]any))
				}
			}
			each(field, do)
		}
	case []any:
		for _, item := range value {
			each(item, do)
		}
	}
}

// judged returns the verdict, and the object as it then is.
func judged(t *testing.T, manager string, live, byKCP map[string]any) (Judgement, map[string]any) {
	t.Helper()
	liveBefore, newBefore := encode(t, live), encode(t, byKCP)
	judgement := Judge(Write{Manager: manager, Old: live, New: byKCP})
	if string(encode(t, live)) != string(liveBefore) || string(encode(t, byKCP)) != string(newBefore) {
		t.Error("an argument was changed")
	}
	data, err := Encode(judgement.Patch)
	must(t, err)
	if (data != nil) != (judgement.Verdict == Repaired) {
		t.Errorf("the verdict is %s, and the patch %s", judgement.Verdict, data)
	}
	if data == nil {
		return judgement, byKCP
	}
	patch, err := jsonpatch.DecodePatch(data)
	must(t, err)
	result, err := patch.Apply(encode(t, byKCP))
	must(t, err)
	return judgement, withDefaults(decode(t, result))
}

const lastAppliedKey = "kubectl.kubernetes.io/last-applied-configuration"

func lastApplied(object map[string]any) string {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	text, _ := annotations[lastAppliedKey].(string)
	return text
}

// withLastApplied returns a manifest with itself in its annotation, as kubectl sends it.
func withLastApplied(tb testing.TB, manifest map[string]any) map[string]any {
	tb.Helper()
	result := runtime.DeepCopyJSON(manifest)
	metadata := result["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
	}
	annotations[lastAppliedKey] = string(encode(tb, manifest))
	metadata["annotations"] = annotations
	return result
}

func encode(tb testing.TB, object any) []byte {
	tb.Helper()
	data, err := json.Marshal(object)
	must(tb, err)
	return data
}

func decode(tb testing.TB, data []byte) map[string]any {
	tb.Helper()
	object := map[string]any{}
	if err := utiljson.Unmarshal(data, &object); err != nil {
		tb.Fatal(fmt.Errorf("%w: %s", err, data))
	}
	return object
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
