package kcp

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	kcpcache "github.com/kcp-dev/apimachinery/v2/pkg/cache"
	kcpinformers "github.com/kcp-dev/apimachinery/v2/third_party/informers"
	kcpdynamic "github.com/kcp-dev/client-go/dynamic"
	"github.com/kcp-dev/logicalcluster/v3"
)

// source is one place to read objects from and to write them to: the virtual
// workspace of one shard, or a single workspace.
type source struct {
	url string
	// notServed is what to say while kcp does not serve a resource here.
	notServed string
	// all reads over every workspace of the source.
	all dynamic.Interface
	// in addresses one workspace.
	in        func(logicalcluster.Name) dynamic.Interface
	informers map[schema.GroupVersionResource]kcpcache.ScopeableSharedIndexInformer
}

// newShardSource returns the source of a shard's virtual workspace at url.
func newShardSource(config *rest.Config, url string) (*source, error) {
	config = rest.CopyConfig(config)
	config.Host = url
	client, err := kcpdynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for the virtual workspace %s: %w", url, err)
	}
	return &source{
		url:       url,
		notServed: "kcp is still setting up the virtual workspace; will try again",
		all:       client.Cluster(logicalcluster.Wildcard),
		in:        func(name logicalcluster.Name) dynamic.Interface { return client.Cluster(name.Path()) },
	}, nil
}

// newWorkspaceSource returns the source of the one workspace that config points
// at.
func newWorkspaceSource(config *rest.Config) (*source, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for the workspace %s: %w", config.Host, err)
	}
	return &source{
		url:       config.Host,
		notServed: "kcp does not serve the resource in this workspace: run `kubectl tmc bind` there; will try again",
		all:       client,
		in:        func(logicalcluster.Name) dynamic.Interface { return client },
	}, nil
}

// addInformers prepares the informers of the source. Informers of upstream
// client-go would lose objects here: their keys know no workspace.
func (s *source) addInformers(ctx context.Context, options Options, handle Handler) error {
	s.informers = make(map[schema.GroupVersionResource]kcpcache.ScopeableSharedIndexInformer, len(options.Resources))
	for _, resource := range options.Resources {
		informer := kcpinformers.NewSharedIndexInformer(
			listWatch(s.all.Resource(resource), options.Selector),
			&unstructured.Unstructured{}, 0,
			cache.Indexers{kcpcache.ClusterIndexName: kcpcache.ClusterIndexFunc},
		)
		if err := informer.SetTransform(options.Transform); err != nil {
			return fmt.Errorf("informer for %s at %s: %w", resource, s.url, err)
		}
		if err := informer.SetWatchErrorHandlerWithContext(explainWatchError(resource.GroupResource().String(), s.url)); err != nil {
			return fmt.Errorf("informer for %s at %s: %w", resource, s.url, err)
		}
		if _, err := informer.AddEventHandlerWithOptions(eventHandler(resource, handle), cache.HandlerOptions{}); err != nil {
			return fmt.Errorf("informer for %s at %s: %w", resource, s.url, err)
		}
		s.informers[resource] = informer
	}
	klog.FromContext(ctx).Info("Watching kcp", "url", s.url, "selector", options.Selector)
	return nil
}

// run runs the informers until ctx ends and waits for them.
func (s *source) run(ctx context.Context) {
	var running sync.WaitGroup
	for resource, informer := range s.informers {
		running.Go(func() {
			if s.waitServed(ctx, resource) {
				informer.RunWithContext(ctx)
			}
		})
	}
	running.Wait()
}

// servedInterval is how often to ask whether a resource is served by now.
const servedInterval = time.Second

// waitServed waits until the resource is served, and tells whether it is; false
// when ctx has ended. kcp lists a new virtual workspace seconds before it serves
// anything there, and an informer that has failed a few times would come back to
// it half a minute later. Every other failure is the informer's to deal with.
func (s *source) waitServed(ctx context.Context, resource schema.GroupVersionResource) bool {
	said := false
	err := wait.PollUntilContextCancel(ctx, servedInterval, true, func(ctx context.Context) (bool, error) {
		_, err := s.all.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
		if !apierrors.IsNotFound(err) {
			return true, nil
		}
		if !said {
			said = true
			klog.FromContext(ctx).Info(s.notServed, "resource", resource.GroupResource().String(), "url", s.url)
		}
		return false, nil
	})
	return err == nil
}

func (s *source) hasSynced() bool {
	for _, informer := range s.informers {
		if !informer.HasSynced() {
			return false
		}
	}
	return true
}

// cached returns the object from the cache, nil when it is not there.
func (s *source) cached(key ObjectKey) *unstructured.Unstructured {
	informer, watched := s.informers[key.Resource]
	if !watched {
		return nil
	}
	storeKey := kcpcache.ToClusterAwareKey(key.Workspace.String(), key.Namespace, key.Name)
	obj, exists, err := informer.GetIndexer().GetByKey(storeKey)
	if err != nil || !exists {
		return nil // GetByKey of a thread-safe store returns no error
	}
	return obj.(*unstructured.Unstructured)
}

// holds tells whether the cache has any object of the workspace.
func (s *source) holds(workspace logicalcluster.Name) bool {
	for _, informer := range s.informers {
		keys, err := informer.GetIndexer().IndexKeys(kcpcache.ClusterIndexName, kcpcache.ClusterIndexKey(workspace))
		if err == nil && len(keys) > 0 {
			return true
		}
	}
	return false
}

func listWatch(client dynamic.ResourceInterface, selector string) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			return client.Watch(ctx, options)
		},
	}
}

// eventHandler hands informer events on with their key.
func eventHandler(resource schema.GroupVersionResource, handle Handler) cache.ResourceEventHandler {
	object := func(obj any) *unstructured.Unstructured {
		if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = tombstone.Obj
		}
		u, _ := obj.(*unstructured.Unstructured)
		return u
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if newObj := object(obj); newObj != nil {
				handle(KeyOf(resource, newObj), nil, newObj)
			}
		},
		UpdateFunc: func(previous, obj any) {
			if newObj := object(obj); newObj != nil {
				handle(KeyOf(resource, newObj), object(previous), newObj)
			}
		},
		DeleteFunc: func(obj any) {
			if oldObj := object(obj); oldObj != nil {
				handle(KeyOf(resource, oldObj), oldObj, nil)
			}
		},
	}
}
