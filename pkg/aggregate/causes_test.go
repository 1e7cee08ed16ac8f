package aggregate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func cause(reason string, count int64, message string) protocol.Cause {
	return protocol.Cause{Reason: reason, Count: count, Message: message}
}

func pulls(count int64) protocol.Cause {
	return cause("ImagePullBackOff", count, `container app: image "nope:1": not found`)
}

func crashes(count int64) protocol.Cause {
	return cause("CrashLoopBackOff", count, "container app: exit code 3: no database")
}

var quota = cause("FailedCreate", 0, "exceeded quota: small")

// rolling is a cluster that rolls out three replicas, of which so many are available.
func rolling(cluster string, available int64, causes ...protocol.Cause) protocol.Report {
	return with(complete(cluster, 5, 3), func(r *protocol.Report) {
		r.Counters[availableReplicas] = available
		r.Conditions = []protocol.ReportCondition{
			{Type: "Available", Status: "False", Reason: reasonUnavailable},
			{Type: "Progressing", Status: "True", Reason: reasonProgressing, Message: "is progressing."},
		}
		r.Causes = causes
	})
}

// overdue is one whose deadline is over.
func overdue(cluster string, available int64, causes ...protocol.Cause) protocol.Report {
	return with(rolling(cluster, available, causes...), func(r *protocol.Report) {
		r.Conditions[1] = protocol.ReportCondition{Type: "Progressing", Status: "False", Reason: reasonDeadlineExceeded, Message: "has timed out progressing."}
	})
}

// hurt is a cluster that has finished its roll-out, and has pods that do not run.
func hurt(cluster string, causes ...protocol.Cause) protocol.Report {
	return with(complete(cluster, 5, 3), func(r *protocol.Report) { r.Causes = causes })
}

