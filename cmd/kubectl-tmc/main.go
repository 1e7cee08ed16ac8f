package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(&terminal{Writer: os.Stderr}, "error:", err)
		os.Exit(1)
	}
}

// newCommand returns the plugin's root command.
func newCommand() *cobra.Command {
	// client-go also returns as errors what it logs.
	klog.SetLogger(logr.Discard())
	command := &cobra.Command{
		Use:     "kubectl-tmc",
		Short:   "Use many Kubernetes clusters as one, through kcp",
		Version: version.Get().String(),
		Args:    cobra.NoArgs,
		// main prints errors, and the usage does not help against a failed request.
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl tmc"},
		RunE:          func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return fmt.Errorf("%w\nSee '%s --help'", err, command.CommandPath())
	})
	command.AddCommand(newInitCommand(), newBindCommand(), newJoinCommand(), newUnjoinCommand(), newRenderCommand(), newGetCommand(), newDescribeCommand(), newRetryCommand(),
		newCordonCommand(), newUncordonCommand(), newDrainCommand(), newRemoveCommand())
	return command
}
