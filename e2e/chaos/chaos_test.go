package chaos

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"
)

// The flags of the suite: go test ./e2e/chaos -args -chaos.faults=1000 -chaos.seed=7, or `make chaos FAULTS=1000 SEED=7`.
var (
	faultsFlag = flag.Int("chaos.faults", 60, "how many faults there are")
	seedFlag   = flag.Uint64("chaos.seed", 20261129, "seed of all that is drawn")
	roundFlag  = flag.Int("chaos.round", 80, "how many faults there are at most before all is healed and compared")
	paceFlag   = flag.Duration("chaos.pace", 1200*time.Millisecond, "time in which one fault begins, on average")
	opsFlag    = flag.Float64("chaos.operations", 2, "how many operations there are for each fault")
	settleFlag = flag.Duration("chaos.settle", 30*time.Second, "how long it may take after healing until all is as it should be")
	quietFlag  = flag.Duration("chaos.quiet", 10*time.Second, "how long nothing may be written then")
	kindsFlag  = flag.String("chaos.kinds", "", "the kinds of faults, with commas between them; empty for all, \"none\" for operations without faults")
	dirFlag    = flag.String("chaos.dir", "", "where everything is kept; empty for a temporary directory")
)

// TestChaos runs tmc among faults that are drawn from a seed, and compares what there is with what a model of the tenants'
// operations says.
func TestChaos(t *testing.T) {
	if os.Getenv("TMC_CHAOS") == "" {
		t.Skip("runs with TMC_CHAOS=1: make chaos, make e2e")
	}
	ctx := t.Context()
	began := time.Now()
	g, err := Start(ctx, Options{Dir: *dirFlag, Binaries: os.Getenv("TMC_CHAOS_BIN"), Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the ground is there after %s; logs in %s", time.Since(began).Round(time.Second), g.LogDir())
	totals, err := Run(ctx, g, flagOptions())
	if err != nil {
		t.Error(err)
	}
	t.Logf("%s", totals)
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := g.Stop(stopCtx); err != nil {
		t.Error(err)
	}
}

func flagOptions() RunOptions {
	return RunOptions{
		Seed: *seedFlag, Faults: *faultsFlag, PerRound: *roundFlag, Pace: *paceFlag, Operations: *opsFlag, Settle: *settleFlag,
		Quiet: *quietFlag, Patience: 90 * time.Second, Kinds: split(*kindsFlag), Log: os.Stderr,
	}
}
