package aggregate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// TestReconcilingComesAndGoesWithSynced has a Service change, which clusters take up after a while, and holds that its status is
// written no more often than Synced has it.
func TestReconcilingComesAndGoesWithSynced(t *testing.T) {
	taken := saying("east", nil, nil)
	behind := with(saying("east", nil, nil), func(r *protocol.Report) { r.Inputs = "before" })
	hidden := []protocol.Problem{{Reason: protocol.ReasonMissing, Message: "it names what is not there"}}
	cases := map[string]struct {
		report   protocol.Report
		before   map[string]string
		waits    bool
		problems []protocol.Problem
		want     map[string]string
	}{
		"taken up":                               {report: taken, before: map[string]string{"Synced": "True"}, want: map[string]string{"Synced": "True"}},
		"a moment behind":                        {report: behind, before: map[string]string{"Synced": "True"}, waits: true, want: map[string]string{"Synced": "True"}},
		"behind for longer":                      {report: behind, before: map[string]string{"Synced": "True"}, want: map[string]string{"Reconciling": "True", "Synced": "False"}},
		"still behind":                           {report: behind, before: map[string]string{"Reconciling": "True", "Synced": "False"}, waits: true, want: map[string]string{"Reconciling": "True", "Synced": "False"}},
		"a moment behind, with another problem":  {report: behind, before: map[string]string{"Synced": "False"}, waits: true, problems: hidden, want: map[string]string{"Synced": "False"}},
		"taken up, with a problem of the hub's":  {report: taken, before: map[string]string{"Synced": "True"}, problems: hidden, want: map[string]string{"Synced": "False"}},
		"taken up, and its own Synced is false":  {report: with(saying("east", nil, nil, protocol.ReportCondition{Type: "Synced", Status: "False", Reason: "ReconcileError"}), func(*protocol.Report) {}), before: map[string]string{"Synced": "True"}, want: map[string]string{"Synced": "False"}},
		"taken up, and a cluster works on it":    {report: saying("east", nil, nil, protocol.ReportCondition{Type: "Reconciling", Status: "True"}), want: map[string]string{"Reconciling": "True", "Synced": "True"}},
		"behind, and a cluster is done with it":  {report: with(saying("east", nil, nil, protocol.ReportCondition{Type: "Reconciling", Status: "False"}), func(r *protocol.Report) { r.Inputs = "before" }), want: map[string]string{"Reconciling": "True", "Synced": "False"}},
		"behind, and it failed as it was before": {report: with(saying("east", nil, nil, protocol.ReportCondition{Type: "Stalled", Status: "True"}), func(r *protocol.Report) { r.Inputs = "before" }), want: map[string]string{"Reconciling": "True", "Synced": "False"}},
		"it failed":                              {report: saying("east", nil, nil, protocol.ReportCondition{Type: "Stalled", Status: "True"}), want: map[string]string{"Stalled": "True", "Synced": "True"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "x", "generation": int64(1)}}}
			var before []any
			for conditionType, is := range tc.before {
				before = append(before, conditionIn(conditionType, is, "R"))
			}
			object.Object["status"] = map[string]any{conditionsField: before}
			object.SetLabels(placement([]string{"east"}))
			object.SetAnnotations(annotations(t, tc.report))
			status, _ := Status(Input{Object: object, Inputs: noInputs, Problems: tc.problems, Waits: func() bool { return tc.waits }, Now: now})
			if diff := cmp.Diff(tc.want, statusesOf(status)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNumbersOfNoCluster(t *testing.T) {
	status := countedPerCluster(t, "apps/v1", "Deployment", map[string]any{"replicas": int64(3)}, nil, nil)
	if diff := cmp.Diff(map[string]any{}, status); diff != "" {
		t.Errorf("placed nowhere (-want +got):\n%s", diff)
	}
	if (v1alpha1.StatusCounters("")).Annotation() != "" || v1alpha1.StatusCountersSum.Annotation() != v1alpha1.CountersSum {
		t.Error("a placement says it in other words than an annotation")
	}
}
