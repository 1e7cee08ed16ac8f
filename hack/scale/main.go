package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

func main() { framework.RunCommand(newCommand()) }

// options are the flags.
type options struct {
	// syncers and workloads are how many there are to be.
	syncers, workloads int
	// starting is how many syncers start at a time.
	starting int
	// timeout bounds each wait for something to settle.
	timeout time.Duration
	// dir is the stack's directory, binDir has tmc's programs.
	dir, binDir string
	// wholeView shows every syncer all of the cluster that they share.
	wholeView bool
}

func newCommand() *cobra.Command {
	o := options{syncers: 100, workloads: 500, starting: 10, timeout: 15 * time.Minute, dir: "bin/scale", binDir: "bin"}
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "Measure tmc with many clusters and many workloads on this machine",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.syncers, "syncers", o.syncers, "number of syncers, each under a cluster name of its own")
	flags.IntVar(&o.workloads, "workloads", o.workloads, "number of Deployments, each placed on three clusters")
	flags.IntVar(&o.starting, "starting", o.starting, "number of syncers that start at a time; the next follows when one has read kcp and the cluster")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "how long each step may take to settle")
	flags.StringVar(&o.dir, "dir", o.dir, "directory of the stack: logs, kubeconfigs, data")
	flags.StringVar(&o.binDir, "bin-dir", o.binDir, "directory of tmc's programs")
	flags.BoolVar(&o.wholeView, "whole-view", o.wholeView, "show every syncer all copies and pods of the cluster that they share")
	return cmd
}

// validate says what is wrong with the flags, and what is not built.
func (o options) validate() error {
	var errs []error
	if o.syncers < copies || o.syncers > mostSyncers {
		errs = append(errs, fmt.Errorf("--syncers must be from %d to %d, not %d", copies, mostSyncers, o.syncers))
	}
	if o.workloads < 1 {
		errs = append(errs, fmt.Errorf("--workloads must be at least 1, not %d", o.workloads))
	}
	if o.starting < 1 {
		errs = append(errs, fmt.Errorf("--starting must be at least 1, not %d", o.starting))
	}
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout must be more than 0, not %s", o.timeout))
	}
	for _, name := range []string{controllerBinary, pluginBinary} {
		if _, err := os.Stat(o.binary(name)); err != nil {
			errs = append(errs, fmt.Errorf("%s is not built yet: run `make build` first", o.binary(name)))
		}
	}
	return errors.Join(errs...)
}

// binary returns the path of one of tmc's programs.
func (o options) binary(name string) string { return filepath.Join(o.binDir, name) }

// nodes gives how many nodes the cluster needs: one for each syncer to look at, and room for all copies and for those
// that a drain makes beside them.
func (o options) nodes() int {
	const podsPerNode, spare = 110, 2
	return max(o.syncers, (o.workloads*copies+podsPerNode-1)/podsPerNode+spare)
}
