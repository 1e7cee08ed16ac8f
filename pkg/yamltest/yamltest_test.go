package yamltest

import "testing"

func TestObject(t *testing.T) {
	object := Object(t, "{kind: Pond, metadata: {name: a}, spec: {fish: 5}}")
	spec, _ := object.Object["spec"].(map[string]any)
	if object.GetKind() != "Pond" || object.GetName() != "a" || spec["fish"] != int64(5) {
		t.Errorf("got %v", object.Object)
	}
}
