package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/agent/credential"
	"github.com/kcp-tmc/tmc/pkg/agent/heartbeat"
	"github.com/kcp-tmc/tmc/pkg/agent/syncer"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// agent is tmc-syncer: what keeps its credentials good, and the parts that work while this replica is the one that works. Those are
// made anew each time that it begins to.
type agent struct {
	// credentials are those for kcp.
	credentials interface {
		Run(ctx context.Context)
		Refused() bool
	}
	// waitSupported waits for kcp, and fails when it is too old.
	waitSupported func(ctx context.Context) error
	// newParts makes the parts.
	newParts func() (*parts, error)
	// lead runs the work while this replica is the one that works; nil where there is but one.
	lead func(ctx context.Context, work func(context.Context) error) error
	// standsBy reports whether this replica knows when to take over; nil where there is but one.
	standsBy func() bool
	// working are the parts that work, nil while there are none.
	working atomic.Pointer[parts]
}

// parts are what works while this replica is the one that works. They are run once.
type parts struct {
	heartbeat interface {
		Claim(ctx context.Context) error
		Run(ctx context.Context) error
	}
	syncer interface {
		Run(ctx context.Context) error
		HasSynced() bool
	}
	// settings are what the registration and the file of the rule say, which follow reads until ctx ends; nil without a file.
	settings *settings
	follow   func(ctx context.Context, set func(v1alpha1.TransformRule))
}

// start returns the agent that the flags describe, without running it.
func (o *options) start(ctx context.Context) (run func(context.Context) error, ready func() bool, err error) {
	config, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	a, err := o.newAgent(config)
	if err != nil {
		return nil, nil, err
	}
	logger := klog.FromContext(ctx).WithValues("cluster", config.Cluster)
	logger.Info("Starting tmc-syncer", "version", version.Get().GitVersion, "kcp", config.Upstream.Host, "downstream", config.Downstream.Host)
	run = func(ctx context.Context) error { return a.run(klog.NewContext(ctx, logger)) }
	return run, a.isReady, nil
}

// newAgent makes the agent, and its first parts, so that what is wrong with the flags is told at once.
func (o *options) newAgent(config syncer.Config) (*agent, error) {
	unfenced, err := kubernetes.NewForConfig(config.Downstream)
	if err != nil {
		return nil, fmt.Errorf("client for the cluster at %s: %w", config.Downstream.Host, err)
	}
	credentials, err := credential.New(o.credentialConfig(config, unfenced))
	if err != nil {
		return nil, err
	}
	config.Upstream = credentials.Upstream()
	a := &agent{credentials: credentials}
	if o.leaderElect {
		electing, err := kubernetes.NewForConfig(daemon.LeaseConfig(config.Downstream))
		if err != nil {
			return nil, fmt.Errorf("client for the lease in the cluster at %s: %w", config.Downstream.Host, err)
		}
		fence := &daemon.Fence{}
		config.Upstream, config.Downstream = fence.Guard(config.Upstream), fence.Guard(config.Downstream)
		a.standsBy = fence.HasSeen
		a.lead = func(ctx context.Context, work func(context.Context) error) error {
			return o.lease.Lead(ctx, electing, o.namespace, v1alpha1.FieldManager, fence, work)
		}
	}
	a.waitSupported = func(ctx context.Context) error {
		return kcp.WaitSupported(ctx, config.Upstream, config.ProviderWorkspace)
	}
	first, err := o.newParts(config)
	if err != nil {
		return nil, err
	}
	a.newParts = func() (*parts, error) {
		if p := first; p != nil {
			first = nil
			return p, nil
		}
		return o.newParts(config)
	}
	return a, nil
}

// newParts makes the parts, in the order in which they need each other. The heartbeat reads the registration, of which the
// settings are told; the syncer asks the heartbeat which clusters are registered, and gets the settings.
func (o *options) newParts(config syncer.Config) (*parts, error) {
	p := &parts{}
	if file := o.transformConfig; file != "" {
		rule, data, err := readRule(file)
		if err != nil {
			return nil, err
		}
		config.Rule = rule
		p.follow = func(ctx context.Context, set func(v1alpha1.TransformRule)) { followRule(ctx, file, data, set) }
	}
	p.settings = &settings{file: config.Rule, effective: config.Rule}
	beats, err := heartbeat.New(o.heartbeatConfig(config, p.settings))
	if err != nil {
		return nil, err
	}
	config.IsRegistered = beats.IsRegistered
	synced, err := syncer.New(config)
	if err != nil {
		return nil, err
	}
	p.settings.handle(synced)
	p.heartbeat, p.syncer = beats, synced
	return p, nil
}

// isReady reports whether the program does its work, with credentials that kcp accepts: it has read both sides, which does not
// begin before it has claimed its cluster. A replica that waits for the one that works to end is ready as well, as soon as it knows of
// the lease when to take over: a rollout of the replicas waits for that.
func (a *agent) isReady() bool {
	if a.credentials.Refused() {
		return false
	}
	if working := a.working.Load(); working != nil {
		return working.syncer.HasSynced()
	}
	return a.standsBy != nil && a.standsBy()
}

// run works until ctx ends, as the only one if there are replicas. Each of those keeps its credentials good.
func (a *agent) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		a.credentials.Run(ctx)
		return nil
	})
	group.Go(func() error {
		if a.lead == nil {
			return a.work(ctx)
		}
		return a.lead(ctx, a.work)
	})
	return group.Wait()
}

// work makes the parts and has them work until ctx ends. It fails when kcp is too old, and when the name is another cluster's.
func (a *agent) work(ctx context.Context) error {
	working, err := a.newParts()
	if err != nil {
		return err
	}
	a.working.Store(working)
	defer a.working.Store(nil)
	if err := a.waitSupported(ctx); err != nil {
		return err
	}
	return working.run(ctx)
}

// run claims the cluster and works as it until ctx ends.
func (p *parts) run(ctx context.Context) error {
	err := p.heartbeat.Claim(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // stopped while it waits, it ends like any other
	}
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.syncer.Run(ctx) })
	group.Go(func() error { return p.heartbeat.Run(ctx) })
	if p.follow != nil {
		group.Go(func() error {
			p.follow(ctx, p.settings.setFile)
			return nil
		})
	}
	return group.Wait()
}
