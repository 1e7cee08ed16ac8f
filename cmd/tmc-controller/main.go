// Tmc-controller runs next to kcp: it places workloads on clusters and merges
// what the clusters report into the workloads' status.
package main

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
)

func main() {
	daemon.Main(newCommand())
}

func newCommand() *cobra.Command {
	opts := newOptions()
	command := daemon.Program{
		Use:   "tmc-controller --kcp-kubeconfig FILE",
		Short: "Place workloads of kcp workspaces on clusters, and merge what the clusters report",
		Long: "tmc-controller runs next to kcp. It decides which clusters run a workload, and merges the\n" +
			"reports of their syncers into the workload's status. It never connects to a cluster.",
		Options:  opts.common,
		Validate: opts.validate,
		Start:    opts.start,
	}.Command()
	opts.addFlags(command.Flags())
	return command
}

// start returns the hub that the flags describe.
func (o *options) start(ctx context.Context) (run func(context.Context) error, ready func() bool, err error) {
	config, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	h, err := newHub(config)
	if err != nil {
		return nil, nil, err
	}
	klog.FromContext(ctx).Info("Starting tmc-controller", "version", version.Get().GitVersion, "kcp", config.kcp.Host)
	return h.run, h.isReady, nil
}
