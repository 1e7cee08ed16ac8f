package main

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/events"
	"github.com/kcp-tmc/tmc/pkg/hub/aggregator"
	"github.com/kcp-tmc/tmc/pkg/hub/guard"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/hub/protect"
	"github.com/kcp-tmc/tmc/pkg/hub/registry"
	"github.com/kcp-tmc/tmc/pkg/hub/scheduler"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

// leaseNamespace is where in the provider workspace the lease lies.
const leaseNamespace = metav1.NamespaceDefault

// hub is the two controllers over the same caches.
type hub struct {
	config     hubConfig
	upstream   *upstream.Client
	recorder   *events.Recorder
	registry   *registry.Registry
	relations  *inventory.Inventory
	paths      *inventory.Paths
	bindings   *inventory.Bindings
	guard      *guard.Guard
	protector  *protect.Protector
	scheduler  *scheduler.Scheduler
	aggregator *aggregator.Aggregator
	// initializing shows the workspaces of the tenants' type that kcp initializes, and
	// initializer works on them.
	initializing *upstream.Client
	initializer  *guard.Initializer
	// repair is nil when patches are not repaired.
	repair *repairing
}

func newHub(config hubConfig) (*hub, error) {
	upstream, err := upstream.New(upstream.Options{
		Config:            config.kcp,
		ProviderWorkspace: config.providerWorkspace,
		Export:            v1alpha1.APIExportName,
		Want:              func(r kcp.Resource) bool { return v1alpha1.IsWatchedByHub(r.GroupResource(), r.Namespaced) },
		Indexers:          inventory.Indexers(config.kinds),
		Transform:         strip,
		FieldManager:      v1alpha1.ControllerFieldManager,
	})
	if err != nil {
		return nil, err
	}
	h := &hub{config: config, upstream: upstream}
	h.recorder = events.NewRecorder(upstream, v1alpha1.ControllerFieldManager)
	notices := events.NewNotices(h.recorder)
	h.relations = inventory.New(upstream, config.kinds)
	h.registry, err = registry.New(registry.Config{
		KCP:               config.kcp,
		ProviderWorkspace: config.providerWorkspace,
		SilentAfter:       config.silentAfter,
	})
	if err != nil {
		return nil, err
	}
	h.paths = inventory.NewPaths(config.kcp, config.providerWorkspace)
	h.bindings = inventory.NewBindings(upstream)
	h.guard = guard.New(upstream, h.bindings)
	h.protector = protect.New(upstream, h.registry.ExportsOf)
	if err := h.initialize(); err != nil {
		return nil, err
	}
	tenantType := config.providerWorkspace.Join(v1alpha1.TenantWorkspaceType).String()
	h.scheduler = scheduler.New(scheduler.Config{
		Upstream:      upstream,
		Inventory:     h.relations,
		Notices:       notices,
		Registry:      h.registry,
		Paths:         h.paths,
		Bindings:      h.guard,
		TenantType:    tenantType,
		Kinds:         config.kinds,
		Default:       config.defaultPlacement,
		FailoverAfter: config.failoverAfter,
	})
	h.aggregator = aggregator.New(aggregator.Config{
		Upstream:   upstream,
		Inventory:  h.relations,
		Registry:   h.registry,
		Bindings:   h.guard,
		Notices:    notices,
		Kinds:      config.kinds,
		TenantType: tenantType,
	})
	if config.repairAddress != "" {
		if h.repair, err = newRepairing(config); err != nil {
			return nil, err
		}
	}
	h.listen()
	return h, nil
}

// listen has all be told of what changes: first those whom the others ask.
func (h *hub) listen() {
	h.upstream.Handle(h.paths.OnUpstream, h.bindings.OnUpstream, h.guard.OnUpstream, h.protector.OnUpstream, h.scheduler.OnUpstream, h.aggregator.OnUpstream)
	h.registry.Handle(h.protector.OnCluster, h.scheduler.OnCluster, h.aggregator.OnCluster)
	h.paths.Handle(h.scheduler.OnWorkspace)
	h.bindings.Handle(h.scheduler.OnWorkspace, h.aggregator.OnWorkspace)
	h.guard.Handle(h.scheduler.OnWorkspace, h.initializer.OnStanding)
	h.initializing.Handle(h.initializer.OnUpstream)
}

