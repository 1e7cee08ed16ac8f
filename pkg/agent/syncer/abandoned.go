package syncer

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

// A cluster may come back under a new name. What it ran under its former one nobody
// would remove: copies are only ever touched by the syncer of the cluster name that
// they were made for. So a syncer looks, when it begins and now and then, for copies
// that were made under the name of a cluster that there is not any more.
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

// clearAbandonedOnce removes the copies of clusters that are not registered, as far as
// kcp says that the hub has taken that cluster off their upstream objects, and has the
// namespaces looked after that were made, or noted, for them. Of anything else it keeps its
// hands: a cluster may belong to several installations, and one that is not registered with
// ours may be with another. Its workspaces are unknown to us.
func (s *Syncer) clearAbandonedOnce(ctx context.Context) error {
	var errs []error
	for cluster, found := range s.others() {
		registered, err := s.isRegistered(ctx, cluster)
		if err != nil || registered {
			errs = append(errs, err)
			continue
		}
		unknown := sets.New[string]() // of whose workspaces nothing can be said
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
	others := map[string][]othersObject{}
	add := func(resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) {
		origin, ok := transform.OriginOf(downstreamObj)
		if ok && origin.Cluster != s.cluster && !isDeleting(downstreamObj) {
			others[origin.Cluster] = append(others[origin.Cluster], othersObject{resource, origin, downstreamObj})
		}
	}
	for _, namespace := range s.copies.namespaces.all() {
		add(v1alpha1.NamespacesResource, namespace)
	}
	for resource, w := range s.copies.all() {
		for _, downstreamObj := range w.all() {
			add(resource, downstreamObj)
		}
	}
	return others
}

// clearIfReleased removes a copy, or takes a namespace on, as soon as kcp has answered.
func (s *Syncer) clearIfReleased(ctx context.Context, one othersObject) error {
	key := keyOf(one.resource, one.origin)
	live, err := s.upstream.Live(ctx, key)
	switch {
	case err != nil:
		return err
	case one.resource == v1alpha1.NamespacesResource:
		s.adopt(one)
		return nil
	case live != nil && !isReleased(live, one.origin.Cluster):
		return nil
	}
	klog.FromContext(ctx).Info("Removing a copy that was made under the name of a cluster that is not registered any more", "key", key, "cluster", one.origin.Cluster)
	return s.downstream.remove(ctx, one.resource, one.downstreamObj)
}

// adopt has a namespace looked after that was made, or noted, for a cluster that is not
// registered, and for a workspace that is known.
func (s *Syncer) adopt(one othersObject) {
	s.adopted.Store(adopted{one.downstreamObj.GetName(), one.origin}, nil)
	s.namespaces.Enqueue(one.downstreamObj.GetName())
}

// adopted is a namespace of the cluster, as long as it bears these marks.
type adopted struct {
	name   string
	origin transform.Origin
}
