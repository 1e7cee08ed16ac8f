package syncer

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

var namespacesResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// createOnly is a resource version that no stored object has. A server-side apply
// that carries one creates what does not exist, and conflicts with what does: the
// server compares versions only with an object that is there. (Store.Update in
// k8s.io/apiserver/pkg/registry/generic/registry.)
const createOnly = "1"

// downstream is the cluster: caches of our copies, and narrow writes.
type downstream struct {
	client    dynamic.Interface
	informers map[schema.GroupVersionResource]cache.SharedIndexInformer
}

// copyHandler is told of every change of a copy; oldObj is nil when it came,
// newObj when it went.
type copyHandler func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured)

// newDownstream prepares the caches of what tmc made on the cluster. Only changes
// of copies that were made for the named cluster are handed on.
func newDownstream(config *rest.Config, cluster string, resources []schema.GroupVersionResource, handle copyHandler) (*downstream, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for cluster %s at %s: %w", cluster, config.Host, err)
	}
	d := &downstream{client: client, informers: map[schema.GroupVersionResource]cache.SharedIndexInformer{}}
	selector := metav1.FormatLabelSelector(metav1.SetAsLabelSelector(map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}))
	for _, resource := range resources {
		informer := dynamicinformer.NewFilteredDynamicInformer(client, resource, metav1.NamespaceAll, 0, cache.Indexers{},
			func(options *metav1.ListOptions) { options.LabelSelector = selector }).Informer()
		if err := informer.SetTransform(stripCopy); err != nil {
			return nil, fmt.Errorf("informer for %s on cluster %s: %w", resource, cluster, err)
		}
		if err := informer.SetWatchErrorHandlerWithContext(explainWatchError(cluster, config.Host)); err != nil {
			return nil, fmt.Errorf("informer for %s on cluster %s: %w", resource, cluster, err)
		}
		if _, err := informer.AddEventHandler(copyEventHandler(resource, cluster, handle)); err != nil {
			return nil, fmt.Errorf("informer for %s on cluster %s: %w", resource, cluster, err)
		}
		d.informers[resource] = informer
	}
	return d, nil
}

func explainWatchError(cluster, url string) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, r *cache.Reflector, err error) {
		logger := klog.FromContext(ctx).WithValues("cluster", cluster, "url", url)
		switch {
		case ctx.Err() != nil:
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			logger.Error(err, "The cluster denies access: check the RBAC of the syncer's account; will try again")
		default:
			cache.DefaultWatchErrorHandler(ctx, r, err)
		}
	}
}

func copyEventHandler(resource schema.GroupVersionResource, cluster string, handle copyHandler) cache.ResourceEventHandler {
	emit := func(obj any, oldObj, newObj *unstructured.Unstructured) {
		downstreamObj := asUnstructured(obj)
		if downstreamObj == nil {
			return
		}
		origin, ok := transform.OriginOf(downstreamObj)
		if !ok || origin.Cluster != cluster {
			return
		}
		handle(keyOf(resource, origin), oldObj, newObj)
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { emit(obj, nil, asUnstructured(obj)) },
		UpdateFunc: func(previous, obj any) { emit(obj, asUnstructured(previous), asUnstructured(obj)) },
		DeleteFunc: func(obj any) { emit(obj, asUnstructured(obj), nil) },
	}
}

// asUnstructured returns the object that an event is about, nil when it is none.
func asUnstructured(obj any) *unstructured.Unstructured {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	u, _ := obj.(*unstructured.Unstructured)
	return u
}

