package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/component-base/cli"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/component-base/version"

	"github.com/kcp-tmc/tmc/pkg/server"
)

// Program is one daemon.
type Program struct {
	// Use, Short and Long are what its help says.
	Use, Short, Long string
	// Options are its common flags.
	Options *Options
	// Validate checks the flags of its own.
	Validate func() error
	// Start makes the program, without running it: run works until its context ends, ready reports whether it does its
	// work.
	Start func(ctx context.Context) (run func(context.Context) error, ready func() bool, err error)
}

// Command returns the program's command with the common flags. The caller adds the program's own.
func (p Program) Command() *cobra.Command {
	command := &cobra.Command{
		Use:          p.Use,
		Short:        p.Short,
		Long:         p.Long,
		Version:      version.Get().GitVersion,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := errors.Join(p.Options.Validate(), p.Validate()); err != nil {
				return err
			}
			if err := logsapi.ValidateAndApply(p.Options.logs, nil); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return p.run(ctx)
		},
	}
	p.Options.AddFlags(command.Flags())
	return command
}

// run works, and serves health and metrics, until ctx ends or either fails.
func (p Program) run(ctx context.Context) error {
	run, ready, err := p.Start(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return run(ctx) })
	group.Go(func() error { giveBack(ctx); return nil })
	group.Go(func() error {
		return server.Run(ctx, server.Config{
			Address: p.Options.BindAddress, MetricsAddress: p.Options.MetricsBindAddress, Ready: ready,
		})
	})
	return group.Wait()
}

// Main runs the command and ends the process. When the command fails, it prints one message and exits with 1.
func Main(command *cobra.Command) {
	if err := cli.RunNoErrOutput(command); err != nil {
		fmt.Fprintf(os.Stderr, "Error: %v\n", err)
		os.Exit(1)
	}
}
