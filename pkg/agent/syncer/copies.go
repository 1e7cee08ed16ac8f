package syncer

import (
	"context"
	"fmt"
	"maps"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// originIndex finds the copies of one upstream object, wherever they lie.
const originIndex = "origin"

// handlers are told of what changes on the cluster; oldObj is nil when an object
// came, newObj when it went.
type handlers struct {
	// onCopy is told of copies that were made for this cluster.
	onCopy func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured)
	// onNamespace is told of namespaces that tmc made, and of those that a workspace uses,
	// and of those that a copy has left that was made for another cluster name.
	onNamespace func(name string)
	// onTarget is told that the autoscalers of a workload have come or gone.
	onTarget func(target scaleTarget)
}

// copies is what a cluster has of ours, as caches know it, and what bears on it.
type copies struct {
	client   dynamic.Interface
	cluster  string
	synced   func(schema.GroupResource) bool
	handlers handlers
	kinds    kinds.Kinds

	namespaces  *watched
	autoscalers *watched

	// found takes the resources that are to be watched, run watches them.
	found chan schema.GroupVersionResource

	mu         sync.RWMutex
	byResource map[schema.GroupVersionResource]*watched
}

func newCopies(client dynamic.Interface, cluster string, synced func(schema.GroupResource) bool, handlers handlers) (*copies, error) {
	if synced == nil {
		synced = func(schema.GroupResource) bool { return true }
	}
	c := &copies{
		client: client, cluster: cluster, synced: synced, handlers: handlers,
		found:      make(chan schema.GroupVersionResource),
		byResource: map[schema.GroupVersionResource]*watched{},
	}
	var err error
	c.namespaces, err = newWatched(client, v1alpha1.NamespacesResource, watchOptions{
		cluster: cluster, selector: madeOrUsed(), transform: stripCopy,
		handler: eventHandler(func(oldObj, newObj *unstructured.Unstructured) {
			c.handlers.onNamespace(either(newObj, oldObj).GetName())
		}),
	})
	if err != nil {
		return nil, err
	}
	c.autoscalers, err = newWatched(client, autoscalersResource, watchOptions{
		cluster: cluster, transform: stripAutoscaler,
		indexers: cache.Indexers{scaleTargetIndex: indexByScaleTarget},
		handler:  eventHandler(c.onAutoscaler),
	})
	return c, err
}

// madeByUs selects what syncers made.
func madeByUs() string {
	return metav1.FormatLabelSelector(metav1.SetAsLabelSelector(map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}))
}

// madeOrUsed selects the namespaces that syncers made, and those of others that say which
// workspace uses them.
func madeOrUsed() string {
	return fmt.Sprintf("%s in (%s,%s)", v1alpha1.ManagedByLabel, v1alpha1.ManagedByOthersValue, v1alpha1.ManagedByValue)
}

// follow has the resource watched from now on, if it is not yet. It waits until run
// has taken note.
func (c *copies) follow(ctx context.Context, resource kcp.Resource) {
	if !v1alpha1.IsSynced(resource.GroupResource(), resource.Namespaced) {
		return
	}
	select {
	case c.found <- resource.GroupVersionResource:
	case <-ctx.Done():
	}
}

// run watches until ctx ends and waits for all that it started. It fails when an
// informer cannot be made.
func (c *copies) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { c.namespaces.run(ctx) })
	running.Go(func() { c.autoscalers.run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case resource := <-c.found:
			if c.watchedFor(resource) != nil {
				continue
			}
			w, err := c.watch(resource)
			if err != nil {
				return err
			}
			running.Go(func() { w.run(ctx) })
		}
	}
}

