package aggregate

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// custom is a custom resource that is divided among two clusters.
func custom(t *testing.T, spec, status map[string]any, reports ...protocol.Report) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
		"metadata": map[string]any{"name": "web", "generation": int64(1)}, "spec": spec, "status": status,
	}}
	object.SetLabels(placement([]string{"east", "west"}))
	all := annotations(t, reports...)
	all[v1alpha1.ReplicasAnnotation("east")], all[v1alpha1.ReplicasAnnotation("west")] = "2", "1"
	all[v1alpha1.PlacementAnnotation] = `{"by":"placement","name":"p","replicas":3}`
	object.SetAnnotations(all)
	return object
}

func running(cluster string, replicas, available int64, conditions ...protocol.ReportCondition) protocol.Report {
	report := saying(cluster, map[string]int64{"replicas": replicas, "updatedReplicas": replicas, "readyReplicas": available, "availableReplicas": available, "stableReplicas": replicas}, nil, conditions...)
	report.Replicas = new(replicas)
	return report
}

// statusesOf returns the statuses of the conditions of a merged status by type.
func statusesOf(status map[string]any) map[string]string {
	statuses := map[string]string{}
	for _, entry := range status[conditionsField].([]any) {
		c := entry.(map[string]any)
		statuses[c["type"].(string)] = c["status"].(string)
	}
	return statuses
}

func TestStatusOfACustomResourceWithReplicas(t *testing.T) {
	own, err := kinds.Parse("kinds.yaml", []byte(`
- group: argoproj.io
  kind: Rollout
  replicas: spec.replicas
  available: availableReplicas
  sums: [replicas, readyReplicas, availableReplicas, stableReplicas]
  updated: [updatedReplicas]
  lacking: unavailableReplicas
  conditions:
  - {type: Available, merge: Available}
  - {type: Progressing, failure: true, merge: Progressing}
  - {type: Paused, meaning: Ongoing}
  rollout: Deployment
`))
	if err != nil {
		t.Fatal(err)
	}
	isAvailable := protocol.ReportCondition{Type: "Available", Status: "True"}
	isPaused := protocol.ReportCondition{Type: "Paused", Status: "True"}
	isNotPaused := protocol.ReportCondition{Type: "Paused", Status: "False"}
	replicas := map[string]any{"replicas": int64(3)}
	cases := map[string]struct {
		kinds        kinds.Kinds
		spec, before map[string]any
		reports      []protocol.Report
		counters     map[string]any
		conditions   map[string]string
	}{
		"replicas of a kind without an entry add up, other counters stay": {
			kinds.Kinds{}, replicas, map[string]any{"stableReplicas": int64(9)},
			[]protocol.Report{running("east", 2, 2, isAvailable), running("west", 1, 1, isAvailable)},
			map[string]any{"replicas": int64(3), "updatedReplicas": int64(3), "readyReplicas": int64(3), "availableReplicas": int64(3), "stableReplicas": int64(9)},
			map[string]string{"Available": "True", "Synced": "True"},
		},
		"a counter that is there stays when it becomes zero": {
			kinds.Kinds{}, replicas, map[string]any{"readyReplicas": int64(9)}, nil,
			map[string]any{"readyReplicas": int64(0)},
			map[string]string{"Reconciling": "True", "Synced": "False"},
		},
		"without spec.replicas nothing adds up": {
			kinds.Kinds{}, nil, map[string]any{"replicas": int64(9)},
			[]protocol.Report{running("east", 2, 2), running("west", 1, 1)},
			map[string]any{"replicas": int64(9)},
			map[string]string{"Reconciling": "True", "Synced": "False"}, // the shares add up to another number than that of a kind without

		},
		"an entry says what adds up and how conditions are merged": {
			own, replicas, nil,
			[]protocol.Report{running("east", 2, 2, isAvailable, isPaused), running("west", 1, 1, isAvailable, isNotPaused)},
			map[string]any{"replicas": int64(3), "updatedReplicas": int64(3), "readyReplicas": int64(3), "availableReplicas": int64(3), "stableReplicas": int64(3)},
			map[string]string{"Available": "True", "Paused": "True", "Synced": "True"},
		},
		"a cluster that has not reported lacks its share, and holds the roll-out": {
			own, replicas, nil, []protocol.Report{running("east", 2, 2, isAvailable)},
			map[string]any{"replicas": int64(2), "updatedReplicas": int64(2), "readyReplicas": int64(2), "availableReplicas": int64(2), "stableReplicas": int64(2), "unavailableReplicas": int64(1)},
			map[string]string{"Available": "False", "Progressing": "True", "Synced": "False"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status, problem := Status(Input{Inputs: noInputs, Kinds: tc.kinds, Object: custom(t, tc.spec, tc.before, tc.reports...), Now: now})
			if problem != "" {
				t.Error(problem)
			}
			if diff := cmp.Diff(tc.conditions, statusesOf(status)); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			delete(status, conditionsField)
			delete(status, observedGeneration)
			if diff := cmp.Diff(tc.counters, status); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSilentConditions(t *testing.T) {
	lie := protocol.ReportCondition{Type: v1alpha1.SilentCondition("east"), Status: "True"}
	silent := func(names ...string) func(string) string {
		return func(cluster string) string {
			if slices.Contains(names, cluster) {
				return "silent since 2026-01-01T12:00:00Z"
			}
			return ""
		}
	}
	cases := map[string]struct {
		silent func(string) string
		want   map[string]string
	}{
		"each silent cluster has a condition":  {silent("east", "west"), map[string]string{"Reconciling": "True", "Synced": "False", "silent.tmc.kcp.io/east": "True", "silent.tmc.kcp.io/west": "True"}},
		"no other cluster has":                 {silent("west", "north"), map[string]string{"Reconciling": "True", "Synced": "False", "silent.tmc.kcp.io/west": "True"}},
		"what a cluster says of it is no news": {nil, map[string]string{"Synced": "True"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			object := custom(t, map[string]any{"replicas": int64(3)}, nil, running("east", 1, 1), running("west", 1, 1, lie))
			status, _ := Status(Input{Inputs: noInputs, Object: object, Silent: tc.silent, Now: now})
			if diff := cmp.Diff(tc.want, statusesOf(status)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
