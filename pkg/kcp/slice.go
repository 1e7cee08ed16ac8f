package kcp

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"
	kcpclientset "github.com/kcp-dev/sdk/client/clientset/versioned"
)

// endpointList watches the one object that lists the URLs of virtual workspaces.
type endpointList struct {
	cache.SharedIndexInformer

	// name is that of the object.
	name string
	// urls returns the URLs that the object lists.
	urls func(obj any) []string
	// missing is what to say when there is no such object, empty when it lists nothing.
	missing, empty string
}

// newSliceList returns the list of the export's virtual workspaces: the APIExportEndpointSlice
// of its name.
func newSliceList(options Options) (*endpointList, error) {
	informer, err := newSliceInformer(options)
	return &endpointList{
		SharedIndexInformer: informer,
		name:                options.Export,
		urls: func(obj any) []string {
			var urls []string
			for _, endpoint := range obj.(*apisv1alpha1.APIExportEndpointSlice).Status.APIExportEndpoints {
				urls = append(urls, endpoint.URL)
			}
			return urls
		},
		missing: "The provider workspace has no such APIExportEndpointSlice yet: run `kubectl tmc init`; waiting for it",
		empty:   "No workspace has bound the APIExport yet: run `kubectl tmc bind` in one; waiting for it",
	}, err
}

// newSliceInformer returns an informer for the one APIExportEndpointSlice that
// lists where the export's virtual workspaces are. kcp keeps a slice of the
// export's own name and adds a URL for each shard with consumers.
func newSliceInformer(options Options) (cache.SharedIndexInformer, error) {
	config, err := ForWorkspace(options.Config, options.ProviderWorkspace)
	if err != nil {
		return nil, err
	}
	client, err := kcpclientset.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for the provider workspace %s: %w", options.ProviderWorkspace, err)
	}
	endpointSlices := client.ApisV1alpha1().APIExportEndpointSlices()
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, options.Export).String()
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, list metav1.ListOptions) (runtime.Object, error) {
			list.FieldSelector = only
			return endpointSlices.List(ctx, list)
		},
		WatchFuncWithContext: func(ctx context.Context, list metav1.ListOptions) (watch.Interface, error) {
			list.FieldSelector = only
			return endpointSlices.Watch(ctx, list)
		},
	}, &apisv1alpha1.APIExportEndpointSlice{}, 0, cache.Indexers{})
	if err := informer.SetWatchErrorHandlerWithContext(ExplainWatchError("apiexportendpointslices", config.Host)); err != nil {
		return nil, fmt.Errorf("informer for the endpoint slice %s: %w", options.Export, err)
	}
	return informer, nil
}
