package aggregate

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubectl/pkg/polymorphichelpers"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// TestRolloutOfDividedPartition has kubectl judge a StatefulSet whose replicas, and with them its partition, are divided.
func TestRolloutOfDividedPartition(t *testing.T) {
	rolling := func(cluster string, updated int64) protocol.Report {
		report := protocol.Report{
			Version: protocol.ReportVersion, Cluster: cluster, Generation: 2, LocalGeneration: 1, LocalObservedGeneration: 1, Replicas: new(int64(2)),
			Counters: map[string]int64{replicas: 2, readyReplicas: 2, availableReplicas: 2, "currentReplicas": 2 - updated, updatedReplicas: updated},
			Texts:    map[string]string{currentRevision: "db-1", updateRevision: "db-2"},
		}
		if updated == 2 {
			report.Texts[currentRevision] = "db-2"
		}
		return report
	}
	cases := map[string]struct {
		east, west  string
		updated     [2]int64
		partition   int32
		want        bool
		wantUpdated int32
	}{
		"one on each":                         {"1/2", "1/2", [2]int64{1, 1}, 2, true, 2},
		"none yet":                            {"1/2", "1/2", [2]int64{0, 0}, 2, false, 0},
		"one on one":                          {"1/2", "1/2", [2]int64{1, 0}, 2, false, 1},
		"two on one: the other is not done":   {"1/2", "1/2", [2]int64{2, 0}, 2, false, 2},
		"more than asked for":                 {"1/2", "1/2", [2]int64{2, 1}, 2, true, 3},
		"all":                                 {"", "", [2]int64{2, 2}, 0, true, 4},
		"all, and one lacks":                  {"", "", [2]int64{2, 1}, 0, false, 3},
		"all on east, all stay on west":       {"0/2", "", [2]int64{2, 0}, 2, true, 2},
		"a part that is of another partition": {"1/3", "1/2", [2]int64{1, 1}, 2, false, 1},
		"all stay":                            {"", "", [2]int64{0, 0}, 4, true, 0},
		"before it is divided: kubectl's own sum": {"", "", [2]int64{0, 0}, 2, false, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			upstream := &appsv1.StatefulSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}}
			upstream.Generation, upstream.Spec.Replicas = 2, new(int32(4))
			upstream.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{
				Type: appsv1.RollingUpdateStatefulSetStrategyType, RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: &tc.partition},
			}
			upstream.Labels = placement([]string{"east", "west"})
			upstream.Annotations = annotations(t, rolling("east", tc.updated[0]), rolling("west", tc.updated[1]))
			upstream.Annotations[v1alpha1.PlacementAnnotation] = `{"by":"placement","name":"p","replicas":4}`
			for cluster, part := range map[string]string{"east": tc.east, "west": tc.west} {
				upstream.Annotations[v1alpha1.ReplicasAnnotation(cluster)] = "2"
				if part != "" {
					upstream.Annotations[v1alpha1.PartitionAnnotation(cluster)] = part
				}
			}
			mergeInto(t, upstream, now)
			if got := isDoneTo(t, &polymorphichelpers.StatefulSetStatusViewer{}, upstream); got != tc.want {
				t.Errorf("kubectl says that it is rolled out: %t: %+v", got, upstream.Status)
			}
			if got := upstream.Status.UpdatedReplicas; got != tc.wantUpdated {
				t.Errorf("%d are updated, want %d", got, tc.wantUpdated)
			}
			if got := upstream.Status.UpdateRevision; got != "db-2" {
				t.Errorf("the revision is %s", got)
			}
		})
	}
}
