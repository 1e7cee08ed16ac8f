package main

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/events"
	"github.com/kcp-tmc/tmc/pkg/hub/aggregator"
	"github.com/kcp-tmc/tmc/pkg/hub/guard"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/hub/protect"
	hubrevisions "github.com/kcp-tmc/tmc/pkg/hub/revisions"
	"github.com/kcp-tmc/tmc/pkg/hub/scheduler"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// parts are what works on the objects in the caches of a hub while it leads. They tell each other of changes, and are told of
// them while they stand by, too: what they have to look at is queued, and what only an event shows is remembered. They
// are run once.
type parts struct {
	recorder    *events.Recorder
	inventory   *inventory.Inventory
	paths       *inventory.Paths
	bindings    *inventory.Bindings
	guard       *guard.Guard
	protector   *protect.Protector
	scheduler   *scheduler.Scheduler
	aggregator  *aggregator.Aggregator
	keeper      *hubrevisions.Keeper
	initializer *guard.Initializer
}

// newParts makes the parts of a hub, in the order in which they need each other.
func newParts(h *hub) (*parts, error) {
	p := &parts{
		recorder:  events.NewRecorder(h.upstream, v1alpha1.ControllerFieldManager),
		inventory: inventory.New(h.upstream, h.config.kinds),
		paths:     inventory.NewPaths(h.config.kcp, h.config.providerWorkspace),
		bindings:  inventory.NewBindings(h.upstream),
	}
	p.guard = guard.New(h.upstream, p.bindings)
	p.protector = protect.New(h.upstream, p.bindings, h.registry.ExportsOf)
	var err error
	p.initializer, err = guard.NewInitializer(h.initializing, h.config.kcp, h.config.providerWorkspace, p.guard)
	if err != nil {
		return nil, err
	}
	notices := events.NewNotices(p.recorder)
	p.place(h, notices)
	p.keeper = hubrevisions.New(hubrevisions.Config{Upstream: h.upstream, Revisions: h.revised, Notices: notices})
	p.paths.Handle(p.scheduler.OnWorkspace)
	p.bindings.Handle(p.scheduler.OnWorkspace, p.aggregator.OnWorkspace)
	p.guard.Handle(p.scheduler.OnWorkspace, p.initializer.OnWorkspace)
	return p, nil
}

// place makes what places objects and merges what becomes of them.
func (p *parts) place(h *hub, notices *events.Notices) {
	tenantType := h.config.providerWorkspace.Join(v1alpha1.TenantWorkspaceType).String()
	p.scheduler = scheduler.New(scheduler.Config{
		Upstream:      h.upstream,
		Inventory:     p.inventory,
		Notices:       notices,
		Registry:      h.registry,
		Paths:         p.paths,
		Bindings:      p.guard,
		Views:         p.protector,
		TenantType:    tenantType,
		Kinds:         h.config.kinds,
		Default:       h.config.defaultPlacement,
		FailoverAfter: h.config.failoverAfter,
		Revision: func(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) string {
			return p.keeper.Revision(key, upstreamObj)
		},
		Refused: func(key kcp.ObjectKey) { p.aggregator.OnRefusal(key) },
	})
	p.aggregator = aggregator.New(aggregator.Config{
		Upstream:   h.upstream,
		Inventory:  p.inventory,
		Registry:   h.registry,
		Bindings:   p.guard,
		Notices:    notices,
		Refusals:   p.scheduler.Refusals(),
		Kinds:      h.config.kinds,
		Counters:   h.config.statusCounters,
		TenantType: tenantType,
	})
}

// onUpstream tells the parts of a change in kcp: those that others ask first. It is an upstream.Handler.
func (p *parts) onUpstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	p.paths.OnUpstream(key, oldObj, newObj)
	p.bindings.OnUpstream(key, oldObj, newObj)
	p.guard.OnUpstream(key, oldObj, newObj)
	p.protector.OnUpstream(key, oldObj, newObj)
	p.scheduler.OnUpstream(key, oldObj, newObj)
	p.aggregator.OnUpstream(key, oldObj, newObj)
	p.keeper.OnUpstream(key, oldObj, newObj)
}

// onCluster tells the parts of a cluster that came, went or changed.
func (p *parts) onCluster(cluster string) {
	p.protector.OnCluster(cluster)
	p.scheduler.OnCluster(cluster)
	p.aggregator.OnCluster(cluster)
}

// run works until ctx ends, and returns when all of it has ended.
func (p *parts) run(ctx context.Context, workers int) {
	p.recorder.Start(ctx)
	var running sync.WaitGroup
	running.Go(func() { p.paths.Run(ctx) })
	running.Go(func() { p.bindings.Run(ctx) })
	running.Go(func() { p.guard.Run(ctx) })
	running.Go(func() { p.protector.Run(ctx) })
	running.Go(func() { p.initializer.Run(ctx) })
	running.Go(func() { p.scheduler.Run(ctx, workers) })
	running.Go(func() { p.aggregator.Run(ctx, workers) })
	running.Go(func() { p.keeper.Run(ctx, workers) })
	running.Wait()
}

// placed answers the registry what is on a cluster, and takes it off.
type placed struct{ *hub }

// HasSynced reports whether all of kcp has been read.
func (p placed) HasSynced() bool { return p.upstream.HasSynced() }

// Keys returns the objects that are on a cluster.
func (p placed) Keys(cluster string) []kcp.ObjectKey {
	var keys []kcp.ObjectKey
	p.parts.inventory.EachOn(cluster, func(key kcp.ObjectKey, _ *unstructured.Unstructured) { keys = append(keys, key) })
	return keys
}

// Release takes everything of a cluster off an object.
func (p placed) Release(ctx context.Context, key kcp.ObjectKey, cluster string) error {
	return p.parts.scheduler.Release(ctx, key, cluster)
}
