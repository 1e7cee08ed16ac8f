package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

func main() { framework.RunCommand(newCommand()) }

// options are the flags.
type options struct {
	// only are the measurements to make, all if empty.
	only []string
	// samples is how often a latency is measured, changes how many objects are changed to count writes.
	samples, changes int
	// bulk is how many Deployments are created at once, objects how many there are at rest.
	bulk, objects int
	// timeout bounds each wait for something to settle.
	timeout time.Duration
	// dir is the stack's directory, binDir has tmc's programs.
	dir, binDir string
	// docs is the directory that the document and its pictures are written to; empty for none.
	docs string
	// kcpFlags are further flags of kcp.
	kcpFlags []string
	// noAudit has kcp and the clusters write no audit log, rawKCPOnly the raw limits of kcp measured alone.
	noAudit, rawKCPOnly bool
}

func newCommand() *cobra.Command {
	o := options{
		samples: 100, changes: 10, bulk: 1000, objects: 5000, timeout: 5 * time.Minute, dir: "bin/bench", binDir: "bin",
		kcpFlags: strings.Fields(os.Getenv(kcpFlagsEnv)),
	}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what tmc costs, beside what kcp and a cluster cost without it",
		Args:  cobra.NoArgs,
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
	flags.IntVar(&o.bulk, "bulk", o.bulk, "how many Deployments are created at once")
	flags.IntVar(&o.objects, "objects", o.objects, "how many objects there are at rest and at a restart")
	flags.BoolVar(&o.noAudit, "no-audit", false, "have kcp and the clusters write no audit log; for --only raw")
	flags.BoolVar(&o.rawKCPOnly, "raw-kcp-only", false, "measure the raw limits of kcp without those of a cluster")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "how long each step may take to settle")
	flags.StringVar(&o.dir, "dir", o.dir, "directory of the stack: logs, kubeconfigs, data")
	flags.StringVar(&o.docs, "docs", "", "directory to write "+documentName+" and its pictures to; only of all measurements")
	flags.StringVar(&o.binDir, "bin-dir", o.binDir, "directory of tmc's programs")
	flags.StringSliceVar(&o.kcpFlags, "kcp-flags", o.kcpFlags, "further flags of kcp (default $"+kcpFlagsEnv+", separated by spaces)")
	return cmd
}

// validate says what is wrong with the flags, and what is not built.
func (o options) validate() error {
	errs := []error{o.validateOnly()}
	if o.samples < 1 || o.changes < 1 || o.bulk < 1 || o.objects < 1 {
		errs = append(errs, errors.New("--samples, --changes, --bulk and --objects must be at least 1"))
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

// validateOnly says what is wrong with --only, and with what is only for some of the measurements.
func (o options) validateOnly() error {
	var errs []error
	for _, name := range o.only {
		if !slices.Contains(measurementNames(), name) {
			errs = append(errs, fmt.Errorf("--only has %q, expected some of %s", name, strings.Join(measurementNames(), ", ")))
		}
	}
	if o.noAudit && !slices.Equal(o.only, []string{rawLimits}) {
		errs = append(errs, errors.New("--no-audit leaves nothing to count writes by, expected --only "+rawLimits))
	}
	if o.docs != "" && len(o.only) > 0 {
		errs = append(errs, errors.New("--docs is for all measurements, expected no --only"))
	}
	return errors.Join(errs...)
}

// binary returns the path of one of tmc's programs.
func (o options) binary(name string) string { return filepath.Join(o.binDir, name) }

// wants reports whether a measurement is to be made.
func (o options) wants(name string) bool { return len(o.only) == 0 || slices.Contains(o.only, name) }
