// Tmc-syncer runs in a physical cluster: it pulls the workloads that are placed
// on the cluster from kcp, keeps copies of them, and reports their status.
package main

import (
	"context"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/syncer"
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
			"from kcp, keeps copies of them, and reports what became of them. Nothing connects into the cluster.",
		Options:  opts.common,
		Validate: opts.validate,
		Start:    opts.start,
	}.Command()
	opts.addFlags(command.Flags())
	return command
}

// start returns the syncer that the flags describe.
func (o *options) start(ctx context.Context) (run func(context.Context) error, ready func() bool, err error) {
	config, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	var ruleData []byte
	if o.transformConfig != "" {
		if config.Rule, ruleData, err = readRule(o.transformConfig); err != nil {
			return nil, nil, err
		}
	}
	s, err := syncer.New(config)
	if err != nil {
		return nil, nil, err
	}
	logger := klog.FromContext(ctx).WithValues("cluster", config.Cluster)
	logger.Info("Starting tmc-syncer", "version", version.Get().GitVersion, "kcp", config.Upstream.Host, "downstream", config.Downstream.Host)
	run = func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(klog.NewContext(ctx, logger))
		group.Go(func() error { return s.Run(ctx) })
		if o.transformConfig != "" {
			group.Go(func() error {
				followRule(ctx, o.transformConfig, ruleData, s.SetRule)
				return nil
			})
		}
		return group.Wait()
	}
	return run, s.HasSynced, nil
}
