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

// TestNewestIgnoresClocksThatAreAhead plays a cluster that claims to write in 2099.
func TestNewestIgnoresClocksThatAreAhead(t *testing.T) {
	hub := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(when time.Time) string { return when.Format(protocol.WrittenLayout) }
	future := at(hub.AddDate(73, 0, 0))
	seen := func(when time.Time) func(protocol.Report) time.Time {
		return func(protocol.Report) time.Time { return when }
	}
	cases := map[string]struct {
		reason     string
		east, west string
		firstSeen  func(protocol.Report) time.Time
		want       string
	}{
		"both in the past":       {"the newer counts", at(hub.Add(-time.Minute)), at(hub.Add(-time.Second)), nil, "west"},
		"a little ahead":         {"clocks differ", at(hub.Add(clockSkew / 2)), at(hub), nil, "east"},
		"seen before":            {"it was written when it was first seen", future, at(hub.Add(-time.Second)), seen(hub.Add(-time.Minute)), "west"},
		"seen just now":          {"it is the news", future, at(hub.Add(-time.Second)), seen(hub), "east"},
		"seen by nobody":         {"it comes before all others", future, at(hub.AddDate(-1, 0, 0)), nil, "west"},
		"seen at an unknow time": {"likewise", future, at(hub.AddDate(-1, 0, 0)), seen(time.Time{}), "west"},
		"just beyond the skew":   {"it is not believed", at(hub.Add(clockSkew + time.Second)), at(hub.Add(-time.Hour)), nil, "west"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := Input{Inputs: noInputs, Now: metav1.NewTime(hub), FirstSeen: tc.firstSeen}
			shown := newest(in, []protocol.Entry{
				{Cluster: "east", Report: protocol.Report{Cluster: "east", Written: tc.east}},
				{Cluster: "west", Report: protocol.Report{Cluster: "west", Written: tc.west}},
			})
			if len(shown) != 1 || shown[0].Cluster != tc.want {
				t.Errorf("%s: %v is shown, want %s", tc.reason, shown, tc.want)
			}
		})
	}
}
