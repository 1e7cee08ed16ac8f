package protocol

import (
	"encoding/json"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestStatusPatch applies the patch of a status, as an API server does, to an object that has changed since it was read.
func TestStatusPatch(t *testing.T) {
	read := func() *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{
				"name": "web", "uid": "u", "resourceVersion": "7",
				"labels": map[string]any{"app": "web", "cluster.tmc.kcp.io/east": "sync", "cluster.tmc.kcp.io/north": "sync"},
				"annotations": map[string]any{
					"kcp.io/cluster": "abc", "replicas.tmc.kcp.io/east": "2", "deletion.tmc.kcp.io/north": "2026-03-01T12:00:00Z", "status.tmc.kcp.io/east": "{}",
				},
			},
			"status": map[string]any{"replicas": int64(1), "unavailableReplicas": int64(1)},
		}}
	}
	set := func(field, key string, value any) func(metadata map[string]any) {
		return func(metadata map[string]any) {
			if entries := metadata[field].(map[string]any); value == nil {
				delete(entries, key)
			} else {
				entries[key] = value
			}
		}
	}
	annotated := func(key string, value any) func(metadata map[string]any) { return set("annotations", key, value) }
	labelled := func(key string, value any) func(metadata map[string]any) { return set("labels", key, value) }
	cases := map[string]struct {
		before            func(metadata map[string]any) // what the object was like when it was read
		change            func(metadata map[string]any) // what has changed since
		applied, whenSame bool                          // whether the patch is applied, and the one that is for that very state
	}{
		"nothing has changed":                           {nil, func(map[string]any) {}, true, true},
		"a report has come":                             {nil, annotated("status.tmc.kcp.io/north", "{}"), true, false},
		"an annotation of the user's":                   {nil, annotated("note", "x"), true, false},
		"a finalizer has gone":                          {nil, func(m map[string]any) { m["finalizers"] = []any{"a/b"} }, true, false},
		"a cluster has come":                            {nil, labelled("cluster.tmc.kcp.io/west", "sync"), false, false},
		"a cluster has gone":                            {nil, labelled("cluster.tmc.kcp.io/north", nil), false, false},
		"a cluster is to leave":                         {nil, annotated("deletion.tmc.kcp.io/east", "2026-03-01T12:00:00Z"), false, false},
		"one that was leaving stays":                    {nil, annotated("deletion.tmc.kcp.io/north", nil), false, false},
		"a share has changed":                           {nil, annotated("replicas.tmc.kcp.io/east", "3"), false, false},
		"a share has come":                              {nil, annotated("replicas.tmc.kcp.io/north", "3"), false, false},
		"shares are gone":                               {nil, annotated("replicas.tmc.kcp.io/east", nil), false, false},
		"a part has come":                               {nil, annotated("partition.tmc.kcp.io/east", "1/2"), false, false},
		"it is another object":                          {nil, func(m map[string]any) { m["uid"] = "v" }, false, false},
		"one without labels is placed":                  {func(m map[string]any) { delete(m, "labels") }, func(m map[string]any) { m["labels"] = map[string]any{"a": "b"} }, false, false},
		"one without labels is as it was":               {func(m map[string]any) { delete(m, "labels") }, func(map[string]any) {}, true, true},
		"one without annotations is as it was":          {func(m map[string]any) { delete(m, "annotations") }, func(map[string]any) {}, true, true},
		"one whose labels have gone":                    {nil, func(m map[string]any) { delete(m, "labels") }, false, false},
		"a cluster whose name is a part of a JSON path": {func(m map[string]any) { labelled("cluster.tmc.kcp.io/a~b", "sync")(m) }, func(map[string]any) {}, true, true},
	}
	for name, tc := range cases {
		for _, exactly := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				obj := read()
				if tc.before != nil {
					tc.before(obj.Object["metadata"].(map[string]any))
				}
				patch, err := Read(obj).StatusPatch(map[string]any{"replicas": int64(2)}, exactly)
				if err != nil {
					t.Fatal(err)
				}
				before, _ := json.Marshal(obj)
				live := obj.DeepCopy()
				tc.change(live.Object["metadata"].(map[string]any))
				if after, _ := json.Marshal(live); string(after) != string(before) {
					live.SetResourceVersion("8")
				}
				want := tc.applied
				if exactly {
					want = tc.whenSame
				}
				status, isApplied := applyPatch(t, live, patch)
				if isApplied != want {
					t.Fatalf("exactly: %v, applied: %v: %s", exactly, isApplied, patch)
				}
				if diff := cmp.Diff(map[string]any{"replicas": 2.0}, status); want && diff != "" {
					t.Errorf("status (-want +got):\n%s", diff)
				}
			})
		}
	}
	t.Run("the status of an object without one", func(t *testing.T) {
		obj := read()
		delete(obj.Object, "status")
		patch, err := Read(obj).StatusPatch(map[string]any{}, false)
		if status, isApplied := applyPatch(t, obj, patch); err != nil || !isApplied || status == nil {
			t.Errorf("%v; %v", err, status)
		}
	})
	t.Run("what is no JSON", func(t *testing.T) {
		if _, err := Read(read()).StatusPatch(map[string]any{"x": func() {}}, false); err == nil {
			t.Error("no error")
		}
	})
	if v1alpha1.StatusAnnotationPrefix != "status.tmc.kcp.io/" {
		t.Error("the keys here are no longer those of tmc")
	}
}

// applyPatch returns the status of an object with a JSON patch, and whether that is applied.
func applyPatch(t *testing.T, obj *unstructured.Unstructured, encoded []byte) (status map[string]any, isApplied bool) {
	t.Helper()
	patch, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		t.Fatal(err)
	}
	document, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply(document)
	if err != nil {
		return nil, false
	}
	var result struct{ Status map[string]any }
	if err := json.Unmarshal(patched, &result); err != nil {
		t.Fatal(err)
	}
	return result.Status, true
}
