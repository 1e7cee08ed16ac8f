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
	hubrevisions "github.com/kcp-tmc/tmc/pkg/hub/revisions"
	"github.com/kcp-tmc/tmc/pkg/hub/scheduler"
	"github.com/kcp-tmc/tmc/pkg/hub/webhook"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/revisions"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

// leaseNamespace is the namespace of the provider workspace in which the lease is.
const leaseNamespace = metav1.NamespaceDefault

// hub is the parts of tmc-controller. They share caches of kcp, tell each other of changes (see listen), and work while
// this replica leads.
type hub struct {
	config hubConfig
	// upstream has the objects of all consumer workspaces.
	upstream   *upstream.Client
	recorder   *events.Recorder
	registry   *registry.Registry
	inventory  *inventory.Inventory
	paths      *inventory.Paths
	bindings   *inventory.Bindings
	guard      *guard.Guard
	protector  *protect.Protector
	scheduler  *scheduler.Scheduler
	aggregator *aggregator.Aggregator
	// revised has the revisions of workloads; keeper keeps them.
	revised *upstream.Client
	keeper  *hubrevisions.Keeper
	// initializing has the workspaces of the tenants' type that kcp initializes; initializer works on them.
	initializing *upstream.Client
	initializer  *guard.Initializer
	// repair is nil when patches are not repaired.
	repair *repairing
}

// newHub makes the parts, in the order in which they need each other. None connects to kcp before run.
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
	h.inventory = inventory.New(upstream, config.kinds)
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
	h.place(notices)
	if err := h.revise(notices); err != nil {
		return nil, err
	}
	if config.repairAddress != "" {
		if h.repair, err = newRepairing(config); err != nil {
			return nil, err
		}
	}
	h.listen()
	return h, nil
}

// place makes what places objects and merges what becomes of them.
func (h *hub) place(notices *events.Notices) {
	tenantType := h.config.providerWorkspace.Join(v1alpha1.TenantWorkspaceType).String()
	h.scheduler = scheduler.New(scheduler.Config{
		Upstream:      h.upstream,
		Inventory:     h.inventory,
		Notices:       notices,
		Registry:      h.registry,
		Paths:         h.paths,
		Bindings:      h.guard,
		TenantType:    tenantType,
		Kinds:         h.config.kinds,
		Default:       h.config.defaultPlacement,
		FailoverAfter: h.config.failoverAfter,
		Revision: func(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) string {
			return h.keeper.Revision(key, upstreamObj)
		},
		Refused: func(key kcp.ObjectKey) { h.aggregator.OnRefusal(key) },
	})
	h.aggregator = aggregator.New(aggregator.Config{
		Upstream:   h.upstream,
		Inventory:  h.inventory,
		Registry:   h.registry,
		Bindings:   h.guard,
		Notices:    notices,
		Refusals:   h.scheduler.Refusals(),
		Kinds:      h.config.kinds,
		Counters:   h.config.statusCounters,
		TenantType: tenantType,
	})
}

// listen subscribes each part to the events that it needs. Of a change in kcp, the parts that others ask are told first.
func (h *hub) listen() {
	h.upstream.Handle(h.paths.OnUpstream, h.bindings.OnUpstream, h.guard.OnUpstream, h.protector.OnUpstream, h.scheduler.OnUpstream, h.aggregator.OnUpstream, h.keeper.OnUpstream)
	h.revised.Handle(h.keeper.OnRevision)
	h.registry.Handle(h.protector.OnCluster, h.scheduler.OnCluster, h.aggregator.OnCluster)
	h.paths.Handle(h.scheduler.OnWorkspace)
	h.bindings.Handle(h.scheduler.OnWorkspace, h.aggregator.OnWorkspace)
	h.guard.Handle(h.scheduler.OnWorkspace, h.initializer.OnWorkspace)
	h.initializing.Handle(h.initializer.OnUpstream)
}

func (h *hub) hasSynced() bool { return h.upstream.HasSynced() && h.registry.HasSynced() }

// initialize makes the part that initializes workspaces of the tenants' type.
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

// revise makes the part that keeps revisions, and its caches.
func (h *hub) revise(notices *events.Notices) error {
	var err error
	h.revised, err = upstream.New(upstream.Options{
		Config:            h.config.kcp,
		ProviderWorkspace: h.config.providerWorkspace,
		Export:            v1alpha1.APIExportName,
		Want:              func(r kcp.Resource) bool { return v1alpha1.IsRevision(r.GroupResource()) },
		NotServed:         "kcp serves no ReplicaSets yet, so no revisions are kept: if that stays so, run `kubectl tmc init` of this version",
		Indexers:          hubrevisions.Indexers(),
		Transform:         hubrevisions.Slim,
		FieldManager:      v1alpha1.ControllerFieldManager,
	})
	if err != nil {
		return err
	}
	h.keeper = hubrevisions.New(hubrevisions.Config{Upstream: h.upstream, Revisions: h.revised, Notices: notices})
	return nil
}

// placed answers the registry what is on a cluster, and takes it off.
type placed struct{ *hub }

// HasSynced reports whether all of kcp has been read.
func (p placed) HasSynced() bool { return p.upstream.HasSynced() }

// Keys returns the objects that are on a cluster.
func (p placed) Keys(cluster string) []kcp.ObjectKey {
	var keys []kcp.ObjectKey
	p.inventory.EachOn(cluster, func(key kcp.ObjectKey, _ *unstructured.Unstructured) { keys = append(keys, key) })
	return keys
}

// Release takes everything of a cluster off an object.
func (p placed) Release(ctx context.Context, key kcp.ObjectKey, cluster string) error {
	return p.scheduler.Release(ctx, key, cluster)
}

// run watches kcp until ctx ends, also on a replica that stands by, which then takes over with warm caches. It works
// while this replica leads. It fails when kcp is too old, and when the lease is lost.
func (h *hub) run(ctx context.Context) error {
	if err := kcp.WaitSupported(ctx, h.config.kcp, h.config.providerWorkspace); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return h.upstream.Run(ctx) })
	group.Go(func() error { return h.initializing.Run(ctx) })
	group.Go(func() error { return h.revised.Run(ctx) })
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

// work runs what writes to kcp until ctx ends, and returns when all of it has ended.
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
	running.Go(func() { h.keeper.Run(ctx, h.config.workers) })
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

// strip removes from an object, in place, what no part reads, so that it is not cached: the data of Secrets above all.
func strip(obj any) (any, error) {
	if upstreamObj, ok := obj.(*unstructured.Unstructured); ok {
		upstreamObj.SetManagedFields(nil)
		revisions.Slim(upstreamObj) // before the template goes
		kinds.Slim(upstreamObj)
		inventory.SlimBinding(upstreamObj)
		guard.Slim(upstreamObj)
	}
	return obj, nil
}

// repairing is the webhook that repairs patches, and what keeps its certificates.
type repairing struct {
	server *webhook.Server
	keeper *webhook.Keeper
}

func newRepairing(config hubConfig) (*repairing, error) {
	client, err := kcp.NewClient(config.kcp, config.providerWorkspace, kubernetes.NewForConfig)
	if err != nil {
		return nil, err
	}
	server := webhook.NewServer(config.repairAddress)
	keeper, err := webhook.NewKeeper(client, server)
	return &repairing{server, keeper}, err
}

// run serves until ctx ends, whether this replica leads or not: kcp may ask any of them.
func (r *repairing) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		r.keeper.Run(ctx)
		return nil
	})
	group.Go(func() error { return r.server.Run(ctx) })
	return group.Wait()
}
