package main

import (
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

func main() { framework.RunCommand(newCommand()) }

// options are the flags.
type options struct {
	// own, pods and foreign are how many there are of the user's objects, of pods of others, and of other objects of others.
	own, pods, foreign int
	// burst is how many Deployments come at once, rounds how often.
	burst, rounds   int
	onlyDeployments bool
	// rest is for how long the CPU time at rest is measured.
	rest time.Duration
	// dir is where the cluster and kcp are kept; the next run with the same objects begins with them.
	dir, syncerFile, profileDir string
}

func newCommand() *cobra.Command {
	o := options{own: 10_000, pods: 20_000, foreign: 20_000, burst: 1000, rounds: 3, rest: time.Minute, dir: "bin/syncercost", syncerFile: "bin/tmc-syncer"}
	cmd := &cobra.Command{
		Use: "syncercost", Short: "Measure what a syncer with many objects costs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, path := range []*string{&o.dir, &o.syncerFile, &o.profileDir} {
				if *path == "" {
					continue
				}
				absolute, err := filepath.Abs(*path)
				if err != nil {
					return err
				}
				*path = absolute
			}
			return measure(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.own, "own", o.own, "number of objects of the user that are placed on the cluster")
	flags.IntVar(&o.pods, "pods", o.pods, "number of pods of others on the cluster")
	flags.IntVar(&o.foreign, "foreign", o.foreign, "number of Deployments and ConfigMaps of others on the cluster")
	flags.IntVar(&o.burst, "burst", o.burst, "number of Deployments that come at once; 0 for no burst")
	flags.IntVar(&o.rounds, "rounds", o.rounds, "number of bursts")
	flags.BoolVar(&o.onlyDeployments, "only-deployments", false, "all own objects are Deployments; otherwise a quarter is, and the others are Services, ConfigMaps and Secrets")
	flags.DurationVar(&o.rest, "rest", o.rest, "how long to measure the CPU time at rest")
	flags.StringVar(&o.dir, "dir", o.dir, "directory of the cluster's and kcp's data, which the next run with as many own objects uses again")
	flags.StringVar(&o.syncerFile, "syncer", o.syncerFile, "the tmc-syncer to measure")
	flags.StringVar(&o.profileDir, "profiles", "", "directory for profiles; the tmc-syncer has to be built with -tags profile")
	return cmd
}
