package kcp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
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
	url     string
	options Options
	handle  Handler
	// discover returns what is served here.
	discover func(context.Context) ([]Resource, error)
	// notServed is what to say while nothing is.
	notServed string
	// all reads over every workspace of the source.
	all dynamic.Interface
	// in addresses one workspace.
	in func(logicalcluster.Name) dynamic.Interface
	// mayHold reports whether an answer from here is about a workspace of that name.
	mayHold func(logicalcluster.Name) bool

	mu sync.RWMutex
	// known is set once it is known what is served.
	known    bool
	watching map[schema.GroupVersionResource]*watching
}

// watching is one informer of a source.
type watching struct {
	Resource

	informer kcpcache.ScopeableSharedIndexInformer
	done     chan struct{}
}

// newShardSource returns the source of a shard's virtual workspace at url.
func newShardSource(options Options, url string, handle Handler) (*source, error) {
	config := rest.CopyConfig(options.Config)
	config.Host = url
	client, err := kcpdynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for the virtual workspace %s: %w", url, err)
	}
	everywhere := rest.CopyConfig(config)
	everywhere.Host = url + logicalcluster.Wildcard.RequestPath()
	return &source{
		url: url, options: options, handle: handle,
		discover:  func(ctx context.Context) ([]Resource, error) { return discover(ctx, everywhere) },
		notServed: "kcp is still setting up the virtual workspace; will try again",
		all:       client.Cluster(logicalcluster.Wildcard),
		in:        func(name logicalcluster.Name) dynamic.Interface { return client.Cluster(name.Path()) },
		mayHold:   func(logicalcluster.Name) bool { return true }, // it denies what it does not hold
		watching:  map[schema.GroupVersionResource]*watching{},
	}, nil
}

// newWorkspaceSource returns the source of the one workspace that the
// configuration points at.
func newWorkspaceSource(options Options, handle Handler) (*source, error) {
	config := options.Config
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for the workspace %s: %w", config.Host, err)
	}
	var self atomic.Value // the name of the workspace, once kcp has told it
	return &source{
		url: config.Host, options: options, handle: handle,
		discover: func(ctx context.Context) ([]Resource, error) {
			workspace, bound, err := boundResources(ctx, config, options.Export)
			if err != nil {
				return nil, err
			}
			if workspace != "" {
				self.Store(workspace)
			}
			served, err := discover(ctx, config)
			return slices.DeleteFunc(served, func(r Resource) bool { return !bound.Has(r.GroupResource()) }), err
		},
		notServed: "kcp does not serve the resources in this workspace: run `kubectl tmc bind` there; will try again",
		all:       client,
		in:        func(logicalcluster.Name) dynamic.Interface { return client },
		mayHold:   func(name logicalcluster.Name) bool { return self.Load() == name },
		watching:  map[schema.GroupVersionResource]*watching{},
	}, nil
}

// How often to ask what is served: while nothing is, and once something is. Nothing
// tells when that changes.
const (
	servedInterval     = time.Second
	rediscoverInterval = time.Minute
)

// run watches what is served until ctx ends, and waits for all that it started.
func (s *source) run(ctx context.Context) {
	defer s.waitAll()
	said := "" // what was said last, so as not to repeat it every second
	for {
		served, err := s.served(ctx)
		if ctx.Err() != nil {
			return
		}
		if len(served) > 0 {
			s.follow(ctx, served)
		} else if !s.isKnown() {
			said = s.explain(ctx, err, said)
		}
		interval := servedInterval
		if s.isKnown() {
			interval = rediscoverInterval // of what is the matter then, the informers speak
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait.Jitter(interval, 0.2)):
		}
	}
}

// explain says why nothing is watched, unless that was said last, and returns what
// it has said.
func (s *source) explain(ctx context.Context, err error, said string) string {
	switch {
	case err != nil && err.Error() != said:
		ExplainWatchError("discovery", s.url)(ctx, nil, err)
		return err.Error()
	case err == nil && s.notServed != said:
		klog.FromContext(ctx).Info(s.notServed, "url", s.url)
		return s.notServed
	default:
		return said
	}
}

// served returns what is served here of what is wanted. kcp lists a new virtual
// workspace seconds before it serves anything there, and until then says that it
// does not know it, or denies it.
func (s *source) served(ctx context.Context) ([]Resource, error) {
	served, err := s.discover(ctx)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(served, func(r Resource) bool { return !s.options.Want(r) }), nil
}

