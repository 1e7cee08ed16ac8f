package syncer

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// action is what one turn of the spec loop does.
type action string

const (
	// actNothing: all is as it should be, or an event will come.
	actNothing action = "nothing"
	// actHold sets our finalizer, before anything is written downstream.
	actHold action = "hold"
	// actCreate and actUpdate apply the copy.
	actCreate action = "create"
	actUpdate action = "update"
	// actRefuse leaves an object alone that is in the way and not ours.
	actRefuse action = "refuse"
	// actDelete removes our copy.
	actDelete action = "delete"
	// actRelease lets go of the upstream object, the copy being gone.
	actRelease action = "release"
	// actInquire asks kcp about an object that is in the caches no more.
	actInquire action = "inquire"
)

// state is what both sides know of one key. The objects belong to caches and are
// not to be changed.
type state struct {
	origin transform.Origin
	// upstreamObj and downstreamObj are nil when the caches do not have them.
	upstreamObj   *unstructured.Unstructured
	downstreamObj *unstructured.Unstructured
	// desired is the copy as it should be, nil unless upstreamObj is placed here.
	desired *unstructured.Unstructured
	// settled is set when the last apply of just this copy onto just this object
	// changed nothing: something on the server takes our fields from us, and
	// applying again would not help.
	settled bool
}

// decide returns what to do about a key.
func decide(s state) action {
	switch {
	case s.upstreamObj == nil && s.downstreamObj == nil:
		return actNothing
	case s.upstreamObj == nil && !isOurs(s):
		return actNothing
	case s.upstreamObj == nil:
		return actInquire
	case !isPlaced(s.upstreamObj, s.origin.Cluster):
		return decideLeaving(s)
	case !hasFinalizer(s.upstreamObj, s.origin.Cluster):
		return actHold
	default:
		return decidePlaced(s)
	}
}

func decideLeaving(s state) action {
	switch {
	case s.downstreamObj != nil && isOurs(s) && isDeleting(s.downstreamObj):
		return actNothing // it is on its way out
	case s.downstreamObj != nil && isOurs(s):
		return actDelete
	case hasFinalizer(s.upstreamObj, s.origin.Cluster):
		return actRelease
	default:
		return actNothing
	}
}

func decidePlaced(s state) action {
	switch {
	case s.downstreamObj == nil:
		return actCreate
	case !isOurs(s):
		return actRefuse
	case isDeleting(s.downstreamObj):
		return actNothing // made anew once it is gone
	case isNamesakes(s):
		return actDelete // its upstream object was deleted
	case stands(s):
		return actNothing
	default:
		return actUpdate
	}
}

// stands tells whether the copy is as it should be.
func stands(s state) bool {
	return s.downstreamObj != nil && s.desired != nil && isOurs(s) &&
		(s.settled || transform.Stands(s.desired, s.downstreamObj))
}

// isOurs tells whether the downstream object is our copy of this very upstream
// object: made by tmc, from that workspace, namespace and name, for this cluster.
func isOurs(s state) bool {
	origin, ok := transform.OriginOf(s.downstreamObj)
	return ok && origin == s.origin
}

// isNamesakes tells whether the copy is that of an earlier upstream object of the
// same name. One that does not say which it is of has lost an annotation: that is
// mended, not deleted for.
func isNamesakes(s state) bool {
	uid := transform.SourceUID(s.downstreamObj)
	return uid != "" && uid != s.upstreamObj.GetUID()
}

// isPlaced tells whether the upstream object is to be on the cluster.
func isPlaced(upstreamObj *unstructured.Unstructured, cluster string) bool {
	_, leaving := upstreamObj.GetAnnotations()[v1alpha1.DeletionAnnotation(cluster)]
	return !leaving && !isDeleting(upstreamObj) && hasLabel(upstreamObj, cluster)
}

func hasLabel(upstreamObj *unstructured.Unstructured, cluster string) bool {
	return upstreamObj.GetLabels()[v1alpha1.PlacementLabel(cluster)] == v1alpha1.PlacementLabelValue
}

func hasFinalizer(upstreamObj *unstructured.Unstructured, cluster string) bool {
	return slices.Contains(upstreamObj.GetFinalizers(), v1alpha1.Finalizer(cluster))
}

func isDeleting(obj *unstructured.Unstructured) bool {
	return obj.GetDeletionTimestamp() != nil
}

// isReleased tells, of an object that kcp still has, whether the hub has taken
// this cluster off it for good: neither placed here nor held by us. With either
// left, the hub has a say yet: it restores a lost label, or asks us to leave.
func isReleased(upstreamObj *unstructured.Unstructured, cluster string) bool {
	return !hasLabel(upstreamObj, cluster) && !hasFinalizer(upstreamObj, cluster)
}
