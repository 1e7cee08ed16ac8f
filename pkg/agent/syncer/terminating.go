package syncer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// A namespace of the cluster that is being deleted takes nothing in, and may stay so for as long as something in it has a finalizer.
// Nothing is tried there in the meantime. The cache shows what becomes of one that bears a mark of ours. Of another one the cluster
// tells, the first time, by refusing a copy; then one request asks for it every terminatingRetry, whatever is to go there.

// terminatingRetry is how often the cluster is asked about a namespace that the cache does not have and that is being deleted.
const terminatingRetry = 5 * time.Second

// waitsFor returns what a namespace waits for that is being deleted, empty when it is not. namespace is what the cache has, nil for
// nothing.
func (s *Syncer) waitsFor(name string, namespace *unstructured.Unstructured) string {
	if namespace != nil {
		return evaluate.WaitsFor(namespace)
	}
	return s.news.waitsFor(name)
}

// endingFor returns since how long a copy, nil for none, is known to be being deleted, 0 when it is not.
func (s *Syncer) endingFor(key kcp.ObjectKey, downstreamObj *unstructured.Unstructured) time.Duration {
	if downstreamObj == nil || downstreamObj.GetDeletionTimestamp() == nil {
		return 0
	}
	now := s.now()
	since := now
	s.memories.update(key, func(m *memory) { since = m.ending.since(downstreamObj.GetUID(), now) })
	return now.Sub(since)
}

// foundTerminating takes note that the cluster says a namespace is being deleted, and returns the result of the turn that has found
// that out. The namespace's own turns see to what becomes of it, and wake the turn.
func (s *Syncer) foundTerminating(t turn, namespace *unstructured.Unstructured) result {
	waitsFor := evaluate.WaitsFor(namespace)
	if waitsFor == "" {
		waitsFor = evaluate.UnknownObstacle
	}
	s.waiters.note(t.key, namespaceKey(t.Namespace))
	if s.caches.namespace(t.Namespace) == nil { // else its event is on the way
		s.news.setTerminating(t.Namespace, waitsFor)
		s.namespaces.Enqueue(t.Namespace)
	}
	return result{[]protocol.Problem{evaluate.Terminating(t.Namespace, waitsFor)}, terminatingRetry}
}

// checkTerminating asks the cluster about a namespace that it has said is being deleted, unless the cache has it by now. It wakes
// who waits for the namespace when there are news, and returns when to ask again, 0 for not any more.
func (s *Syncer) checkTerminating(ctx context.Context, name string) (time.Duration, error) {
	waitsFor := ""
	if s.caches.namespace(name) == nil {
		live, err := s.downstream.liveNamespace(ctx, name)
		if err != nil {
			return 0, err
		}
		waitsFor = evaluate.WaitsFor(live)
	}
	if s.news.setTerminating(name, waitsFor) {
		klog.FromContext(ctx).V(2).Info("Looked what has become of a namespace that is being deleted", "namespace", name, "waitsFor", waitsFor)
		s.wakeWaiters(namespaceKey(name))
	}
	if waitsFor == "" {
		return 0, nil
	}
	return terminatingRetry, nil
}

// wakeAllIn queues the objects that have copies in a namespace.
func (s *Syncer) wakeAllIn(namespace string) {
	s.caches.eachIn(namespace, func(resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		s.enqueueSpec(resource, downstreamObj)
		return true
	})
}