// follow starts the informers of what is served. None is ever stopped for not being
// served any more: what is not seen is unknown, and must not look deleted.
func (s *source) follow(ctx context.Context, served []Resource) {
	for _, resource := range served {
		if s.informerOf(resource.GroupVersionResource) != nil {
			continue
		}
		if err := s.watch(ctx, resource); err != nil {
			klog.FromContext(ctx).Error(err, "Cannot watch, will try again", "url", s.url, "resource", resource.GroupVersionResource)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = true
}

// watch starts the informer of one resource. Informers of upstream client-go would
// lose objects here: their keys know no workspace.
func (s *source) watch(ctx context.Context, resource Resource) error {
	indexers := cache.Indexers{}
	maps.Copy(indexers, s.options.Indexers)
	// Those that this package looks things up by must not be replaced.
	indexers[kcpcache.ClusterIndexName], indexers[namespaceIndex] = kcpcache.ClusterIndexFunc, indexByNamespace
	gvr := resource.GroupVersionResource
	informer := kcpinformers.NewSharedIndexInformer(listWatch(s.all.Resource(gvr), s.options.Selector), &unstructured.Unstructured{}, 0, indexers)
	if err := informer.SetTransform(s.options.Transform); err != nil {
		return err
	}
	if err := informer.SetWatchErrorHandlerWithContext(ExplainWatchError(gvr.GroupResource().String(), s.url)); err != nil {
		return err
	}
	if _, err := informer.AddEventHandlerWithOptions(eventHandler(gvr, s.handle), cache.HandlerOptions{}); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Watching kcp", "url", s.url, "resource", gvr.GroupResource().String(), "selector", s.options.Selector)
	w := &watching{Resource: resource, informer: informer, done: make(chan struct{})}
	s.mu.Lock()
	s.watching[gvr] = w
	s.mu.Unlock()
	go func() {
		defer close(w.done)
		if s.options.Watching != nil {
			s.options.Watching(ctx, resource)
		}
		if s.waitServed(ctx, gvr) {
			informer.RunWithContext(ctx)
		}
	}()
	return nil
}

// waitAll waits until all informers have ended.
func (s *source) waitAll() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, w := range s.watching {
		<-w.done
	}
}

// waitServed waits until the resource can be listed, and tells whether it can;
// false when ctx has ended. Discovery may be ahead, and an informer that has failed
// a few times would come back half a minute later. Every other failure is the
// informer's to deal with.
func (s *source) waitServed(ctx context.Context, resource schema.GroupVersionResource) bool {
	err := wait.PollUntilContextCancel(ctx, servedInterval, true, func(ctx context.Context) (bool, error) {
		_, err := s.all.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
		return !apierrors.IsNotFound(err), nil
	})
	return err == nil
}

// resources returns what is watched.
func (s *source) resources() map[schema.GroupVersionResource]Resource {
	s.mu.RLock()
	defer s.mu.RUnlock()
	resources := make(map[schema.GroupVersionResource]Resource, len(s.watching))
	for gvr, w := range s.watching {
		resources[gvr] = w.Resource
	}
	return resources
}

// informerOf returns the informer of a resource, nil when it is not watched.
func (s *source) informerOf(resource schema.GroupVersionResource) kcpcache.ScopeableSharedIndexInformer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if w, watched := s.watching[resource]; watched {
		return w.informer
	}
	return nil
}

func (s *source) informers() []kcpcache.ScopeableSharedIndexInformer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	informers := make([]kcpcache.ScopeableSharedIndexInformer, 0, len(s.watching))
	for _, w := range s.watching {
		informers = append(informers, w.informer)
	}
	return informers
}

// hasSynced reports whether it is known what is served here, and all of it has been
// read.
func (s *source) hasSynced() bool {
	return s.isKnown() && !slices.ContainsFunc(s.informers(), func(i kcpcache.ScopeableSharedIndexInformer) bool { return !i.HasSynced() })
}

func (s *source) isKnown() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known
}

// hasRead reports whether the objects of the resource have been read.
func (s *source) hasRead(resource schema.GroupVersionResource) bool {
	informer := s.informerOf(resource)
	return informer != nil && informer.HasSynced()
}

// cached returns the object from the cache, nil when it is not there.
func (s *source) cached(key ObjectKey) *unstructured.Unstructured {
	informer := s.informerOf(key.Resource)
	if informer == nil {
		return nil
	}
	storeKey := kcpcache.ToClusterAwareKey(key.Workspace.String(), key.Namespace, key.Name)
	obj, exists, err := informer.GetIndexer().GetByKey(storeKey)
	if err != nil || !exists {
		return nil // GetByKey of a thread-safe store returns no error
	}
	return obj.(*unstructured.Unstructured)
}

// each calls visit for every cached object that the index has under the value;
// for every object there is when the index is "".
func (s *source) each(index, value string, visit func(ObjectKey, *unstructured.Unstructured)) {
	for resource := range s.resources() {
		informer := s.informerOf(resource)
		if informer == nil {
			continue
		}
		var objects []any
		if index == "" {
			objects = informer.GetIndexer().List()
		} else if found, err := informer.GetIndexer().ByIndex(index, value); err == nil {
			objects = found
		}
		for _, obj := range objects {
			if u, ok := obj.(*unstructured.Unstructured); ok {
				visit(KeyOf(resource, u), u)
			}
		}
	}
}

// holds reports whether the cache has any object of the workspace.
func (s *source) holds(workspace logicalcluster.Name) bool {
	return slices.ContainsFunc(s.informers(), func(informer kcpcache.ScopeableSharedIndexInformer) bool {
		keys, err := informer.GetIndexer().IndexKeys(kcpcache.ClusterIndexName, kcpcache.ClusterIndexKey(workspace))
		return err == nil && len(keys) > 0
	})
}

// namespaceIndex finds the objects of a namespace of a workspace.
const namespaceIndex = "workspace-namespace"

func indexByNamespace(obj any) ([]string, error) {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	return []string{namespaceIndexValue(logicalcluster.From(accessor), accessor.GetNamespace())}, nil
}

func namespaceIndexValue(workspace logicalcluster.Name, namespace string) string {
	return workspace.String() + "|" + namespace
}

func listWatch(client dynamic.ResourceInterface, selector string) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			watching, err := client.Watch(ctx, options)
			if err != nil || options.SendInitialEvents == nil || !*options.SendInitialEvents {
				return watching, err
			}
			return unlessDeaf(watching, longestSilence), nil
		},
	}
}

// longestSilence is how long a watch that begins with what there is may take to begin.
// At the least it says that there is nothing.
const longestSilence = 20 * time.Second

// unlessDeaf ends a watch that has no event for so long, for the informer to begin
// another one. A watch that is opened while kcp is setting up the virtual workspace can
// stay open for minutes, and hear nothing.
func unlessDeaf(watching watch.Interface, silence time.Duration) watch.Interface {
	impatient := time.AfterFunc(silence, watching.Stop)
	return watch.Filter(watching, func(event watch.Event) (watch.Event, bool) {
		impatient.Stop()
		return event, true
	})
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