func TestCausesInConditionsOfDeployments(t *testing.T) {
	const pull, crash = `ImagePullBackOff: container app: image "nope:1": not found`, "CrashLoopBackOff: container app: exit code 3: no database"
	cases := map[string]struct {
		reason                 string
		reports                []protocol.Report
		available, progressing string
	}{
		"one rolls out": {
			"the cluster, of how many pods, and why", []protocol.Report{rolling("east", 1, pulls(2)), complete("west", 5, 3)},
			"No minimum availability in east (1 of 2 clusters). east: 2 of 3 pods: " + pull,
			"east: is progressing.; east: 2 of 3 pods: " + pull,
		},
		"one is overdue": {
			"kubectl fails, and here is why", []protocol.Report{overdue("east", 1, pulls(2)), rolling("west", 1, crashes(2))},
			"No minimum availability in east, west (2 of 2 clusters). west: 2 of 3 pods: " + crash + "; east: 2 of 3 pods: " + pull,
			"east: has timed out progressing.; east: 2 of 3 pods: " + pull,
		},
		"the same in both": {
			"it is told once, for all their pods", []protocol.Report{overdue("east", 1, pulls(2)), overdue("west", 0, pulls(3))},
			"No minimum availability in east, west (2 of 2 clusters). east, west: 5 of 6 pods: " + pull,
			"east: has timed out progressing.; west: has timed out progressing.; east, west: 5 of 6 pods: " + pull,
		},
		"most pods first": {
			"of all clusters together, and then by reason",
			[]protocol.Report{rolling("east", 0, pulls(2), crashes(1)), rolling("west", 0, crashes(2)), rolling("north", 0, cause("Unschedulable", 1, "no node"), quota)},
			"No minimum availability in east, north, west (3 of 3 clusters). east, west: 3 of 6 pods: " + crash + "; east: 2 of 3 pods: " + pull +
				"; north: 1 of 3 pods: Unschedulable: no node and 1 more",
			"east: is progressing.; north: is progressing.; west: is progressing.; east, west: 3 of 6 pods: " + crash + "; east: 2 of 3 pods: " + pull +
				"; north: 1 of 3 pods: Unschedulable: no node and 1 more",
		},
		"what a cluster calls worse first": {
			"pods that were evicted are of the past", []protocol.Report{rolling("east", 0, crashes(1), cause("Evicted", 50, "low on memory")), rolling("west", 0, pulls(2))},
			"No minimum availability in east, west (2 of 2 clusters). west: 2 of 3 pods: " + pull + "; east: 1 of 3 pods: " + crash + "; east: 50 pods: Evicted: low on memory",
			"east: is progressing.; west: is progressing.; west: 2 of 3 pods: " + pull + "; east: 1 of 3 pods: " + crash + "; east: 50 pods: Evicted: low on memory",
		},
		"no pods can be made": {
			"that keeps all from running", []protocol.Report{rolling("east", 0, pulls(3)), rolling("west", 0, quota)},
			"No minimum availability in east, west (2 of 2 clusters). west: FailedCreate: exceeded quota: small; east: 3 of 3 pods: " + pull,
			"east: is progressing.; west: is progressing.; west: FailedCreate: exceeded quota: small; east: 3 of 3 pods: " + pull,
		},
		"enough of them run": {
			"those that do not are worth a word", []protocol.Report{hurt("east", crashes(1)), complete("west", 5, 3)},
			"Minimum availability in 2 clusters. east: 1 of 3 pods: " + crash, "Successfully progressed in 2 clusters.",
		},
		"not about pods": {
			"no number is told", []protocol.Report{rolling("east", 0, quota)},
			"No minimum availability in east (1 of 1 cluster). east: FailedCreate: exceeded quota: small",
			"east: is progressing.; east: FailedCreate: exceeded quota: small",
		},
		"more pods than it is to have": {
			"those of a surge count", []protocol.Report{rolling("east", 0, pulls(4)), rolling("west", 0, pulls(1))},
			"No minimum availability in east, west (2 of 2 clusters). east, west: 5 of 6 pods: " + pull,
			"east: is progressing.; west: is progressing.; east, west: 5 of 6 pods: " + pull,
		},
		"told twice by one": {
			"its pods are those that it is to have, once", []protocol.Report{rolling("east", 0, pulls(1), pulls(1))},
			"No minimum availability in east (1 of 1 cluster). east: 2 of 3 pods: " + pull,
			"east: is progressing.; east: 2 of 3 pods: " + pull,
		},
		"unknown how many one is to have": {
			"then it is unknown of both", []protocol.Report{
				rolling("east", 0, pulls(1)), with(rolling("west", 0, pulls(1)), func(r *protocol.Report) { r.Replicas = nil }), rolling("north", 0, pulls(1)),
			},
			"No minimum availability in east, north, west (3 of 3 clusters). east, north, west: 3 pods: " + pull,
			"east: is progressing.; north: is progressing.; west: is progressing.; east, north, west: 3 pods: " + pull,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var placed []string
			for _, report := range tc.reports {
				placed = append(placed, report.Cluster)
			}
			status := deploymentInput{Generation: 5, Replicas: 3, Placed: placed, Annotations: annotations(t, tc.reports...), Now: now}.merge(t)
			if got := conditionOf(status, "Available").Message; got != tc.available {
				t.Errorf("%s: Available says\n%s\nwant\n%s", tc.reason, got, tc.available)
			}
			if got := conditionOf(status, progressing).Message; got != tc.progressing {
				t.Errorf("%s: Progressing says\n%s\nwant\n%s", tc.reason, got, tc.progressing)
			}
			if got := conditionOf(status, v1alpha1.ConditionHindered); got.Status != "" {
				t.Errorf("what is said is said again: %+v", got)
			}
		})
	}
}

// TestCausesOfReportsThatDoNotCount has a silent cluster, whose pods nobody knows, and one that has not taken up the generation: what
// does not run there is of the former one.
func TestCausesOfReportsThatDoNotCount(t *testing.T) {
	behind := with(rolling("east", 1, pulls(2)), func(r *protocol.Report) { r.Generation = 4 })
	status := deploymentInput{Generation: 5, Replicas: 3, Placed: []string{"east"}, Annotations: annotations(t, behind), Now: now}.merge(t)
	if got, want := conditionOf(status, progressing).Message, "Waiting for east to take up the present generation."; got != want {
		t.Errorf("Progressing says %q, want %q", got, want)
	}
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"generation": int64(5)}}}
	object.SetLabels(placement([]string{"west"}))
	object.SetAnnotations(annotations(t, rolling("west", 1, pulls(2))))
	if causes := Causes(Input{Object: object, Silent: westIsSilent, Now: now}); len(causes) > 0 {
		t.Errorf("a silent cluster says %v", causes)
	}
}

