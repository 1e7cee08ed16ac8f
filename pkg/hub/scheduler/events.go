package scheduler

import (
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// OnCluster has everything decided again: a cluster came, went or changed.
func (s *Scheduler) OnCluster(string) { s.config.Upstream.Each(s.enqueuePlaceable) }

// OnWorkspace has everything in a workspace decided again: its path has become known, or it has bound other APIExports.
func (s *Scheduler) OnWorkspace(workspace logicalcluster.Name) {
	s.config.Upstream.EachInWorkspace(workspace, s.enqueuePlaceable)
}

func (s *Scheduler) enqueuePlaceable(key kcp.ObjectKey, _ *unstructured.Unstructured) {
	if isPlaceable(key) {
		s.objects.Enqueue(key)
	}
}

func (s *Scheduler) enqueue(key kcp.ObjectKey, _ *unstructured.Unstructured) { s.objects.Enqueue(key) }

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
	s.objects.Enqueue(key)
	if key.Resource == v1alpha1.NamespacesResource {
		// What is in it may have waited for it.
		s.config.Upstream.EachIn(key.Workspace, key.Name, s.enqueue)
		return
	}
	for _, obj := range []*unstructured.Unstructured{oldObj, newObj} {
		if obj != nil {
			s.enqueueFollowers(key, obj)
			s.enqueueStatus(key, obj)
		}
	}
	// What needs it may have waited for it.
	s.config.Inventory.EachDependent(key, s.enqueue)
}

// isPlacedAlike reports whether two states of an object are one to the scheduler: most changes are reports and merged
// statuses.
func (s *Scheduler) isPlacedAlike(oldObj, newObj *unstructured.Unstructured) bool {
	return oldObj.GetUID() == newObj.GetUID() && oldObj.GetGeneration() == newObj.GetGeneration() &&
		protocol.Read(oldObj).SameButReports(protocol.Read(newObj)) &&
		reflect.DeepEqual(s.config.Kinds.Needs(oldObj), s.config.Kinds.Needs(newObj))
}

// enqueueFollowers queues what goes where an object goes.
func (s *Scheduler) enqueueFollowers(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
	s.objects.Enqueue(namespaceOf(key))
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
