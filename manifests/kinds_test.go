package manifests

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKinds(t *testing.T) {
	kinds := Kinds()
	var got []string
	for _, kind := range kinds {
		got = append(got, kind.String())
	}
	want := []string{
		"configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts", "services",
		"daemonsets.apps", "deployments.apps", "statefulsets.apps",
		"horizontalpodautoscalers.autoscaling",
		"cronjobs.batch", "jobs.batch",
		"ingresses.networking.k8s.io", "networkpolicies.networking.k8s.io",
		"poddisruptionbudgets.policy",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("every syncer may write these on its cluster: a new one needs a reason (-want +got)\n%s", diff)
	}
}
