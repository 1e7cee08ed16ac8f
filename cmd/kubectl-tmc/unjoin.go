package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
	"github.com/kcp-tmc/tmc/pkg/cli/install"
)

const unjoinExample = `  # Drain east, and take it out
  kubectl tmc unjoin east

  # Take out a cluster that will never come back
  kubectl tmc unjoin east --force`

// newUnjoinCommand returns the command that takes a cluster out.
func newUnjoinCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "unjoin NAME",
		Short: "Take out a cluster that was joined",
		Long: `Take out a cluster that was joined. Everything leaves it first, and it goes out of the
registry, as with 'kubectl tmc remove'; then the account of its syncer is deleted, by which
its tokens end, with its permissions. What isolated it goes as well, unless other clusters
of its group use it: its APIExport, and the APIBindings of that in workspaces where you may
delete them; the others are named. In the cluster itself nothing is deleted but the copies
that its syncer removes.

Run it again if it did not come to its end. --force and --yes are those of remove.`,
		Example: unjoinExample,
		Args:    needOneCluster("taken out"),
	}
	options := &removeOptions{clientOptions: newClientOptions(command, noNamespace)}
	options.addFlags(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		options.complete(command)
		if err := errors.Join(options.validate(), v1alpha1.ValidateClusterName(args[0])); err != nil {
			return err
		}
		return runUnjoin(command.Context(), options, args[0])
	}
	return command
}

// runUnjoin removes the cluster, and what was made for it, and says what remains to do.
func runUnjoin(ctx context.Context, options *removeOptions, name string) error {
	provider, err := options.provider()
	if err != nil {
		return err
	}
	registration, err := provider.registration(ctx, name)
	if err != nil {
		return err
	}
	if registration != nil {
		if err := newRemoval(options, provider, registration).run(ctx); err != nil {
			return err
		}
	}
	deleted, err := unjoin(ctx, options, name)
	if err != nil {
		return err
	}
	if registration == nil && len(deleted) == 0 {
		fmt.Fprintf(options.out, "there is nothing of a cluster %s in workspace %s\n", name, options.providerWorkspace)
		return nil
	}
	sayUnjoined(options.out, name)
	return nil
}

// unjoin takes away what join has made for a cluster that is not registered any more, and
// returns what it has deleted or changed.
func unjoin(ctx context.Context, options *removeOptions, name string) ([]install.Result, error) {
	config, err := options.restConfig()
	if err != nil {
		return nil, err
	}
	var done []install.Result
	err = install.Unjoin(ctx, install.UnjoinOptions{Cluster: name, Options: install.Options{
		Config: config, ProviderWorkspace: options.providerWorkspace,
		OnApplied: func(result install.Result) {
			if result.Action != install.Unchanged {
				done = append(done, result)
				fmt.Fprintln(options.out, result)
			}
		},
		OnNotice: func(message string) { fmt.Fprintln(options.progress, "note:", message) },
	}})
	return done, err
}

// sayUnjoined says what remains to be done elsewhere.
func sayUnjoined(out io.Writer, name string) {
	fmt.Fprintf(out, `cluster %[1]s has been taken out. What runs its syncer is still in the cluster: delete it with the manifest that join has
printed, `+"`kubectl --context %[1]s delete -f FILE`"+`, or by name:
kubectl --context %[1]s delete namespace/%[2]s clusterrole/%[3]s clusterrolebinding/%[3]s
kubectl --context %[1]s delete validatingadmissionpolicy/%[3]s validatingadmissionpolicybinding/%[3]s
`, name, bootstrap.DefaultNamespace, bootstrap.Name)
}
