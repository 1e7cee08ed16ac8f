package heartbeat

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestNoticeable(t *testing.T) {
	status := func(mutations ...func(*v1alpha1.ClusterRegistrationStatus)) v1alpha1.ClusterRegistrationStatus {
		s := v1alpha1.ClusterRegistrationStatus{
			KubernetesVersion: "v1.36.3", Nodes: 3, Resources: []string{"configmaps/v1"},
			Allocatable: list("100", "100Gi", "300"), Requested: list("10", "10Gi", "30"),
		}
		for _, mutate := range mutations {
			mutate(&s)
		}
		return s
	}
	type s = *v1alpha1.ClusterRegistrationStatus
	cases := map[string]struct {
		reason string
		is     v1alpha1.ClusterRegistrationStatus
		want   bool
	}{
		"nothing":            {"silence", status(), false},
		"another spelling":   {"quantities are compared, not texts", status(func(s s) { s.Requested = list("10000m", "10240Mi", "30") }), false},
		"the hub's part":     {"conditions are not ours", status(func(s s) { s.Conditions = []metav1.Condition{{Type: "Ready"}} }), false},
		"version":            {"an upgrade", status(func(s s) { s.KubernetesVersion = "v1.37.0" }), true},
		"export":             {"it was joined with another isolation", status(func(s s) { s.Export = "cluster-east" }), true},
		"nodes":              {"one more", status(func(s s) { s.Nodes = 4 }), true},
		"resources":          {"a kind more", status(func(s s) { s.Resources = []string{"configmaps/v1", "jobs.batch/v1"} }), true},
		"a little requested": {"pods come and go", status(func(s s) { s.Requested = list("14900m", "14Gi", "44") }), false},
		"cpu requested":      {"5 of 100", status(func(s s) { s.Requested = list("15", "10Gi", "30") }), true},
		"memory released":    {"less counts as more does", status(func(s s) { s.Requested = list("10", "5Gi", "30") }), true},
		"pods requested":     {"15 of 300", status(func(s s) { s.Requested = list("10", "10Gi", "45") }), true},
		"a little less":      {"a node keeps a little more for itself", status(func(s s) { s.Allocatable = list("99", "99Gi", "300") }), false},
		"much less":          {"a twentieth", status(func(s s) { s.Allocatable = list("95", "100Gi", "300") }), true},
		"not known any more": {"it is hidden now", status(func(s s) { s.Allocatable, s.Requested = nil, nil }), true},
		"nothing is left":    {"of nothing, anything is noticeable", status(func(s s) { s.Allocatable, s.Requested = list("0", "0", "0"), list("1", "0", "0") }), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := noticeable(status(), c.is); got != c.want {
				t.Errorf("%s: got %t, want %t", c.reason, got, c.want)
			}
		})
	}
}
