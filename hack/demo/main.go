package main

import (
	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

func main() { framework.RunCommand(newCommand()) }

func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show tmc at work on a kcp and two clusters on this machine",
	}
	cmd.AddCommand(newRunCommand(), newUpCommand(), newDownCommand())
	return cmd
}

func newRunCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Show it all, check each step, and clean up",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	addDirFlag(cmd, &o.dir, runDir)
	addBinDirFlag(cmd, &o.binDir)
	return cmd
}

func newUpCommand() *cobra.Command {
	var o options
	var detached bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Set everything up, leave it running and say what to try",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if detached {
				return runDetached(cmd.Context(), o, cmd.OutOrStdout())
			}
			return up(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	addDirFlag(cmd, &o.dir, upDir)
	addBinDirFlag(cmd, &o.binDir)
	cmd.Flags().BoolVar(&detached, "detached", false, "")
	_ = cmd.Flags().MarkHidden("detached") // it exists: the line before has made it
	return cmd
}

func newDownCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop what up has left running",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return down(cmd.Context(), dir, cmd.OutOrStdout())
		},
	}
	addDirFlag(cmd, &dir, upDir)
	return cmd
}

// The directories of the two stacks, which do not get in each other's way: runDir is run's, upDir that in which up
// leaves one for down to find.
const (
	runDir = "bin/demo-run"
	upDir  = "bin/demo"
)

func addDirFlag(cmd *cobra.Command, dir *string, value string) {
	cmd.Flags().StringVar(dir, "dir", value, "directory of the stack: logs, kubeconfigs, data")
}

func addBinDirFlag(cmd *cobra.Command, binDir *string) {
	cmd.Flags().StringVar(binDir, "bin-dir", "bin", "directory of tmc's programs")
}