func (h *hub) hasSynced() bool { return h.upstream.HasSynced() && h.registry.HasSynced() }

// initialize makes what initializes workspaces of the tenants' type.
func (h *hub) initialize() error {
	var err error
	h.initializing, err = upstream.New(upstream.Options{
		Config:            h.config.kcp,
		ProviderWorkspace: h.config.providerWorkspace,
		WorkspaceType:     v1alpha1.TenantWorkspaceType,
		Want:              func(kcp.Resource) bool { return true },
		Transform:         strip,
		FieldManager:      v1alpha1.ControllerFieldManager,
	})
	if err != nil {
		return err
	}
	h.initializer, err = guard.NewInitializer(h.initializing, h.config.kcp, h.config.providerWorkspace, h.guard)
	return err
}

// placed is what the registry needs to know of what is on clusters.
type placed struct{ *hub }

// HasSynced reports whether all of kcp has been read.
func (p placed) HasSynced() bool { return p.upstream.HasSynced() }

// Keys returns what is on a cluster.
func (p placed) Keys(cluster string) []kcp.ObjectKey {
	var keys []kcp.ObjectKey
	p.relations.EachOn(cluster, func(key kcp.ObjectKey, _ *unstructured.Unstructured) { keys = append(keys, key) })
	return keys
}

// Release takes everything of a cluster off an object.
func (p placed) Release(ctx context.Context, key kcp.ObjectKey, cluster string) error {
	return p.scheduler.Release(ctx, key, cluster)
}

// run watches from the start, so that a standby takes over with warm caches, and
// works while it leads. It fails when kcp is too old.
func (h *hub) run(ctx context.Context) error {
	if err := kcp.WaitSupported(ctx, h.config.kcp, h.config.providerWorkspace); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return h.upstream.Run(ctx) })
	group.Go(func() error { return h.initializing.Run(ctx) })
	group.Go(func() error {
		h.registry.Run(ctx)
		return nil
	})
	if h.repair != nil {
		group.Go(func() error { return h.repair.run(ctx) })
	}
	group.Go(func() error {
		klog.FromContext(ctx).Info("Waiting for kcp")
		if !cache.WaitForCacheSync(ctx.Done(), h.hasSynced) {
			return nil // ended before kcp answered
		}
		if !h.config.leaderElect {
			h.work(ctx)
			return nil
		}
		return h.lead(ctx)
	})
	return group.Wait()
}

// work runs the controllers until ctx ends.
func (h *hub) work(ctx context.Context) {
	klog.FromContext(ctx).Info("Placing and aggregating", "workers", h.config.workers)
	h.recorder.Start(ctx)
	var running sync.WaitGroup
	running.Go(func() { h.paths.Run(ctx) })
	running.Go(func() { h.bindings.Run(ctx) })
	running.Go(func() { h.guard.Run(ctx) })
	running.Go(func() { h.protector.Run(ctx) })
	running.Go(func() { h.initializer.Run(ctx) })
	running.Go(func() { h.registry.Work(ctx, placed{h}) })
	running.Go(func() { h.scheduler.Run(ctx, h.config.workers) })
	running.Go(func() { h.aggregator.Run(ctx, h.config.workers) })
	if h.repair != nil {
		running.Go(func() { h.repair.keeper.Work(ctx) })
	}
	running.Wait()
}

// lead works while it holds the lease in the provider workspace.
func (h *hub) lead(ctx context.Context) error {
	client, err := kcp.NewClient(h.config.kcp, h.config.providerWorkspace, kubernetes.NewForConfig)
	if err != nil {
		return err
	}
	return h.config.lease.Lead(ctx, client, leaseNamespace, v1alpha1.ControllerFieldManager, func(ctx context.Context) error {
		h.work(ctx)
		return nil
	})
}

// strip leaves out of the caches what neither controller looks at: the data of
// Secrets before all.
func strip(obj any) (any, error) {
	if upstreamObj, ok := obj.(*unstructured.Unstructured); ok {
		upstreamObj.SetManagedFields(nil)
		kinds.Slim(upstreamObj)
		inventory.SlimBinding(upstreamObj)
		guard.Slim(upstreamObj)
	}
	return obj, nil
}
