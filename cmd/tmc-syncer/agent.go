package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/agent/credential"
	"github.com/kcp-tmc/tmc/pkg/agent/heartbeat"
	"github.com/kcp-tmc/tmc/pkg/agent/syncer"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// agent is the parts of tmc-syncer.
type agent struct {
	// credentials are those for kcp.
	credentials interface {
		Run(ctx context.Context)
		Refused() bool
	}
	// waitSupported waits for kcp, and fails when it is too old.
	waitSupported func(ctx context.Context) error
	heartbeat     interface {
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
	// lead runs the work while this replica is the one that works; nil where there is but one.
	lead func(ctx context.Context, work func(context.Context) error) error
	// leads is set while it does.
	leads atomic.Bool
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

// newAgent makes the parts, in the order in which they need each other. The heartbeat reads the registration, of which the
// settings are told; the syncer asks the heartbeat which clusters are registered, and gets the settings.
func (o *options) newAgent(config syncer.Config) (*agent, error) {
	downstream, err := kubernetes.NewForConfig(config.Downstream)
	if err != nil {
		return nil, fmt.Errorf("client for the cluster at %s: %w", config.Downstream.Host, err)
	}
	credentials, err := credential.New(o.credentialConfig(config, downstream))
	if err != nil {
		return nil, err
	}
	config.Upstream = credentials.Upstream()
	a := &agent{credentials: credentials}
	if file := o.transformConfig; file != "" {
		rule, data, err := readRule(file)
		if err != nil {
			return nil, err
		}
		config.Rule = rule
		a.follow = func(ctx context.Context, set func(v1alpha1.TransformRule)) { followRule(ctx, file, data, set) }
	}
	a.settings = &settings{file: config.Rule, effective: config.Rule}
	beats, err := heartbeat.New(o.heartbeatConfig(config, a.settings))
	if err != nil {
		return nil, err
	}
	config.IsRegistered = beats.IsRegistered
	synced, err := syncer.New(config)
	if err != nil {
		return nil, err
	}
	a.settings.handle(synced)
	a.heartbeat, a.syncer = beats, synced
	a.waitSupported = func(ctx context.Context) error {
		return kcp.WaitSupported(ctx, config.Upstream, config.ProviderWorkspace)
	}
	if o.leaderElect {
		a.lead = func(ctx context.Context, work func(context.Context) error) error {
			return o.lease.Lead(ctx, downstream, o.namespace, v1alpha1.FieldManager, work)
		}
	}
	return a, nil
}

// isReady reports whether the program does its work, with credentials that kcp accepts: it has read both sides, which does not
// begin before it has claimed its cluster. A replica that waits for the one that works to end is ready as well: a rollout of the
// replicas waits for that.
func (a *agent) isReady() bool {
	isWaiting := a.lead != nil && !a.leads.Load()
	return !a.credentials.Refused() && (isWaiting || a.syncer.HasSynced())
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
		klog.FromContext(ctx).Info("Waiting for the lease")
		return a.lead(ctx, func(ctx context.Context) error {
			a.leads.Store(true)
			return a.work(ctx)
		})
	})
	return group.Wait()
}

// work claims the cluster and works as it until ctx ends. It fails when kcp is too old, and when the name is another cluster's.
func (a *agent) work(ctx context.Context) error {
	if err := a.waitSupported(ctx); err != nil {
		return err
	}
	err := a.heartbeat.Claim(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // stopped while it waits, it ends like any other
	}
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.syncer.Run(ctx) })
	group.Go(func() error { return a.heartbeat.Run(ctx) })
	if a.follow != nil {
		group.Go(func() error {
			a.follow(ctx, a.settings.setFile)
			return nil
		})
	}
	return group.Wait()
}
