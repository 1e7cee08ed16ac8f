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
		Long: `Install the kcp side of tmc into the provider workspace: the schemas of the kinds that
are served, the APIExport, the RBAC rules and the admission policies. The workspace is made
if it is missing. It does not matter which workspace the kubeconfig points at.

Run it again at any time, and after an update of tmc: only what differs is written. The
APIExports of isolated clusters and of isolation groups come to claim the kinds that are
served then, unless their clusters were joined with --kinds. Workspaces of the type
tmc-tenant accept that, and what no cluster uses any more goes. A cluster's own role has to
allow a new kind, too: write its manifest anew with 'kubectl tmc join NAME --no-token', and
apply it.`,
		Example: initExample,
		Args:    cobra.NoArgs,
	}
	options := newKCPOptions(command)
	const repairURL = "repair-url"
	given := command.Flags().String(repairURL, "", "URL, https://HOST:PORT, at which kcp reaches the webhook of tmc-controller (--repair-bind-address) that repairs patches. "+
		"An empty one removes it; without the flag it stays as it is")
	command.RunE = func(command *cobra.Command, _ []string) error {
		options.complete(command)
		if err := options.validate(); err != nil {
			return err
		}
		if err := install.ValidateRepairURL(*given); err != nil {
			return fmt.Errorf("--%s: %w", repairURL, err)
		}
		if !command.Flags().Changed(repairURL) {
			given = nil
		}
		return runInit(command.Context(), options, given)
	}
	return command
}

// runInit installs and says what can be done then. repairURL is as in install.Options.
func runInit(ctx context.Context, options *kcpOptions, repairURL *string) error {
	installation, err := options.installOptions()
	if err != nil {
		return err
	}
	installation.RepairURL = repairURL
	if err := install.Init(ctx, installation); err != nil {
		return err
	}
	fmt.Fprintf(options.out, "workspace %s is ready: run `kubectl tmc bind` in the workspaces that are to use it\n", options.providerWorkspace)
	return nil
}
