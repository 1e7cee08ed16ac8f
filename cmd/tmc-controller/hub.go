package main

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/hub/guard"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/hub/registry"
	hubrevisions "github.com/kcp-tmc/tmc/pkg/hub/revisions"
	"github.com/kcp-tmc/tmc/pkg/hub/webhook"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/revisions"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

// leaseNamespace is the namespace of the provider workspace in which the lease is.
const leaseNamespace = metav1.NamespaceDefault

// hub is tmc-controller: caches of kcp and the webhook, which are there as long as the program is, and the parts that work while
// this replica leads. Those are made anew each time that it steps back, so that nothing is left of what it knew as the leader.
type hub struct {
	config hubConfig
	// client leads to kcp for the lease; all else passes the fence. Both are nil without leader election.
	client *rest.Config
	fence  *daemon.Fence
	// upstream has the objects of all consumer workspaces.
	upstream *upstream.Client
	// revised has the revisions of workloads.
	revised *upstream.Client
	// initializing has the workspaces of the tenants' type that kcp initializes.
	initializing *upstream.Client
	registry     *registry.Registry
	// repair is nil when patches are not repaired.
	repair *repairing

	// listening is held for reading while the parts are told of a change, and for writing while they are exchanged.
	listening sync.RWMutex
	parts     *parts
}

// newHub makes the caches and the parts. None connects to kcp before run.
func newHub(config hubConfig) (*hub, error) {
	h := &hub{config: config}
	if config.leaderElect {
		h.client, h.fence = daemon.LeaseConfig(config.kcp), &daemon.Fence{}
		h.config.kcp = h.fence.Guard(config.kcp)
	}
	if err := h.cache(); err != nil {
		return nil, err
	}
	if config.repairAddress != "" {
		var err error
		if h.repair, err = newRepairing(h.config); err != nil {
			return nil, err
		}
	}
	var err error
	if h.parts, err = newParts(h); err != nil {
		return nil, err
	}
	h.listen()
	return h, nil
}

// cache makes the caches.
func (h *hub) cache() error {
	options := upstream.Options{
		Config: h.config.kcp, ProviderWorkspace: h.config.providerWorkspace, Transform: strip, FieldManager: v1alpha1.ControllerFieldManager,
	}
	objects := options
	objects.Export = v1alpha1.APIExportName
	objects.Want = func(r kcp.Resource) bool { return v1alpha1.IsWatchedByHub(r.GroupResource(), r.Namespaced) }
	objects.Indexers = inventory.Indexers(h.config.kinds)

	revised := options
	revised.Export = v1alpha1.APIExportName
	revised.Want = func(r kcp.Resource) bool { return v1alpha1.IsRevision(r.GroupResource()) }
	revised.NotServed = "kcp serves no ReplicaSets yet, so no revisions are kept: if that stays so, run `kubectl tmc init` of this version"
	revised.Indexers, revised.Transform = hubrevisions.Indexers(), hubrevisions.Slim

	initializing := options
	initializing.WorkspaceType = v1alpha1.TenantWorkspaceType
	initializing.Want = func(kcp.Resource) bool { return true }

	var errs [4]error
	h.upstream, errs[0] = upstream.New(objects)
	h.revised, errs[1] = upstream.New(revised)
	h.initializing, errs[2] = upstream.New(initializing)
	h.registry, errs[3] = registry.New(registry.Config{
		KCP: h.config.kcp, ProviderWorkspace: h.config.providerWorkspace, SilentAfter: h.config.silentAfter,
	})
	return errors.Join(errs[:]...)
}

// listen has the parts told of all that changes, also while this replica stands by.
func (h *hub) listen() {
	h.upstream.Handle(func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
		h.tell(func(p *parts) { p.onUpstream(key, oldObj, newObj) })
	})
	h.upstream.HandleLost(func(key kcp.ObjectKey) { h.tell(func(p *parts) { p.scheduler.OnLost(key) }) })
	h.revised.Handle(func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
		h.tell(func(p *parts) { p.keeper.OnRevision(key, oldObj, newObj) })
	})
	h.initializing.Handle(func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
		h.tell(func(p *parts) { p.initializer.OnUpstream(key, oldObj, newObj) })
	})
	h.registry.Handle(func(cluster string) { h.tell(func(p *parts) { p.onCluster(cluster) }) })
}

// tell tells the present parts of a change.
func (h *hub) tell(change func(*parts)) {
	h.listening.RLock()
	defer h.listening.RUnlock()
	change(h.parts)
}

// renewParts puts new parts in the place of those that have worked, and tells them of all that is there.
func (h *hub) renewParts() error {
	fresh, err := newParts(h)
	if err != nil {
		return err
	}
	h.listening.Lock()
	defer h.listening.Unlock()
	h.parts = fresh
	h.upstream.Replay(fresh.onUpstream)
	h.revised.Replay(fresh.keeper.OnRevision)
	h.initializing.Replay(fresh.initializer.OnUpstream)
	return nil
}

// isReady reports whether the program does its work, or stands by and knows of its lease when to take over: a rollout of the replicas
// waits for that.
func (h *hub) isReady() bool { return h.hasSynced() && (h.fence == nil || h.fence.HasSeen()) }

func (h *hub) hasSynced() bool { return h.upstream.HasSynced() && h.registry.HasSynced() }

// run watches kcp until ctx ends, also on a replica that stands by, which then takes over with warm caches. It works
// while this replica leads. It fails when kcp is too old.
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
		if isRead := cache.WaitForCacheSync(ctx.Done(), h.hasSynced); !isRead {
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
	h.registry.Judge(ctx)
	var running sync.WaitGroup
	running.Go(func() { h.registry.Work(ctx, placed{h}) })
	running.Go(func() { h.parts.run(ctx, h.config.workers) })
	if h.repair != nil {
		running.Go(func() { h.repair.keeper.Work(ctx) })
	}
	running.Wait()
}

// lead works while it holds the lease in the provider workspace, and stands by with new parts when it has lost it.
func (h *hub) lead(ctx context.Context) error {
	client, err := kcp.NewClient(h.client, h.config.providerWorkspace, kubernetes.NewForConfig)
	if err != nil {
		return err
	}
	return h.config.lease.Lead(ctx, client, leaseNamespace, v1alpha1.ControllerFieldManager, h.fence, func(leading context.Context) error {
		h.work(leading)
		select {
		case <-ctx.Done(): // the program is to end: nobody stands by
			return nil
		default: // the lease is lost, and a part does not start anew
			return h.renewParts()
		}
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
		upstream.Intern(upstreamObj)
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
