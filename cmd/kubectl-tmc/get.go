package main

import "github.com/spf13/cobra"

// newGetCommand returns the command that shows clusters and workloads.
func newGetCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "get",
		Short: "Show clusters, or which workload is on which cluster",
		Example: `  # How the clusters are
  kubectl tmc get clusters

  # What runs where
  kubectl tmc get workloads`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newGetClustersCommand(), newGetWorkloadsCommand())
	return command
}
