package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/cli/view"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// fieldManager is the field manager of what is written here.
const fieldManager = "kubectl-tmc"

// leasesResource is that of the clusters' heartbeats.
var leasesResource = coordinationv1.SchemeGroupVersion.WithResource("leases")

// provider reaches the provider workspace, where the clusters are registered.
type provider struct {
	workspace string
	config    *rest.Config
	objects   dynamic.Interface
}

// provider returns the access to the provider workspace.
func (o *clientOptions) provider() (*provider, error) {
	path := logicalcluster.NewPath(o.providerWorkspace)
	if !path.IsValid() {
		return nil, fmt.Errorf("--provider-workspace: %q is not the path of a workspace", o.providerWorkspace)
	}
	config, err := o.restConfig()
	if err != nil {
		return nil, err
	}
	if config, err = kcp.ForWorkspace(bounded(config), path); err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for workspace %s: %w", o.providerWorkspace, err)
	}
	return &provider{workspace: o.providerWorkspace, config: config, objects: objects}, nil
}

// explain returns the error of a request in the provider workspace with what is wrong and what to do.
func (p *provider) explain(doing string, err error) error {
	return explain(err, doing, p.workspace, p.config.Host, "there is no registry of clusters at "+p.config.Host+
		": point the kubeconfig at a kcp where `kubectl tmc init` has been run, and --provider-workspace at the workspace")
}

// explain returns the error of a request in a workspace with what is wrong and what to do. notServed says that of a
// resource that the server does not have. The cause stays wrapped.
func explain(err error, doing, workspace, host, notServed string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s does not accept the kubeconfig's credentials: %w", host, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: workspace %s does not exist, or you may not do this there: %w", doing, workspace, err)
	case kcp.IsNotServed(err):
		return fmt.Errorf("%s: %s: %w", doing, notServed, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// isHidden reports whether something does not exist, or the caller may not see it.
func isHidden(err error) bool { return apierrors.IsForbidden(err) || kcp.Is404(err) }

// eachItem lists objects in chunks, and calls visit with each.
func eachItem(ctx context.Context, client dynamic.ResourceInterface, visit func(*unstructured.Unstructured) error) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.List(ctx, options)
	}
	return pager.New(list).EachListItem(ctx, metav1.ListOptions{}, func(obj runtime.Object) error {
		return visit(obj.(*unstructured.Unstructured)) // of which dynamic clients' lists are made
	})
}

// registrations returns all clusters, sorted by name.
func (p *provider) registrations(ctx context.Context) ([]v1alpha1.ClusterRegistration, error) {
	var all []v1alpha1.ClusterRegistration
	err := eachItem(ctx, p.objects.Resource(v1alpha1.ClusterRegistrationsResource), func(item *unstructured.Unstructured) error {
		registration, err := v1alpha1.RegistrationOf(item)
		if err == nil {
			all = append(all, *registration)
		}
		return err
	})
	if err != nil {
		return nil, p.explain("listing clusters", err)
	}
	slices.SortFunc(all, func(a, b v1alpha1.ClusterRegistration) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// named returns the registrations of those names, all when none are given. A name without a registration is an error
// that lists the names that have one.
func (p *provider) named(ctx context.Context, names []string) ([]v1alpha1.ClusterRegistration, error) {
	all, err := p.registrations(ctx)
	if err != nil || len(names) == 0 {
		return all, err
	}
	known := make([]string, len(all))
	for i := range all {
		known[i] = all[i].Name
	}
	there := "none is registered"
	if len(known) > 0 {
		there = "there are: " + strings.Join(known, ", ")
	}
	var found []v1alpha1.ClusterRegistration
	var unknown []error
	for _, name := range names {
		if index := slices.Index(known, name); index >= 0 {
			found = append(found, all[index])
		} else {
			unknown = append(unknown, fmt.Errorf("there is no cluster %q; %s", name, there))
		}
	}
	return found, errors.Join(unknown...)
}

// registration returns one registration, nil when there is none of that name.
func (p *provider) registration(ctx context.Context, name string) (*v1alpha1.ClusterRegistration, error) {
	obj, err := p.objects.Resource(v1alpha1.ClusterRegistrationsResource).Get(ctx, name, metav1.GetOptions{})
	if kcp.IsMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, p.explain("reading cluster "+name, err)
	}
	return v1alpha1.RegistrationOf(obj)
}

// patch writes a merge patch of a registration.
func (p *provider) patch(ctx context.Context, name, doing string, patch map[string]any) error {
	data, err := json.Marshal(patch)
	if err == nil {
		_, err = p.objects.Resource(v1alpha1.ClusterRegistrationsResource).
			Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: fieldManager})
	}
	return p.explain(doing+" cluster "+name, err)
}

// heartbeats returns when clusters were last heard of; nil when the caller may not know.
func (p *provider) heartbeats(ctx context.Context) (map[string]time.Time, error) {
	heartbeats := map[string]time.Time{}
	leases := p.objects.Resource(leasesResource).Namespace(v1alpha1.HeartbeatNamespace)
	err := eachItem(ctx, leases, func(item *unstructured.Unstructured) error {
		var lease coordinationv1.Lease
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &lease); err != nil {
			return fmt.Errorf("heartbeat of cluster %s: %w", item.GetName(), err)
		}
		if lease.Spec.RenewTime != nil {
			heartbeats[lease.Name] = lease.Spec.RenewTime.Time
		}
		return nil
	})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	return heartbeats, p.explain("listing heartbeats", err)
}

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

// addPaths adds the paths that are missing, as the workspaces themselves give them. It stops at the first workspace
// that the caller may not read: he may not read the others, either.
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
