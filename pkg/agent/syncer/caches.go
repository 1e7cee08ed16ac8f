package syncer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
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

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

var autoscalersResource = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}

// originIndex finds the copies of one upstream object, wherever they lie, and targetIndex the autoscalers of a workload.
const (
	originIndex = "origin"
	targetIndex = "scale-target"
)

// scaleTarget is a workload that an autoscaler scales.
type scaleTarget struct{ namespace, group, kind, name string }

func (t scaleTarget) String() string {
	return t.namespace + "/" + t.group + "/" + t.kind + "/" + t.name
}

// fanout hands on what changes on the cluster. It is made first, then what tells it of changes, then who hears of them; nothing
// changes before Run. oldObj is nil when an object came, newObj when it went.
type fanout struct {
	// onCopy hears of copies that were made for this cluster.
	onCopy func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured)
	// onNamespace hears of namespaces that tmc made, of those that a workspace owns, and of those that a copy has left which was
	// made for another cluster name.
	onNamespace func(name string)
	// onTarget hears that the autoscalers of a workload have come or gone.
	onTarget func(target scaleTarget)
}

// caches are what a cluster has of ours, and what bears on it.
type caches struct {
	client  dynamic.Interface
	cluster string
	// serves asks whether the cluster serves a resource, and fails while the cluster is not ready: see servedBy. Not set, what a 404
	// says counts.
	serves func(ctx context.Context, resource schema.GroupVersionResource) (bool, error)
	// synced is Config.Synced.
	synced  func(schema.GroupResource) bool
	kinds   kinds.Kinds
	changes *fanout

	namespaces  *watched
	autoscalers *watched

	// found takes the resources that are to be watched, run watches them.
	found chan schema.GroupVersionResource

	mu         sync.RWMutex
	byResource map[schema.GroupVersionResource]*watched
}

// newCaches returns caches that tell changes.
func newCaches(config Config, client dynamic.Interface, changes *fanout) (*caches, error) {
	c := &caches{
		client: client, cluster: config.Cluster, synced: config.Synced, kinds: config.Kinds, changes: changes,
		found:      make(chan schema.GroupVersionResource),
		byResource: map[schema.GroupVersionResource]*watched{},
	}
	var err error
	c.namespaces, err = c.newWatched(v1alpha1.NamespacesResource, watchOptions{
		// Those that syncers made, and those of others that say which workspace owns them.
		selector: fmt.Sprintf("%s in (%s,%s)", v1alpha1.ManagedByLabel, v1alpha1.ManagedByOthersValue, v1alpha1.ManagedByValue),
		strip:    c.stripCopy,
		onChange: func(oldObj, newObj *unstructured.Unstructured) {
			if newObj == nil {
				newObj = oldObj
			}
			changes.onNamespace(newObj.GetName())
		},
	})
	if err != nil {
		return nil, err
	}
	c.autoscalers, err = c.newWatched(autoscalersResource, watchOptions{
		strip: stripAutoscaler, indexers: cache.Indexers{targetIndex: indexBy(func(obj *unstructured.Unstructured) string { return targetOfAutoscaler(obj).String() })},
		onChange: func(oldObj, newObj *unstructured.Unstructured) {
			for _, autoscaler := range []*unstructured.Unstructured{oldObj, newObj} {
				if autoscaler != nil {
					changes.onTarget(targetOfAutoscaler(autoscaler))
				}
			}
		},
	})
	return c, err
}

// follow has the resource watched from now on, if it is not yet. It waits until run has taken note.
func (c *caches) follow(ctx context.Context, resource kcp.Resource) {
	if !v1alpha1.IsSynced(resource.GroupResource(), resource.Namespaced) {
		return
	}
	select {
	case c.found <- resource.GroupVersionResource:
	case <-ctx.Done():
	}
}

