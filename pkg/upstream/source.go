package upstream

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	kcpcache "github.com/kcp-dev/apimachinery/v2/pkg/cache"
	kcpinformers "github.com/kcp-dev/apimachinery/v2/third_party/informers"
	kcpdynamic "github.com/kcp-dev/client-go/dynamic"
	"github.com/kcp-dev/logicalcluster/v3"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// source is one place to read objects from and to write them to: the virtual
// workspace of one shard, or a single workspace.
type source struct {
	url     string
	options Options
	handle  Handler
	// discover returns what is served here.
	discover func(context.Context) ([]kcp.Resource, error)
	// notServed is what is logged while nothing is.
	notServed string
	// reconnect has the informers wait for kcp together.
	reconnect reconnect
	// doubts are about what is cached and may be gone; nil before run. Each is settled after doubtAfter, or later.
	doubts     atomic.Pointer[workqueue.TypedRateLimitingInterface[doubt]]
	doubtAfter time.Duration
	// everywhere reads over every workspace of the source.
	everywhere dynamic.Interface
	// in addresses one workspace.
	in func(logicalcluster.Name) dynamic.Interface
	// mayServe reports whether an answer from here is about a workspace of that name.
	mayServe func(logicalcluster.Name) bool
	// stop ends run, and done is closed when run has returned. The Client sees to both.
	stop context.CancelFunc
	done chan struct{}

	mu sync.RWMutex
	// known is set once it is known what is served.
	known    bool
	watching map[schema.GroupVersionResource]*watching
	// every are those of watching, in a list that is not changed: questions come far more often than kinds do.
	every []*watching
}

// watching is one informer of a source.
type watching struct {
	kcp.Resource

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
	s := &source{
		url: url, options: options, handle: handle,
		discover: func(ctx context.Context) ([]kcp.Resource, error) {
			return kcp.Discover(ctx, kcp.ForAllWorkspaces(config, url))
		},
		notServed:  cmp.Or(options.NotServed, "kcp is still setting up the virtual workspace; will try again"),
		everywhere: client.Cluster(logicalcluster.Wildcard),
		in:         func(name logicalcluster.Name) dynamic.Interface { return client.Cluster(name.Path()) },
		mayServe:   func(logicalcluster.Name) bool { return true }, // it denies workspaces that it does not serve
		done:       make(chan struct{}),
		watching:   map[schema.GroupVersionResource]*watching{},
		doubtAfter: doubtAfter,
	}
	if options.WorkspaceType != "" {
		// A virtual workspace of initializing workspaces serves LogicalClusters alone, and its
		// discovery is not whole.
		s.discover = func(context.Context) ([]kcp.Resource, error) {
			return []kcp.Resource{{GroupVersionResource: kcp.LogicalClustersResource, Kind: "LogicalCluster", HasStatus: true}}, nil
		}
	}
	return s, nil
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
		discover: func(ctx context.Context) ([]kcp.Resource, error) {
			bindings, err := client.Resource(kcp.APIBindingsResource).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("listing the APIBindings of %s: %w", config.Host, err)
			}
			workspace, bound := boundResources(bindings.Items, options.Export)
			if workspace != "" {
				self.Store(workspace)
			}
			served, err := kcp.Discover(ctx, config)
			return slices.DeleteFunc(served, func(r kcp.Resource) bool { return !bound.Has(r.GroupResource()) }), err
		},
		notServed:  "kcp does not serve the resources in this workspace: run `kubectl tmc bind` there; will try again",
		everywhere: client,
		in:         func(logicalcluster.Name) dynamic.Interface { return client },
		mayServe:   func(name logicalcluster.Name) bool { return self.Load() == name },
		done:       make(chan struct{}),
		watching:   map[schema.GroupVersionResource]*watching{},
		doubtAfter: doubtAfter,
	}, nil
}

