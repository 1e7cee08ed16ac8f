package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kcp-tmc/tmc/pkg/cli/view"
)

const getClustersExample = `  # All clusters
  kubectl tmc get clusters

  # Two of them, for a program
  kubectl tmc get clusters east west -o json`

// getClustersOptions are the flags of get clusters.
type getClustersOptions struct {
	*clientOptions

	output output
	names  []string
	now    func() time.Time
}

// newGetClustersCommand returns the command that shows clusters.
func newGetClustersCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "clusters [NAME...]",
		Aliases: []string{"cluster"},
		Short:   "Show how the clusters are",
		Long: `Show the clusters that are registered in the provider workspace: whether they are heard
of, and may take workloads (READY, as kubectl shows nodes), when they were heard of last,
what its syncer sees in kcp (ISOLATION: Cluster, what is placed there; Group/NAME, what is
placed on any cluster of that group; Shared, everything in the bound workspaces), what
becomes of namespaces that have one name in several workspaces (NAMESPACES, of the rule in
the registration: Exclusive, Isolated, or Shared, which makes one tenant of all of them), how
many workloads are placed there, and how much of what their nodes have is requested.

A dash stands for what you may not see, and for what the cluster has not told.`,
		Example: getClustersExample,
	}
	options := &getClustersOptions{clientOptions: newClientOptions(command, noNamespace), now: time.Now}
	options.output.addFlag(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		options.complete(command)
		options.names = args
		if err := options.output.validate(); err != nil {
			return err
		}
		return runGetClusters(command.Context(), options)
	}
	return command
}

// runGetClusters prints the clusters.
func runGetClusters(ctx context.Context, options *getClustersOptions) error {
	provider, err := options.provider()
	if err != nil {
		return err
	}
	registrations, err := provider.named(ctx, options.names)
	if err != nil {
		return err
	}
	known := view.Known{}
	if known.Heartbeats, err = provider.heartbeats(ctx); err != nil {
		return err
	}
	if known.Workloads, err = provider.workloads(ctx, options.names); err != nil {
		return err
	}
	var clusters []view.Cluster
	for i := range registrations {
		clusters = append(clusters, view.ClusterOf(&registrations[i], known))
	}
	return options.output.write(options.out, view.NewList("ClusterList", clusters), func() error {
		if len(clusters) == 0 {
			fmt.Fprintf(options.progress, "no clusters are registered in workspace %s\n", options.providerWorkspace)
		}
		if warning := view.SharedNamespaces(clusters); warning != "" {
			fmt.Fprintln(options.progress, "warning:", warning)
		}
		return printTable(options.out, view.ClusterTable(clusters, options.now()))
	})
}

// workloads counts the workloads on clusters; nil when the caller may not know.
func (p *provider) workloads(ctx context.Context, names []string) (map[string]int, error) {
	virtual, err := p.virtualWorkspaces(ctx)
	if isHidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	counts, err := virtual.workloadsOn(ctx, names)
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	return counts, err
}
