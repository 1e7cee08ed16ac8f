package aggregate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// syncedOf merges, and returns the condition Synced.
func syncedOf(t *testing.T, in Input) string {
	t.Helper()
	status, _ := Status(in)
	for _, item := range status[conditionsField].([]any) {
		if c := item.(map[string]any); c["type"] == v1alpha1.ConditionSynced {
			return fmt.Sprintf("%s %s %s", c["status"], c["reason"], c["message"])
		}
	}
	return "none"
}

func TestSyncedIsOfThePresentGeneration(t *testing.T) {
	const wasSynced, wasNot = "True", "False"
	cases := map[string]struct {
		kind    string
		reports []protocol.Report
		inputs  string
		was     string
		waits   bool
		want    string
		asked   bool
	}{
		"all have it": {"Deployment", []protocol.Report{complete("east", 2, 1), complete("west", 2, 1)}, "", wasSynced, false, "True Synced In place in 2 clusters.", false},
		"one has the former, and may for a moment": {
			"Deployment", []protocol.Report{complete("east", 1, 1), complete("west", 2, 1)}, "", wasSynced, true, "True Synced In place in 2 clusters.", true,
		},
		"one has the former for longer": {
			"Deployment", []protocol.Report{complete("east", 1, 1), complete("west", 2, 1)}, "", wasSynced, false, "False NotTakenUp east: has applied generation 1, not yet 2", true,
		},
		"a new object does not become true for a moment": {
			"Deployment", []protocol.Report{complete("east", 1, 1), complete("west", 2, 1)}, "", wasNot, true, "False NotTakenUp east: has applied generation 1, not yet 2", false,
		},
		"one has no copy, and says nothing of why": {
			"Deployment", []protocol.Report{with(complete("east", 0, 1), func(r *protocol.Report) { r.LocalGeneration = 0 }), complete("west", 2, 1)}, "", wasNot, false,
			"False NotTakenUp east: has no copy of generation 2 yet", false,
		},
		"both lack something": {
			"Deployment", []protocol.Report{complete("east", 1, 1), with(complete("west", 0, 1), func(r *protocol.Report) { r.LocalGeneration = 0 })}, "", wasSynced, false,
			"False NotTakenUp east: has applied generation 1, not yet 2; west: has no copy of generation 2 yet", true,
		},
		"made with other labels": {
			"Deployment", []protocol.Report{complete("east", 2, 1), complete("west", 2, 1)}, "other", wasSynced, false,
			"False NotTakenUp east: has not applied the present labels, annotations, override or share of replicas yet; west: has not applied the present labels, annotations, override or share of replicas yet", true,
		},
		"its controller has not observed it": {
			"Deployment", []protocol.Report{with(complete("east", 2, 1), func(r *protocol.Report) { r.LocalObservedGeneration = 1 }), complete("west", 2, 1)}, "", wasSynced, false,
			"True Synced In place in 2 clusters.", true,
		},
		"a kind without generations on clusters": {
			"Service", []protocol.Report{{Version: 1, Cluster: "east", Generation: 2}, {Version: 1, Cluster: "west", Generation: 2}}, "", wasNot, false, "True Synced In place in 2 clusters.", false,
		},
		"a Job that has run is not run again for a change": {
			"Job", []protocol.Report{jobReport("east", "2026-01-01T00:00:01Z", "2026-01-01T00:00:09Z", "Complete"), jobReport("west", "2026-01-01T00:00:01Z", "2026-01-01T00:00:09Z", "Complete")}, "", wasNot, false,
			"True Synced In place in 2 clusters.", false,
		},
		"a problem comes first": {
			"Deployment", []protocol.Report{complete("east", 1, 1), with(complete("west", 1, 1), func(r *protocol.Report) { r.Problems = []protocol.Problem{{Reason: "Conflict", Message: "in the way"}} })},
			"", wasSynced, true, "False Conflict west: in the way", false,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			apiVersion := map[string]string{"Deployment": "apps/v1", "Service": "v1", "Job": "batch/v1"}[tc.kind]
			object := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": apiVersion, "kind": tc.kind, "metadata": map[string]any{"name": "app", "generation": int64(2)},
				"status": map[string]any{"conditions": []any{map[string]any{"type": "Synced", "status": tc.was, "reason": "Synced", "message": "In place in 2 clusters."}}},
			}}
			object.SetLabels(placement([]string{"east", "west"}))
			object.SetAnnotations(annotations(t, tc.reports...))
			asked := false
			in := Input{Object: object, Now: now, Inputs: func(string) string { return tc.inputs }, Waits: func() bool { asked = true; return tc.waits }}
			if got := syncedOf(t, in); got != tc.want || asked != tc.asked {
				t.Errorf("got %q, asked whether to wait: %t; want %q, %t", got, asked, tc.want, tc.asked)
			}
		})
	}
}

