package kcp

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAPatchHoldsWhatItChangesAndNothingElse(t *testing.T) {
	of := &metav1.ObjectMeta{Name: "web", UID: "u-1", ResourceVersion: "7"}
	cases := map[string]struct {
		patch MetadataPatch
		want  string
	}{
		"AnAnnotation": {
			MetadataPatch{Of: of, Annotations: map[string]*string{"b": new("2"), "a": nil}},
			`{"metadata":{"annotations":{"a":null,"b":"2"},"uid":"u-1"}}`,
		},
		"LabelsIfUnchanged": {
			MetadataPatch{Of: of, Labels: map[string]*string{"a": new("1")}, IfUnchangedSince: true},
			`{"metadata":{"labels":{"a":"1"},"resourceVersion":"7","uid":"u-1"}}`,
		},
		"FinalizersAlwaysIfUnchanged": {
			MetadataPatch{Of: of, Finalizers: []string{"x/y"}},
			`{"metadata":{"finalizers":["x/y"],"resourceVersion":"7","uid":"u-1"}}`,
		},
		"TheLastFinalizer": {
			MetadataPatch{Of: of, Finalizers: []string{}},
			`{"metadata":{"finalizers":[],"resourceVersion":"7","uid":"u-1"}}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.patch.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
		})
	}
}