// run watches until ctx ends and waits for all that it started. It fails when an informer cannot be made.
func (c *caches) run(ctx context.Context) error {
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

// watch prepares the cache of the copies of one resource. Only changes of copies that were made for this cluster are handed on.
func (c *caches) watch(resource schema.GroupVersionResource) (*watched, error) {
	w, err := c.newWatched(resource, watchOptions{
		excluded: c.synced != nil && !c.synced(resource.GroupResource()),
		selector: v1alpha1.ManagedByLabel + "=" + v1alpha1.ManagedByValue, strip: c.stripCopy,
		indexers: cache.Indexers{originIndex: indexBy(hashOfOrigin), cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		onChange: func(oldObj, newObj *unstructured.Unstructured) {
			// Somebody may just have taken the annotations off that say what it is of.
			for _, obj := range []*unstructured.Unstructured{newObj, oldObj} {
				if obj == nil {
					continue
				}
				if origin, ok := transform.OriginOf(obj); ok && origin.Cluster == c.cluster {
					c.changes.onCopy(keyOf(resource, origin), oldObj, newObj)
					return
				} else if ok {
					break
				}
			}
			if newObj == nil {
				// It may have been the last of a workspace that owns the namespace through us.
				c.changes.onNamespace(oldObj.GetNamespace())
			}
		},
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byResource[resource] = w
	return w, nil
}

// keyOf returns the key of the upstream object that a copy is of.
func keyOf(resource schema.GroupVersionResource, origin transform.Origin) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: logicalcluster.Name(origin.Workspace), Resource: resource, Namespace: origin.Namespace, Name: origin.Name}
}

func (c *caches) watchedFor(resource schema.GroupVersionResource) *watched {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byResource[resource]
}

func (c *caches) all() map[schema.GroupVersionResource]*watched {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return maps.Clone(c.byResource)
}

// hasRead reports whether it is known what the cluster has of a resource, and of what bears on it.
func (c *caches) hasRead(resource schema.GroupVersionResource) bool {
	w := c.watchedFor(resource)
	return w != nil && w.hasRead() && c.namespaces.hasRead() && c.autoscalers.hasRead()
}

// lacks says why there can be no copies of the resource, empty when there can.
func (c *caches) lacks(resource schema.GroupVersionResource) string {
	switch w := c.watchedFor(resource); {
	case w == nil || !w.isMissing():
		return ""
	case w.excluded:
		return fmt.Sprintf("%s are not among the kinds that come to the cluster (--kinds of its syncer)", resource.GroupResource())
	default:
		return fmt.Sprintf("the cluster does not serve %s %s", resource.GroupResource(), resource.Version)
	}
}

// at returns the object of that name if it bears our label, else nil. It has no marks of tmc but those that are ours.
func (c *caches) at(resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	if w := c.watchedFor(resource); w != nil {
		return w.get(namespace, name)
	}
	return nil
}

// of returns all copies of an upstream object.
func (c *caches) of(resource schema.GroupVersionResource, origin transform.Origin) []*unstructured.Unstructured {
	if w := c.watchedFor(resource); w != nil {
		return w.by(originIndex, origin.Hash())
	}
	return nil
}

// hasStrays reports whether there is more than one copy of the upstream object that the copy is of.
func (c *caches) hasStrays(resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
	hash := downstreamObj.GetLabels()[v1alpha1.SourceHashLabel] // a mark of ours: what hashOfOrigin gives
	if hash == "" {
		hash = hashOfOrigin(downstreamObj)
	}
	w := c.watchedFor(resource)
	return w != nil && len(w.by(originIndex, hash)) > 1
}

// namespace returns a namespace that tmc made, or that a workspace owns, else nil: also where somebody else wrote on it that it
// were one.
func (c *caches) namespace(name string) *unstructured.Unstructured {
	namespace := c.namespaces.get("", name)
	if namespace == nil || namespace.GetLabels()[v1alpha1.ManagedByLabel] == "" {
		return nil
	}
	return namespace
}

// eachIn calls visit for every copy in a namespace, until it returns false.
func (c *caches) eachIn(namespace string, visit func(schema.GroupVersionResource, *unstructured.Unstructured) bool) {
	for resource, w := range c.all() {
		for _, downstreamObj := range w.by(cache.NamespaceIndex, namespace) {
			if transform.IsCopy(downstreamObj) && !visit(resource, downstreamObj) {
				return
			}
		}
	}
}

// hasWorkloads reports whether workloads of ours are in a namespace.
func (c *caches) hasWorkloads(namespace string) bool {
	found := false
	c.eachIn(namespace, func(_ schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		found = c.kinds.IsWorkload(downstreamObj.GroupVersionKind().GroupKind())
		return !found
	})
	return found
}

// hasAutoscaler reports whether an autoscaler, of ours or not, scales the object.
func (c *caches) hasAutoscaler(downstreamObj *unstructured.Unstructured) bool {
	return len(c.autoscalers.by(targetIndex, targetOf(downstreamObj).String())) > 0
}

func targetOf(downstreamObj *unstructured.Unstructured) scaleTarget {
	gvk := downstreamObj.GroupVersionKind()
	return scaleTarget{downstreamObj.GetNamespace(), gvk.Group, gvk.Kind, downstreamObj.GetName()}
}

// targetOfAutoscaler returns what an autoscaler scales.
func targetOfAutoscaler(autoscaler *unstructured.Unstructured) scaleTarget {
	field := func(name string) string {
		value, _, _ := unstructured.NestedString(autoscaler.Object, "spec", "scaleTargetRef", name)
		return value
	}
	group := schema.FromAPIVersionAndKind(field("apiVersion"), "").Group
	return scaleTarget{autoscaler.GetNamespace(), group, field("kind"), field("name")}
}

// hashOfOrigin returns the hash of what a copy is of: that of its annotations or, when somebody took those off, that of its label.
func hashOfOrigin(downstreamObj *unstructured.Unstructured) string {
	if origin, ok := transform.OriginOf(downstreamObj); ok {
		return origin.Hash()
	}
	return downstreamObj.GetLabels()[v1alpha1.SourceHashLabel]
}

func indexBy(value func(*unstructured.Unstructured) string) cache.IndexFunc {
	return func(obj any) ([]string, error) {
		u, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return nil, fmt.Errorf("a cache of the cluster has %T, expected *unstructured.Unstructured", obj)
		}
		return []string{value(u)}, nil
	}
}

// stripCopy leaves of a copy what the loops read: who it is, whether our fields are as we applied them and in which order, the
// numbers of its spec, the lists that others put something into, and its status. Of what bears our marks and was not applied by
// us, which is no copy, it takes the marks. oldObj is what the cache has of it, nil for nothing: what is the same there need not
// be decoded again.
func (c *caches) stripCopy(oldObj, downstreamObj *unstructured.Unstructured) {
	order := orderAndMarks(oldObj, downstreamObj)
	kind := c.kinds.Of(downstreamObj.GroupVersionKind().GroupKind())
	number, hasReplicas := kind.Replicas.Int64In(downstreamObj.Object)
	shared := make([]any, len(kind.Merged))
	for i, path := range kind.Merged {
		shared[i] = path.In(downstreamObj.Object)
	}
	for name, field := range downstreamObj.Object {
		switch name {
		case "apiVersion", "kind", "metadata", "status", transform.OwnedField:
		case "spec":
			spec, _ := field.(map[string]any)
			maps.DeleteFunc(spec, func(_ string, value any) bool {
				_, isMap := value.(map[string]any)
				_, isList := value.([]any)
				return isMap || isList
			})
		default:
			delete(downstreamObj.Object, name)
		}
	}
	if hasReplicas { // which may lie deeper in the spec
		_ = unstructured.SetNestedField(downstreamObj.Object, number, kind.Replicas...) // what is on the way was a map
	}
	for i, path := range kind.Merged {
		if shared[i] != nil {
			_ = unstructured.SetNestedField(downstreamObj.Object, shared[i], path...) // likewise
		}
	}
	transform.NoteOrder(downstreamObj, order)
}

// orderAndMarks leaves of managedFields what is read, takes the marks that are not ours, and returns the order of our items.
func orderAndMarks(oldObj, downstreamObj *unstructured.Unstructured) uint64 {
	metadata, _ := downstreamObj.Object["metadata"].(map[string]any)
	metadata["managedFields"] = slices.DeleteFunc(slices.Clone(managedFieldsIn(metadata)), isNotRead)
	isSame := transform.NoteOwned(oldObj, downstreamObj)
	before := map[string]any{}
	if oldObj != nil {
		before, _ = oldObj.Object["metadata"].(map[string]any)
	}
	if !isSame || !hasMarksOf(before, metadata, "labels") || !hasMarksOf(before, metadata, "annotations") {
		transform.KeepOwnMarks(downstreamObj)
	}
	if generation := downstreamObj.GetGeneration(); isSame && generation != 0 && generation == oldObj.GetGeneration() {
		return transform.Order(oldObj) // which has it noted
	}
	return transform.Order(downstreamObj)
}

func managedFieldsIn(metadata map[string]any) []any {
	entries, _ := metadata["managedFields"].([]any)
	return entries
}

// isNotRead reports whether an entry of managedFields is neither that of our applies nor that of somebody who has used the scale
// subresource.
func isNotRead(entry any) bool {
	fields, _ := entry.(map[string]any)
	return !transform.IsOwnEntry(fields) && fields["subresource"] != evaluate.ScaleSubresource
}

// hasMarksOf reports whether all marks of tmc that an object has now are among those that it had before.
func hasMarksOf(before, now map[string]any, field string) bool {
	had, _ := before[field].(map[string]any)
	has, _ := now[field].(map[string]any)
	for key, value := range has {
		if v1alpha1.IsMark(key) && had[key] != value {
			return false
		}
	}
	return true
}

// stripAutoscaler leaves of an autoscaler what it scales.
func stripAutoscaler(_, autoscaler *unstructured.Unstructured) {
	reference, _, _ := unstructured.NestedFieldNoCopy(autoscaler.Object, "spec", "scaleTargetRef")
	autoscaler.SetManagedFields(nil)
	delete(autoscaler.Object, "status")
	autoscaler.Object["spec"] = map[string]any{"scaleTargetRef": reference}
}

// watched is the cache of one resource of the cluster, which the cluster may not serve, or not yet.
type watched struct {
	resource schema.GroupVersionResource
	client   dynamic.NamespaceableResourceInterface
	informer cache.SharedIndexInformer
	// excluded is set for a resource that is not for this cluster: it is never read.
	excluded bool
	// missing is set while the cluster does not serve the resource.
	missing atomic.Bool
	// owner are the caches that it is one of.
	owner *caches
}

// watchOptions say what of a resource is cached, and who hears of changes.
type watchOptions struct {
	// excluded has nothing of the resource read, as if the cluster did not serve it.
	excluded bool
	// selector is a label selector, empty for everything.
	selector string
	// strip leaves of an object what is cached; oldObj is what is cached of it by now, nil for nothing.
	strip    func(oldObj, obj *unstructured.Unstructured)
	indexers cache.Indexers
	onChange func(oldObj, newObj *unstructured.Unstructured)
}

func (c *caches) newWatched(resource schema.GroupVersionResource, options watchOptions) (*watched, error) {
	informer := dynamicinformer.NewFilteredDynamicInformer(c.client, resource, metav1.NamespaceAll, 0, options.indexers,
		func(list *metav1.ListOptions) { list.LabelSelector = options.selector }).Informer()
	w := &watched{resource: resource, client: c.client.Resource(resource), informer: informer, excluded: options.excluded, owner: c}
	err := informer.SetTransform(func(obj any) (any, error) {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			options.strip(w.get(u.GetNamespace(), u.GetName()), u)
		}
		return obj, nil
	})
	if err == nil {
		err = informer.SetWatchErrorHandlerWithContext(explainWatchError(c.cluster, resource))
	}
	if err == nil {
		_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { options.onChange(nil, asUnstructured(obj)) },
			UpdateFunc: func(previous, obj any) { options.onChange(asUnstructured(previous), asUnstructured(obj)) },
			DeleteFunc: func(obj any) { options.onChange(asUnstructured(obj), nil) },
		})
	}
	if err != nil {
		return nil, fmt.Errorf("informer for %s on cluster %s: %w", resource, c.cluster, err)
	}
	return w, nil
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

