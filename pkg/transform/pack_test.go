package transform

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func packable() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
		"metadata": map[string]any{"name": "web", "namespace": "app", "labels": map[string]any{"a": "b"}},
		"data":     map[string]any{"key": strings.Repeat("text <&> \u2028", 50), "empty": "", "none": nil},
		"spec":     map[string]any{"number": int64(1) << 60, "float": 1.5, "list": []any{}, "map": map[string]any{}, "yes": true},
		"list":     []any{int64(1), "x", nil},
	}}
}

func TestPack(t *testing.T) {
	obj, other := packable(), packable()
	Pack(obj)
	Pack(obj) // a cache may strip an object twice
	Pack(other)
	if _, present := obj.Object["spec"]; present || obj.Object["type"] != "Opaque" || obj.GetLabels()["a"] != "b" {
		t.Errorf("packed is %v", obj.Object)
	}
	if diff := cmp.Diff(obj.Object, other.Object); diff != "" {
		t.Errorf("equal objects are packed to others:\n%s", diff)
	}
	whole, err := Whole(obj)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(packable().Object, whole.Object); diff != "" {
		t.Errorf("whole (-want +got):\n%s", diff)
	}
	other.Object["data"] = map[string]any{"key": "other"}
	delete(other.Object, packedField)
	Pack(other)
	if other.Object[packedField] != nil {
		t.Error("a small object is packed")
	}
}

func TestWholeOfOthers(t *testing.T) {
	if whole, err := Whole(nil); whole != nil || err != nil {
		t.Errorf("of nothing: %v, %v", whole, err)
	}
	forged := packable()
	forged.Object[packedField] = "whatever a server sends"
	if whole, err := Whole(forged); whole != forged || err != nil {
		t.Errorf("of what a server sends: %v, %v", whole, err)
	}
	broken := packable()
	broken.Object[packedField] = packedContent("\x00\x01")
	if _, err := Whole(broken); err == nil || !strings.Contains(err.Error(), "app/web") {
		t.Errorf("of what cannot be read: %v", err)
	}
	bare := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{}, "kind": "X"}}
	if Pack(bare); len(bare.Object) != 2 {
		t.Errorf("an object without content became %v", bare.Object)
	}
}

// TestPackedIsSmall holds that what is kept of an object is a fraction of its JSON: decoded it takes ten times that.
func TestPackedIsSmall(t *testing.T) {
	obj := packable()
	obj.Object["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{
		"name": "web", "image": "registry.example.com/shop/web:1.4.2", "imagePullPolicy": "IfNotPresent",
		"livenessProbe":  map[string]any{"httpGet": map[string]any{"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": int64(10), "failureThreshold": int64(3)},
		"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/readyz", "port": "http", "scheme": "HTTP"}, "periodSeconds": int64(10), "failureThreshold": int64(3)},
		"resources":      map[string]any{"requests": map[string]any{"cpu": "100m", "memory": "128Mi"}},
	}}}}}
	delete(obj.Object, "data")
	plain, err := obj.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	Pack(obj)
	if packed := obj.Object[packedField].(packedContent); len(packed)*2 > len(plain) {
		t.Errorf("%d bytes of JSON are packed to %d, want at most half", len(plain), len(packed))
	}
}

func TestNoteOwned(t *testing.T) {
	entry := func(fields any) map[string]any {
		return map[string]any{"manager": "tmc-syncer", "operation": "Apply", "fieldsV1": fields}
	}
	object := func(entries ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"managedFields": entries}}}
	}
	replicas := func() any { return map[string]any{"f:spec": map[string]any{"f:replicas": map[string]any{}}} }
	first, second, third := object(entry(replicas())), object(entry(replicas())), object(entry(map[string]any{"f:data": map[string]any{}}))
	if NoteOwned(nil, first) || !NoteOwned(first, second) || NoteOwned(second, third) {
		t.Error("what is noted is the same where it is not, or is not where it is")
	}
	if !SameOwned(first, second) || SameOwned(second, third) {
		t.Error("two objects own the same where they do not, or do not where they do")
	}
	path := fieldPath([]string{"spec", "replicas"})
	for range 2 { // the second time from the sets that are kept
		if !Owns(first, path) || Owns(third, path) {
			t.Error("a field is owned that is not, or is not that is")
		}
	}
	if NoteOwned(nil, first); !Owns(first, path) {
		t.Error("an object that is stripped twice loses what is noted")
	}
	forged := object()
	forged.Object[OwnedField] = `{"f:spec":{"f:replicas":{}}}`
	if NoteOwned(nil, forged); Owns(forged, path) || forged.Object[OwnedField] != nil {
		t.Error("what a server sends is believed")
	}
	unreadable := object(entry(map[string]any{"x": map[string]any{}}))
	if NoteOwned(nil, unreadable); Owns(unreadable, path) {
		t.Error("fields that cannot be read are owned")
	}
	metadata := second.Object["metadata"].(map[string]any)
	metadata["managedFields"] = []any{entry(map[string]any{"f:data": map[string]any{}})}
	if Owns(second, path) {
		t.Error("what is noted wins over managedFields")
	}
	delete(metadata, "managedFields")
	if Owns(second, path) {
		t.Error("what is noted wins over managedFields that do not name us")
	}
}

func TestNoteOwnedForgets(t *testing.T) {
	for i := range mostSets + 10 {
		obj := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"managedFields": []any{
			map[string]any{"manager": "tmc-syncer", "operation": "Apply", "fieldsV1": map[string]any{"f:" + strings.Repeat("x", i): map[string]any{}}},
		}}}}
		NoteOwned(nil, obj)
		if !Owns(obj, fieldPath([]string{strings.Repeat("x", i)})) {
			t.Fatalf("%d is not owned", i)
		}
	}
	if len(decodedSets.byJSON) > mostSets {
		t.Errorf("%d are kept", len(decodedSets.byJSON))
	}
}
