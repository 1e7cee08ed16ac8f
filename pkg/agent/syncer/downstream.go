package syncer

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// createOnly is a resource version that no stored object has. A server-side apply
// that carries one creates what does not exist, and conflicts with what does: the
// server compares versions only with an object that is there. (Store.Update in
// k8s.io/apiserver/pkg/registry/generic/registry.)
const createOnly = "1"

// downstream is the cluster, to write to and to ask.
type downstream struct {
	client dynamic.Interface
	// metadata and discovery look for what else lies in a namespace.
	metadata  metadata.Interface
	discovery discovery.DiscoveryInterface
}

func newDownstream(config *rest.Config, cluster string) (*downstream, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for cluster %s at %s: %w", cluster, config.Host, err)
	}
	quiet := rest.CopyConfig(config)
	quiet.WarningHandler = rest.NoWarnings{} // it looks at everything, what is deprecated included
	metadataClient, err := metadata.NewForConfig(quiet)
	if err != nil {
		return nil, fmt.Errorf("metadata client for cluster %s at %s: %w", cluster, config.Host, err)
	}
	discoveryClient, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("discovery client for cluster %s at %s: %w", cluster, config.Host, err)
	}
	return &downstream{client: client, metadata: metadataClient, discovery: discoveryClient}, nil
}

// live asks the cluster for the object; nil without an error when there is none. Of its
// marks it has only those that are ours.
func (d *downstream) live(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	obj, err := d.client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking the cluster for %s/%s: %w", namespace, name, err)
	}
	transform.KeepOwnMarks(obj)
	return obj, nil
}

// apply makes the server-side apply of desired, and its namespace when it is
// missing: namespace returns it. It takes fields back that others have changed
// (force): what those own by right is not in desired. It returns errStale when somebody
// else has made the namespace in the meantime.
func (d *downstream) apply(ctx context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured, namespace func() (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	applied, err := d.applyOnce(ctx, resource, desired)
	if !isNamespaceMissing(err) {
		return applied, err
	}
	made, err := namespace()
	if err != nil {
		return nil, err
	}
	made.SetResourceVersion(createOnly)
	switch _, err := d.applyOnce(ctx, v1alpha1.NamespacesResource, made); {
	case apierrors.IsConflict(err):
		return nil, errStale // it may be one that nothing is to come into
	case err != nil:
		return nil, err
	}
	return d.applyOnce(ctx, resource, desired)
}

func (d *downstream) applyOnce(ctx context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	body, err := desired.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", nameOf(desired), err)
	}
	applied, err := d.client.Resource(resource).Namespace(desired.GetNamespace()).
		Patch(ctx, desired.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager, Force: new(true)})
	if err != nil {
		return nil, fmt.Errorf("applying %s: %w", nameOf(desired), err)
	}
	return applied, nil
}

// nameOf returns how to call an object of the cluster in messages.
func nameOf(downstreamObj *unstructured.Unstructured) string {
	if namespace := downstreamObj.GetNamespace(); namespace != "" {
		return namespace + "/" + downstreamObj.GetName()
	}
	return downstreamObj.GetName()
}

func isNamespaceMissing(err error) bool {
	details, ok := statusDetails(err)
	return ok && apierrors.IsNotFound(err) && details.Kind == v1alpha1.NamespacesResource.Resource
}

// remove deletes the very object that was looked at, its dependents in the
// background, as kubectl does. It is no error when the object is gone.
func (d *downstream) remove(ctx context.Context, resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) error {
	err := d.client.Resource(resource).Namespace(downstreamObj.GetNamespace()).Delete(ctx, downstreamObj.GetName(), metav1.DeleteOptions{
		Preconditions:     metav1.NewUIDPreconditions(string(downstreamObj.GetUID())),
		PropagationPolicy: new(metav1.DeletePropagationBackground),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", nameOf(downstreamObj), err)
	}
	return nil
}