// TestCausesWhereNoConditionOfTheKindTellsThem has kinds whose conditions nobody writes, or not yet.
func TestCausesWhereNoConditionOfTheKindTellsThem(t *testing.T) {
	failed := protocol.ReportCondition{Type: "Failed", Status: "True", Reason: "BackoffLimitExceeded", Message: "Job has reached the specified backoff limit"}
	exit := cause("Error", 1, "container app: exit code 3")
	cases := map[string]struct {
		apiVersion, kind string
		reports          []protocol.Report
		want             map[string]string
	}{
		"a StatefulSet": {
			"apps/v1", "StatefulSet",
			[]protocol.Report{with(saying("east", nil, nil), func(r *protocol.Report) { r.Replicas, r.Causes = new(int64(3)), []protocol.Cause{pulls(1)} }), saying("west", nil, nil)},
			map[string]string{v1alpha1.ConditionHindered: `True ImagePullBackOff east: 1 of 3 pods: ImagePullBackOff: container app: image "nope:1": not found`},
		},
		"a DaemonSet": {
			"apps/v1", "DaemonSet",
			[]protocol.Report{with(saying("east", map[string]int64{desiredScheduled: 8}, nil), func(r *protocol.Report) { r.Causes = []protocol.Cause{crashes(2), quota} }), saying("west", nil, nil)},
			map[string]string{v1alpha1.ConditionHindered: "True CrashLoopBackOff east: 2 of 8 pods: CrashLoopBackOff: container app: exit code 3: no database; east: FailedCreate: exceeded quota: small"},
		},
		"a Job that goes on": {
			"batch/v1", "Job",
			[]protocol.Report{with(saying("east", nil, nil), func(r *protocol.Report) { r.Causes = []protocol.Cause{pulls(1)} }), saying("west", nil, nil)},
			map[string]string{v1alpha1.ConditionHindered: `True ImagePullBackOff east: 1 pod: ImagePullBackOff: container app: image "nope:1": not found`},
		},
		"a Job that has failed": {
			"batch/v1", "Job",
			[]protocol.Report{with(saying("east", nil, nil, failed), func(r *protocol.Report) {
				r.Causes = []protocol.Cause{exit, cause("BackoffLimitExceeded", 0, "Job has reached the specified backoff limit")}
			}), saying("west", nil, nil)},
			map[string]string{"Failed": "True BackoffLimitExceeded east: Job has reached the specified backoff limit; east: 1 pod: Error: container app: exit code 3"},
		},
		"a claim": {
			"v1", "PersistentVolumeClaim",
			[]protocol.Report{with(saying("east", nil, nil), func(r *protocol.Report) {
				r.Causes = []protocol.Cause{cause("ProvisioningFailed", 0, "storageclass fast not found")}
			}), saying("west", nil, nil)},
			map[string]string{v1alpha1.ConditionHindered: "True ProvisioningFailed east: ProvisioningFailed: storageclass fast not found"},
		},
		"nothing is wrong": {"apps/v1", "StatefulSet", []protocol.Report{saying("east", nil, nil), saying("west", nil, nil)}, map[string]string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for i := range tc.reports {
				tc.reports[i].LocalObservedGeneration = 1
			}
			_, conditions := mergeOn(t, tc.apiVersion, tc.kind, []string{"east", "west"}, "union", tc.reports...)
			if got := conditions[v1alpha1.ConditionSynced]; got != "True Synced In place in 2 clusters." {
				t.Errorf("Synced is %q, and the copies are in place", got)
			}
			delete(conditions, v1alpha1.ConditionSynced)
			if diff := cmp.Diff(tc.want, conditions); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestClustersDoNotSayThatTheyAreHindered has the hub alone write its condition.
func TestClustersDoNotSayThatTheyAreHindered(t *testing.T) {
	_, conditions := mergeOn(t, "apps/v1", "StatefulSet", []string{"east"}, "union",
		saying("east", nil, nil, protocol.ReportCondition{Type: v1alpha1.ConditionHindered, Status: "True", Reason: "Forged"}))
	if got, is := conditions[v1alpha1.ConditionHindered]; is {
		t.Errorf("a cluster has written %q", got)
	}
}

// TestCausesOfConditionsOfOtherKinds has an operator's kind whose condition is to say them.
func TestCausesOfConditionsOfOtherKinds(t *testing.T) {
	known, err := kinds.Parse("kinds.yaml", []byte("- {group: example.com, kind: App, conditions: [{type: Healthy, causes: true}]}"))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "App", "metadata": map[string]any{"generation": int64(1)}}}
	object.SetLabels(placement([]string{"east", "west"}))
	sick := saying("east", nil, nil, protocol.ReportCondition{Type: "Healthy", Status: "False", Reason: "Down", Message: "one pod is down"})
	sick.Causes = []protocol.Cause{crashes(1)}
	object.SetAnnotations(annotations(t, sick, saying("west", nil, nil, protocol.ReportCondition{Type: "Healthy", Status: "True"})))
	status, _ := Status(Input{Object: object, Kinds: known, Inputs: noInputs, Now: now})
	encoded, _ := json.Marshal(status[conditionsField])
	if want := "east: one pod is down; east: 1 pod: CrashLoopBackOff: container app: exit code 3: no database"; !strings.Contains(string(encoded), want) {
		t.Errorf("got %s, want %s", encoded, want)
	}
}

// fleetOf is a Deployment on many clusters, all of which give the causes.
func fleetOf(t *testing.T, clusters int, causes func(i int) []protocol.Cause) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"generation": int64(5)}, "spec": map[string]any{"replicas": int64(3)}}}
	var placed []string
	var reports []protocol.Report
	for i := range clusters {
		placed = append(placed, fmt.Sprintf("c%03d", i))
		reports = append(reports, overdue(placed[i], 0, causes(i)...).Bounded())
	}
	object.SetLabels(placement(placed))
	object.SetAnnotations(annotations(t, reports...))
	return object
}

