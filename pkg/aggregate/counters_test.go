package aggregate

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestCountersOf(t *testing.T) {
	cases := map[string]struct {
		annotation *string
		byDefault  string
		want       string
		problem    []string
	}{
		"nobody says anything":                 {want: "sum"},
		"the placement or the flag":            {byDefault: "per-cluster", want: "per-cluster"},
		"the annotation wins":                  {annotation: new("sum"), byDefault: "per-cluster", want: "sum"},
		"a value that is none":                 {annotation: new("PerCluster"), byDefault: "per-cluster", want: "per-cluster", problem: []string{v1alpha1.StatusCountersAnnotation, `"PerCluster"`, `"sum" or "per-cluster"`, `taking "per-cluster"`}},
		"an empty value, and no other to take": {annotation: new(""), want: "sum", problem: []string{`taking "sum"`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: map[string]any{}}
			if tc.annotation != nil {
				object.SetAnnotations(map[string]string{v1alpha1.StatusCountersAnnotation: *tc.annotation})
			}
			got, problem := CountersOf(protocol.Read(object), tc.byDefault)
			if got != tc.want || (problem == "") != (len(tc.problem) == 0) {
				t.Errorf("got %q, %q", got, problem)
			}
			for _, part := range tc.problem {
				if !strings.Contains(problem, part) {
					t.Errorf("%q does not say %s", problem, part)
				}
			}
		})
	}
}

// countedPerCluster merges the reports on an object, made of its kind and spec, and returns the numbers and texts of its status.
func countedPerCluster(t *testing.T, apiVersion, kind string, spec map[string]any, extra map[string]string, clusters []string, reports ...protocol.Report) map[string]any {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "x", "generation": int64(1)}, "spec": spec,
	}}
	object.SetLabels(placement(clusters))
	all := annotations(t, reports...)
	maps.Copy(all, extra)
	object.SetAnnotations(all)
	status, problem := Status(Input{Inputs: noInputs, Object: object, Counters: v1alpha1.CountersPerCluster, Now: now})
	if problem != "" {
		t.Error(problem)
	}
	delete(status, conditionsField)
	return status
}

// counting is a report that is up to date, on a copy that wants so many.
func counting(cluster string, wants int64, counters map[string]int64) protocol.Report {
	report := saying(cluster, counters, nil)
	report.LocalObservedGeneration, report.Replicas = 1, new(wants)
	return report
}

