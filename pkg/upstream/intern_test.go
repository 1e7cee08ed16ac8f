package upstream

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestIntern(t *testing.T) {
	made := func(name string) *unstructured.Unstructured {
		word := func(text string) string { return string([]byte(text)) } // as a decoder makes it
		return &unstructured.Unstructured{Object: map[string]any{
			word("kind"): word("Deployment"), word("metadata"): map[string]any{word("name"): word(name), word("uid"): word("uid-" + name)},
			word("list"): []any{word("item"), int64(1), map[string]any{word("inner"): word("text")}},
		}}
	}
	a, b := made("a"), made("b")
	Intern(a)
	Intern(b)
	if diff := cmp.Diff(made("a").Object, a.Object); diff != "" {
		t.Errorf("it changes what the object says (-want +got):\n%s", diff)
	}
	at := func(obj *unstructured.Unstructured) *byte { return unsafe.StringData(obj.GetKind()) }
	if at(a) != at(b) {
		t.Error("two objects have a word of their own each")
	}
	for key := range a.Object {
		for other := range b.Object {
			if key == other && unsafe.StringData(key) != unsafe.StringData(other) {
				t.Errorf("two objects have a field %s of their own each", key)
			}
		}
	}
	for i := range 2 * mostShared {
		Intern(&unstructured.Unstructured{Object: map[string]any{fmt.Sprint("key-", i): "value"}})
	}
	if got := len(texts.known); got > mostShared {
		t.Errorf("%d texts are kept", got)
	}
}
