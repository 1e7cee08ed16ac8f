package v1alpha1

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestWhatIsSyncedAndWatched(t *testing.T) {
	type answers struct{ synced, watched, watchedByHub bool }
	everything, nothing := answers{true, true, true}, answers{}
	for name, tc := range map[string]struct {
		group, resource string
		clusterScoped   bool
		reason          string
		want            answers
	}{
		"a workload":           {"apps", "deployments", false, "it runs on clusters", everything},
		"a claimed kind":       {"", "configmaps", false, "workloads need it", everything},
		"somebody's kind":      {"example.com", "widgets", false, "what the export serves is synced", everything},
		"a namespace":          {"", "namespaces", true, "copies lie in its likeness", answers{false, true, true}},
		"an event":             {"", "events", false, "tmc writes it itself", nothing},
		"an event, new group":  {"events.k8s.io", "events", false, "tmc writes it itself", nothing},
		"a placement":          {GroupName, "workloadplacements", false, "it is for the scheduler alone", answers{false, false, true}},
		"a binding":            {"apis.kcp.io", "apibindings", true, "it says the workspace's path, and what is bound", answers{false, false, true}},
		"a policy":             {"admissionregistration.k8s.io", "validatingadmissionpolicies", true, "the hub keeps it", answers{false, false, true}},
		"a claimed policy":     {"admissionregistration.k8s.io", "validatingadmissionpolicybindings", false, "a claim does not say the scope", answers{false, false, true}},
		"a webhook":            {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", true, "it is the consumer's", nothing},
		"a claimed APIExport":  {"apis.kcp.io", "apiexports", false, "it is kcp's own, whatever its scope", nothing},
		"a registration":       {GroupName, "clusterregistrations", true, "it is the provider's, not a consumer's", nothing},
		"somebody's placement": {"example.com", "workloadplacements", false, "another group is another kind", everything},
		"what has no namespace, and who knows what for": {"example.com", "gadgets", true, "clusters are not the workspace's", nothing},
	} {
		t.Run(name, func(t *testing.T) {
			resource := schema.GroupResource{Group: tc.group, Resource: tc.resource}
			got := answers{IsSynced(resource, !tc.clusterScoped), IsWatched(resource, !tc.clusterScoped), IsWatchedByHub(resource, !tc.clusterScoped)}
			if got != tc.want {
				t.Errorf("got %+v, want %+v: %s", got, tc.want, tc.reason)
			}
		})
	}
}
