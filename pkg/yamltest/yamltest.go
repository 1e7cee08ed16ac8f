// Package yamltest reads objects from YAML, for tests.
package yamltest

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// Object returns the object of a text in YAML, with whole numbers as int64, as clients decode them. It fails the test
// when the text is no object. The object needs no kind.
func Object(tb testing.TB, text string) *unstructured.Unstructured {
	tb.Helper()
	object := &unstructured.Unstructured{}
	data, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = utiljson.Unmarshal(data, &object.Object)
	}
	if err != nil {
		tb.Fatalf("%v: %s", err, text)
	}
	return object
}