func TestNumbersOfTheLeastAdvancedCluster(t *testing.T) {
	// numbers are those of a Deployment: all, updated, ready and available.
	numbers := func(all, updated, ready, available int64) map[string]int64 {
		return map[string]int64{replicas: all, updatedReplicas: updated, readyReplicas: ready, availableReplicas: available}
	}
	shares := func(east, west string) map[string]string {
		return map[string]string{
			v1alpha1.ReplicasAnnotation("east"): east, v1alpha1.ReplicasAnnotation("west"): west, v1alpha1.PlacementAnnotation: `{"by":"placement","name":"p","replicas":8}`,
		}
	}
	cases := map[string]struct {
		reason  string
		wanted  int64
		extra   map[string]string
		reports []protocol.Report
		want    map[string]int64
	}{
		"all are done": {
			"each has three of three", 3, nil,
			[]protocol.Report{counting("east", 3, numbers(3, 3, 3, 3)), counting("west", 3, numbers(3, 3, 3, 3))},
			map[string]int64{replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3, observedGeneration: 1},
		},
		"one rolls out": {
			"its numbers as they are", 3, nil,
			[]protocol.Report{counting("east", 3, numbers(3, 3, 3, 3)), counting("west", 3, numbers(4, 2, 3, 3))},
			map[string]int64{replicas: 4, updatedReplicas: 2, readyReplicas: 3, availableReplicas: 3, observedGeneration: 1},
		},
		"both roll out": {
			"the one with more to do counts, and nothing of the other", 3, nil,
			[]protocol.Report{counting("east", 3, numbers(4, 1, 4, 4)), counting("west", 3, numbers(4, 2, 2, 2))},
			map[string]int64{replicas: 4, updatedReplicas: 1, readyReplicas: 4, availableReplicas: 4, observedGeneration: 1},
		},
		"one is silent": {
			"it has nothing, and lacks all", 3, nil,
			[]protocol.Report{counting("east", 3, numbers(4, 1, 4, 4))},
			map[string]int64{"unavailableReplicas": 3},
		},
		"one is behind": {
			"what it has is not updated, and is measured by what it is to have", 3, nil,
			[]protocol.Report{counting("east", 3, numbers(3, 1, 3, 3)), with(counting("west", 1, numbers(1, 1, 1, 1)), func(r *protocol.Report) { r.Generation = 0; r.Inputs = "x" })},
			map[string]int64{replicas: 1, readyReplicas: 1, availableReplicas: 1},
		},
		"one has too many": {
			"its surplus is to go", 3, nil,
			[]protocol.Report{counting("east", 3, numbers(3, 3, 3, 3)), counting("west", 3, numbers(5, 5, 5, 5))},
			map[string]int64{replicas: 5, updatedReplicas: 5, readyReplicas: 5, availableReplicas: 5, observedGeneration: 1},
		},
		"pods on their way out are no replicas": {
			"they are shown as they are, whatever it wants", 3, nil,
			[]protocol.Report{counting("east", 3, numbers(3, 3, 3, 3)), counting("west", 9, map[string]int64{replicas: 9, updatedReplicas: 9, readyReplicas: 8, availableReplicas: 8, "terminatingReplicas": 2, "unavailableReplicas": 1})},
			map[string]int64{replicas: 3, updatedReplicas: 3, readyReplicas: 2, availableReplicas: 2, "terminatingReplicas": 2, "unavailableReplicas": 1, observedGeneration: 1},
		},
		"autoscaled": {
			"what the cluster has chosen is what it is to have", 3, nil,
			[]protocol.Report{counting("east", 5, numbers(5, 5, 5, 5)), counting("west", 9, numbers(9, 9, 8, 8))},
			map[string]int64{replicas: 3, updatedReplicas: 3, readyReplicas: 2, availableReplicas: 2, observedGeneration: 1},
		},
		"divided": {
			"what a share lacks is lacking of all", 8, shares("5", "3"),
			[]protocol.Report{counting("east", 5, numbers(5, 5, 5, 5)), counting("west", 3, numbers(3, 3, 2, 2))},
			map[string]int64{replicas: 8, updatedReplicas: 8, readyReplicas: 7, availableReplicas: 7, observedGeneration: 1},
		},
		"divided, and one is silent": {
			"its share is lacking", 8, shares("5", "3"),
			[]protocol.Report{counting("east", 5, numbers(5, 5, 5, 5))},
			map[string]int64{replicas: 5, updatedReplicas: 5, readyReplicas: 5, availableReplicas: 5, "unavailableReplicas": 3},
		},
		"scaled to zero while one is silent": {
			"numbers that say nothing must not read as done", 0, nil,
			[]protocol.Report{counting("east", 0, nil)},
			map[string]int64{replicas: 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status := countedPerCluster(t, "apps/v1", "Deployment", map[string]any{"replicas": tc.wanted}, tc.extra, []string{"east", "west"}, tc.reports...)
			got := map[string]int64{}
			for name, value := range status {
				got[name] = value.(int64)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNumbersOfTheLeastAdvancedClusterOfOtherKinds(t *testing.T) {
	revisions := func(report protocol.Report, current, update string) protocol.Report {
		report.Texts = map[string]string{currentRevision: current, updateRevision: update}
		return report
	}
	ended := func(report protocol.Report, conditionType string) protocol.Report {
		report.Conditions = []protocol.ReportCondition{{Type: conditionType, Status: "True"}}
		return report
	}
	divided := map[string]string{
		v1alpha1.ReplicasAnnotation("east"): "2", v1alpha1.ReplicasAnnotation("west"): "2", v1alpha1.PlacementAnnotation: `{"by":"placement","name":"p","replicas":4}`,
		v1alpha1.PartitionAnnotation("east"): "1/2", v1alpha1.PartitionAnnotation("west"): "1/2",
	}
	nodes := func(cluster string, desired, updated, available int64) protocol.Report {
		report := counting(cluster, 0, map[string]int64{
			desiredScheduled: desired, currentScheduled: desired, updatedScheduled: updated, numberReady: available, numberAvailable: available,
		})
		report.Replicas = nil
		return report
	}
	partitioned := map[string]any{"replicas": int64(4), "updateStrategy": map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"partition": int64(2)}}}
	cases := map[string]struct {
		reason           string
		apiVersion, kind string
		spec             map[string]any
		extra            map[string]string
		reports          []protocol.Report
		want             map[string]any
	}{
		"a StatefulSet": {
			"its revisions go with its numbers", "apps/v1", "StatefulSet", map[string]any{"replicas": int64(3)}, nil,
			[]protocol.Report{
				revisions(counting("east", 3, map[string]int64{replicas: 3, readyReplicas: 3, availableReplicas: 3, currentReplicas: 3, updatedReplicas: 3}), "x-b", "x-b"),
				revisions(counting("west", 3, map[string]int64{replicas: 3, readyReplicas: 3, availableReplicas: 3, currentReplicas: 1, updatedReplicas: 2}), "x-a", "x-b"),
			},
			map[string]any{
				replicas: int64(3), readyReplicas: int64(3), availableReplicas: int64(3), currentReplicas: int64(1), updatedReplicas: int64(2),
				currentRevision: "x-a", updateRevision: "x-b", observedGeneration: int64(1),
			},
		},
		"a divided StatefulSet with a partition": {
			"what is to be updated is measured by what the cluster's part leaves", "apps/v1", "StatefulSet", partitioned, divided,
			[]protocol.Report{
				counting("east", 2, map[string]int64{replicas: 2, readyReplicas: 2, availableReplicas: 2, currentReplicas: 2, updatedReplicas: 0}),
				counting("west", 2, map[string]int64{replicas: 2, readyReplicas: 2, availableReplicas: 2, currentReplicas: 1, updatedReplicas: 1}),
			},
			map[string]any{
				replicas: int64(4), readyReplicas: int64(4), availableReplicas: int64(4), currentReplicas: int64(4), updatedReplicas: int64(1), observedGeneration: int64(1),
			},
		},
		"a DaemonSet": {
			"the nodes of one cluster", "apps/v1", "DaemonSet", nil, nil,
			[]protocol.Report{nodes("east", 3, 3, 3), nodes("west", 5, 4, 5)},
			map[string]any{
				desiredScheduled: int64(5), currentScheduled: int64(5), updatedScheduled: int64(4), numberReady: int64(5), numberAvailable: int64(5),
				"numberMisscheduled": int64(0), observedGeneration: int64(1),
			},
		},
		"a DaemonSet that is done": {
			"of equals the first by name, however many nodes there are", "apps/v1", "DaemonSet", nil, nil,
			[]protocol.Report{nodes("east", 3, 3, 3), nodes("west", 5, 5, 5)},
			map[string]any{
				desiredScheduled: int64(3), currentScheduled: int64(3), updatedScheduled: int64(3), numberReady: int64(3), numberAvailable: int64(3),
				"numberMisscheduled": int64(0), observedGeneration: int64(1),
			},
		},
		"a Job": {
			"the one that has not ended", "batch/v1", "Job", map[string]any{"completions": int64(3)}, nil,
			[]protocol.Report{ended(saying("east", map[string]int64{"succeeded": 3}, nil), "Complete"), saying("west", map[string]int64{"succeeded": 3, "active": 1}, nil)},
			map[string]any{"succeeded": int64(3), "active": int64(1)},
		},
		"a Job that has less": {
			"of two that run, the one with fewer completions", "batch/v1", "Job", map[string]any{"completions": int64(3)}, nil,
			[]protocol.Report{saying("east", map[string]int64{"succeeded": 2}, nil), saying("west", map[string]int64{"succeeded": 1, "failed": 4}, nil)},
			map[string]any{"succeeded": int64(1), "failed": int64(4)},
		},
		"an autoscaler": {
			"the one that is farther from what it wants", "autoscaling/v2", "HorizontalPodAutoscaler", nil, nil,
			[]protocol.Report{saying("east", map[string]int64{currentReplicas: 3, "desiredReplicas": 3}, nil), saying("west", map[string]int64{currentReplicas: 7, "desiredReplicas": 8}, nil)},
			map[string]any{currentReplicas: int64(7), "desiredReplicas": int64(8)},
		},
		"a budget": {
			"the one that lets fewer pods go", "policy/v1", "PodDisruptionBudget", nil, nil,
			[]protocol.Report{
				counting("east", 0, map[string]int64{"currentHealthy": 5, "desiredHealthy": 3, "disruptionsAllowed": 2, "expectedPods": 5}),
				counting("west", 0, map[string]int64{"currentHealthy": 3, "desiredHealthy": 3, "expectedPods": 3}),
			},
			map[string]any{"currentHealthy": int64(3), "desiredHealthy": int64(3), "disruptionsAllowed": int64(0), "expectedPods": int64(3), observedGeneration: int64(1)},
		},
		"a kind without an entry": {
			"replicas by convention", "example.com/v1", "Widget", map[string]any{"replicas": int64(2)}, nil,
			[]protocol.Report{counting("east", 2, map[string]int64{replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2}), counting("west", 2, map[string]int64{replicas: 2, updatedReplicas: 1})},
			map[string]any{replicas: int64(2), updatedReplicas: int64(1), observedGeneration: int64(1)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status := countedPerCluster(t, tc.apiVersion, tc.kind, tc.spec, tc.extra, []string{"east", "west"}, tc.reports...)
			if diff := cmp.Diff(tc.want, status); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// rollTwo rolls a Deployment of ten replicas each out on two clusters, one step of either at a time, and returns how many reports
// differ from the one before, and how many statuses do.
func rollTwo(t *testing.T, counters string, random *rand.Rand) (reports, statuses int) {
	t.Helper()
	upstream := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "x", "generation": int64(2)}, "spec": map[string]any{"replicas": int64(10)},
	}}
	upstream.SetLabels(placement([]string{"east", "west"}))
	state := map[string]protocol.Report{}
	for _, cluster := range []string{"east", "west"} {
		state[cluster] = complete(cluster, 1, 10)
	}
	write := func(at int64) {
		said := annotations(t, state["east"], state["west"])
		if !maps.Equal(said, upstream.GetAnnotations()) {
			upstream.SetAnnotations(said)
			reports++
		}
		status, _ := Status(Input{Object: upstream, Inputs: noInputs, Counters: counters, Now: metav1.Unix(at, 0)})
		if !equality.Semantic.DeepEqual(status, upstream.Object["status"]) {
			upstream.Object["status"] = status
			statuses++
		}
	}
	write(0)
	reports, statuses = 0, 0
	steps := map[string]int64{}
	for at := int64(1); steps["east"]+steps["west"] < 24; at++ {
		cluster := []string{"east", "west"}[random.IntN(2)]
		step := min(steps[cluster]+1, 12)
		steps[cluster] = step
		state[cluster] = with(complete(cluster, 2, 10), func(r *protocol.Report) {
			updated := min(step-1, 10)
			available := min(max(step-2, 0), 10)
			r.Counters = map[string]int64{updatedReplicas: updated, replicas: 10 + min(updated, 10-available), readyReplicas: 10, availableReplicas: 10 - updated + available}
			if step < 12 {
				r.Conditions[1] = protocol.ReportCondition{Type: progressing, Status: "True", Reason: reasonProgressing, Message: "ReplicaSet is progressing."}
			}
		})
		write(at)
		write(at) // nothing has happened
	}
	return reports, statuses
}

func TestARolloutTakesNoMoreWritesPerCluster(t *testing.T) {
	total := map[string]int{}
	for seed := range uint64(100) {
		for _, counters := range []string{v1alpha1.CountersSum, v1alpha1.CountersPerCluster} {
			reports, statuses := rollTwo(t, counters, rand.New(rand.NewPCG(seed, 3)))
			if statuses > reports {
				t.Errorf("seed %d, %s: %d reports made %d statuses", seed, counters, reports, statuses)
			}
			total[counters] += statuses
			total["reports"] += reports
		}
	}
	t.Logf("100 roll-outs of 20 pods on two clusters: %v", total)
	if total[v1alpha1.CountersPerCluster] > total[v1alpha1.CountersSum] {
		t.Errorf("the numbers of one cluster are written more often than the sums: %v", total)
	}
}
