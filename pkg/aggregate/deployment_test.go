package aggregate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

var now = metav1.Unix(1000, 0)

// complete is the report of a cluster on which all is well.
func complete(cluster string, generation, count int64) protocol.Report {
	return protocol.Report{
		Version:                 protocol.ReportVersion,
		Cluster:                 cluster,
		Generation:              generation,
		LocalGeneration:         7,
		LocalObservedGeneration: 7,
		Replicas:                new(count),
		Counters:                map[string]int64{replicas: count, updatedReplicas: count, readyReplicas: count, availableReplicas: count},
		Conditions: []protocol.ReportCondition{
			{Type: "Available", Status: "True", Reason: reasonAvailable, Message: "Deployment has minimum availability."},
			{Type: "Progressing", Status: "True", Reason: reasonComplete, Message: "ReplicaSet has successfully progressed."},
		},
	}
}

// with returns a changed copy of a report.
func with(report protocol.Report, change func(*protocol.Report)) protocol.Report {
	change(&report)
	return report
}

// annotations holds the reports as they stand on the object.
func annotations(t *testing.T, reports ...protocol.Report) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, report := range reports {
		encoded, err := report.Encode()
		if err != nil {
			t.Fatal(err)
		}
		all[v1alpha1.StatusAnnotation(report.Cluster)] = encoded
	}
	return all
}

// deploymentInput is what the tests of Deployments say of one.
type deploymentInput struct {
	Generation  int64
	Replicas    int32
	Placed      []string
	Annotations map[string]string
	Previous    appsv1.DeploymentStatus
	Now         metav1.Time
}

// merge merges as Status does, in Kubernetes' own types.
func (in deploymentInput) merge(t *testing.T) appsv1.DeploymentStatus {
	t.Helper()
	upstream := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: "app", Generation: in.Generation, Annotations: in.Annotations, Labels: placement(in.Placed)},
		Spec:       appsv1.DeploymentSpec{Replicas: &in.Replicas},
		Status:     in.Previous,
	}
	mergeInto(t, upstream, in.Now)
	return upstream.Status
}

// leaving adds the request to leave a cluster.
func leaving(annotations map[string]string, cluster string) map[string]string {
	annotations[v1alpha1.DeletionAnnotation(cluster)] = "2026-01-01T00:00:00Z"
	return annotations
}

func placement(clusters []string) map[string]string {
	labels := map[string]string{}
	for _, cluster := range clusters {
		labels[v1alpha1.PlacementLabel(cluster)] = v1alpha1.PlacementLabelValue
	}
	return labels
}

// mergeInto gives a typed object its merged status, and returns what was wrong
// with its strategy.
func mergeInto(t *testing.T, object any, now metav1.Time) string {
	t.Helper()
	return mergeWith(t, object, Input{Inputs: noInputs, Now: now})
}

// mergeWith is mergeInto with what else there is to say.
func mergeWith(t *testing.T, object any, in Input) string {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	in.Object = &unstructured.Unstructured{Object: content}
	status, problem := Status(in)
	content["status"] = status
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, object); err != nil {
		t.Fatalf("the merged status is none of the kind: %v\n%v", err, status)
	}
	return problem
}

func conditionOf(status appsv1.DeploymentStatus, conditionType string) appsv1.DeploymentCondition {
	for _, c := range status.Conditions {
		if string(c.Type) == conditionType {
			return c
		}
	}
	return appsv1.DeploymentCondition{}
}

