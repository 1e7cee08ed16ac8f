// Tmc-syncer runs in a physical cluster: it pulls the workloads that are placed on the cluster from kcp, keeps copies of them,
// and reports their status.
package main

import (
	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
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
			"from kcp, keeps copies of them, and reports their status. Nothing connects into the cluster.\n\n" +
			"It works under a name in kcp that one cluster has at a time: it claims the ClusterRegistration of\n" +
			"that name, which it makes if it may, and ends when the name is another cluster's.",
		Options:  opts.common,
		Validate: opts.validate,
		Start:    opts.start,
	}.Command()
	opts.addFlags(command.Flags())
	return command
}