func statusOf(t *testing.T, object *unstructured.Unstructured, coarse bool) string {
	t.Helper()
	status, _ := Status(Input{Object: object, Inputs: noInputs, Now: now, Coarse: coarse})
	encoded, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func TestCausesOfAFleet(t *testing.T) {
	same := statusOf(t, fleetOf(t, 250, func(int) []protocol.Cause { return []protocol.Cause{pulls(2)} }), false)
	if want := "c000, c001, c002 and 247 more: 500 of 750 pods: ImagePullBackOff"; !strings.Contains(same, want) {
		t.Errorf("250 clusters with one cause are told as %s, want %s", same, want)
	}
	long := strings.Repeat("x", 1000)
	each := fleetOf(t, 250, func(i int) []protocol.Cause { return []protocol.Cause{cause("Unschedulable", 1, fmt.Sprint(i, long))} })
	if status := statusOf(t, each, false); len(status) > 6<<10 || !strings.Contains(status, "and 247 more") {
		t.Errorf("the status of 250 clusters with a cause each takes %d bytes: %.300s", len(status), status)
	}
	want := statusOf(t, each, false)
	for range 20 {
		if got := statusOf(t, each, false); got != want {
			t.Fatalf("equal reports give unequal statuses:\n%s\n%s", got, want)
		}
	}
}

// TestCoarseStatusesDifferByMoreThanNumbers compares what is said of some reports with what is said when they have changed.
func TestCoarseStatusesDifferByMoreThanNumbers(t *testing.T) {
	first := func(int) []protocol.Cause { return []protocol.Cause{pulls(1), crashes(2)} }
	before := fleetOf(t, 4, first)
	cases := map[string]struct {
		reason     string
		after      *unstructured.Unstructured
		isCoarsely bool
	}{
		"another number of pods": {"a number alone", fleetOf(t, 4, func(i int) []protocol.Cause { return []protocol.Cause{pulls(int64(i + 1)), crashes(1)} }), true},
		"another cause":          {"news", fleetOf(t, 4, func(int) []protocol.Cause { return []protocol.Cause{pulls(1), quota} }), false},
		"one cause less":         {"news", fleetOf(t, 4, func(int) []protocol.Cause { return []protocol.Cause{pulls(1)} }), false},
		"of fewer clusters": {"who has it counts, as far as they are named", fleetOf(t, 4, func(i int) []protocol.Cause {
			if i == 0 {
				return nil
			}
			return first(i)
		}), false},
		"of fewer that are not named": {"a number alone", fleetOf(t, 4, func(i int) []protocol.Cause {
			if i == 3 {
				return nil
			}
			return first(i)
		}), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if isSame := statusOf(t, before, true) == statusOf(t, tc.after, true); isSame != tc.isCoarsely {
				t.Errorf("%s: without numbers they are the same: %t, want %t", tc.reason, isSame, tc.isCoarsely)
			}
			if statusOf(t, before, false) == statusOf(t, tc.after, false) {
				t.Error("with numbers they are the same")
			}
		})
	}
}

