package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// kcpFlagsEnv names the variable with further flags of kcp, separated by spaces.
const kcpFlagsEnv = "KCP_FLAGS"

// tmc's programs.
const (
	controllerBinary = "tmc-controller"
	syncerBinary     = "tmc-syncer"
	pluginBinary     = "kubectl-tmc"
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

// options are the flags.
type options struct {
	// only are the measurements to make, all if empty.
	only []string
	// samples is how often a latency is measured, changes how many objects are changed to count writes.
	samples, changes int
	// timeout bounds each wait for something to settle.
	timeout time.Duration
	// dir is the stack's directory, binDir has tmc's programs.
	dir, binDir string
	// kcpFlags are further flags of kcp.
	kcpFlags []string
}

func newCommand() *cobra.Command {
	o := options{
		samples: 100, changes: 10, timeout: 5 * time.Minute, dir: "bin/bench", binDir: "bin",
		kcpFlags: strings.Fields(os.Getenv(kcpFlagsEnv)),
	}
	cmd := &cobra.Command{
		Use:           "bench",
		Short:         "Measure what tmc costs, beside what kcp and a cluster cost without it",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.only, "only", nil, "measure these alone: "+strings.Join(measurementNames(), ", "))
	flags.IntVar(&o.samples, "samples", o.samples, "how often each latency is measured")
	flags.IntVar(&o.changes, "changes", o.changes, "how many objects are changed to count the writes of a change")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "how long each step may take to settle")
	flags.StringVar(&o.dir, "dir", o.dir, "directory of the stack: logs, kubeconfigs, data")
	flags.StringVar(&o.binDir, "bin-dir", o.binDir, "directory of tmc's programs")
	flags.StringSliceVar(&o.kcpFlags, "kcp-flags", o.kcpFlags, "further flags of kcp (default $"+kcpFlagsEnv+", separated by spaces)")
	return cmd
}

// validate says what is wrong with the flags, and what is not built.
func (o options) validate() error {
	var errs []error
	for _, name := range o.only {
		if !slices.Contains(measurementNames(), name) {
			errs = append(errs, fmt.Errorf("--only has %q, expected some of %s", name, strings.Join(measurementNames(), ", ")))
		}
	}
	if o.samples < 1 || o.changes < 1 {
		errs = append(errs, errors.New("--samples and --changes must be at least 1"))
	}
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout must be more than 0, not %s", o.timeout))
	}
	for _, name := range []string{controllerBinary, syncerBinary, pluginBinary} {
		if _, err := os.Stat(o.binary(name)); err != nil {
			errs = append(errs, fmt.Errorf("%s is not built yet: run `make build` first", o.binary(name)))
		}
	}
	return errors.Join(errs...)
}

// binary returns the path of one of tmc's programs.
func (o options) binary(name string) string { return filepath.Join(o.binDir, name) }

// wants reports whether a measurement is to be made.
func (o options) wants(name string) bool { return len(o.only) == 0 || slices.Contains(o.only, name) }
