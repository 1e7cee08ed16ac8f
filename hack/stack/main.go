package main

import (
	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

func main() { framework.RunCommand(newCommand()) }

func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stack",
		Short: "Run a kcp and some physical clusters on this machine",
	}
	dir := cmd.PersistentFlags().String("dir", ".stack", "directory of the stack: logs, kubeconfigs, data")
	cmd.AddCommand(newUpCommand(dir), newDownCommand(dir), newStatusCommand(dir))
	return cmd
}
