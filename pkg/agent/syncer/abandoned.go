package syncer

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

// A cluster may come back under a new name. Nobody would remove what it ran under its former one: copies are only ever touched by
// the syncer of the cluster name that they were made for. So a syncer looks, when it begins and now and then, for copies that were
// made under the name of a cluster that there is not any more.
const (
	abandonedInterval = 10 * time.Minute
	abandonedRetry    = 10 * time.Second
)

// clearAbandoned removes abandoned copies until ctx ends.
func (s *Syncer) clearAbandoned(ctx context.Context) {
	interval := abandonedRetry
	for ctx.Err() == nil {
		if err := s.clearAbandonedOnce(ctx); err != nil {
			klog.FromContext(ctx).V(2).Info("Cannot tell of all copies of other syncers whether they are abandoned; will try again", "reason", err.Error())
			interval = min(2*interval, abandonedInterval)
		} else {
			interval = abandonedInterval
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait.Jitter(interval, 0.2)):
		}
	}
}

// clearAbandonedOnce removes the copies of clusters that are not registered, as far as kcp says that the hub has taken that cluster
// off their upstream objects. It has the namespaces looked after that were made, or noted, for such clusters. It leaves everything
// else alone: a cluster may belong to several installations, and one that is not registered with ours may be with another. Its
// workspaces are unknown to us.
func (s *Syncer) clearAbandonedOnce(ctx context.Context) error {
	var errs []error
	for cluster, found := range s.others() {
		registered, err := s.isRegistered(ctx, cluster)
		if err != nil || registered {
			errs = append(errs, err)
			continue
		}
		unknown := sets.New[string]() // workspaces of which nothing can be said
		for _, one := range found {
			if unknown.Has(one.origin.Workspace) {
				continue
			}
			err := s.clearIfReleased(ctx, one)
			if errors.Is(err, upstream.ErrUnknownWorkspace) {
				unknown.Insert(one.origin.Workspace)
				continue
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// othersObject is a copy, or a namespace, that was made under the name of another cluster.
type othersObject struct {
	resource      schema.GroupVersionResource
	origin        transform.Origin
	downstreamObj *unstructured.Unstructured
}

// others returns the namespaces and the copies that were made under other names, by name.
func (s *Syncer) others() map[string][]othersObject {
	caches := s.caches.all()
	caches[v1alpha1.NamespacesResource] = s.caches.namespaces
	others := map[string][]othersObject{}
	for resource, w := range caches {
		for _, obj := range w.informer.GetStore().List() {
			downstreamObj := asUnstructured(obj)
			origin, ok := transform.OriginOf(downstreamObj)
			if ok && origin.Cluster != s.cluster && downstreamObj.GetDeletionTimestamp() == nil {
				others[origin.Cluster] = append(others[origin.Cluster], othersObject{resource, origin, downstreamObj})
			}
		}
	}
	return others
}

// clearIfReleased removes a copy, or has a namespace looked after, as soon as kcp has answered.
func (s *Syncer) clearIfReleased(ctx context.Context, one othersObject) error {
	key := keyOf(one.resource, one.origin)
	live, err := s.upstream.Live(ctx, key)
	switch {
	case err != nil:
		return err
	case one.resource == v1alpha1.NamespacesResource:
		s.inherited.Store(inheritedNamespace{one.downstreamObj.GetName(), one.origin}, nil)
		s.namespaces.Enqueue(one.downstreamObj.GetName())
		return nil
	case live != nil && !isReleased(live, one.origin.Cluster):
		return nil
	}
	klog.FromContext(ctx).Info("Removing a copy that was made under the name of a cluster that is not registered any more", "key", key, "cluster", one.origin.Cluster)
	propagation := metav1.DeletePropagationBackground
	if live != nil {
		propagation = protocol.Read(live).Propagation()
	}
	return s.downstream.remove(ctx, one.resource, one.downstreamObj, propagation)
}

// inheritedNamespace is a namespace of the cluster, as long as it bears these marks.
type inheritedNamespace struct {
	name   string
	origin transform.Origin
}