// boundResources returns the resources that a workspace with these APIBindings has from the
// export: those that it binds, and those that it lets the export claim. There are none
// when the export is not bound. With them it returns the name of the workspace, empty when
// there is no binding that could tell it.
func boundResources(bindings []unstructured.Unstructured, export string) (logicalcluster.Name, sets.Set[schema.GroupResource]) {
	workspace, bound := logicalcluster.Name(""), sets.New[schema.GroupResource]()
	for i := range bindings {
		workspace = logicalcluster.From(&bindings[i])
		binding := &apisv1alpha2.APIBinding{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(bindings[i].Object, binding); err != nil {
			continue // its schema does not let it be
		}
		if binding.Spec.Reference.Export == nil || binding.Spec.Reference.Export.Name != export {
			continue
		}
		for _, resource := range binding.Status.BoundResources {
			bound.Insert(schema.GroupResource{Group: resource.Group, Resource: resource.Resource})
		}
		for _, claim := range binding.Status.AppliedPermissionClaims {
			bound.Insert(schema.GroupResource{Group: claim.Group, Resource: claim.Resource})
		}
	}
	return workspace, bound
}

// How often kcp is asked what it serves: while that is nothing, and once it is something.
// kcp sends no notice when that changes.
const (
	servedInterval     = time.Second
	rediscoverInterval = time.Minute
	// patientInterval is servedInterval with Options.NotServed, after patientTries.
	patientInterval = 15 * time.Second
	patientTries    = 30
)

// run watches what is served until ctx ends, and waits for all that it started.
func (s *source) run(ctx context.Context) {
	defer s.waitAll()
	var settling sync.WaitGroup
	settling.Go(func() { s.settle(ctx) })
	defer settling.Wait()
	logged := "" // what was logged last, so that it is not repeated every second
	for tries := 1; ; tries++ {
		served, err := s.served(ctx)
		if ctx.Err() != nil {
			return
		}
		if len(served) > 0 {
			s.follow(ctx, served)
		} else if !s.isKnown() {
			logged = s.explain(ctx, err, logged)
		}
		interval := servedInterval
		switch {
		case s.isKnown():
			interval = rediscoverInterval // what goes wrong from now on, the informers log
		case s.options.NotServed != "" && tries >= patientTries:
			interval = patientInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait.Jitter(interval, 0.2)):
		}
	}
}

// explain logs why nothing is watched, unless that was logged last, and returns what was
// logged last.
func (s *source) explain(ctx context.Context, err error, logged string) string {
	switch {
	case err != nil && err.Error() != logged:
		kcp.LogReadError(ctx, "discovery", s.url, err)
		return err.Error()
	case err == nil && s.notServed != logged:
		klog.FromContext(ctx).Info(s.notServed, "url", s.url)
		return s.notServed
	default:
		return logged
	}
}