// TestSyncedOfWhatIsNowhere has no object be in place in no cluster.
func TestSyncedOfWhatIsNowhere(t *testing.T) {
	cases := map[string]struct {
		kind        string
		annotations map[string]string
		problems    []protocol.Problem
		want        string
	}{
		"a placement matches no cluster":    {"Deployment", map[string]string{v1alpha1.PlacementAnnotation: `{"by":"placement","name":"eu","message":"no cluster comes into question"}`}, nil, "NoClusters Placed on no cluster: no cluster comes into question"},
		"the default":                       {"Deployment", map[string]string{v1alpha1.PlacementAnnotation: `{"by":"default"}`}, nil, "NoClusters Placed on no cluster (default): `kubectl tmc get clusters`"},
		"nobody has decided":                {"Deployment", nil, nil, "NoClusters Placed on no cluster: it has not been decided"},
		"its user asks for that":            {"Deployment", map[string]string{v1alpha1.TargetClustersAnnotation: " "}, nil, "NotPlaced Placed on no cluster, as its annotation tmc.kcp.io/target-clusters has it"},
		"its user names none that there is": {"Service", map[string]string{v1alpha1.TargetClustersAnnotation: "nope"}, nil, `NoClusters Placed on no cluster: its annotation tmc.kcp.io/target-clusters is "nope"`},
		"nothing names it":                  {"Service", nil, nil, "NotPlaced Placed on no cluster: no workload that is placed names it. The annotation tmc.kcp.io/target-clusters places it"},
		"the hub knows more":                {"Service", nil, []protocol.Problem{{Reason: "NotBound", Message: "east is not bound"}}, "NotBound east is not bound"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": map[string]string{"Deployment": "apps/v1", "Service": "v1"}[tc.kind], "kind": tc.kind, "metadata": map[string]any{"name": "app", "generation": int64(1)}}}
			object.SetAnnotations(tc.annotations)
			got := syncedOf(t, Input{Object: object, Now: now, Problems: tc.problems})
			if !strings.HasPrefix(got, "False "+tc.want) || strings.Contains(got, "0 clusters") {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestStatusWaitsForTheLastToTakeAChangeUp holds that a change of what is in place is not told before every cluster has taken it up,
// or the time for that is over: the status is of the former generation, and says so.
func TestStatusWaitsForTheLastToTakeAChangeUp(t *testing.T) {
	rolling := func(cluster string) protocol.Report {
		return with(complete(cluster, 2, 3), func(r *protocol.Report) { r.Counters[updatedReplicas], r.Counters[replicas] = 1, 4 })
	}
	cases := map[string]struct {
		reports []protocol.Report
		silent  func(string) string
		waits   bool
		isSame  bool
	}{
		"none has taken it up":                     {reports: []protocol.Report{complete("east", 1, 3), complete("west", 1, 3)}, waits: true, isSame: true},
		"one has":                                  {reports: []protocol.Report{rolling("east"), complete("west", 1, 3)}, waits: true, isSame: true},
		"one has, and the other takes longer":      {reports: []protocol.Report{rolling("east"), complete("west", 1, 3)}},
		"both have":                                {reports: []protocol.Report{rolling("east"), rolling("west")}, waits: true},
		"one has, and nothing is heard of another": {reports: []protocol.Report{rolling("east"), complete("west", 1, 3)}, silent: westIsSilent, waits: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "app", "generation": int64(1)}, "spec": map[string]any{"replicas": int64(3)},
			}}
			object.SetLabels(placement([]string{"east", "west"}))
			object.SetAnnotations(annotations(t, complete("east", 1, 3), complete("west", 1, 3)))
			in := Input{Object: object, Now: now, Inputs: noInputs, Waits: func() bool { return tc.waits }}
			before, _ := Status(in)
			object.Object["status"] = before
			object.SetGeneration(2)
			object.SetAnnotations(annotations(t, tc.reports...))
			in.Silent = tc.silent
			after, _ := Status(in)
			if isSame := cmp.Equal(before, after); isSame != tc.isSame {
				t.Errorf("the status is as it was: %t\n%v", isSame, after)
			}
		})
	}
}
