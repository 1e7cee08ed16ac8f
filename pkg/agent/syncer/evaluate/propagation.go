package evaluate

import (
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Propagation returns what is to become of what belongs to a copy of ours (its pods, and their claims) when the copy is removed.
// remembered is what whoever deleted the upstream object that the copy was made of has asked for, empty when that was not seen.
//
// A copy that leaves goes as the upstream object went. One that is only made anew, because its cluster refuses to change it or
// because it is that of an earlier upstream object, leaves behind what the new one takes over. Nothing else would be taken over,
// and would run for ever.
func (e *Evaluation) Propagation(downstreamObj *unstructured.Unstructured, remembered metav1.DeletionPropagation) metav1.DeletionPropagation {
	if !e.Placed && e.Upstream != nil {
		if wish := protocol.Read(e.Upstream).Propagation(); wish != metav1.DeletePropagationBackground {
			return wish
		}
	}
	isOfPlaced := e.Placed && transform.SourceUID(downstreamObj) == e.Upstream.GetUID()
	switch {
	case remembered != "" && !isOfPlaced:
		return remembered
	case e.Placed && downstreamObj == e.Downstream && e.takesOver():
		return metav1.DeletePropagationOrphan
	default:
		return metav1.DeletePropagationBackground
	}
}

// MayTakeOver reports whether the copy is made anew, if it is removed, and the new one may take over what belongs to it. Then
// Propagation and LosesClaims need the copy as the cluster has it: caches do not have its selector.
func (e *Evaluation) MayTakeOver() bool {
	return e.Placed && e.Downstream != nil && len(e.kind().Adoption.Selector) > 0
}

// takesOver reports whether the copy as it should be would take over what belongs to the one that is there.
func (e *Evaluation) takesOver() bool {
	if !e.MayTakeOver() || e.Desired == nil {
		return false
	}
	path := e.kind().Adoption.Selector
	selector := path.In(e.Downstream.Object)
	return selector != nil && equality.Semantic.DeepEqual(selector, path.In(e.Desired.Object))
}

// LosesClaims reports whether claims of volumes, and the data in them, would go with the copy that is there if it was made anew:
// its user has them deleted with it, and the new one would not take them over.
func (e *Evaluation) LosesClaims() bool {
	return e.kind().Adoption.WhenDeleted.In(e.Downstream.Object) == "Delete" && !e.takesOver()
}