// run waits until the cluster serves the resource and watches it until ctx ends.
func (w *watched) run(ctx context.Context) {
	if !w.excluded && w.waitServed(ctx) {
		w.informer.RunWithContext(ctx)
	}
}

// waitServed waits until the cluster serves the resource, and reports whether it does; false when ctx has ended. Every failure
// but "not served" is the informer's to deal with. While the cluster is not ready, nothing is known.
func (w *watched) waitServed(ctx context.Context) bool {
	for {
		_, err := w.client.List(ctx, metav1.ListOptions{Limit: 1})
		if ctx.Err() != nil {
			return false
		}
		if !kcp.Is404(err) {
			w.missing.Store(false)
			return true
		}
		again := evaluate.Recheck
		if w.owner.serves != nil && !isLacking(w.owner.serves(ctx, w.resource)) {
			again = readRetry
		} else if !w.missing.Swap(true) {
			klog.FromContext(ctx).Info("The cluster does not serve the resource; its objects are not synced; will look again", "resource", w.resource)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(again):
		}
	}
}

func (w *watched) isMissing() bool { return w.excluded || w.missing.Load() }

// hasRead reports whether it is known what the cluster has: nothing, where it does not serve the resource.
func (w *watched) hasRead() bool { return w.isMissing() || w.informer.HasSynced() }

// get returns an object, nil when it is not in the cache.
func (w *watched) get(namespace, name string) *unstructured.Unstructured {
	obj, exists, err := w.informer.GetStore().GetByKey(cache.NewObjectName(namespace, name).String())
	if err != nil || !exists {
		return nil // GetByKey of a thread-safe store returns no error
	}
	return asUnstructured(obj)
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
