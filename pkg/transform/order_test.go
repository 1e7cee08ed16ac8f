package transform

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields/managedfieldstest"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// server keeps one object of a kind, and its managedFields, with the code of API servers.
type server struct {
	t       *testing.T
	manager managedfieldstest.TestFieldManager
}

func newServer(t *testing.T, gvk schema.GroupVersionKind) server {
	t.Helper()
	return server{t, managedfieldstest.NewTestFieldManager(applyconfigurations.NewTypeConverter(scheme.Scheme), gvk)}
}

// apply is a server-side apply of ours.
func (s server) apply(desired *unstructured.Unstructured) *unstructured.Unstructured {
	s.t.Helper()
	if err := s.manager.Apply(desired.DeepCopy(), v1alpha1.FieldManager, true); err != nil {
		s.t.Fatal(err)
	}
	return s.live()
}

// update has somebody change the object.
func (s server) update(change func(obj *unstructured.Unstructured)) *unstructured.Unstructured {
	s.t.Helper()
	obj := s.live()
	change(obj)
	if err := s.manager.Update(obj, "somebody"); err != nil {
		s.t.Fatal(err)
	}
	return s.live()
}

func (s server) live() *unstructured.Unstructured {
	live, isUnstructured := s.manager.Live().(*unstructured.Unstructured)
	if !isUnstructured {
		s.t.Fatalf("the server has %T", s.manager.Live())
	}
	return live
}

// slimmed leaves of an object what a cache keeps of it.
func slimmed(obj *unstructured.Unstructured) *unstructured.Unstructured {
	slim := obj.DeepCopy()
	delete(slim.Object, "spec")
	NoteOrder(slim, Order(obj))
	return slim
}

// TestOrderOfLists has somebody on the cluster change lists, and says whether that is drift, and that an apply mends it.
func TestOrderOfLists(t *testing.T) {
	desired := transformed(t, inputOf(object(t, `{apiVersion: apps/v1, kind: Deployment, spec: {selector: {matchLabels: {app: web}}, template: {
		metadata: {labels: {app: web}}, spec: {
			initContainers: [{name: migrate, image: a}, {name: fetch, image: b}],
			containers: [{name: main, image: c, env: [{name: BASE, value: x}, {name: URL, value: $(BASE)/y}],
				ports: [{containerPort: 53, protocol: UDP}, {containerPort: 53}, {containerPort: 80}], args: [a, b]}],
			tolerations: [{key: a}, {key: b}]}}}}`), v1alpha1.TransformRule{}))
	spec := func(obj *unstructured.Unstructured) map[string]any {
		return child(obj.Object, "spec", "template", "spec")
	}
	main := func(obj *unstructured.Unstructured) map[string]any { return children(spec(obj), "containers")[0] }
	reverse := func(of map[string]any, list string) {
		items, _ := of[list].([]any)
		turned := []any{}
		for _, item := range items {
			turned = append([]any{item}, turned...)
		}
		of[list] = turned
	}
	insert := func(of map[string]any, list string, at int, item map[string]any) {
		items, _ := of[list].([]any)
		of[list] = append(append(append([]any{}, items[:at]...), item), items[at:]...)
	}
	cases := map[string]struct {
		change func(obj *unstructured.Unstructured)
		drift  bool
	}{
		"nothing":                      {func(*unstructured.Unstructured) {}, false},
		"init containers turned round": {func(obj *unstructured.Unstructured) { reverse(spec(obj), "initContainers") }, true},
		"an environment turned round":  {func(obj *unstructured.Unstructured) { reverse(main(obj), "env") }, true},
		"ports turned round":           {func(obj *unstructured.Unstructured) { reverse(main(obj), "ports") }, true},
		"an atomic list turned round":  {func(obj *unstructured.Unstructured) { reverse(main(obj), "args") }, true},
		"tolerations turned round":     {func(obj *unstructured.Unstructured) { reverse(spec(obj), "tolerations") }, true},
		"a sidecar before ours": {func(obj *unstructured.Unstructured) {
			insert(spec(obj), "containers", 0, map[string]any{"name": "side"})
		}, false},
		"an init container between": {func(obj *unstructured.Unstructured) {
			insert(spec(obj), "initContainers", 1, map[string]any{"name": "in"})
		}, false},
		"a variable before ours": {func(obj *unstructured.Unstructured) { insert(main(obj), "env", 0, map[string]any{"name": "X"}) }, false},
		"one between and a turn": {func(obj *unstructured.Unstructured) {
			insert(main(obj), "env", 1, map[string]any{"name": "X"})
			reverse(main(obj), "env")
		}, true},
		"a variable twice": {func(obj *unstructured.Unstructured) {
			insert(main(obj), "env", 2, map[string]any{"name": "BASE", "value": "z"})
		}, true},
		"a variable twice, theirs first": {func(obj *unstructured.Unstructured) {
			insert(main(obj), "env", 0, map[string]any{"name": "BASE", "value": "z"})
		}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, desired.GroupVersionKind())
			s.apply(desired)
			// What a server fills in, the keys of list items among it.
			s.update(func(obj *unstructured.Unstructured) {
				for _, port := range children(main(obj), "ports") {
					if port["protocol"] == nil {
						port["protocol"] = "TCP"
					}
				}
			})
			changed := s.update(tc.change)
			for way, live := range map[string]*unstructured.Unstructured{"live": changed, "in a cache": slimmed(changed)} {
				if drifted := !IsInSync(desired, live); drifted != tc.drift {
					t.Errorf("%s: drifted %t, want %t\n%v", way, drifted, tc.drift, changed.Object["spec"])
				}
			}
			if mended := s.apply(desired); !IsInSync(desired, mended) {
				t.Errorf("an apply does not mend it:\n%v", mended.Object["spec"])
			}
		})
	}
}

// TestOrderOfOddLists is about what the lists of known kinds are not: values, and what does not fit what is owned.
func TestOrderOfOddLists(t *testing.T) {
	owning := func(fields, content string) *unstructured.Unstructured {
		obj := object(t, content)
		obj.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(fields),
		}})
		return obj
	}
	const (
		values = `{"f:spec":{"f:set":{"v:\"a\"":{},"v:2":{}}}}`
		keys   = `{"f:spec":{"f:set":{"k:{\"name\":\"a\"}":{"f:x":{}},"k:{\"name\":\"b\"}":{"f:x":{}}}}}`
	)
	cases := map[string]struct {
		fields, one, other string
		same               bool
	}{
		"values":                  {values, `{spec: {set: [a, 2]}}`, `{spec: {set: [2, a]}}`, false},
		"values of others":        {values, `{spec: {set: [a, 2]}}`, `{spec: {set: [x, a, x, 2]}}`, true},
		"one of ours is gone":     {keys, `{spec: {set: [{name: a}, {name: b}]}}`, `{spec: {set: [{name: b}]}}`, false},
		"one has no order":        {keys, `{spec: {set: [{name: a}]}}`, `{spec: {set: [{name: b}]}}`, true},
		"no list":                 {keys, `{spec: {set: text}}`, `{spec: 5}`, true},
		"items that are no items": {keys, `{spec: {set: [{name: a}, {name: b}]}}`, `{spec: {set: [5, {name: a}, [x], {name: b}]}}`, true},
		"nothing is owned":        {`{"x":{}}`, `{spec: {set: [a, 2]}}`, `{spec: {set: [2, a]}}`, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			one, other := Order(owning(tc.fields, tc.one)), Order(owning(tc.fields, tc.other))
			if same := one == other; same != tc.same {
				t.Errorf("%x and %x: the same is %t, want %t", one, other, same, tc.same)
			}
		})
	}
}
