package heartbeat

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// requestTimeout bounds each request.
const requestTimeout = 10 * time.Second

// registrationClient reads and writes the registration of one cluster.
type registrationClient struct {
	client  dynamic.Interface
	cluster string
}

func (r *registrationClient) registrations() dynamic.NamespaceableResourceInterface {
	return r.client.Resource(v1alpha1.ClusterRegistrationsResource)
}

// get returns the registration; nil, without an error, when kcp serves registrations, but has
// not this one.
func (r *registrationClient) get(ctx context.Context) (*v1alpha1.ClusterRegistration, error) {
	return r.getOf(ctx, r.cluster)
}

// getOf is get for the registration of any cluster.
func (r *registrationClient) getOf(ctx context.Context, cluster string) (*v1alpha1.ClusterRegistration, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	obj, err := r.registrations().Get(ctx, cluster, metav1.GetOptions{})
	if kcp.IsMissingObject(err, cluster) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ClusterRegistration %s: %w", cluster, err)
	}
	return decode(obj)
}

// create makes the registration.
func (r *registrationClient) create(ctx context.Context, registration *v1alpha1.ClusterRegistration) (*v1alpha1.ClusterRegistration, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(registration)
	if err != nil {
		return nil, fmt.Errorf("encoding ClusterRegistration %s: %w", r.cluster, err)
	}
	delete(content, "status")
	obj := &unstructured.Unstructured{Object: content}
	obj.SetGroupVersionKind(v1alpha1.ClusterRegistrationsResource.GroupVersion().WithKind("ClusterRegistration"))
	created, err := r.registrations().Create(ctx, obj, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
	if err != nil {
		return nil, fmt.Errorf("creating ClusterRegistration %s: %w", r.cluster, err)
	}
	return decode(created)
}

// patchStatus merges status into the registration's, unless the registration is no
// longer what it was (409).
func (r *registrationClient) patchStatus(ctx context.Context, was *v1alpha1.ClusterRegistration, status any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": was.UID, "resourceVersion": was.ResourceVersion},
		"status":   status,
	})
	if err != nil {
		return fmt.Errorf("encoding the status of ClusterRegistration %s: %w", r.cluster, err)
	}
	_, err = r.registrations().Patch(ctx, r.cluster, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager}, "status")
	if err != nil {
		return fmt.Errorf("writing the status of ClusterRegistration %s: %w", r.cluster, err)
	}
	return nil
}

// informer returns an informer for the registration, which calls changed when it has changed.
func (r *registrationClient) informer(changed func()) (cache.SharedIndexInformer, error) {
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, r.cluster).String()
	informer := dynamicinformer.NewFilteredDynamicInformer(r.client, v1alpha1.ClusterRegistrationsResource, metav1.NamespaceAll, 0, cache.Indexers{},
		func(list *metav1.ListOptions) { list.FieldSelector = only }).Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		UpdateFunc: func(any, any) { changed() },
		DeleteFunc: func(any) { changed() },
	})
	if err != nil {
		return nil, fmt.Errorf("informer for ClusterRegistration %s: %w", r.cluster, err)
	}
	// The heartbeat sender logs when kcp is out of reach.
	err = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		klog.FromContext(ctx).V(2).Info("The watch of the cluster's registration has ended, watching anew", "reason", err.Error())
	})
	if err != nil {
		return nil, fmt.Errorf("informer for ClusterRegistration %s: %w", r.cluster, err)
	}
	return informer, nil
}

// cached returns the registration from the informer's cache, nil when it is not
// there.
func (r *registrationClient) cached(informer cache.SharedIndexInformer) (*v1alpha1.ClusterRegistration, error) {
	obj, exists, err := informer.GetStore().GetByKey(r.cluster)
	if err != nil || !exists {
		return nil, err
	}
	return decode(obj.(*unstructured.Unstructured))
}

// unreadableError is the error of a registration that cannot be decoded.
type unreadableError struct{ error }

func (e *unreadableError) Unwrap() error { return e.error }

func decode(obj *unstructured.Unstructured) (*v1alpha1.ClusterRegistration, error) {
	registration, err := v1alpha1.RegistrationOf(obj)
	if err != nil {
		return nil, &unreadableError{err}
	}
	return registration, nil
}
