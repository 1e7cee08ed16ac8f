package syncer

import (
	"errors"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

func TestAnOverrideIsEvaluatedOnceForAllTurns(t *testing.T) {
	const failing, fine = `[{"op":"remove","path":"/spec/none"}]`, `[{"op":"add","path":"/spec/x","value":1}]`
	object := func(override string, change func(*unstructured.Unstructured)) *unstructured.Unstructured {
		obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
		obj.SetUID("u")
		obj.SetGeneration(1)
		obj.SetResourceVersion("1")
		obj.SetAnnotations(map[string]string{v1alpha1.OverrideAnnotation("east"): override})
		if override == "" {
			obj.SetAnnotations(nil)
		}
		if change != nil {
			change(obj)
		}
		return obj
	}
	annotate := func(key, value string) func(*unstructured.Unstructured) {
		return func(obj *unstructured.Unstructured) {
			annotations := obj.GetAnnotations()
			annotations[key] = value
			obj.SetAnnotations(annotations)
		}
	}
	withoutGeneration := func(version string) func(*unstructured.Unstructured) {
		return func(obj *unstructured.Unstructured) { obj.SetGeneration(0); obj.SetResourceVersion(version) }
	}
	same := object(failing, nil)
	prefixed := v1alpha1.TransformRule{NamespacePrefix: "p-"}
	cases := map[string]struct {
		reason string
		turns  []transform.Input
		want   int
	}{
		"AFailure":             {"it fails the same way every 30 s", []transform.Input{{Object: same}, {Object: same}, {Object: same}}, 1},
		"AReport":              {"it changes the object, and nothing of the copy", []transform.Input{{Object: object(failing, nil)}, {Object: object(failing, annotate("status.tmc.kcp.io/east", "{}"))}}, 1},
		"ASuccess":             {"a turn asks twice", []transform.Input{{Object: object(fine, nil)}, {Object: object(fine, nil)}}, 1},
		"AnotherOverride":      {"it may do", []transform.Input{{Object: object(failing, nil)}, {Object: object(fine, nil)}}, 2},
		"AnotherLabel":         {"it goes down", []transform.Input{{Object: object(fine, nil)}, {Object: object(fine, annotate("a", "b"))}}, 2},
		"AnotherGeneration":    {"the spec has changed", []transform.Input{{Object: object(fine, nil)}, {Object: object(fine, func(obj *unstructured.Unstructured) { obj.SetGeneration(2) })}}, 2},
		"AnotherObject":        {"of the same name", []transform.Input{{Object: object(fine, nil)}, {Object: object(fine, func(obj *unstructured.Unstructured) { obj.SetUID("v") })}}, 2},
		"AnotherRule":          {"the cluster's operator has changed it", []transform.Input{{Object: same}, {Object: same, Rule: prefixed}, {Object: same, Rule: prefixed}}, 2},
		"AnAutoscalerHasCome":  {"the copy is without replicas then", []transform.Input{{Object: same}, {Object: same, OmitReplicas: true}}, 2},
		"WithoutGeneration":    {"of a ConfigMap every change counts", []transform.Input{{Object: object(fine, withoutGeneration("1"))}, {Object: object(fine, withoutGeneration("2"))}}, 2},
		"TheOverrideIsGone":    {"nothing is remembered of what costs little", []transform.Input{{Object: object(fine, nil)}, {Object: object("", nil)}, {Object: object("", nil)}}, 3},
		"AndComesBackTheSame":  {"what was forgotten is evaluated", []transform.Input{{Object: same}, {Object: object("", nil)}, {Object: same}}, 3},
		"AnotherClustersShare": {"it is not this one's", []transform.Input{{Object: object(fine, nil)}, {Object: object(fine, annotate("replicas.tmc.kcp.io/west", "3"))}}, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMemories()
			evaluated := 0
			for i, in := range tc.turns {
				in.Origin.Cluster = "east"
				key := kcp.ObjectKey{Workspace: "ws", Name: "web"}
				result, err := m.desired(key, in, func(in transform.Input) (*unstructured.Unstructured, error) {
					evaluated++
					return transform.Desired(in)
				})
				want, wantErr := transform.Desired(in)
				if fmt.Sprint(err) != fmt.Sprint(wantErr) || wantErr == nil && result.GetAnnotations()[v1alpha1.AppliedHashAnnotation] != want.GetAnnotations()[v1alpha1.AppliedHashAnnotation] {
					t.Errorf("%s: turn %d gives %v, %v; want %v, %v", tc.reason, i+1, result, err, want, wantErr)
				}
			}
			if evaluated != tc.want {
				t.Errorf("%s: it was evaluated %d times, want %d", tc.reason, evaluated, tc.want)
			}
		})
	}
}

func TestAFailureKeepsItsType(t *testing.T) {
	m := newMemories()
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetAnnotations(map[string]string{v1alpha1.OverrideAnnotation("east"): "x"})
	for range 2 {
		_, err := m.desired(kcp.ObjectKey{}, transform.Input{Object: obj, Origin: transform.Origin{Cluster: "east"}}, transform.Desired)
		if failed := (&transform.OverrideError{}); !errors.As(err, &failed) {
			t.Errorf("got a %T", err)
		}
	}
}

func TestWhoWaitsAndIsGoneIsForgotten(t *testing.T) {
	w := newWaiters()
	taken := kcp.ObjectKey{Resource: v1alpha1.NamespacesResource, Name: "default"}
	keyOf := func(i int) kcp.ObjectKey {
		return kcp.ObjectKey{Workspace: "attacker", Resource: schema.GroupVersionResource{Resource: "secrets"}, Name: fmt.Sprint(i)}
	}
	for i := range 10_000 {
		w.note(taken, keyOf(i))
		w.note(keyOf(i+1), keyOf(i))
		w.forget(keyOf(i))
	}
	w.note(taken, keyOf(1))
	if len(w.byKey) != 1 || len(w.byKey[taken]) != 1 || len(w.waitsFor) != 1 {
		t.Errorf("%d keys and %d waiters are remembered", len(w.byKey), len(w.waitsFor))
	}
	if waiting := w.take(taken); !waiting.Has(keyOf(1)) || len(w.byKey)+len(w.waitsFor) != 0 {
		t.Errorf("%v wait; %d keys and %d waiters are left", waiting, len(w.byKey), len(w.waitsFor))
	}
}
