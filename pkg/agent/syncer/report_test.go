package syncer

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// running gives a copy a spec and a status, as its cluster would.
func running(obj *unstructured.Unstructured) {
	obj.SetGeneration(4)
	obj.Object["spec"] = map[string]any{"replicas": int64(3)}
	obj.Object["status"] = map[string]any{
		"observedGeneration": int64(4), "replicas": int64(3), "readyReplicas": int64(2), "collisionCount": int64(0),
		"updateRevision": "web-1", "completedIndexes": string(make([]byte, 300)),
		"loadBalancer": map[string]any{"ingress": []any{map[string]any{"ip": "10.0.0.1"}}},
		"conditions": []any{map[string]any{
			"type": "Available", "status": "True", "reason": "R", "message": "m",
			"lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z",
		}},
	}
}

func TestAReportSaysWhatIsOnTheCluster(t *testing.T) {
	here := upstreamDeployment(placed, held)
	problem := v1alpha1.Problem{Reason: "Conflict", Message: "in the way"}
	drifted := func(obj *unstructured.Unstructured) { obj.SetManagedFields(nil) }
	full := v1alpha1.Report{
		Version: v1alpha1.ReportVersion, Cluster: "east", Generation: 1, Inputs: transform.Inputs(here, "east"),
		LocalGeneration: 4, LocalObservedGeneration: 4, Replicas: new(int64(3)),
		Counters: map[string]int64{"replicas": 3, "readyReplicas": 2}, Texts: map[string]string{"updateRevision": "web-1"},
		Addresses:  []any{map[string]any{"ip": "10.0.0.1"}},
		Conditions: []v1alpha1.ReportCondition{{Type: "Available", Status: "True", Reason: "R", Message: "m"}},
	}
	ofNothing := full
	ofNothing.Generation, ofNothing.Inputs = 0, ""
	cases := map[string]struct {
		reason   string
		copy     *unstructured.Unstructured
		problems []v1alpha1.Problem
		want     v1alpha1.Report
	}{
		"ACopyThatStands": {"numbers, short texts, addresses and conditions, without times", copyOf(t, here, running), nil, full},
		"ACopyThatDrifted": {
			"what its controller has observed is not what was applied",
			copyOf(t, here, running, drifted), nil, ofNothing,
		},
		"NoCopy": {
			"there is nothing but the problem", nil, []v1alpha1.Problem{problem},
			v1alpha1.Report{Version: v1alpha1.ReportVersion, Cluster: "east", Problems: []v1alpha1.Problem{problem}},
		},
		"AForeignObject": {
			"its numbers are not ours", upstreamDeployment(running), []v1alpha1.Problem{problem},
			v1alpha1.Report{Version: v1alpha1.ReportVersion, Cluster: "east", Problems: []v1alpha1.Problem{problem}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			desired, err := transform.Desired(transform.Input{Object: here, Origin: origin})
			if err != nil {
				t.Fatal(err)
			}
			got := buildReport(state{origin: origin, upstreamObj: here, downstreamObj: tc.copy, desired: desired}, tc.problems)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAReportIsWrittenOnlyWithNews(t *testing.T) {
	s := &Syncer{cluster: "east"}
	report := v1alpha1.Report{Version: v1alpha1.ReportVersion, Cluster: "east", Generation: 3}
	standing := report
	standing.Written = time.Unix(1000, 0).UTC().Format(v1alpha1.WrittenLayout)
	present, err := standing.Encode()
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		present string
		report  v1alpha1.Report
		want    bool
	}{
		"TheSame":         {present, report, true},
		"AnotherState":    {present, v1alpha1.Report{Version: v1alpha1.ReportVersion, Cluster: "east", Generation: 4}, false},
		"Garbage":         {"garbage", report, false},
		"SomebodyAddedTo": {present + " ", report, false},
		"None":            {"", report, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := s.says(tc.present, tc.report)
			if err != nil || got != tc.want {
				t.Errorf("says the same: %t (%v), want %t", got, err, tc.want)
			}
		})
	}
}
