package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/pkg/cli/install"
)

const bindExample = `  # Bind the workspace that the kubeconfig points at
  kubectl tmc bind

  # Bind another one
  kubectl tmc bind --server https://kcp.example.com/clusters/root:team-a`

// newBindCommand returns the command that binds a consumer workspace.
func newBindCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "bind",
		Short: "Let the current workspace use tmc",
		Long: `Bind the workspace that the kubeconfig points at to tmc's APIExport, accept the
permissions that the export asks for (see 'kubectl get apibinding -o yaml' for which),
add the admission policies by which kcp guards what only tmc writes on your objects, and
wait until workloads can be created. The exports of isolated clusters and of isolation
groups are bound as well; each sees what is placed on its clusters. Run it again when a
cluster has joined: nothing is placed on a cluster whose export is not bound. Workspaces of
the type tmc-tenant have all of them bound without this.`,
		Example: bindExample,
		Args:    cobra.NoArgs,
	}
	options := newKCPOptions(command)
	var isolated install.BindOptions
	command.Flags().StringSliceVar(&isolated.IsolatedClusters, "isolated-clusters", nil, "Isolated clusters to bind, for who may not see which there are: otherwise all are")
	command.Flags().StringSliceVar(&isolated.IsolationGroups, "isolation-groups", nil, "Isolation groups to bind, for who may not see which there are: otherwise all are")
	command.RunE = func(command *cobra.Command, _ []string) error {
		options.complete(command)
		if err := options.validate(); err != nil {
			return err
		}
		return runBind(command.Context(), options, isolated)
	}
	return command
}

// runBind binds and says that it is done.
func runBind(ctx context.Context, options *kcpOptions, bind install.BindOptions) error {
	var err error
	if bind.Options, err = options.installOptions(); err != nil {
		return err
	}
	if err := install.Bind(ctx, bind); err != nil {
		return err
	}
	fmt.Fprintln(options.out, "the workspace is bound: workloads can be created")
	return nil
}
