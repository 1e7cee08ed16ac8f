// Tmc-syncer runs in a physical cluster: it pulls the workloads that are placed
// on the cluster from kcp, keeps copies of them, and reports their status.
package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"
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

func main() {
	daemon.Main(newCommand())
}

func newCommand() *cobra.Command {
	opts := newOptions()
	command := daemon.Program{
		Use:   "tmc-syncer --kcp-kubeconfig FILE --cluster-name NAME",
		Short: "Sync the workloads that are placed on this cluster from kcp, and report their status",
		Long: "tmc-syncer runs in a physical cluster. It pulls the workloads that are placed on the cluster\n" +
			"from kcp, keeps copies of them, and reports what became of them. Nothing connects into the cluster.\n\n" +
			"It works under a name in kcp that one cluster has at a time: it claims the ClusterRegistration of\n" +
			"that name, which it makes if it may, and ends when the name is another cluster's.",
		Options:  opts.common,
		Validate: opts.validate,
		Start:    opts.start,
	}.Command()
	opts.addFlags(command.Flags())
	return command
}

// agent is the parts of the program.
type agent struct {
	syncer    *syncer.Syncer
	heartbeat *heartbeat.Agent
	// credentials are those for kcp.
	credentials *credential.Keeper
	rules       *rules
	// waitSupported waits for kcp, and fails when it is too old.
	waitSupported func(ctx context.Context) error
	// lead runs the work while this replica is the one that works; nil where there is
	// but one.
	lead func(ctx context.Context, work func(context.Context) error) error
	// leads is set while it does.
	leads atomic.Bool
	// ruleFile is where a rule is read from, ruleData what was read; empty when there
	// is none.
	ruleFile string
	ruleData []byte
}

// start returns the syncer that the flags describe.
func (o *options) start(ctx context.Context) (run func(context.Context) error, ready func() bool, err error) {
	config, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	a := &agent{ruleFile: o.transformConfig}
	downstream, err := kubernetes.NewForConfig(config.Downstream)
	if err != nil {
		return nil, nil, fmt.Errorf("client for the cluster at %s: %w", config.Downstream.Host, err)
	}
	if a.credentials, err = credential.New(o.credentialConfig(config, downstream)); err != nil {
		return nil, nil, err
	}
	config.Upstream = a.credentials.Upstream()
	if a.ruleFile != "" {
		if config.Rule, a.ruleData, err = readRule(a.ruleFile); err != nil {
			return nil, nil, err
		}
	}
	config.IsRegistered = func(ctx context.Context, cluster string) (bool, error) { return a.heartbeat.IsRegistered(ctx, cluster) }
	if a.syncer, err = syncer.New(config); err != nil {
		return nil, nil, err
	}
	a.rules = newRules(config.Rule, a.syncer.SetRule)
	if a.heartbeat, err = heartbeat.New(o.heartbeatConfig(config, a)); err != nil {
		return nil, nil, err
	}
	a.lead = o.leader(downstream)
	a.waitSupported = func(ctx context.Context) error {
		return kcp.WaitSupported(ctx, config.Upstream, config.ProviderWorkspace)
	}
	logger := klog.FromContext(ctx).WithValues("cluster", config.Cluster)
	logger.Info("Starting tmc-syncer", "version", version.Get().GitVersion, "kcp", config.Upstream.Host, "downstream", config.Downstream.Host)
	run = func(ctx context.Context) error { return a.run(klog.NewContext(ctx, logger)) }
	return run, a.isReady, nil
}

// leader returns how to work only while holding the lease, nil when that is not asked for.
func (o *options) leader(downstream kubernetes.Interface) func(context.Context, func(context.Context) error) error {
	if !o.leaderElect {
		return nil
	}
	return func(ctx context.Context, work func(context.Context) error) error {
		return o.lease.Lead(ctx, downstream, o.namespace, v1alpha1.FieldManager, work)
	}
}

// isReady reports whether the program does its work, with credentials that kcp accepts: it
// has read both sides, which does not begin before it has claimed its cluster; or it stands
// by for the replica that works, for which a rollout of the replicas waits.
func (a *agent) isReady() bool {
	standsBy := a.lead != nil && !a.leads.Load()
	return !a.credentials.Refused() && (standsBy || a.syncer.HasSynced())
}

// run works until ctx ends, as the only one if there are replicas. Each of those keeps its
// credentials good.
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

// work claims the cluster and works as it until ctx ends. It fails when kcp is too old,
// and when the name is another cluster's.
func (a *agent) work(ctx context.Context) error {
	if err := a.waitSupported(ctx); err != nil {
		return err
	}
	err := a.heartbeat.Claim(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // who is stopped while waiting ends like any other
	}
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.syncer.Run(ctx) })
	group.Go(func() error { return a.heartbeat.Run(ctx) })
	if a.ruleFile != "" {
		group.Go(func() error {
			followRule(ctx, a.ruleFile, a.ruleData, a.rules.setFile)
			return nil
		})
	}
	return group.Wait()
}
