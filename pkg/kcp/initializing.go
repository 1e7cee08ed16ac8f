package kcp

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
)

var (
	// WorkspaceTypesResource is that of what kcp makes workspaces after. (kcp's Go types for
	// workspaces bring a test framework into every program that imports them.)
	WorkspaceTypesResource = schema.GroupVersionResource{Group: "tenancy.kcp.io", Version: "v1alpha1", Resource: "workspacetypes"}
	// LogicalClustersResource is that of what each workspace knows of itself, under the name
	// LogicalClusterName.
	LogicalClustersResource = schema.GroupVersionResource{Group: "core.kcp.io", Version: "v1alpha1", Resource: "logicalclusters"}
)

// LogicalClusterName is the name of the LogicalCluster of each workspace.
const LogicalClusterName = "cluster"

// initializingType is how kcp marks, among the virtual workspaces of a WorkspaceType, those
// that show what is being initialized (kcp, pkg/reconciler/tenancy/workspacetype).
const initializingType = "initializing"

// newTypeList returns the list of the virtual workspaces that show what kcp initializes for
// a WorkspaceType: the WorkspaceType's status, which has one for each shard.
func newTypeList(options Options) (*endpointList, error) {
	client, err := NewClient(options.Config, options.ProviderWorkspace, dynamic.NewForConfig)
	if err != nil {
		return nil, err
	}
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, options.WorkspaceType).String()
	informer := dynamicinformer.NewFilteredDynamicInformer(client, WorkspaceTypesResource, metav1.NamespaceAll, 0, cache.Indexers{},
		func(list *metav1.ListOptions) { list.FieldSelector = only }).Informer()
	if err := informer.SetWatchErrorHandlerWithContext(ExplainWatchError("workspacetypes", options.Config.Host)); err != nil {
		return nil, fmt.Errorf("informer for the WorkspaceType %s: %w", options.WorkspaceType, err)
	}
	return &endpointList{
		SharedIndexInformer: informer,
		name:                options.WorkspaceType,
		urls:                initializingURLs,
		missing:             "The provider workspace has no such WorkspaceType yet: run `kubectl tmc init`; waiting for it",
		empty:               "kcp has not said yet where it initializes workspaces of the WorkspaceType; waiting for it",
	}, nil
}

// initializingURLs returns where kcp shows what it initializes for a WorkspaceType.
func initializingURLs(obj any) []string {
	// An error would mean that the field is no list: its schema does not let it be.
	entries, _, _ := unstructured.NestedSlice(obj.(*unstructured.Unstructured).Object, "status", "virtualWorkspaces")
	var urls []string
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		if url, _ := fields["url"].(string); url != "" && fields["type"] == initializingType {
			urls = append(urls, url)
		}
	}
	return urls
}

// newInitializingSource returns the source of a virtual workspace of initializing workspaces.
// It serves LogicalClusters alone, and its discovery is not whole.
func newInitializingSource(options Options, url string, handle Handler) (*source, error) {
	s, err := newShardSource(options, url, handle)
	if err != nil {
		return nil, err
	}
	s.discover = func(context.Context) ([]Resource, error) {
		return []Resource{{GroupVersionResource: LogicalClustersResource, Kind: "LogicalCluster", HasStatus: true}}, nil
	}
	return s, nil
}