func TestStatusCounters(t *testing.T) {
	behind := with(complete("west", 4, 2), func(r *protocol.Report) { r.Counters["terminatingReplicas"] = 1 })
	cases := map[string]struct {
		reason string
		in     deploymentInput
		want   appsv1.DeploymentStatus
	}{
		"every cluster is done": {
			reason: "all counters add up, and the generation is observed",
			in: deploymentInput{
				Generation: 5, Replicas: 3, Placed: []string{"east", "west"},
				Annotations: annotations(t, complete("east", 5, 3), complete("west", 5, 3)),
			},
			want: appsv1.DeploymentStatus{ObservedGeneration: 5, Replicas: 6, UpdatedReplicas: 6, ReadyReplicas: 6, AvailableReplicas: 6},
		},
		"one is a generation behind": {
			reason: "what it runs counts, but not as updated, and the generation is not observed",
			in: deploymentInput{
				Generation: 5, Replicas: 3, Placed: []string{"east", "west"},
				Annotations: annotations(t, complete("east", 5, 3), behind),
				Previous:    appsv1.DeploymentStatus{ObservedGeneration: 4},
			},
			want: appsv1.DeploymentStatus{
				ObservedGeneration: 4, Replicas: 5, UpdatedReplicas: 2, ReadyReplicas: 5, AvailableReplicas: 5,
				TerminatingReplicas: new(int32(1)),
			},
		},
		"one has not reported": {
			reason: "it lacks all its replicas; those of the complete one must not make up for it",
			in: deploymentInput{
				Generation: 1, Replicas: 3, Placed: []string{"east", "west"},
				Annotations: annotations(t, complete("east", 1, 3)),
			},
			want: appsv1.DeploymentStatus{Replicas: 3, UpdatedReplicas: 2, ReadyReplicas: 3, AvailableReplicas: 3, UnavailableReplicas: 3},
		},
		"a report from where it is not placed": {
			reason: "the placement says who counts",
			in: deploymentInput{
				Generation: 1, Replicas: 1, Placed: []string{"east"},
				Annotations: annotations(t, complete("east", 1, 1), complete("north", 1, 9)),
			},
			want: appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1},
		},
		"one is being left": {
			reason: "what it still runs is on its way out",
			in: deploymentInput{
				Generation: 1, Replicas: 1, Placed: []string{"east", "west"},
				Annotations: leaving(annotations(t, complete("east", 1, 1), complete("west", 1, 1)), "west"),
			},
			want: appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1},
		},
		"nowhere": {
			reason: "nobody observes what is placed nowhere",
			in:     deploymentInput{Generation: 2, Replicas: 1, Previous: appsv1.DeploymentStatus{ObservedGeneration: 1}},
			want:   appsv1.DeploymentStatus{ObservedGeneration: 1},
		},
		"scaled to zero while a cluster is silent": {
			reason: "kubectl must not conclude that nothing is left to do",
			in:     deploymentInput{Generation: 1, Placed: []string{"east"}, Previous: appsv1.DeploymentStatus{ObservedGeneration: 1}},
			want:   appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.in.merge(t)
			got.Conditions = nil
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestStatusConditionsOfDeployments(t *testing.T) {
	exceeded := with(complete("west", 5, 0), func(r *protocol.Report) {
		r.Conditions = []protocol.ReportCondition{
			{Type: "Available", Status: "False", Reason: reasonUnavailable},
			{Type: "Progressing", Status: "False", Reason: reasonDeadlineExceeded, Message: "it has timed out progressing."},
			{Type: "ReplicaFailure", Status: "True", Reason: "FailedCreate", Message: "quota"},
		}
	})
	conflict := protocol.Report{
		Version: protocol.ReportVersion, Cluster: "west",
		Problems: []protocol.Problem{{Reason: "Conflict", Message: "default/nginx is in the way"}},
	}
	type want struct {
		conditionType string
		status        corev1.ConditionStatus
		reason        string
		message       string
	}
	cases := map[string]struct {
		reason  string
		placed  []string
		reports []protocol.Report
		wants   []want
	}{
		"all is well": {
			reason: "every condition is true", placed: []string{"east", "west"},
			reports: []protocol.Report{complete("east", 5, 1), complete("west", 5, 1)},
			wants: []want{
				{"Available", "True", reasonAvailable, "Minimum availability in 2 clusters."},
				{"Progressing", "True", reasonComplete, "Successfully progressed in 2 clusters."},
				{"Synced", "True", "Synced", "In place in 2 clusters."},
			},
		},
		"one exceeds its deadline": {
			reason: "the rollout has failed, by the reason that kubectl and Argo CD look for", placed: []string{"east", "west"},
			reports: []protocol.Report{complete("east", 5, 1), exceeded},
			wants: []want{
				{"Available", "False", reasonUnavailable, "No minimum availability in west (1 of 2 clusters)."},
				{"Progressing", "False", reasonDeadlineExceeded, "west: it has timed out progressing."},
				{"ReplicaFailure", "True", "FailedCreate", "west: quota"},
			},
		},
		"one has not reported": {
			reason: "silence is not availability", placed: []string{"east", "west"},
			reports: []protocol.Report{complete("east", 5, 1)},
			wants: []want{
				{"Available", "False", reasonUnavailable, "No minimum availability in west (1 of 2 clusters)."},
				{"Progressing", "True", reasonProgressing, "Waiting for west to take up the present generation."},
				{"Synced", "False", "NotReported", "west: has not reported"},
			},
		},
		"one is in conflict": {
			reason: "the user hears of it", placed: []string{"west"},
			reports: []protocol.Report{conflict},
			wants:   []want{{"Synced", "False", "Conflict", "west: default/nginx is in the way"}},
		},
		"many are silent": {
			reason: "a message names a few", placed: []string{"a", "b", "c", "d", "e"},
			wants: []want{{"Available", "False", reasonUnavailable, "No minimum availability in a, b, c and 2 more (5 of 5 clusters)."}},
		},
		"nowhere": {
			reason: "that is a reason of its own",
			wants:  []want{{"Available", "False", "NoClusters", "The workload is placed on no cluster."}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status := deploymentInput{Generation: 5, Replicas: 1, Placed: tc.placed, Annotations: annotations(t, tc.reports...), Now: now}.merge(t)
			for _, w := range tc.wants {
				got := conditionOf(status, w.conditionType)
				if diff := cmp.Diff(w, want{w.conditionType, got.Status, got.Reason, got.Message}, cmp.AllowUnexported(want{})); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
			}
		})
	}
}

func TestStatusIgnoresFailuresOfEarlierGenerations(t *testing.T) {
	stale := with(complete("west", 4, 1), func(r *protocol.Report) {
		r.Conditions[1] = protocol.ReportCondition{Type: "Progressing", Status: "False", Reason: reasonDeadlineExceeded}
	})
	status := deploymentInput{Generation: 5, Replicas: 1, Placed: []string{"west"}, Annotations: annotations(t, stale)}.merge(t)
	if got := conditionOf(status, "Progressing"); got.Reason != reasonProgressing {
		t.Errorf("Progressing has reason %s, want %s", got.Reason, reasonProgressing)
	}
}

func TestStatusNamesReportsThatDoNotCount(t *testing.T) {
	cases := map[string]struct {
		value string
		want  string
	}{
		"garbage":          {"certainly not JSON", "is not readable"},
		"a newer version":  {`{"v":99,"cluster":"west"}`, "unknown report version 99"},
		"anothers forgery": {`{"v":1,"cluster":"east"}`, `was written for cluster "east"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			all := annotations(t, complete("east", 1, 1))
			all[v1alpha1.StatusAnnotation("west")] = tc.value
			status := deploymentInput{Generation: 1, Replicas: 1, Placed: []string{"east", "west"}, Annotations: all}.merge(t)
			got := conditionOf(status, v1alpha1.ConditionSynced)
			if got.Status != corev1.ConditionFalse || !strings.Contains(got.Message, "west") || !strings.Contains(got.Message, tc.want) {
				t.Errorf("Synced is %s with %q, want False with a message on west that has %q", got.Status, got.Message, tc.want)
			}
			if status.ReadyReplicas != 1 || status.ObservedGeneration != 0 {
				t.Errorf("got %d ready, generation %d observed; want east's 1, and none", status.ReadyReplicas, status.ObservedGeneration)
			}
		})
	}
}

func TestConditionTimesMoveOnlyWithNews(t *testing.T) {
	in := deploymentInput{Generation: 1, Replicas: 1, Placed: []string{"east"}, Annotations: annotations(t, complete("east", 1, 1)), Now: now}
	first := in.merge(t)
	in.Previous, in.Now = first, metav1.Unix(2000, 0)
	if diff := cmp.Diff(first, in.merge(t)); diff != "" {
		t.Errorf("nothing has happened, yet the status changed (-first +second):\n%s", diff)
	}
	in.Annotations = nil
	if got := conditionOf(in.merge(t), "Available"); !got.LastTransitionTime.Equal(&in.Now) {
		t.Errorf("lastTransitionTime is %s after the status turned, want %s", got.LastTransitionTime, in.Now)
	}
}

func TestStatusOfEqualInputIsEqual(t *testing.T) {
	var placed []string
	var reports []protocol.Report
	for i := range 20 {
		placed = append(placed, fmt.Sprintf("c%02d", i))
		reports = append(reports, complete(placed[i], 1, 2))
	}
	in := deploymentInput{Generation: 1, Replicas: 2, Placed: placed, Annotations: annotations(t, reports...), Now: now}
	want, err := json.Marshal(in.merge(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if got, _ := json.Marshal(in.merge(t)); string(got) != string(want) {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}
