package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

func main() {
	// A second Ctrl-C ends the command at once; the stack's reaper then does the cleaning.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, framework.ErrorPrefix+err.Error())
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "stack",
		Short:         "Run a kcp and some physical clusters on this machine",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	dir := cmd.PersistentFlags().String("dir", ".stack", "directory of the stack: logs, kubeconfigs, data")
	cmd.AddCommand(newUpCommand(dir), newDownCommand(dir), newStatusCommand(dir))
	return cmd
}
