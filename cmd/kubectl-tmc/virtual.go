package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/kcp-dev/logicalcluster/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/cli/view"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// apiBindingsResource is that of the bindings of consumer workspaces.
var apiBindingsResource = schema.GroupVersionResource{Group: "apis.kcp.io", Version: "v1alpha2", Resource: "apibindings"}

// virtualWorkspaces show the objects of all consumer workspaces: the APIExport's virtual
// workspaces, one for each shard that has consumers.
type virtualWorkspaces struct {
	// everywhere are the configurations for all workspaces of a shard.
	everywhere []*rest.Config
}

// virtualWorkspaces looks up where they are.
func (p *provider) virtualWorkspaces(ctx context.Context) (*virtualWorkspaces, error) {
	slice, err := p.objects.Resource(endpointSlicesResource).Get(ctx, v1alpha1.APIExportName, metav1.GetOptions{})
	if err != nil {
		return nil, p.explain("looking up the virtual workspaces of "+v1alpha1.APIExportName, err)
	}
	endpoints, _, err := unstructured.NestedSlice(slice.Object, "status", "endpoints")
	if err != nil {
		return nil, fmt.Errorf("endpoints of %s: %w", v1alpha1.APIExportName, err)
	}
	v := &virtualWorkspaces{}
	for _, endpoint := range endpoints {
		fields, _ := endpoint.(map[string]any)
		url, _ := fields["url"].(string)
		if url == "" {
			continue
		}
		config := rest.CopyConfig(p.config)
		config.Host = url + logicalcluster.Wildcard.RequestPath()
		v.everywhere = append(v.everywhere, config)
	}
	return v, nil
}

// each lists the metadata of the objects of a resource that the label selector selects.
func (v *virtualWorkspaces) each(ctx context.Context, resource schema.GroupVersionResource, selector string, visit func(*metav1.PartialObjectMetadata)) error {
	for _, config := range v.everywhere {
		client, err := metadata.NewForConfig(config)
		if err != nil {
			return fmt.Errorf("client for %s: %w", config.Host, err)
		}
		list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.Resource(resource).List(ctx, options)
		}
		err = pager.New(list).EachListItem(ctx, metav1.ListOptions{LabelSelector: selector}, func(obj runtime.Object) error {
			item, isMetadata := obj.(*metav1.PartialObjectMetadata)
			if !isMetadata {
				return fmt.Errorf("unexpected item %T in a list", obj)
			}
			visit(item)
			return nil
		})
		if err != nil {
			return fmt.Errorf("listing the %s of all workspaces: %w", resource.Resource, err)
		}
	}
	return nil
}

// kinds returns the kinds whose objects are synced.
func (v *virtualWorkspaces) kinds() ([]view.Kind, error) {
	var kinds []view.Kind
	for _, config := range v.everywhere {
		client, err := discovery.NewDiscoveryClientForConfig(config)
		if err != nil {
			return nil, fmt.Errorf("client for %s: %w", config.Host, err)
		}
		lists, err := client.ServerPreferredResources()
		if err != nil {
			return nil, fmt.Errorf("asking for the kinds that are synced: %w", err)
		}
		for _, list := range lists {
			served, err := schema.ParseGroupVersion(list.GroupVersion)
			if err != nil {
				return nil, fmt.Errorf("kinds at %s: %w", config.Host, err)
			}
			for _, resource := range list.APIResources {
				kind := view.Kind{Kind: resource.Kind, Resource: served.WithResource(resource.Name)}
				if v1alpha1.IsSynced(kind.Resource.GroupResource(), resource.Namespaced) && !slices.Contains(kinds, kind) {
					kinds = append(kinds, kind)
				}
			}
		}
	}
	return kinds, nil
}

// workloadsOn counts the workloads on clusters: on those that are named, or on all.
func (v *virtualWorkspaces) workloadsOn(ctx context.Context, names []string) (map[string]int, error) {
	counts := map[string]int{}
	for _, kind := range view.WorkloadKinds {
		if err := v.count(ctx, kind.Resource, names, counts); err != nil && !isUnserved(err) {
			return nil, err
		}
	}
	return counts, nil
}

// count adds the objects of a resource to the counts of their clusters.
func (v *virtualWorkspaces) count(ctx context.Context, resource schema.GroupVersionResource, names []string, counts map[string]int) error {
	if len(names) == 0 { // one list of all holds less than a list for each cluster
		return v.each(ctx, resource, "", func(obj *metav1.PartialObjectMetadata) {
			for _, cluster := range v1alpha1.PlacedClusters(obj.Labels) {
				counts[cluster]++
			}
		})
	}
	for _, name := range names {
		if err := v.each(ctx, resource, placedOn(name), func(*metav1.PartialObjectMetadata) { counts[name]++ }); err != nil {
			return err
		}
	}
	return nil
}

// placedOn selects what is placed on the cluster.
func placedOn(cluster string) string {
	return v1alpha1.PlacementLabel(cluster) + "=" + v1alpha1.PlacementLabelValue
}

// onCluster is an object on a cluster.
type onCluster struct {
	*metav1.PartialObjectMetadata

	kind string
}

// workspace is the name of the object's logical cluster.
func (o onCluster) workspace() string { return logicalcluster.From(o).String() }

// placed returns what of the kinds is placed on the cluster.
func (v *virtualWorkspaces) placed(ctx context.Context, kinds []view.Kind, cluster string) ([]onCluster, error) {
	var found []onCluster
	for _, kind := range kinds {
		err := v.each(ctx, kind.Resource, placedOn(cluster), func(obj *metav1.PartialObjectMetadata) {
			found = append(found, onCluster{obj, kind.Kind})
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// held returns what of the kinds is placed on the cluster, or held by its syncer's
// finalizer without being placed there any more.
func (v *virtualWorkspaces) held(ctx context.Context, kinds []view.Kind, cluster string) ([]onCluster, error) {
	var found []onCluster
	for _, kind := range kinds {
		err := v.each(ctx, kind.Resource, "", func(obj *metav1.PartialObjectMetadata) {
			if view.IsHeldBy(obj, cluster) {
				found = append(found, onCluster{obj, kind.Kind})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// pathsByBindings returns the paths of workspaces by their names, as their APIBindings say
// them.
func (v *virtualWorkspaces) pathsByBindings(ctx context.Context) map[string]string {
	paths := map[string]string{}
	// Names will do where paths cannot be had.
	_ = v.each(ctx, apiBindingsResource, "", func(binding *metav1.PartialObjectMetadata) {
		if path := kcp.SaidPath(binding); path != "" {
			paths[logicalcluster.From(binding).String()] = path
		}
	})
	return paths
}

// addPaths adds the paths of the workspaces that are missing, for a caller who may look
// into them.
func (p *provider) addPaths(ctx context.Context, paths map[string]string, workspaces []string) {
	for _, workspace := range workspaces {
		if paths[workspace] != "" {
			continue
		}
		path, err := p.pathOf(ctx, workspace)
		if err != nil {
			return // neither into the others
		}
		paths[workspace] = path
	}
}

// pathOf asks a workspace for the path that it says it has.
func (p *provider) pathOf(ctx context.Context, workspace string) (string, error) {
	client, err := kcp.NewClient(p.config, logicalcluster.NewPath(workspace), metadata.NewForConfig)
	if err != nil {
		return "", err
	}
	self, err := client.Resource(kcp.LogicalClustersResource).Get(ctx, kcp.LogicalClusterName, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return kcp.SaidPath(self), nil
}