// run runs the informers until ctx ends and waits for them.
func (d *downstream) run(ctx context.Context) {
	var running sync.WaitGroup
	for _, informer := range d.informers {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	running.Wait()
}

func (d *downstream) hasSynced() bool {
	for _, informer := range d.informers {
		if !informer.HasSynced() {
			return false
		}
	}
	return true
}

// cached returns the object of that name if it bears our label, else nil.
func (d *downstream) cached(resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	obj, exists, err := d.informers[resource].GetStore().GetByKey(cache.NewObjectName(namespace, name).String())
	if err != nil || !exists {
		return nil // GetByKey of a thread-safe store returns no error
	}
	return obj.(*unstructured.Unstructured)
}

// live asks the cluster for the object; nil without an error when there is none.
func (d *downstream) live(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	obj, err := d.client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking the cluster for %s/%s: %w", namespace, name, err)
	}
	return obj, nil
}

// apply makes the server-side apply of desired, and its namespace when it is
// missing. It takes fields back that others have changed (force): what those own
// by right is not in desired.
func (d *downstream) apply(ctx context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	applied, err := d.applyOnce(ctx, resource, desired)
	if !isNamespaceMissing(err) {
		return applied, err
	}
	if err := d.createNamespace(ctx, desired); err != nil {
		return nil, err
	}
	return d.applyOnce(ctx, resource, desired)
}

func (d *downstream) applyOnce(ctx context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	body, err := desired.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding %s/%s: %w", desired.GetNamespace(), desired.GetName(), err)
	}
	applied, err := d.client.Resource(resource).Namespace(desired.GetNamespace()).
		Patch(ctx, desired.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager, Force: new(true)})
	if err != nil {
		return nil, fmt.Errorf("applying %s/%s: %w", desired.GetNamespace(), desired.GetName(), err)
	}
	return applied, nil
}

func isNamespaceMissing(err error) bool {
	details, ok := statusDetails(err)
	return ok && apierrors.IsNotFound(err) && details.Kind == namespacesResource.Resource
}

// createNamespace makes the namespace of a copy, marked as ours with the
// namespace that it stands for.
func (d *downstream) createNamespace(ctx context.Context, desired *unstructured.Unstructured) error {
	annotations := desired.GetAnnotations()
	namespace := &unstructured.Unstructured{}
	namespace.SetAPIVersion("v1")
	namespace.SetKind("Namespace")
	namespace.SetName(desired.GetNamespace())
	namespace.SetLabels(map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
	namespace.SetAnnotations(map[string]string{
		v1alpha1.SourceClusterAnnotation: annotations[v1alpha1.SourceClusterAnnotation],
		v1alpha1.SourceNameAnnotation:    annotations[v1alpha1.SourceNamespaceAnnotation],
		v1alpha1.TargetClusterAnnotation: annotations[v1alpha1.TargetClusterAnnotation],
	})
	_, err := d.client.Resource(namespacesResource).Create(ctx, namespace, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", desired.GetNamespace(), err)
	}
	return nil
}

// remove deletes the very object that was looked at, its dependents in the
// background, as kubectl does. It is no error when the object is gone.
func (d *downstream) remove(ctx context.Context, resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) error {
	err := d.client.Resource(resource).Namespace(downstreamObj.GetNamespace()).Delete(ctx, downstreamObj.GetName(), metav1.DeleteOptions{
		Preconditions:     metav1.NewUIDPreconditions(string(downstreamObj.GetUID())),
		PropagationPolicy: new(metav1.DeletePropagationBackground),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s/%s: %w", downstreamObj.GetNamespace(), downstreamObj.GetName(), err)
	}
	return nil
}

// stripCopy leaves of a copy what the loops look at: who it is, whether our
// fields stand, the numbers of its spec and its status.
func stripCopy(obj any) (any, error) {
	downstreamObj, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj, nil
	}
	downstreamObj.SetManagedFields(transform.OwnManagedFields(downstreamObj.GetManagedFields()))
	spec, _, _ := unstructured.NestedFieldNoCopy(downstreamObj.Object, "spec")
	if fields, isMap := spec.(map[string]any); isMap {
		for name, value := range fields {
			switch value.(type) {
			case map[string]any, []any:
				delete(fields, name)
			}
		}
	}
	return downstreamObj, nil
}
