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
	// actComplain tells what keeps the object from being transformed; nothing is
	// sent down, and the copy that runs stays.
	actComplain action = "complain"
	// actWait lets what the object needs go first.
	actWait action = "wait"
	// actCreate and actUpdate apply the copy.
	actCreate action = "create"
	actUpdate action = "update"
	// actRefuse leaves an object alone that is in the way and not ours.
	actRefuse action = "refuse"
	// actDelete removes our copies.
	actDelete action = "delete"
	// actLinger keeps the copies where the object used to go for as long as they are
	// needed there.
	actLinger action = "linger"
	// actClear removes the copies that lie where the object used to go.
	actClear action = "clear"
	// actRelease lets go of the upstream object, the copies being gone.
	actRelease action = "release"
	// actInquire asks kcp about an object that is in the caches no more.
	actInquire action = "inquire"
)

// state is what both sides know of one key. The objects belong to caches and are
// not to be changed.
type state struct {
	origin transform.Origin
	// namespace and name are where the copy goes.
	namespace, name string
	// upstreamObj is nil when the caches do not have it, downstreamObj when there is
	// nothing where the copy goes.
	upstreamObj   *unstructured.Unstructured
	downstreamObj *unstructured.Unstructured
	// strays are our copies that lie elsewhere: where the cluster's rule used to
	// put them.
	strays []*unstructured.Unstructured
	// mayClear is set when the strays are not needed any more, given that the copy
	// is in place.
	mayClear bool
	// desired is the copy as it should be, nil unless upstreamObj is placed here.
	desired *unstructured.Unstructured
	// broken says why there is no desired copy of an object that is placed here.
	broken *v1alpha1.Problem
	// separates is set when the rule keeps workspaces in different namespaces.
	separates bool
	// tolerated is the problem that the copy is in a namespace that it could not come into
	// today: another workspace's, or one that tmc did not make. It was there before, and is
	// kept up all the same.
	tolerated *v1alpha1.Problem
	// needs are what the object names that is not in place yet.
	needs []need
	// settled is set when the last apply of just this copy onto just this object
	// changed nothing: something on the server takes our fields from us, and
	// applying again would not help.
	settled bool
	// hasRun is set for a Job that has come to its end here: it is not run again.
	hasRun bool
	// final is the last that was seen of a copy that ran and is gone.
	final *unstructured.Unstructured
}

// decide returns what to do about a key.
func decide(s state) action {
	switch {
	case s.upstreamObj == nil && len(s.ours()) == 0:
		return actNothing
	case s.upstreamObj == nil:
		return actInquire
	case !isPlaced(s.upstreamObj, s.origin.Cluster):
		return decideLeaving(s)
	case !hasFinalizer(s.upstreamObj, s.origin.Cluster):
		return actHold
	case s.broken != nil:
		return actComplain
	default:
		return decidePlaced(s)
	}
}

func decideLeaving(s state) action {
	switch ours := s.ours(); {
	case slices.ContainsFunc(ours, func(obj *unstructured.Unstructured) bool { return !isDeleting(obj) }):
		return actDelete
	case len(ours) > 0:
		return actNothing // they are on their way out
	case hasFinalizer(s.upstreamObj, s.origin.Cluster):
		return actRelease
	default:
		return actNothing
	}
}

func decidePlaced(s state) action {
	switch {
	case s.downstreamObj == nil && s.hasRun:
		return decideStrays(s)
	case s.downstreamObj == nil:
		return unlessWaiting(s, actCreate)
	case !isOurs(s, s.downstreamObj):
		return actRefuse
	case isDeleting(s.downstreamObj):
		return actNothing // made anew once it is gone
	case isNamesakes(s):
		return actDelete // its upstream object was deleted
	case stands(s):
		return decideStrays(s)
	default:
		return unlessWaiting(s, actUpdate)
	}
}

func unlessWaiting(s state, verdict action) action {
	if len(s.needs) > 0 {
		return actWait
	}
	return verdict
}

func decideStrays(s state) action {
	switch {
	case len(s.strays) == 0:
		return actNothing
	case s.mayClear:
		return actClear
	default:
		return actLinger
	}
}

// ours returns all our copies.
func (s state) ours() []*unstructured.Unstructured {
	if s.downstreamObj == nil || !isOurs(s, s.downstreamObj) {
		return s.strays
	}
	return append(slices.Clip(s.strays), s.downstreamObj)
}

// isThere reports whether a copy lies where it is to go.
func (s state) isThere() bool { return s.downstreamObj != nil && isOurs(s, s.downstreamObj) }

// stands reports whether the copy is as it should be.
func stands(s state) bool {
	return s.downstreamObj != nil && s.desired != nil && isOurs(s, s.downstreamObj) &&
		(s.settled || transform.Stands(s.desired, s.downstreamObj))
}

// isOurs reports whether a downstream object is a copy of this very upstream object:
// made by tmc, from that workspace, namespace and name, for this cluster. Where
// somebody took the annotations off that say so, the hash in its label still does. The
// object has no marks but those that are ours, as caches have it and downstream.live.
func isOurs(s state, downstreamObj *unstructured.Unstructured) bool {
	if origin, ok := transform.OriginOf(downstreamObj); ok {
		return origin == s.origin
	}
	return downstreamObj.GetLabels()[v1alpha1.SourceHashLabel] == s.origin.Hash()
}

// isNamesakes reports whether the copy is that of an earlier upstream object of the
// same name. One that does not say which it is of has lost an annotation: that is
// mended, not deleted for.
func isNamesakes(s state) bool {
	uid := transform.SourceUID(s.downstreamObj)
	return uid != "" && uid != s.upstreamObj.GetUID()
}

// isPlaced reports whether the upstream object is to be on the cluster.
func isPlaced(upstreamObj *unstructured.Unstructured, cluster string) bool {
	_, leaving := upstreamObj.GetAnnotations()[v1alpha1.DeletionAnnotation(cluster)]
	return !leaving && !isDeleting(upstreamObj) && hasLabel(upstreamObj, cluster) &&
		transform.IsNeverSynced(upstreamObj) == ""
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