// TestCausesChangeNothingButWords compares statuses with those of the same reports without causes: what clients conclude from
// counters, and from the statuses and reasons of conditions, is the same. The one condition more is of a type that only tmc knows.
func TestCausesChangeNothingButWords(t *testing.T) {
	all := (kinds.Kinds{}).All()
	for i, kind := range slices.Repeat(all, 2) {
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": metav1.GroupVersion{Group: kind.Group, Version: "v1"}.String(), "kind": kind.Kind, "metadata": map[string]any{"generation": int64(5)},
		}}
		object.SetLabels(placement([]string{"east", "west"}))
		reports := []protocol.Report{overdue("east", 1, pulls(2)), hurt("west", crashes(1), quota)}
		for i := range reports {
			reports[i].Conditions = append(reports[i].Conditions, protocol.ReportCondition{Type: "Failed", Status: "True", Reason: "BackoffLimitExceeded"})
		}
		counters := []string{v1alpha1.CountersSum, v1alpha1.CountersPerCluster}[i/len(all)]
		object.SetAnnotations(annotations(t, reports...))
		with, sees := withoutWords(t, object, counters), concluded(t, object, counters)
		for i := range reports {
			reports[i].Causes = nil
		}
		object.SetAnnotations(annotations(t, reports...))
		if diff := cmp.Diff(withoutWords(t, object, counters), with); diff != "" {
			t.Errorf("%s, %s (-without causes +with causes):\n%s", kind.Kind, counters, diff)
		}
		if diff := cmp.Diff(concluded(t, object, counters), sees); diff != "" {
			t.Errorf("%s, %s: what clients conclude (-without causes +with causes):\n%s", kind.Kind, counters, diff)
		}
	}
}

// withoutWords returns an object's status without the messages of its conditions, and without the condition that is of causes alone.
func withoutWords(t *testing.T, object *unstructured.Unstructured, counters string) map[string]any {
	t.Helper()
	status, _ := Status(Input{Object: object, Inputs: noInputs, Now: now, Counters: counters})
	conditions := status[conditionsField].([]any)
	for _, c := range conditions {
		delete(c.(map[string]any), "message")
	}
	status[conditionsField] = slices.DeleteFunc(conditions, func(c any) bool { return c.(map[string]any)["type"] == v1alpha1.ConditionHindered })
	return status
}

// concluded returns what clients conclude from an object's status, the condition that is of causes alone among the others.
func concluded(t *testing.T, object *unstructured.Unstructured, counters string) map[string]verdict {
	t.Helper()
	status, _ := Status(Input{Object: object, Inputs: noInputs, Now: now, Counters: counters})
	object = object.DeepCopy()
	object.Object["status"] = status
	verdicts := map[string]verdict{}
	for name, concludes := range clients {
		verdicts[name] = concludes(t, object)
	}
	return verdicts
}
