package aggregate

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// westIsSilent is what the registry says when nothing is heard of west.
func westIsSilent(cluster string) string {
	if cluster == "west" {
		return "silent since 2026-01-01T12:00:00Z"
	}
	return ""
}

func TestStatusWhileAClusterIsSilent(t *testing.T) {
	cases := map[string]struct {
		reason      string
		shares      map[string]string
		unavailable int32
	}{
		"duplicated": {"it may lack all replicas", nil, 3},
		"divided":    {"it may lack its share", map[string]string{v1alpha1.ReplicasAnnotation("east"): "2", v1alpha1.ReplicasAnnotation("west"): "1", v1alpha1.PlacementAnnotation: `{"by":"placement p","replicas":3}`}, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			said := annotations(t, complete("east", 1, 2), complete("west", 1, 1))
			maps.Copy(said, tc.shares)
			upstream := &appsv1.Deployment{
				TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
				ObjectMeta: metav1.ObjectMeta{Name: "app", Generation: 1, Annotations: said, Labels: placement([]string{"east", "west"})},
				Spec:       appsv1.DeploymentSpec{Replicas: new(int32(3))},
			}
			mergeWith(t, upstream, Input{Inputs: noInputs, Now: now, Silent: westIsSilent})
			if s := upstream.Status; s.AvailableReplicas != 2 || s.UnavailableReplicas != tc.unavailable {
				t.Errorf("%s: %d are available, %d not; want 2 and %d", tc.reason, s.AvailableReplicas, s.UnavailableReplicas, tc.unavailable)
			}
			synced := conditionOf(upstream.Status, v1alpha1.ConditionSynced)
			if synced.Status != corev1.ConditionFalse || synced.Reason != string(protocol.Silent) || !strings.Contains(synced.Message, "west: silent since 2026-01-01T12:00:00Z") {
				t.Errorf("Synced is %+v", synced)
			}
			mergeWith(t, upstream, Input{Inputs: noInputs, Now: now})
			if s := upstream.Status; s.AvailableReplicas != 3 {
				t.Errorf("when it is heard of again, %d are available, want 3", s.AvailableReplicas)
			}
		})
	}
}

func TestStatusOfAJobThatEndedOnASilentCluster(t *testing.T) {
	ended := protocol.Report{
		Version: protocol.ReportVersion, Cluster: "west", Generation: 1, LocalGeneration: 1, Counters: map[string]int64{"succeeded": 1},
		Conditions: []protocol.ReportCondition{{Type: "Complete", Status: "True", Reason: "CompletionsReached"}},
	}
	job := &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: "job", Generation: 1, Annotations: annotations(t, ended), Labels: placement([]string{"west"})},
	}
	mergeWith(t, job, Input{Inputs: noInputs, Now: now, Silent: westIsSilent})
	if s := job.Status; s.Succeeded != 1 || len(s.Conditions) == 0 || string(s.Conditions[0].Type) != "Complete" || s.Conditions[0].Status != corev1.ConditionTrue {
		t.Errorf("the status is %+v", s)
	}
}

func TestStatusOfAJobThatEndedAndIsPlacedNowhere(t *testing.T) {
	job := &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: "job", Generation: 1},
		Status:     batchv1.JobStatus{Succeeded: 1, Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}},
	}
	before := job.Status.DeepCopy()
	mergeWith(t, job, Input{Inputs: noInputs, Now: now})
	if diff := cmp.Diff(*before, job.Status); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}
