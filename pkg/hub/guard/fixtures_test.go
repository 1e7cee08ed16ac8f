package guard

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const (
	provider  logicalcluster.Name = "provider"
	workspace logicalcluster.Name = "ws"
)

// world is a kcp with one workspace. Its caches show at once what is written.
type world struct {
	guard   *Guard
	letsNot bool
	leftOut v1alpha1.LeftOut
	refuses error
	objects map[kcp.ObjectKey]*unstructured.Unstructured
	// blind has the caches not show what is written.
	blind  bool
	writes []string
	told   int
	clock  time.Time
}

func newWorld() *world {
	w := &world{objects: map[kcp.ObjectKey]*unstructured.Unstructured{}, clock: time.Unix(0, 0)}
	w.guard = New(w, w)
	w.guard.Handle(func(logicalcluster.Name) { w.told++ })
	w.guard.now = func() time.Time { return w.clock }
	return w
}

func (w *world) HasReadWorkspace(logicalcluster.Name) bool { return true }
func (w *world) Provider() logicalcluster.Name             { return provider }

func (w *world) LeftOut(logicalcluster.Name, string, schema.GroupResource) v1alpha1.LeftOut {
	return w.leftOut
}

func (w *world) LetsKeepPolicies(logicalcluster.Name) bool { return !w.letsNot }

func (w *world) Cached(key kcp.ObjectKey) *unstructured.Unstructured {
	live := w.objects[key]
	if live == nil || w.blind {
		return nil
	}
	slim := live.DeepCopy()
	Slim(slim)
	Slim(slim) // informers hand over twice what they list
	return slim
}

func (w *world) Live(_ context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error) {
	return w.objects[key], nil
}

func (w *world) Create(_ context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return w.write("create", key, obj)
}

func (w *world) Update(_ context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return w.write("update", key, obj)
}

// write stores what a server would: with its defaults.
func (w *world) write(verb string, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if w.refuses != nil {
		return nil, w.refuses
	}
	w.writes = append(w.writes, verb+" "+obj.GetKind()+" "+obj.GetName())
	obj = obj.DeepCopy()
	if spec, _ := obj.Object["spec"].(map[string]any); obj.GetKind() == "ValidatingAdmissionPolicy" {
		setDefaults(spec)
	}
	w.objects[key] = obj
	w.guard.OnUpstream(key, nil, obj)
	return obj, nil
}

// change changes a policy, or its binding, behind the guard's back.
func (w *world) change(t *testing.T, kind, name string, edit func(*unstructured.Unstructured)) {
	t.Helper()
	key := kcp.ObjectKey{Workspace: workspace, Resource: resources[kind], Name: name}
	if w.objects[key] == nil {
		t.Fatalf("there is no %s %s", kind, name)
	}
	changed := w.objects[key].DeepCopy()
	if w.objects[key] = changed; edit == nil {
		delete(w.objects, key)
	} else {
		edit(changed)
	}
	w.guard.OnUpstream(key, nil, w.objects[key])
}

// sync has the guard look at the workspace, and returns what it writes.
func (w *world) sync(t *testing.T) []string {
	t.Helper()
	w.writes = nil
	if _, err := w.guard.sync(t.Context(), workspace); err != nil {
		t.Fatal(err)
	}
	return w.writes
}

var errRefused = errors.New("refused")

// leave marks an object as being deleted.
func leave(obj *unstructured.Unstructured) {
	obj.SetDeletionTimestamp(new(metav1.Unix(1, 0)))
	obj.SetFinalizers([]string{"a.tenant/has-it"})
}

// set returns an edit that sets a field.
func set(value any, fields ...string) func(*unstructured.Unstructured) {
	return func(obj *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(obj.Object, value, fields...); err != nil {
			panic(err)
		}
	}
}

// keyOf returns the key of an object in the workspace.
func keyOf(obj *unstructured.Unstructured) kcp.ObjectKey {
	plural, _ := meta.UnsafeGuessKindToResource(obj.GroupVersionKind())
	return kcp.ObjectKey{Workspace: workspace, Resource: plural, Name: obj.GetName()}
}
