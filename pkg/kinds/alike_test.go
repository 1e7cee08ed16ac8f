package kinds

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestAlikeTexts(t *testing.T) {
	claims := Kinds{}.Of(schema.GroupKind{Kind: "PersistentVolumeClaim"})
	claim := func(volume any, status map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"volumeName": volume}, "status": status}}
	}
	bound := map[string]any{"phase": "Bound", "accessModes": []any{"ReadWriteOnce"}, "capacity": map[string]any{"storage": "1Gi"}}
	cases := map[string]struct {
		kind *Kind
		obj  *unstructured.Unstructured
		want map[string]string
	}{
		"a claim that is bound":   {claims, claim("pv-1", bound), map[string]string{"accessModes": `["ReadWriteOnce"]`, "capacity": `{"storage":"1Gi"}`, "boundTo": "pv-1"}},
		"one that is not":         {claims, claim("", map[string]any{"phase": "Pending"}), map[string]string{}},
		"without a status":        {claims, claim(nil, nil), map[string]string{}},
		"a name that is too long": {claims, claim(strings.Repeat("x", 129), nil), map[string]string{}},
		"another kind":            {Kinds{}.Of(schema.GroupKind{Group: "apps", Kind: "Deployment"}), claim("pv-1", bound), map[string]string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.kind.AlikeTexts(tc.obj, 128)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			want := ""
			if tc.kind == claims {
				want = tc.want["boundTo"]
			}
			if got := tc.kind.BoundToIn(map[string]string{"boundTo": want}); got != want {
				t.Errorf("it is bound to %q, want %q", got, want)
			}
		})
	}
}

func TestTTLOf(t *testing.T) {
	jobs := Kinds{}.Of(schema.GroupKind{Group: "batch", Kind: "Job"})
	for name, tc := range map[string]struct {
		value any
		want  time.Duration
		has   bool
	}{
		"seconds":                {int64(10), 10 * time.Second, true},
		"none":                   {int64(0), 0, true},
		"negative":               {int64(-1), 0, false},
		"nothing":                {nil, 0, false},
		"more than there can be": {int64(1) << 60, (1<<31 - 1) * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"ttlSecondsAfterFinished": tc.value}}}
			if got, has := jobs.TTLOf(obj); got != tc.want || has != tc.has {
				t.Errorf("got %s, %t", got, has)
			}
		})
	}
}