// watch prepares the cache of the copies of one resource. Only changes of copies
// that were made for this cluster are handed on.
func (c *copies) watch(resource schema.GroupVersionResource) (*watched, error) {
	w, err := newWatched(c.client, resource, watchOptions{
		cluster: c.cluster, excluded: !c.synced(resource.GroupResource()), selector: madeByUs(), transform: stripCopy,
		indexers: cache.Indexers{originIndex: indexByOrigin, cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		handler: eventHandler(func(oldObj, newObj *unstructured.Unstructured) {
			origin, ok := originOfEither(newObj, oldObj)
			switch {
			case ok && origin.Cluster == c.cluster:
				c.handlers.onCopy(keyOf(resource, origin), oldObj, newObj)
			case newObj == nil:
				// It may have been the last of a workspace that has the namespace through us.
				c.handlers.onNamespace(oldObj.GetNamespace())
			}
		}),
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byResource[resource] = w
	return w, nil
}

// originOfEither returns the origin of a copy as it is, or as it was before
// somebody took its annotations off.
func originOfEither(newObj, oldObj *unstructured.Unstructured) (transform.Origin, bool) {
	for _, obj := range []*unstructured.Unstructured{newObj, oldObj} {
		if obj == nil {
			continue
		}
		if origin, ok := transform.OriginOf(obj); ok {
			return origin, true
		}
	}
	return transform.Origin{}, false
}

func (c *copies) watchedFor(resource schema.GroupVersionResource) *watched {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byResource[resource]
}

func (c *copies) all() map[schema.GroupVersionResource]*watched {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return maps.Clone(c.byResource)
}

// hasRead reports whether it is known what the cluster has of a resource, and of what
// bears on it.
func (c *copies) hasRead(resource schema.GroupVersionResource) bool {
	w := c.watchedFor(resource)
	return w != nil && w.hasRead() && c.namespaces.hasRead() && c.autoscalers.hasRead()
}

// lacks says why there can be no copies of the resource, empty when there can.
func (c *copies) lacks(resource schema.GroupVersionResource) string {
	switch w := c.watchedFor(resource); {
	case w == nil || !w.isMissing():
		return ""
	case w.excluded:
		return fmt.Sprintf("%s are not among the kinds that come to the cluster (--kinds of its syncer)", resource.GroupResource())
	default:
		return fmt.Sprintf("the cluster does not serve %s %s", resource.GroupResource(), resource.Version)
	}
}

// at returns the object of that name if it bears our label, else nil. Its marks are left on
// it only as far as they are ours.
func (c *copies) at(resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	if w := c.watchedFor(resource); w != nil {
		return w.get(cache.NewObjectName(namespace, name).String())
	}
	return nil
}

// of returns all copies of an upstream object.
func (c *copies) of(resource schema.GroupVersionResource, origin transform.Origin) []*unstructured.Unstructured {
	if w := c.watchedFor(resource); w != nil {
		return w.by(originIndex, origin.Hash())
	}
	return nil
}

// namespace returns a namespace that tmc made, or that a workspace uses, else nil: also
// where somebody else wrote on it that it were one.
func (c *copies) namespace(name string) *unstructured.Unstructured {
	namespace := c.namespaces.get(name)
	if namespace == nil || namespace.GetLabels()[v1alpha1.ManagedByLabel] == "" {
		return nil
	}
	return namespace
}

// eachIn calls visit for every copy in a namespace, until it returns false.
func (c *copies) eachIn(namespace string, visit func(schema.GroupVersionResource, *unstructured.Unstructured) bool) {
	for resource, w := range c.all() {
		for _, downstreamObj := range w.by(cache.NamespaceIndex, namespace) {
			if transform.IsCopy(downstreamObj) && !visit(resource, downstreamObj) {
				return
			}
		}
	}
}

// hasWorkloads reports whether workloads of ours run in a namespace.
func (c *copies) hasWorkloads(namespace string) bool {
	found := false
	c.eachIn(namespace, func(_ schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		found = c.kinds.IsWorkload(downstreamObj.GroupVersionKind().GroupKind())
		return !found
	})
	return found
}

// indexByOrigin puts a copy under the hash of its origin: that of its annotations
// or, when somebody took those off, that of its label.
func indexByOrigin(obj any) ([]string, error) {
	downstreamObj, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("a cache of copies holds %T", obj)
	}
	if origin, ok := transform.OriginOf(downstreamObj); ok {
		return []string{origin.Hash()}, nil
	}
	return []string{downstreamObj.GetLabels()[v1alpha1.SourceHashLabel]}, nil
}

// eventHandler hands informer events on as pairs of states.
func eventHandler(handle func(oldObj, newObj *unstructured.Unstructured)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { handle(nil, asUnstructured(obj)) },
		UpdateFunc: func(previous, obj any) { handle(asUnstructured(previous), asUnstructured(obj)) },
		DeleteFunc: func(obj any) { handle(asUnstructured(obj), nil) },
	}
}

// asUnstructured returns the object that an event is about.
func asUnstructured(obj any) *unstructured.Unstructured {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return &unstructured.Unstructured{} // no cache of ours holds anything else
	}
	return u
}

func either(first, second *unstructured.Unstructured) *unstructured.Unstructured {
	if first != nil {
		return first
	}
	return second
}

// stripCopy leaves of a copy what the loops look at: who it is, whether our
// fields stand, the numbers of its spec and its status. Of what bears our marks and was
// not applied by us, which is no copy, it takes the marks.
func stripCopy(obj any) (any, error) {
	downstreamObj, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj, nil
	}
	transform.KeepOwnMarks(downstreamObj)
	downstreamObj.SetManagedFields(append(
		transform.OwnManagedFields(downstreamObj.GetManagedFields()),
		scaleManagedFields(downstreamObj.GetManagedFields())...,
	))
	for name, field := range downstreamObj.Object {
		switch name {
		case "apiVersion", "kind", "metadata", "status":
		case "spec":
			dropStructures(field)
		default:
			delete(downstreamObj.Object, name)
		}
	}
	return downstreamObj, nil
}

func dropStructures(spec any) {
	fields, isMap := spec.(map[string]any)
	if !isMap {
		return
	}
	for name, value := range fields {
		switch value.(type) {
		case map[string]any, []any:
			delete(fields, name)
		}
	}
}
