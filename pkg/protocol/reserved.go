package protocol

import (
	"slices"
	"strings"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// IsReserved reports whether an annotation of that key is for tmc alone to write: what it says is of where the object is, and
// of no use on another object. The policy tmc-consumers has the same keys.
func IsReserved(key string) bool {
	return slices.ContainsFunc([]string{
		v1alpha1.StatusAnnotationPrefix, v1alpha1.ReplicasAnnotationPrefix, v1alpha1.PartitionAnnotationPrefix, v1alpha1.DeletionAnnotationPrefix,
	}, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) ||
		slices.Contains([]string{v1alpha1.PlacementAnnotation, v1alpha1.PropagationAnnotation, v1alpha1.StaysForAnnotation}, key)
}