// served returns what is served here of what is wanted. kcp lists a new virtual
// workspace seconds before it serves anything there, and until then says that it
// does not know it, or denies it.
func (s *source) served(ctx context.Context) ([]kcp.Resource, error) {
	served, err := s.discover(ctx)
	if kcp.Is404(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(served, func(r kcp.Resource) bool { return !s.options.Want(r) }), nil
}

// follow starts the informers of what is served. It stops none when a resource is no longer
// served: its objects are unknown then, and must not look deleted.
func (s *source) follow(ctx context.Context, served []kcp.Resource) {
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
func (s *source) watch(ctx context.Context, resource kcp.Resource) error {
	indexers := cache.Indexers{}
	maps.Copy(indexers, s.options.Indexers)
	// Those that this package looks things up by must not be replaced.
	indexers[kcpcache.ClusterIndexName], indexers[namespaceIndex] = kcpcache.ClusterIndexFunc, indexByNamespace
	gvr := resource.GroupVersionResource
	informer := kcpinformers.NewSharedIndexInformer(s.listWatch(gvr), &unstructured.Unstructured{}, 0, indexers)
	if err := informer.SetTransform(s.options.Transform); err != nil {
		return err
	}
	if err := informer.SetWatchErrorHandlerWithContext(logWatchErrors(gvr.GroupResource().String(), s.url)); err != nil {
		return err
	}
	if _, err := informer.AddEventHandlerWithOptions(eventHandler(gvr, s.told), cache.HandlerOptions{}); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Watching kcp", "url", s.url, "resource", gvr.GroupResource().String(), "selector", s.options.Selector)
	w := &watching{Resource: resource, informer: informer, done: make(chan struct{})}
	s.mu.Lock()
	s.watching[gvr] = w
	s.every = append(slices.Clone(s.every), w)
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

// waitServed waits until the resource can be listed, and reports whether it can; false when
// ctx has ended. Discovery may be ahead of what is served, and an informer that has failed a
// few times tries again half a minute later. The informer deals with every other failure.
func (s *source) waitServed(ctx context.Context, resource schema.GroupVersionResource) bool {
	err := wait.PollUntilContextCancel(ctx, servedInterval, true, func(ctx context.Context) (bool, error) {
		_, err := s.everywhere.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
		return !kcp.Is404(err), nil
	})
	return err == nil
}

// resources returns what is watched.
func (s *source) resources() map[schema.GroupVersionResource]kcp.Resource {
	s.mu.RLock()
	defer s.mu.RUnlock()
	resources := make(map[schema.GroupVersionResource]kcp.Resource, len(s.watching))
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

// all returns what is watched, in no order. It is not changed any more.
func (s *source) all() []*watching {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.every
}

// hasSynced reports whether it is known what is served here, and all of it has been
// read.
func (s *source) hasSynced() bool {
	return s.isKnown() && !slices.ContainsFunc(s.all(), func(w *watching) bool { return !w.informer.HasSynced() })
}

func (s *source) isKnown() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known
}

// cached returns the object from the cache, nil when it is not there.
func (s *source) cached(key kcp.ObjectKey) *unstructured.Unstructured {
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
func (s *source) each(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for _, w := range s.all() {
		var objects []any
		if index == "" {
			objects = w.informer.GetIndexer().List()
		} else if found, err := w.informer.GetIndexer().ByIndex(index, value); err == nil {
			objects = found
		}
		for _, obj := range objects {
			if u, ok := obj.(*unstructured.Unstructured); ok {
				visit(kcp.KeyOf(w.GroupVersionResource, u), u)
			}
		}
	}
}

// has reports whether an index of any kind has anything under the value.
func (s *source) has(index, value string) bool {
	return slices.ContainsFunc(s.all(), func(w *watching) bool {
		keys, err := w.informer.GetIndexer().IndexKeys(index, value)
		return err == nil && len(keys) > 0
	})
}

// hasCached reports whether the cache has any object of the workspace.
func (s *source) hasCached(workspace logicalcluster.Name) bool {
	return s.has(kcpcache.ClusterIndexName, kcpcache.ClusterIndexKey(workspace))
}

// namespaceIndex finds the objects of a namespace of a workspace.
const namespaceIndex = "workspace-namespace"

func indexByNamespace(obj any) ([]string, error) {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	return []string{namespaceIndexValue(kcp.WorkspaceOf(accessor), accessor.GetNamespace())}, nil
}

func namespaceIndexValue(workspace logicalcluster.Name, namespace string) string {
	return workspace.String() + "|" + namespace
}

// listWatch reads a resource. While kcp is away, it waits until kcp answers: see reconnect.
func (s *source) listWatch(resource schema.GroupVersionResource) *cache.ListWatch {
	client := s.everywhere.Resource(resource)
	failed := func(ctx context.Context) func(error) {
		return func(err error) { kcp.LogReadError(ctx, resource.GroupResource().String(), s.url, err) }
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (list runtime.Object, err error) {
			options.LabelSelector = s.options.Selector
			err = s.reconnect.do(ctx, func() (err error) {
				list, err = client.List(ctx, options)
				return err
			}, failed(ctx))
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watching watch.Interface, err error) {
			options.LabelSelector = s.options.Selector
			err = s.reconnect.do(ctx, func() (err error) {
				watching, err = client.Watch(ctx, options)
				return err
			}, failed(ctx))
			if err != nil || options.SendInitialEvents == nil || !*options.SendInitialEvents {
				return watching, err
			}
			return endIfSilent(watching, longestSilence), nil
		},
	}
}

// longestSilence is how long a watch that begins with the present objects may take to send
// its first event. When there are no objects, it sends a bookmark.
const longestSilence = 20 * time.Second

// endIfSilent ends a watch that sends no event for so long, so that the informer begins
// another one. A watch that is opened while kcp is setting up the virtual workspace can
// stay open for minutes and send nothing.
func endIfSilent(watching watch.Interface, silence time.Duration) watch.Interface {
	timer := time.AfterFunc(silence, watching.Stop)
	return watch.Filter(watching, func(event watch.Event) (watch.Event, bool) {
		timer.Stop()
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
				handle(kcp.KeyOf(resource, newObj), nil, newObj)
			}
		},
		UpdateFunc: func(previous, obj any) {
			if newObj := object(obj); newObj != nil {
				handle(kcp.KeyOf(resource, newObj), object(previous), newObj)
			}
		},
		DeleteFunc: func(obj any) {
			if oldObj := object(obj); oldObj != nil {
				handle(kcp.KeyOf(resource, oldObj), oldObj, nil)
			}
		},
	}
}
