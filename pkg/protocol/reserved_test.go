package protocol

import (
	"testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestIsReserved(t *testing.T) {
	for key, want := range map[string]bool{
		v1alpha1.StatusAnnotation("east"):    true,
		v1alpha1.ReplicasAnnotation("east"):  true,
		v1alpha1.PartitionAnnotation("east"): true,
		v1alpha1.DeletionAnnotation("east"):  true,
		v1alpha1.PlacementAnnotation:         true,
		v1alpha1.PropagationAnnotation:       true,
		v1alpha1.StaysForAnnotation:          true,
		v1alpha1.OverrideAnnotation("east"):  false,
		v1alpha1.TargetClustersAnnotation:    false,
		v1alpha1.RetryAnnotation:             false,
		"kubernetes.io/change-cause":         false,
	} {
		if got := IsReserved(key); got != want {
			t.Errorf("%s: got %t, want %t", key, got, want)
		}
	}
}
