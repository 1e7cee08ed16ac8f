package upstream

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// endpoints watches the one object that lists the URLs of the virtual workspaces.
type endpoints struct {
	cache.SharedIndexInformer

	resource schema.GroupVersionResource
	// name is that of the object.
	name string
	// urlsIn returns the URLs that the object lists.
	urlsIn func(*unstructured.Unstructured) []string
	// missing and empty are what is logged when there is no such object, and when it lists nothing.
	missing, empty string
}

// newEndpoints returns those of the APIExport, or of the WorkspaceType, of the options.
func newEndpoints(options Options) (*endpoints, error) {
	e := &endpoints{
		resource: kcp.EndpointSlicesResource, name: options.Export, urlsIn: kcp.VirtualWorkspaceURLs,
		missing: "The provider workspace has no such APIExportEndpointSlice yet: run `kubectl tmc init`; waiting for it",
		empty:   "No workspace has bound the APIExport yet: run `kubectl tmc bind` in one; waiting for it",
	}
	if options.WorkspaceType != "" {
		e = &endpoints{
			resource: kcp.WorkspaceTypesResource, name: options.WorkspaceType, urlsIn: kcp.InitializingURLs,
			missing: "The provider workspace has no such WorkspaceType yet: run `kubectl tmc init`; waiting for it",
			empty:   "kcp has not said yet where it initializes workspaces of the WorkspaceType; waiting for it",
		}
	}
	client, err := kcp.NewClient(options.Config, options.ProviderWorkspace, dynamic.NewForConfig)
	if err != nil {
		return nil, err
	}
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, e.name).String()
	e.SharedIndexInformer = dynamicinformer.NewFilteredDynamicInformer(client, e.resource, metav1.NamespaceAll, 0, cache.Indexers{},
		func(list *metav1.ListOptions) { list.FieldSelector = only }).Informer()
	if err := e.SetWatchErrorHandlerWithContext(logWatchErrors(e.resource.Resource, options.Config.Host)); err != nil {
		return nil, fmt.Errorf("informer for %s %s: %w", e.resource.Resource, e.name, err)
	}
	return e, nil
}

// object returns the object, nil when it has not been read, or is not there.
func (e *endpoints) object() *unstructured.Unstructured {
	obj, exists, err := e.GetStore().GetByKey(e.name)
	if err != nil || !exists {
		return nil // GetByKey of a thread-safe store returns no error
	}
	return obj.(*unstructured.Unstructured)
}

// logWatchErrors returns a watch error handler that logs why what cannot be read at url.
// The informer goes on trying with back-off.
func logWatchErrors(what, url string) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, _ *cache.Reflector, err error) { kcp.LogReadError(ctx, what, url, err) }
}
