package transform

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestShareOfReplicas(t *testing.T) {
	cases := map[string]struct {
		reason, object string
		omit           bool
		// want is -1 where the copy says nothing.
		want int64
		fail bool
	}{
		"Divided":          {"its share", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "2"}}, spec: {replicas: 9}}`, false, 2, false},
		"DividedToNothing": {"none is a share, too", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "0"}}, spec: {replicas: 9}}`, false, 0, false},
		"AnothersShare":    {"is none of its business", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/west: "2"}}, spec: {replicas: 9}}`, false, 9, false},
		"ScaledElsewhere":  {"somebody there decides", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "2"}}, spec: {replicas: 9}}`, true, -1, false},
		"Overridden":       {"the user has the last word", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "2", override.tmc.kcp.io/east: '[{"op":"replace","path":"/spec/replicas","value":5}]'}}, spec: {replicas: 9}}`, false, 5, false},
		"NoNumber":         {"nothing is sent down, rather than all", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "many"}}, spec: {replicas: 9}}`, false, 0, true},
		"Negative":         {"likewise", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "-1"}}, spec: {replicas: 9}}`, false, 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := inputOf(object(t, tc.object), v1alpha1.TransformRule{})
			in.Origin.Cluster, in.OmitReplicas = "east", tc.omit
			desired, err := Desired(in)
			if tc.fail || err != nil {
				if !tc.fail || err == nil {
					t.Errorf("%s: error %v", tc.reason, err)
				}
				return
			}
			got, found, _ := unstructured.NestedInt64(desired.Object, "spec", "replicas")
			if !found {
				got = -1
			}
			if got != tc.want {
				t.Errorf("%s: it runs %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}
