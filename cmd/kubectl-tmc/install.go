package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/pkg/cli/install"
)

const initExample = `  # Install into root:tmc of the kcp that the kubeconfig points at
  kubectl tmc init

  # Have kcp ask tmc-controller, which runs with --repair-bind-address, to repair patches that kcp merges wrongly
  kubectl tmc init --repair-url=https://tmc-controller.example.com:9443

  # Have kcp ask it no longer
  kubectl tmc init --repair-url=""`

// newInitCommand returns the command that installs the kcp side.
func newInitCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "init",
		Short: "Install the kcp side: provider workspace, APIs and permissions",
		Long: `Install tmc in the provider workspace of kcp: the schemas of the kinds that are served, the
APIExport, the RBAC rules and the admission policies. The workspace is made if it is missing.
It does not matter which workspace the kubeconfig points at.

Run it again at any time, and after an update of tmc: only what differs is written. The
APIExports of isolated clusters and of isolation groups then claim the kinds that are served
now, unless their clusters were joined with --kinds, and workspaces of the type tmc-tenant
accept that. APIExports that no cluster uses any more are deleted. For a new kind, the role of
the syncer in its cluster has to change, too: print the manifest again with
'kubectl tmc join NAME --no-token', and apply it.`,
		Example: initExample,
		Args:    cobra.NoArgs,
	}
	options := newKCPOptions(command)
	const repairURL = "repair-url"
	given := command.Flags().String(repairURL, "", "URL, https://HOST:PORT, at which kcp reaches the webhook of tmc-controller (--repair-bind-address) that repairs patches. "+
		"An empty one removes it; without the flag it stays as it is")
	return options.runs(command, func(ctx context.Context, _ []string) error {
		if err := install.ValidateRepairURL(*given); err != nil {
			return fmt.Errorf("--%s: %w", repairURL, err)
		}
		installation, err := options.installOptions()
		if err != nil {
			return err
		}
		if command.Flags().Changed(repairURL) {
			installation.RepairURL = given
		}
		if err := install.Init(ctx, installation); err != nil {
			return err
		}
		fmt.Fprintf(options.out, "workspace %s is ready: run `kubectl tmc bind` in the workspaces that are to use it\n", options.providerWorkspace)
		return nil
	})
}

const bindExample = `  # Bind the workspace that the kubeconfig points at
  kubectl tmc bind

  # Bind another one
  kubectl tmc bind --server https://kcp.example.com/clusters/root:team-a`

// newBindCommand returns the command that makes a workspace a consumer.
func newBindCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "bind",
		Short: "Let the current workspace use tmc",
		Long: `Bind the workspace that the kubeconfig points at to tmc's APIExport, and accept the
permissions that the export claims ('kubectl get apibinding -o yaml' shows them). The command
adds the admission policies by which kcp guards what only tmc writes on your objects, and
waits until workloads can be created.

The exports of isolated clusters and of isolation groups are bound as well; each sees what is
placed on its clusters. Run it again when a cluster has joined: nothing is placed on a cluster
whose export is not bound. Workspaces of the type tmc-tenant are bound by kcp and by
'kubectl tmc join'.

On a cluster whose rule says namespaceMode: Shared, workspaces with a namespace of one name are
one tenant, whose Services take each other's pods: that is for workspaces that trust each other.`,
		Example: bindExample,
		Args:    cobra.NoArgs,
	}
	options := newKCPOptions(command)
	var bind install.BindOptions
	command.Flags().StringSliceVar(&bind.IsolatedClusters, "isolated-clusters", nil, "Isolated clusters to bind, for those who may not see which there are. Otherwise all are bound")
	command.Flags().StringSliceVar(&bind.IsolationGroups, "isolation-groups", nil, "Isolation groups to bind, for those who may not see which there are. Otherwise all are bound")
	return options.runs(command, func(ctx context.Context, _ []string) (err error) {
		if bind.Options, err = options.installOptions(); err != nil {
			return err
		}
		if err := install.Bind(ctx, bind); err != nil {
			return err
		}
		fmt.Fprintln(options.out, "the workspace is bound: workloads can be created")
		return nil
	})
}
