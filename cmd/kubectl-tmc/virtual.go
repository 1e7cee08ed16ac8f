package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/kcp-dev/logicalcluster/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/cli/view"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// virtualWorkspaces show the objects of all consumer workspaces: the APIExport's virtual workspaces, one for each shard
// that has consumers. Each element is the configuration for all workspaces of a shard.
type virtualWorkspaces []*rest.Config

// virtualWorkspaces finds the virtual workspaces.
func (p *provider) virtualWorkspaces(ctx context.Context) (*virtualWorkspaces, error) {
	slice, err := p.objects.Resource(kcp.EndpointSlicesResource).Get(ctx, v1alpha1.APIExportName, metav1.GetOptions{})
	if err != nil {
		return nil, p.explain("looking up the virtual workspaces of "+v1alpha1.APIExportName, err)
	}
	v := virtualWorkspaces{}
	for _, url := range kcp.VirtualWorkspaceURLs(slice) {
		v = append(v, kcp.ForAllWorkspaces(p.config, url))
	}
	return &v, nil
}

// each lists the metadata of the objects of a resource that the label selector selects, and calls visit with each.
func (v *virtualWorkspaces) each(ctx context.Context, resource schema.GroupVersionResource, selector string, visit func(*metav1.PartialObjectMetadata)) error {
	for _, config := range *v {
		client, err := metadata.NewForConfig(config)
		if err != nil {
			return fmt.Errorf("client for %s: %w", config.Host, err)
		}
		list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.Resource(resource).List(ctx, options)
		}
		err = pager.New(list).EachListItem(ctx, metav1.ListOptions{LabelSelector: selector}, func(obj runtime.Object) error {
			visit(obj.(*metav1.PartialObjectMetadata)) // of which metadata clients' lists are made
			return nil
		})
		if err != nil {
			return fmt.Errorf("listing the %s of all workspaces: %w", resource.Resource, err)
		}
	}
	return nil
}

// kinds returns the kinds whose objects are synced.
func (v *virtualWorkspaces) kinds(ctx context.Context) ([]view.Kind, error) {
	var found []view.Kind
	for _, config := range *v {
		resources, err := kcp.Discover(ctx, config)
		if err != nil {
			return nil, fmt.Errorf("asking for the kinds that are synced: %w", err)
		}
		for _, resource := range resources {
			kind := view.Kind{Kind: resource.Kind, Resource: resource.GroupVersionResource}
			if v1alpha1.IsSynced(kind.Resource.GroupResource(), resource.Namespaced) && !slices.Contains(found, kind) {
				found = append(found, kind)
			}
		}
	}
	return found, nil
}

// workloadsOn counts the workloads on clusters: on those that are named, or on all.
func (v *virtualWorkspaces) workloadsOn(ctx context.Context, names []string) (map[string]int, error) {
	counts := map[string]int{}
	for _, kind := range (kinds.Kinds{}).Workloads() {
		if err := v.count(ctx, kind.GroupVersionResource(), names, counts); err != nil && !kcp.IsNotServed(err) {
			return nil, err
		}
	}
	return counts, nil
}

// count adds the objects of a resource to the counts of their clusters.
func (v *virtualWorkspaces) count(ctx context.Context, resource schema.GroupVersionResource, names []string, counts map[string]int) error {
	if len(names) == 0 { // one list of all is less to read than a list for each cluster
		return v.each(ctx, resource, "", func(obj *metav1.PartialObjectMetadata) {
			for _, cluster := range protocol.Read(obj).Labelled() {
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

// workspace returns the name of the object's logical cluster.
func (o onCluster) workspace() string { return logicalcluster.From(o).String() }

// placed returns the objects of the kinds that are placed on the cluster.
func (v *virtualWorkspaces) placed(ctx context.Context, kinds []view.Kind, cluster string) ([]onCluster, error) {
	return v.filter(ctx, kinds, placedOn(cluster), func(*metav1.PartialObjectMetadata) bool { return true })
}

// held returns the objects of the kinds that are placed on the cluster, or held by its syncer's finalizer without being
// placed there any more.
func (v *virtualWorkspaces) held(ctx context.Context, kinds []view.Kind, cluster string) ([]onCluster, error) {
	return v.filter(ctx, kinds, "", func(obj *metav1.PartialObjectMetadata) bool {
		return slices.Contains(protocol.Read(obj).Present(), cluster)
	})
}

// filter returns the objects of the kinds that the label selector selects and that are wanted.
func (v *virtualWorkspaces) filter(ctx context.Context, kinds []view.Kind, selector string, isWanted func(*metav1.PartialObjectMetadata) bool) ([]onCluster, error) {
	var found []onCluster
	for _, kind := range kinds {
		err := v.each(ctx, kind.Resource, selector, func(obj *metav1.PartialObjectMetadata) {
			if isWanted(obj) {
				found = append(found, onCluster{obj, kind.Kind})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// pathsByBindings returns the paths of workspaces, by their names, as their APIBindings give them. It returns none when
// the caller may not read those: the names will do.
func (v *virtualWorkspaces) pathsByBindings(ctx context.Context) map[string]string {
	paths := map[string]string{}
	_ = v.each(ctx, kcp.APIBindingsResource, "", func(binding *metav1.PartialObjectMetadata) {
		if path := kcp.SaidPath(binding); path != "" {
			paths[logicalcluster.From(binding).String()] = path
		}
	})
	return paths
}

// addPaths adds the paths that are missing, as the workspaces themselves give them. It stops at the first workspace that
// the caller may not read: he may not read the others, either.
func (p *provider) addPaths(ctx context.Context, paths map[string]string, workspaces []string) {
	for _, workspace := range workspaces {
		if paths[workspace] != "" {
			continue
		}
		client, err := kcp.NewClient(p.config, logicalcluster.NewPath(workspace), metadata.NewForConfig)
		if err != nil {
			return
		}
		self, err := client.Resource(kcp.LogicalClustersResource).Get(ctx, kcp.LogicalClusterName, metav1.GetOptions{})
		if err != nil {
			return
		}
		paths[workspace] = kcp.SaidPath(self)
	}
}
