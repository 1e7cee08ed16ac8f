package syncer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// watched is the cache of one resource of the cluster, which the cluster may not
// serve, or not yet.
type watched struct {
	resource schema.GroupVersionResource
	client   dynamic.NamespaceableResourceInterface
	cluster  string
	informer cache.SharedIndexInformer
	// excluded is set for a resource that is not for this cluster: it is never looked at.
	excluded bool
	// missing is set while the cluster does not serve the resource.
	missing atomic.Bool
}

// watchOptions say what of a resource is cached, and who is told.
type watchOptions struct {
	cluster string
	// excluded has nothing of the resource looked at, as if the cluster did not serve it.
	excluded bool
	// selector is a label selector, empty for everything.
	selector  string
	transform cache.TransformFunc
	indexers  cache.Indexers
	handler   cache.ResourceEventHandler
}

func newWatched(client dynamic.Interface, resource schema.GroupVersionResource, options watchOptions) (*watched, error) {
	informer := dynamicinformer.NewFilteredDynamicInformer(client, resource, metav1.NamespaceAll, 0, options.indexers,
		func(list *metav1.ListOptions) { list.LabelSelector = options.selector }).Informer()
	if err := informer.SetTransform(options.transform); err != nil {
		return nil, fmt.Errorf("informer for %s on cluster %s: %w", resource, options.cluster, err)
	}
	if err := informer.SetWatchErrorHandlerWithContext(explainWatchError(options.cluster, resource)); err != nil {
		return nil, fmt.Errorf("informer for %s on cluster %s: %w", resource, options.cluster, err)
	}
	if _, err := informer.AddEventHandler(options.handler); err != nil {
		return nil, fmt.Errorf("informer for %s on cluster %s: %w", resource, options.cluster, err)
	}
	return &watched{resource: resource, client: client.Resource(resource), cluster: options.cluster, informer: informer, excluded: options.excluded}, nil
}

// run waits until the cluster serves the resource and watches it until ctx ends.
func (w *watched) run(ctx context.Context) {
	if !w.excluded && w.waitServed(ctx) {
		w.informer.RunWithContext(ctx)
	}
}

// waitServed waits until the cluster serves the resource, and tells whether it
// does; false when ctx has ended. Every failure but "not served" is the informer's
// to deal with.
func (w *watched) waitServed(ctx context.Context) bool {
	for {
		_, err := w.client.List(ctx, metav1.ListOptions{Limit: 1})
		if ctx.Err() != nil {
			return false
		}
		if !apierrors.IsNotFound(err) {
			w.missing.Store(false)
			return true
		}
		if !w.missing.Swap(true) {
			klog.FromContext(ctx).Info("The cluster does not serve the resource; its objects are not synced; will look again", "resource", w.resource)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(recheck):
		}
	}
}

func (w *watched) isMissing() bool { return w.excluded || w.missing.Load() }

// hasRead reports whether it is known what the cluster has: nothing, where it does
// not serve the resource.
func (w *watched) hasRead() bool { return w.isMissing() || w.informer.HasSynced() }

// get returns the object under the cache's key, nil when it is not there.
func (w *watched) get(key string) *unstructured.Unstructured {
	obj, exists, err := w.informer.GetStore().GetByKey(key)
	if err != nil || !exists {
		return nil // GetByKey of a thread-safe store returns no error
	}
	return asUnstructured(obj)
}

// all returns all objects.
func (w *watched) all() []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	for _, obj := range w.informer.GetStore().List() {
		objects = append(objects, asUnstructured(obj))
	}
	return objects
}

// by returns the objects that the index has under the value.
func (w *watched) by(index, value string) []*unstructured.Unstructured {
	found, err := w.informer.GetIndexer().ByIndex(index, value)
	if err != nil {
		return nil // the index is one of its own
	}
	objects := make([]*unstructured.Unstructured, 0, len(found))
	for _, obj := range found {
		objects = append(objects, asUnstructured(obj))
	}
	return objects
}

func explainWatchError(cluster string, resource schema.GroupVersionResource) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, r *cache.Reflector, err error) {
		logger := klog.FromContext(ctx).WithValues("cluster", cluster, "resource", resource)
		switch {
		case ctx.Err() != nil:
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			logger.Error(err, "The cluster denies access: check the RBAC of the syncer's account; will try again")
		default:
			cache.DefaultWatchErrorHandler(ctx, r, err)
		}
	}
}
