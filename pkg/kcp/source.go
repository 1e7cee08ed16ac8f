package kcp

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
		url: url,
		all: client.Cluster(logicalcluster.Wildcard),
		in:  func(name logicalcluster.Name) dynamic.Interface { return client.Cluster(name.Path()) },
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
		url: config.Host,
		all: client,
		in:  func(logicalcluster.Name) dynamic.Interface { return client },
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
	for _, informer := range s.informers {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	running.Wait()
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
