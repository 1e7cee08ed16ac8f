package protocol

import (
	"slices"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// IsReserved reports whether an annotation of that key is for tmc alone to write: what it says is of where the object is, and
// of no use on another object. The policy tmc-consumers has the same keys.
func IsReserved(key string) bool {
	return isHubs(key) || isReport(key) ||
		slices.Contains([]string{v1alpha1.PlacementAnnotation, v1alpha1.PropagationAnnotation, v1alpha1.StaysForAnnotation}, key)
}
