package transform

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// disown rewrites what our apply owns, as the server does when others take fields.
func disown(obj *unstructured.Unstructured, old, replacement string) {
	entries := OwnManagedFields(obj.GetManagedFields())
	entries[0].FieldsV1 = metav1.NewFieldsV1(strings.Replace(entries[0].FieldsV1.GetRawString(), old, replacement, 1))
	obj.SetManagedFields(entries)
}

func TestUpToDate(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(upstreamObj, downstreamObj *unstructured.Unstructured)
		want   bool
	}{
		"Untouched": {
			reason: "defaults that the server filled in and quantities that it rewrote are no drift",
			change: func(_, _ *unstructured.Unstructured) {},
			want:   true,
		},
		"OnlyOurOwnershipIsCached": {
			reason: "caches keep no other entry",
			change: func(_, d *unstructured.Unstructured) {
				d.SetManagedFields(OwnManagedFields(d.GetManagedFields()))
				unstructured.RemoveNestedField(d.Object, "spec", "template")
			},
			want: true,
		},
		"TheStatusMoves": {
			reason: "it is not ours",
			change: func(_, d *unstructured.Unstructured) { d.Object["status"] = map[string]any{"replicas": int64(7)} },
			want:   true,
		},
		"AnImageWasSet": {
			reason: "kubectl set image takes the field from us",
			change: func(_, d *unstructured.Unstructured) {
				disown(d, `"f:image":{},"f:name":{},"f:ports"`, `"f:name":{},"f:ports"`)
			},
		},
		"ALabelWasTaken": {
			reason: "labels are applied as well",
			change: func(_, d *unstructured.Unstructured) { disown(d, `"f:team":{},`, ``) },
		},
		"AnAtomicListWasEdited": {
			reason: "tolerations are owned as a whole",
			change: func(_, d *unstructured.Unstructured) { disown(d, `"f:tolerations":{},`, ``) },
		},
		"AContainerWasRemoved": {
			reason: "an element of an associative list is owned by its key",
			change: func(_, d *unstructured.Unstructured) {
				disown(d, `"k:{\"name\":\"side\"}"`, `"k:{\"name\":\"other\"}"`)
			},
		},
		"NoOwnershipIsRecorded": {
			reason: "then nothing says that it stands",
			change: func(_, d *unstructured.Unstructured) { d.SetManagedFields(nil) },
		},
		"TheRecordIsNotReadable": {
			reason: "likewise",
			change: func(_, d *unstructured.Unstructured) { disown(d, `"f:replicas":{}`, `"f:replicas":"?"`) },
		},
		"TheUpstreamObjectChanged": {
			reason: "something else is to be applied",
			change: func(u, _ *unstructured.Unstructured) { u.SetGeneration(2) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			upstreamObj, downstreamObj := fromFile(t, "upstream.yaml"), fromFile(t, "downstream.yaml")
			tc.change(upstreamObj, downstreamObj)
			if got := Stands(desiredOf(t, upstreamObj), downstreamObj); got != tc.want {
				t.Errorf("stands: %t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	base := fromFile(t, "downstream.yaml")
	moved := base.DeepCopy()
	moved.SetResourceVersion("9999")
	moved.Object["status"] = map[string]any{}
	if Fingerprint(base) != Fingerprint(moved) {
		t.Error("a new status moved the fingerprint")
	}
	drifted := base.DeepCopy()
	disown(drifted, `"f:team":{},`, ``)
	if Fingerprint(base) == Fingerprint(drifted) {
		t.Error("a field that was taken did not move the fingerprint")
	}
	changed := base.DeepCopy()
	changed.SetGeneration(base.GetGeneration() + 1)
	if Fingerprint(base) == Fingerprint(changed) {
		t.Error("a new generation did not move the fingerprint")
	}
}
