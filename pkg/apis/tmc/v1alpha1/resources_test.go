package v1alpha1

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestIsSyncedAndIsWatched(t *testing.T) {
	type answers struct{ synced, watched, watchedByHub bool }
	everything, nothing := answers{true, true, true}, answers{}
	for name, tc := range map[string]struct {
		group, resource string
		clusterScoped   bool
		want            answers
	}{
		"a workload: it runs on clusters":                                                 {"apps", "deployments", false, everything},
		"a claimed kind: workloads need it":                                               {"", "configmaps", false, everything},
		"somebody's kind: what the export serves is synced":                               {"example.com", "widgets", false, everything},
		"a namespace: copies lie in its likeness":                                         {"", "namespaces", true, answers{false, true, true}},
		"an event: tmc writes it itself":                                                  {"", "events", false, nothing},
		"an event, new group: tmc writes it itself":                                       {"events.k8s.io", "events", false, nothing},
		"a revision: the hub keeps it, and clusters have their own":                       {"apps", "replicasets", false, nothing},
		"a revision of another kind":                                                      {"apps", "controllerrevisions", false, nothing},
		"a pod: clusters run them":                                                        {"", "pods", false, nothing},
		"somebody's pods: another group is another kind":                                  {"metrics.k8s.io", "pods", false, everything},
		"a placement: it is for the scheduler alone":                                      {GroupName, "workloadplacements", false, answers{false, false, true}},
		"a binding: it says the workspace's path, and what is bound":                      {"apis.kcp.io", "apibindings", true, answers{false, false, true}},
		"a policy: the hub keeps it":                                                      {"admissionregistration.k8s.io", "validatingadmissionpolicies", true, answers{false, false, true}},
		"a claimed policy: a claim does not say the scope":                                {"admissionregistration.k8s.io", "validatingadmissionpolicybindings", false, answers{false, false, true}},
		"a webhook: it is the consumer's":                                                 {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", true, nothing},
		"a claimed APIExport: it is kcp's own, whatever its scope":                        {"apis.kcp.io", "apiexports", false, nothing},
		"a registration: it is the provider's, not a consumer's":                          {GroupName, "clusterregistrations", true, nothing},
		"somebody's placement: another group is another kind":                             {"example.com", "workloadplacements", false, everything},
		"what has no namespace, and who knows what for: clusters are not the workspace's": {"example.com", "gadgets", true, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			resource := schema.GroupResource{Group: tc.group, Resource: tc.resource}
			got := answers{IsSynced(resource, !tc.clusterScoped), IsWatched(resource, !tc.clusterScoped), IsWatchedByHub(resource, !tc.clusterScoped)}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestIsRevision(t *testing.T) {
	for resource, want := range map[schema.GroupResource]bool{
		{Group: "apps", Resource: "replicasets"}:         true,
		{Group: "apps", Resource: "controllerrevisions"}: true,
		{Group: "apps", Resource: "deployments"}:         false,
		{Resource: "pods"}:                               false,
		{Group: "extensions", Resource: "replicasets"}:   false,
	} {
		if got := IsRevision(resource); got != want {
			t.Errorf("%s: got %t, want %t", resource, got, want)
		}
	}
}
