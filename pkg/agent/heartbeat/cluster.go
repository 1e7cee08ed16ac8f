package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// cluster reads the physical cluster.
type cluster struct {
	client   kubernetes.Interface
	answers  func(context.Context) error
	discover func(context.Context) (served, error)
	nodes    *watched
	pods     *podWatch
}

// livingPods selects the pods that are on a node and have not ended: others request nothing of
// a node.
var livingPods = fields.AndSelectors(
	fields.OneTermNotEqualSelector("spec.nodeName", ""),
	fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
	fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
).String()

func newCluster(clients clients) (*cluster, error) {
	c := &cluster{client: clients.downstream, answers: clients.answers, discover: clients.discover}
	var err error
	c.nodes, err = newWatched("nodes", coreinformers.NewNodeInformer(c.client, 0, cache.Indexers{}), stripNode)
	c.pods = newPodWatch(c.client)
	return c, err
}

// run watches nodes and pods until ctx ends.
func (c *cluster) run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { c.nodes.informer.RunWithContext(ctx) })
	running.Go(func() { c.pods.run(ctx) })
	running.Wait()
}

// hasRead reports whether nodes and pods have been read, or the cluster denies that.
func (c *cluster) hasRead() bool { return c.nodes.hasRead() && c.pods.hasRead() }

// capacity returns how large the cluster is, nil when nodes or pods have not been read.
func (c *cluster) capacity() *capacity {
	if !c.nodes.informer.HasSynced() || !c.pods.HasSynced() {
		return nil
	}
	return new(capacityOf(listed[*corev1.Node](c.nodes), c.pods.all()))
}

// watched is a cache of one resource, which the cluster may not let the syncer read.
type watched struct {
	refusal

	informer cache.SharedIndexInformer
}

// refusal is whether the cluster refuses to let the syncer read a resource.
type refusal struct {
	resource string
	denied   atomic.Bool
}

// handle is told why a watch has ended.
func (r *refusal) handle(ctx context.Context, _ *cache.Reflector, err error) {
	logger := klog.FromContext(ctx)
	if apierrors.IsForbidden(err) && !r.denied.Swap(true) {
		logger.Error(err, "The cluster does not let the syncer see how large it is: check the RBAC of the syncer's account", "resource", r.resource)
	}
	logger.V(2).Info("The watch has ended, watching anew", "resource", r.resource, "reason", err.Error())
}

func newWatched(resource string, informer cache.SharedIndexInformer, strip cache.TransformFunc) (*watched, error) {
	w := &watched{informer: informer, refusal: refusal{resource: resource}}
	err := errors.Join(informer.SetTransform(strip), informer.SetWatchErrorHandlerWithContext(w.handle))
	if err != nil {
		return nil, fmt.Errorf("informer for the cluster's %s: %w", resource, err)
	}
	return w, nil
}

func (w *watched) hasRead() bool { return w.informer.HasSynced() || w.denied.Load() }

func listed[T any](w *watched) []T {
	objects := w.informer.GetStore().List()
	result := make([]T, 0, len(objects))
	for _, obj := range objects {
		result = append(result, obj.(T))
	}
	return result
}

// answers returns a function that asks a cluster whether it is ready or, where that may not
// be asked, for its version.
func answers(client rest.Interface) func(context.Context) error {
	get := func(ctx context.Context, path string) error { return client.Get().AbsPath(path).Do(ctx).Error() }
	return func(ctx context.Context) error {
		err := get(ctx, "/readyz")
		if apierrors.IsForbidden(err) || kcp.Is404(err) {
			return get(ctx, "/version")
		}
		return err
	}
}

// served is what a cluster's API server says of itself.
type served struct {
	version string
	// resources are the namespaced ones that can be created, listed and watched, in
	// all versions.
	resources []schema.GroupVersionResource
}

// discover asks the cluster what it serves.
func discover(ctx context.Context, config *rest.Config) (served, error) {
	client, err := discovery.NewDiscoveryClientForConfig(kcp.EndingWith(ctx, config))
	if err != nil {
		return served{}, fmt.Errorf("discovery client for %s: %w", config.Host, err)
	}
	info, err := client.ServerVersion()
	if err != nil {
		return served{}, fmt.Errorf("asking the cluster for its version: %w", err)
	}
	_, lists, err := client.ServerGroupsAndResources()
	if failed, partial := discovery.GroupDiscoveryFailedErrorGroups(err); partial {
		// An API server beside the cluster's own may be broken for years.
		klog.FromContext(ctx).V(2).Info("The cluster cannot tell all that it serves", "failed", len(failed), "reason", err.Error())
	} else if err != nil {
		return served{}, fmt.Errorf("asking the cluster what it serves: %w", err)
	}
	return served{version: info.GitVersion, resources: syncable(lists)}, nil
}

// syncable returns the resources whose objects a syncer can create and watch.
func syncable(lists []*metav1.APIResourceList) []schema.GroupVersionResource {
	var resources []schema.GroupVersionResource
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue // no client could ask for it
		}
		for _, resource := range list.APIResources {
			if resource.Namespaced && hasVerbs(resource, "create", "list", "watch") {
				resources = append(resources, version.WithResource(resource.Name))
			}
		}
	}
	return resources
}

func hasVerbs(resource metav1.APIResource, verbs ...string) bool {
	return !slices.ContainsFunc(verbs, func(verb string) bool { return !slices.Contains(resource.Verbs, verb) })
}
