package syncer

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// What a 404 of the cluster says. One that names the object says that there is none. One that names nothing is about the kind: the
// cluster does not serve it, or does not serve it yet, for its API server has only just started and knows of no
// CustomResourceDefinitions. The second says nothing about the object.

// isMissing reports whether an error of the cluster says that there is no object of that name, for it is gone or the cluster does not
// serve its kind.
func (c *cluster) isMissing(ctx context.Context, resource schema.GroupVersionResource, name string, err error) bool {
	return kcp.IsMissingObject(err, name) || kcp.IsNotServed(err) && c.lacks(ctx, resource)
}

// lacks reports whether the cluster does not serve the resource, which is known when it says that it is ready.
func (c *cluster) lacks(ctx context.Context, resource schema.GroupVersionResource) bool {
	return c.serves == nil || isLacking(c.serves(ctx, resource))
}

func isLacking(isServed bool, err error) bool { return err == nil && !isServed }

// servedBy returns a function that asks an API server whether it serves a resource. The function fails while the server does not say
// that it is ready. Where that may not be asked, what is served counts.
func servedBy(client discovery.DiscoveryInterface) func(context.Context, schema.GroupVersionResource) (bool, error) {
	return func(ctx context.Context, resource schema.GroupVersionResource) (bool, error) {
		err := client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		if err != nil && !apierrors.IsForbidden(err) && !kcp.Is404(err) {
			return false, err
		}
		list, err := client.ServerResourcesForGroupVersion(resource.GroupVersion().String())
		if kcp.Is404(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(list.APIResources, func(served metav1.APIResource) bool { return served.Name == resource.Resource }), nil
	}
}
