package aggregate

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestSyncedNamesProblemsOfTheHub(t *testing.T) {
	missing := protocol.Problem{Reason: "MissingReference", Message: "ConfigMap settings is not there"}
	many := make([]protocol.Problem, 0, 5)
	for i := range 5 {
		many = append(many, protocol.Problem{Reason: "MissingReference", Message: fmt.Sprintf("Secret s%d is not there", i)})
	}
	conflict := with(complete("west", 1, 1), func(r *protocol.Report) {
		r.Problems = []protocol.Problem{{Reason: "Conflict", Message: "in the way"}}
	})
	cases := map[string]struct {
		reason   string
		placed   []string
		reports  []protocol.Report
		problems []protocol.Problem
		want     string
	}{
		"nothing": {
			"all is well", []string{"east"}, []protocol.Report{complete("east", 1, 1)}, nil,
			"True Synced In place in 1 cluster.",
		},
		"only the hub": {
			"the clusters are well, and no cluster is named", []string{"east"}, []protocol.Report{complete("east", 1, 1)}, []protocol.Problem{missing},
			"False MissingReference ConfigMap settings is not there",
		},
		"placed nowhere": {
			"the user hears of it before anything is placed", nil, nil, []protocol.Problem{missing},
			"False MissingReference ConfigMap settings is not there",
		},
		"a cluster is silent too": {
			"what the hub found comes first: it may well be why", []string{"east", "west"}, []protocol.Report{complete("east", 1, 1)}, []protocol.Problem{missing},
			"False MissingReference ConfigMap settings is not there; west: has not reported",
		},
		"clusters have problems too": {
			"those come last", []string{"east", "west"}, []protocol.Report{conflict}, []protocol.Problem{missing},
			"False MissingReference ConfigMap settings is not there; east: has not reported; west: in the way",
		},
		"too many of both": {
			"a few of each are named, so that neither hides the other", []string{"a", "b", "c", "d"}, nil, many,
			"False MissingReference Secret s0 is not there; Secret s1 is not there; Secret s2 is not there and 2 more; a: has not reported; b: has not reported; c: has not reported and 1 more",
		},
		"without a reason": {
			"the next reason stands in", []string{"west"}, nil, []protocol.Problem{{Message: "odd"}},
			"False NotReported odd; west: has not reported",
		},
		"without a message": {
			"its reason says something at least", []string{"east"}, []protocol.Report{complete("east", 1, 1)}, []protocol.Problem{{Reason: "Odd"}},
			"False Odd " + "Odd",
		},
	}
	for name, tc := range cases {
		for _, strategy := range []string{"union", "majority", "latest"} {
			t.Run(name+"/"+strategy, func(t *testing.T) {
				object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "app", "generation": int64(1)}}}
				object.SetLabels(placement(tc.placed))
				all := annotations(t, tc.reports...)
				all[v1alpha1.StatusStrategyAnnotation] = strategy
				object.SetAnnotations(all)
				status, _ := Status(Input{Inputs: noInputs, Object: object, Problems: tc.problems, Now: now})
				conditions := status[conditionsField].([]any)
				synced := conditions[len(conditions)-1].(map[string]any)
				if got := fmt.Sprintf("%s %s %s", synced["status"], synced["reason"], synced["message"]); got != tc.want {
					t.Errorf("Synced is %q, want %q: %s", got, tc.want, tc.reason)
				}
			})
		}
	}
}

func TestRolloutIgnoresProblemsOfTheHub(t *testing.T) {
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "app", "generation": int64(1)}}}
	object.SetLabels(placement([]string{"east"}))
	object.SetAnnotations(annotations(t, complete("east", 1, 1)))
	status, _ := Status(Input{Inputs: noInputs, Object: object, Problems: []protocol.Problem{{Reason: "MissingReference", Message: "x"}}, Now: now})
	if status[observedGeneration] != int64(1) || status[updatedReplicas] != int64(1) {
		t.Errorf("east has observed and done it, yet the status is %v", status)
	}
}

// TestNewestIgnoresTheClocksOfClusters has the clocks of clusters be off: what counts is when the hub saw the reports.
func TestNewestIgnoresTheClocksOfClusters(t *testing.T) {
	hub := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const ago = time.Minute
	cases := map[string]struct {
		// eastOff and westOff are by how much their clocks are off. East writes ago after west.
		eastOff, westOff time.Duration
		// eastSeen and westSeen are when the hub saw the reports, and unknown is set where nobody says that.
		eastSeen, westSeen time.Duration
		unknown            bool
		want               string
	}{
		"right clocks":                            {0, 0, ago, 0, false, "east"},
		"the clock of the newest is behind":       {-10 * time.Minute, 0, ago, 0, false, "east"},
		"the clock of the older is ahead":         {0, 10 * time.Minute, ago, 0, false, "east"},
		"the clock of the older is in 2099":       {0, 640_000 * time.Hour, ago, 0, false, "east"},
		"both are off":                            {-10 * time.Minute, 10 * time.Minute, ago, 0, false, "east"},
		"both are seen at once, as after a start": {0, 0, ago, ago, false, "east"},
		"seen by nobody":                          {0, 0, 0, 0, true, "east"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := Input{Inputs: noInputs, Now: metav1.NewTime(hub.Add(2 * ago))}
			if !tc.unknown {
				in.FirstSeen = func(report protocol.Report) time.Time {
					return hub.Add(map[string]time.Duration{"east": tc.eastSeen, "west": tc.westSeen}[report.Cluster])
				}
			}
			written := func(at time.Time) string { return at.Format(protocol.WrittenLayout) }
			shown := newest(in, []protocol.Entry{
				{Cluster: "east", Report: protocol.Report{Cluster: "east", Written: written(hub.Add(ago + tc.eastOff))}},
				{Cluster: "west", Report: protocol.Report{Cluster: "west", Written: written(hub.Add(tc.westOff))}},
			})
			if len(shown) != 1 || shown[0].Cluster != tc.want {
				t.Errorf("%v is shown, want %s", shown, tc.want)
			}
		})
	}
}
