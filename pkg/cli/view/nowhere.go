package view

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// nowhere is why an object is on no cluster, in the words of a table.
type nowhere string

const (
	// somewhere is an object that is on a cluster, or is a workload.
	somewhere nowhere = ""
	// asAsked is an object whose annotation names no cluster.
	asAsked nowhere = "nowhere, as its annotation says"
	// isDecided is one that somebody has placed, and that has no cluster all the same.
	isDecided nowhere = "nowhere"
	// isRecord is what a tool, or kcp, keeps for itself.
	isRecord nowhere = "for no cluster"
	// isNobodys is one that nothing places: what would take it along is on no cluster, or is not there.
	isNobodys nowhere = "nothing places it"
)

// whyNowhere says why the object is on no cluster.
func (w *Workload) whyNowhere(obj *unstructured.Unstructured) nowhere {
	switch {
	case len(w.Clusters) > 0:
		return somewhere
	case w.asksForNowhere():
		return asAsked
	case w.kind.Workload, w.TargetClusters != nil, w.by != protocol.ByNobody, w.Deleting:
		return isDecided
	case transform.IsRecord(obj):
		return isRecord
	default:
		return isNobodys
	}
}

// asksForNowhere reports whether the user wants the object on no cluster.
func (w *Workload) asksForNowhere() bool {
	return w.TargetClusters != nil && strings.TrimSpace(*w.TargetClusters) == ""
}

// lost returns the problem that the object is on no cluster, if that is one. It is asked when the conditions do not say why.
func (w *Workload) lost(obj *unstructured.Unstructured) []Problem {
	switch {
	case w.isLost():
		return []Problem{{Reason: Nowhere, Message: "it is placed on no cluster"}}
	case w.nowhere == isNobodys:
		return []Problem{{Reason: Nowhere, Message: placement.SayNowhere(obj)}}
	default:
		return nil
	}
}

// Where says in a few words where an object is: its clusters, or that it is on none, and why.
func (w *Workload) Where() string {
	if len(w.Clusters) == 0 {
		return string(w.nowhere)
	}
	var names []string
	for _, o := range w.Clusters {
		names = append(names, o.Name)
	}
	return firstOf(names, mostNames)
}
