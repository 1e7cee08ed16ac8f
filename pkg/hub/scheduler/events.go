package scheduler

import (
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// OnCluster has decided again what the change of a cluster may concern: what is on it, and what may enter it, or lacks something.
func (s *Scheduler) OnCluster(name string) {
	after := s.config.Registry.Cluster(name)
	s.mu.Lock()
	before := s.seen[name]
	if s.seen[name] = after; after.Name == "" {
		delete(s.seen, name)
	}
	var on []kcp.ObjectKey
	for r := range s.ledger.on[name] {
		on = append(on, r.key)
	}
	concerned := append(s.eagerFor(before, after), on...)
	s.mu.Unlock()
	for _, key := range concerned {
		s.objects.Enqueue(key)
	}
	if before.Export == after.Export && before.Resources.Equal(after.Resources) {
		return
	}
	// What follows the objects may have been left out of the cluster, or may be now.
	for _, key := range on {
		if upstreamObj := s.config.Upstream.Cached(key); upstreamObj != nil {
			s.config.Inventory.EachFollower(key, upstreamObj, s.objects.Enqueue)
		}
	}
}

// eagerFor returns the objects that are not on a cluster and that its change may concern. The caller holds the lock.
func (s *Scheduler) eagerFor(before, after placement.Cluster) []kcp.ObjectKey {
	var eager []kcp.ObjectKey
	for _, interest := range []placement.Interest{placement.InterestOpen, placement.InterestAny} {
		for in, records := range s.ledger.eager[interest] {
			if !s.mayConcern(interest, in, before, after) {
				continue
			}
			for r := range records {
				eager = append(eager, r.key)
			}
		}
	}
	return eager
}

// mayConcern reports whether the change of a cluster may concern objects that are not on it, by their interest and the placement that has
// decided about them.
func (s *Scheduler) mayConcern(interest placement.Interest, in kcp.ObjectKey, before, after placement.Cluster) bool {
	for _, p := range s.config.Inventory.Placements(in.Workspace, in.Namespace) {
		if p.Name == in.Name {
			return placement.MayConcern(interest, p, before, after)
		}
	}
	return placement.MayConcern(interest, nil, before, after)
}

// OnWorkspace has everything in a workspace decided again: its path has become known, or it has bound other APIExports.
func (s *Scheduler) OnWorkspace(workspace logicalcluster.Name) {
	s.config.Upstream.EachInWorkspace(workspace, s.enqueuePlaceable)
}

func (s *Scheduler) enqueuePlaceable(key kcp.ObjectKey, _ *unstructured.Unstructured) {
	if isPlaceable(key) {
		s.objects.Enqueue(key)
	}
}

// isPlaceable reports whether objects of a key's resource are placed. Placements and bindings are read, and stay where they
// are.
func isPlaceable(key kcp.ObjectKey) bool {
	return v1alpha1.IsWatched(key.Resource.GroupResource(), key.Namespace != "")
}

// OnUpstream queues a changed object, and what is placed after it; it is an upstream.Handler.
func (s *Scheduler) OnUpstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	s.noteLost(key, oldObj, newObj)
	switch {
	case !isPlaceable(key):
		s.onPlacement(key, oldObj, newObj)
		return
	case oldObj != nil && newObj != nil && s.isPlacedAlike(oldObj, newObj):
		if s.isDraining(key) {
			s.objects.Enqueue(key) // it may be available by now where it goes
		}
		return // a report, or a status
	case newObj == nil:
		s.forget(key)
	default:
		s.refusals.Changed(key)
	}
	isMoved := newObj != nil && s.note(key, newObj)
	s.objects.Enqueue(key)
	s.enqueueWaiting(key)
	if key.Resource != v1alpha1.NamespacesResource {
		s.enqueueRelated(key, isMoved || !s.isRelatedAlike(oldObj, newObj), oldObj, newObj)
	}
}

// enqueueRelated queues the placements that count the states of an object, nil for none, and, if they are concerned, the objects that
// follow it.
func (s *Scheduler) enqueueRelated(key kcp.ObjectKey, withFollowers bool, states ...*unstructured.Unstructured) {
	for _, obj := range states {
		if obj == nil {
			continue
		}
		if withFollowers {
			s.config.Inventory.EachFollower(key, obj, s.objects.Enqueue)
		}
		s.enqueueStatus(key, obj)
	}
}

// isRelatedAlike reports whether two states of an object name and select the same.
func (s *Scheduler) isRelatedAlike(oldObj, newObj *unstructured.Unstructured) bool {
	return oldObj != nil && newObj != nil && oldObj.GetUID() == newObj.GetUID() && oldObj.GetGeneration() == newObj.GetGeneration() &&
		reflect.DeepEqual(s.config.Kinds.Needs(oldObj), s.config.Kinds.Needs(newObj))
}

// isPlacedAlike reports whether two states of an object are one to the scheduler: most changes are reports and merged
// statuses.
func (s *Scheduler) isPlacedAlike(oldObj, newObj *unstructured.Unstructured) bool {
	return protocol.Read(oldObj).SameButReports(protocol.Read(newObj)) && s.isRelatedAlike(oldObj, newObj)
}

// enqueueFollowers queues what goes where an object goes. Its namespace is queued where the ledger says so.
func (s *Scheduler) enqueueFollowers(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
	s.config.Inventory.EachFollower(key, upstreamObj, s.objects.Enqueue)
}

func namespaceOf(key kcp.ObjectKey) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: key.Workspace, Resource: v1alpha1.NamespacesResource, Name: key.Namespace}
}

// enqueueStatus queues the status of the placement that an object says has decided about it.
func (s *Scheduler) enqueueStatus(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
	if decided := protocol.Read(upstreamObj).Placement(); decided.By == protocol.ByPlacement {
		s.statuses.Enqueue(kcp.ObjectKey{Workspace: key.Workspace, Resource: v1alpha1.WorkloadPlacementsResource, Namespace: key.Namespace, Name: decided.Name})
	}
}

// onPlacement queues what a change of a placement concerns.
func (s *Scheduler) onPlacement(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if key.Resource.GroupResource() != v1alpha1.WorkloadPlacementsResource.GroupResource() {
		return
	}
	s.statuses.Enqueue(key)
	if oldObj != nil && newObj != nil && oldObj.GetGeneration() == newObj.GetGeneration() &&
		(oldObj.GetDeletionTimestamp() == nil) == (newObj.GetDeletionTimestamp() == nil) {
		return // its status
	}
	s.config.Upstream.EachIn(key.Workspace, key.Namespace, s.enqueuePlaceable)
}
