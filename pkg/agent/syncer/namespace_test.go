package syncer

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

func TestEveryStateOfANamespaceHasOneAction(t *testing.T) {
	owner := transform.Origin{Workspace: "ws", Name: "app", Cluster: "east"}
	desired, err := transform.DesiredNamespace(nil, owner, v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	noted, err := transform.NotedNamespace("app", owner)
	if err != nil {
		t.Fatal(err)
	}
	standing := desired.DeepCopy()
	standing.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply,
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{},"f:annotations":{}}}`),
	}})
	leaving := standing.DeepCopy()
	deleting(leaving)
	older := standing.DeepCopy()
	older.SetLabels(map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
	annotations := older.GetAnnotations()
	annotations[v1alpha1.AppliedHashAnnotation] = "of an earlier version"
	older.SetAnnotations(annotations)
	heir := &transform.Origin{Workspace: "other", Name: "app", Cluster: "east"}
	cases := map[string]struct {
		reason string
		state  namespaceState
		want   namespaceAction
	}{
		"NoMarkOfOurs":         {"it is none of our business", namespaceState{}, namespaceStays},
		"NoMarkButCopies":      {"workspaces are separated from now on, or somebody took the mark off", namespaceState{heir: heir}, namespaceNotes},
		"OnItsWayOut":          {"once is enough", namespaceState{downstreamObj: leaving}, namespaceStays},
		"OnItsWayOutWithHeir":  {"it is gone in a moment", namespaceState{downstreamObj: leaving, heir: heir}, namespaceStays},
		"Unused":               {"if nothing else is in it", namespaceState{downstreamObj: standing, desired: desired, owner: owner}, namespaceGoes},
		"Used":                 {"as it should be", namespaceState{downstreamObj: standing, desired: desired, owner: owner, isUsed: true}, namespaceStays},
		"UsedAndOther":         {"the user has changed theirs, or somebody ours", namespaceState{downstreamObj: desired, desired: desired, owner: owner, isUsed: true}, namespaceUpdates},
		"UsedAndOlder":         {"it does not bear its workspace as a label yet", namespaceState{downstreamObj: older, desired: desired, owner: owner, isUsed: true}, namespaceUpdates},
		"UsedElsewhere":        {"the rule has changed, and copies are on their way", namespaceState{downstreamObj: standing, owner: owner, isUsed: true}, namespaceStays},
		"AnOperatorsUnused":    {"it is not tmc's to remove", namespaceState{downstreamObj: noted, desired: noted, owner: owner}, namespaceFrees},
		"AnOperatorsUsed":      {"its note was changed", namespaceState{downstreamObj: noted, desired: noted, owner: owner, isUsed: true}, namespaceUpdates},
		"UnusedByItsOwner":     {"another workspace's copies were there all along", namespaceState{downstreamObj: standing, owner: owner, heir: heir}, namespaceHandsOver},
		"AnOperatorsWithHeir":  {"likewise", namespaceState{downstreamObj: noted, owner: owner, heir: heir}, namespaceHandsOver},
		"FreeAndKeptByOthers":  {"it goes when it is empty", namespaceState{downstreamObj: standing}, namespaceGoes},
		"FreeWithCopiesInside": {"they have it", namespaceState{downstreamObj: standing, heir: heir}, namespaceHandsOver},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := decideNamespace(tc.state); got != tc.want {
				t.Errorf("got %s, want %s: %s", got, tc.want, tc.reason)
			}
		})
	}
}

func TestWhatComesByItselfDoesNotKeepANamespace(t *testing.T) {
	cases := map[string]struct {
		resource  schema.GroupResource
		name, uid string
		want      bool
	}{
		"TheRootCA":           {schema.GroupResource{Resource: "configmaps"}, "kube-root-ca.crt", "u", true},
		"TheDefaultAccount":   {schema.GroupResource{Resource: "serviceaccounts"}, "default", "u", true},
		"WhatIsNotStored":     {schema.GroupResource{Group: "metrics.k8s.io", Resource: "pods"}, "web-1", "", true},
		"AConfigMap":          {schema.GroupResource{Resource: "configmaps"}, "theirs", "u", false},
		"AnotherKindsDefault": {schema.GroupResource{Resource: "configmaps"}, "default", "u", false},
		"AClaimWithData":      {schema.GroupResource{Resource: "persistentvolumeclaims"}, "data-db-0", "u", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: tc.name, UID: types.UID(tc.uid)}}
			if got := comesByItself(tc.resource, obj); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}

func TestTheOldCopyServesUntilTheNewOneDoes(t *testing.T) {
	workload := func(replicas, available int64) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"spec": map[string]any{"replicas": replicas}, "status": map[string]any{"availableReplicas": available},
		}}
	}
	daemons := func(generation, observed, desired, available int64) *unstructured.Unstructured {
		obj := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{
			"observedGeneration": observed, "desiredNumberScheduled": desired, "numberAvailable": available,
		}}}
		obj.SetGeneration(generation)
		return obj
	}
	cases := map[string]struct {
		reason             string
		newOne, strayOfOld *unstructured.Unstructured
		want               bool
	}{
		"None":                  {"it is not made yet", nil, workload(3, 3), false},
		"Fewer":                 {"it is coming up", workload(3, 2), workload(3, 3), false},
		"AsMany":                {"", workload(3, 3), workload(3, 3), true},
		"TheOldNeverCameUp":     {"there is nothing to lose", workload(3, 0), workload(3, 0), true},
		"TheOldWasHalfUp":       {"half will do", workload(3, 1), workload(3, 1), true},
		"ScaledDownMeanwhile":   {"no more than it is to have", workload(1, 1), workload(3, 3), true},
		"DaemonsNotCounted":     {"its controller has not looked yet", daemons(1, 0, 0, 0), daemons(1, 1, 2, 2), false},
		"DaemonsUp":             {"", daemons(1, 1, 2, 2), daemons(1, 1, 2, 2), true},
		"DaemonsOnFewerNodes":   {"", daemons(1, 1, 1, 1), daemons(1, 1, 2, 2), true},
		"DaemonsStillComingUp":  {"", daemons(1, 1, 2, 1), daemons(1, 1, 2, 2), false},
		"WhatEndsDoesNotWaitIt": {"a Job serves nobody", workload(0, 0), workload(0, 0), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := servesAs(tc.newOne, tc.strayOfOld); got != tc.want {
				t.Errorf("got %t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}
