package v1alpha1

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIsOwnKey(t *testing.T) {
	for key, want := range map[string]bool{
		"kcp.io/cluster":                       true,
		"tmc.kcp.io/target-clusters":           true,
		"cluster.tmc.kcp.io/east":              true,
		"claimed.internal.apis.kcp.io/abc":     true,
		"app":                                  false,
		"kcp.io":                               true,
		"notkcp.io/x":                          false,
		"kcp.io.example.com/x":                 false,
		"example.com/kcp.io":                   false,
		"app.kubernetes.io/managed-by":         false,
		"experimental.core.kcp.io/some-marker": true,
	} {
		if got := IsOwnKey(key); got != want {
			t.Errorf("%s: %t, want %t", key, got, want)
		}
	}
}

func TestIsolationGroups(t *testing.T) {
	for name, c := range map[string]struct {
		spec   ClusterRegistrationSpec
		export string
		want   []string
	}{
		"shared: it sees everything":                           {ClusterRegistrationSpec{}, APIExportName, nil},
		"isolated: it has a view of its own":                   {ClusterRegistrationSpec{Isolation: IsolationCluster}, ClusterExport("east"), nil},
		"in a group: the group's":                              {ClusterRegistrationSpec{Isolation: IsolationGroup, IsolationGroup: "eu"}, GroupExport("eu"), []string{"eu"}},
		"not run yet: the group's":                             {ClusterRegistrationSpec{Isolation: IsolationGroup, IsolationGroup: "eu"}, "", []string{"eu"}},
		"to another: its syncer sees it in the one before yet": {ClusterRegistrationSpec{Isolation: IsolationGroup, IsolationGroup: "us"}, GroupExport("eu"), []string{"us", "eu"}},
		"out of a group: its syncer sees it there yet":         {ClusterRegistrationSpec{Isolation: IsolationCluster}, GroupExport("eu"), []string{"eu"}},
		"into the group: its syncer sees it elsewhere yet":     {ClusterRegistrationSpec{Isolation: IsolationGroup, IsolationGroup: "eu"}, ClusterExport("east"), []string{"eu"}},
	} {
		t.Run(name, func(t *testing.T) {
			registration := &ClusterRegistration{Spec: c.spec, Status: ClusterRegistrationStatus{Export: c.export}}
			if diff := cmp.Diff(c.want, registration.IsolationGroups()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateGroupName(t *testing.T) {
	for name, valid := range map[string]bool{
		"eu-prod": true, "e": true, strings.Repeat("g", 50): true, strings.Repeat("g", 51): false, "": false, "EU": false, "a.b": false, "-a": false,
	} {
		if err := ValidateGroupName(name); (err == nil) != valid {
			t.Errorf("%q: got %v, want it to be valid: %t", name, err, valid)
		}
	}
}

func TestStatusCountersAnnotation(t *testing.T) {
	for counters, want := range map[StatusCounters]string{StatusCountersSum: "sum", StatusCountersPerCluster: "per-cluster", "": "", "Both": ""} {
		if got := counters.Annotation(); got != want {
			t.Errorf("%q: got %q, want %q", counters, got, want)
		}
	}
}
