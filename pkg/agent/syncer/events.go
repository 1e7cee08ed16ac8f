package syncer

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// stripUpstream returns a transform that leaves of an upstream object what this cluster's syncer reads: not its status, not who
// owns its fields, not the reports of others, nor why it is placed. What its copy is made of is packed.
func stripUpstream(cluster string) cache.TransformFunc {
	return func(obj any) (any, error) {
		if upstreamObj, ok := obj.(*unstructured.Unstructured); ok {
			upstreamObj.SetManagedFields(nil)
			delete(upstreamObj.Object, "status")
			protocol.KeepFor(cluster, upstreamObj)
			unstructured.RemoveNestedField(upstreamObj.Object, "metadata", "creationTimestamp")
			transform.Pack(upstreamObj)
		}
		return obj, nil
	}
}

// onUpstream queues what a change in kcp concerns.
func (s *Syncer) onUpstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	rule := s.settings.Load().Rule
	if key.Resource == v1alpha1.NamespacesResource {
		s.namespaces.Enqueue(transform.Namespace(rule, key.Workspace.String(), key.Name))
		return
	}
	if newObj != nil {
		s.noteWish(key, newObj)
	}
	if !s.awaits(newObj) && s.awaits(oldObj) {
		// It may have been the last of its workspace in the namespace.
		s.namespaces.Enqueue(transform.Namespace(rule, key.Workspace.String(), key.Namespace))
	}
	if oldObj == nil || newObj == nil || !evaluate.SameUpstream(oldObj, newObj, s.cluster) {
		s.specs.Enqueue(key)
		return // whose turn queues the status
	}
	before, _ := protocol.Read(oldObj).EncodedReport(s.cluster)
	after, _ := protocol.Read(newObj).EncodedReport(s.cluster)
	if before != after {
		s.statuses.Enqueue(key)
		return
	}
	s.memories.replace(key, oldObj, newObj) // no turn will: the evaluation would keep the old state in memory
}

// awaits reports whether an upstream object, nil for none, has or may get a copy here.
func (s *Syncer) awaits(upstreamObj *unstructured.Unstructured) bool {
	return upstreamObj != nil && (protocol.Read(upstreamObj).IsHeld(s.cluster) || evaluate.IsPlaced(upstreamObj, s.cluster))
}

// onDownstream queues what a change on the cluster concerns. A change of status alone, as most are, leaves the spec alone, unless
// copies wait for it elsewhere.
func (s *Syncer) onDownstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if newObj == nil {
		s.onGone(key, oldObj)
	}
	if oldObj == nil || newObj == nil || !evaluate.SameButStatus(oldObj, newObj) || s.caches.hasStrays(key.Resource, newObj) {
		s.specs.Enqueue(key)
	}
	s.statuses.Enqueue(key)
}

// onGone takes note of a copy that has gone.
func (s *Syncer) onGone(key kcp.ObjectKey, oldObj *unstructured.Unstructured) {
	s.namespaces.Enqueue(oldObj.GetNamespace())
	kind := s.kinds.Of(oldObj.GroupVersionKind().GroupKind())
	if kind.HasEnded(oldObj) {
		s.memories.update(key, func(m *memory) { m.final, m.isSought = oldObj, true })
	}
	if !kind.Workload {
		return
	}
	s.wakeAllIn(oldObj.GetNamespace()) // what it used may have been waiting for that
}

// onNamespace queues what a change of a namespace concerns that bears a mark of ours.
func (s *Syncer) onNamespace(name string) {
	resourceVersion := ""
	if namespace := s.caches.namespace(name); namespace != nil {
		resourceVersion = namespace.GetResourceVersion()
		if namespace.GetDeletionTimestamp() != nil {
			s.wakeAllIn(name)
		}
	}
	s.news.observe(name, resourceVersion)
	s.wakeWaiters(namespaceKey(name))
	s.refused.hint(func(c refusedCopy) bool { return c.namespace == name })
	s.namespaces.Enqueue(name)
}

// onScaleTarget queues the workload that an autoscaler has begun or ceased to scale.
func (s *Syncer) onScaleTarget(target scaleTarget) {
	s.caches.eachIn(target.namespace, func(resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		if targetOf(downstreamObj) != target {
			return true
		}
		s.enqueueSpec(resource, downstreamObj)
		return false
	})
}

// enqueueSpec queues the object that a copy is of, if the copy is this cluster's.
func (s *Syncer) enqueueSpec(resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) {
	if origin, ok := transform.OriginOf(downstreamObj); ok && origin.Cluster == s.cluster {
		s.specs.Enqueue(keyOf(resource, origin))
	}
}
