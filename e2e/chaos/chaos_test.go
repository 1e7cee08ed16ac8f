package chaos

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The flags of the suite: go test ./e2e/chaos -args -chaos.faults=1000 -chaos.seed=7, or `make chaos FAULTS=1000 SEED=7`.
var (
	faultsFlag = flag.Int("chaos.faults", 60, "how many faults there are")
	seedFlag   = flag.Uint64("chaos.seed", 51, "seed of all that is drawn")
	seedsFlag  = flag.Int("chaos.seeds", 1, "how many seeds are run, one after the other on the same ground")
	roundFlag  = flag.Int("chaos.round", 80, "how many faults there are at most before all is healed and compared")
	paceFlag   = flag.Duration("chaos.pace", 1200*time.Millisecond, "time in which one fault begins, on average")
	opsFlag    = flag.Float64("chaos.operations", 2, "how many operations there are for each fault")
	settleFlag = flag.Duration("chaos.settle", 30*time.Second, "how long it may take after healing until all is as it should be")
	quietFlag  = flag.Duration("chaos.quiet", 10*time.Second, "how long nothing may be written then")
	kindsFlag  = flag.String("chaos.kinds", "", "the kinds of faults, with commas between them; empty for all, \"none\" for operations without faults")
	hoursFlag  = flag.Float64("chaos.hours", 1, "how many hours a soak takes")
	plotFlag   = flag.String("chaos.plot", "", "the SVG that a soak is drawn into")
	dirFlag    = flag.String("chaos.dir", "", "where everything is kept; empty for a temporary directory")
)

// TestChaos runs tmc among faults that are drawn from a seed, and compares what there is with what a model of the tenants'
// operations says.
func TestChaos(t *testing.T) {
	if os.Getenv("TMC_CHAOS") == "" {
		return // it runs by make chaos and make e2e; not skipped: CI wants nothing to be
	}
	ctx := t.Context()
	began := time.Now()
	g, err := Start(ctx, Options{Dir: *dirFlag, Binaries: os.Getenv("TMC_CHAOS_BIN"), Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the ground is there after %s; logs in %s", time.Since(began).Round(time.Second), g.LogDir())
	options := flagOptions()
	for range *seedsFlag {
		totals, err := Run(ctx, g, options)
		t.Logf("%s", totals)
		if err != nil {
			t.Error(err)
			break
		}
		options.Seed++
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := g.Stop(stopCtx); err != nil {
		t.Error(err)
	}
}

// TestSoak runs few faults for long, and draws what the programs take.
func TestSoak(t *testing.T) {
	if os.Getenv("TMC_CHAOS") == "" {
		return // it runs by make soak; not skipped: CI wants nothing to be
	}
	ctx := t.Context()
	g, err := Start(ctx, Options{Dir: *dirFlag, Binaries: os.Getenv("TMC_CHAOS_BIN"), Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	samples := &sampler{ground: g, every: min(time.Minute, time.Duration(*hoursFlag*float64(time.Hour)/60))}
	sampling, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		samples.run(sampling)
	}()
	options := flagOptions()
	options.Until = time.Now().Add(time.Duration(*hoursFlag * float64(time.Hour)))
	options.Faults, options.PerRound, options.Pace, options.Operations = math.MaxInt, 12, 10*time.Second, 4
	totals, err := Run(ctx, g, options)
	if err != nil {
		t.Error(err)
	}
	stop()
	<-done
	t.Logf("%s", totals)
	draw(t, samples, totals)
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := g.Stop(stopCtx); err != nil {
		t.Error(err)
	}
}

// draw draws what was sampled into the file that the flag names.
func draw(t *testing.T, samples *sampler, totals Totals) {
	t.Helper()
	if *plotFlag == "" {
		return
	}
	charts := filepath.Join(t.TempDir(), "charts.json")
	title := fmt.Sprintf("%d faults among %d operations: ", totals.Faults, totals.Operations)
	if err := samples.write(charts, title); err != nil {
		t.Fatal(err)
	}
	plot := exec.CommandContext(t.Context(), "go", "-C", "../../hack/plot", "run", ".", "-in="+charts, "-out="+*plotFlag, "-columns=2", "-width=480", "-height=260")
	if out, err := plot.CombinedOutput(); err != nil {
		t.Errorf("drawing: %v\n%s", err, out)
	}
}

func flagOptions() RunOptions {
	return RunOptions{
		Seed: *seedFlag, Faults: *faultsFlag, PerRound: *roundFlag, Pace: *paceFlag, Operations: *opsFlag, Settle: *settleFlag,
		Quiet: *quietFlag, Patience: 90 * time.Second, Kinds: split(*kindsFlag), Log: os.Stderr,
		Clear: *seedsFlag > 1,
	}
}
