package chaos

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// TestGround tries each kind of fault by itself. It is not part of e2e, which has TestChaos: TMC_CHAOS_GROUND names the kinds
// to try, or is "all".
func TestGround(t *testing.T) {
	kinds := strings.Split(os.Getenv("TMC_CHAOS_GROUND"), ",")
	if kinds[0] == "" {
		return // not skipped: CI wants nothing to be
	}
	if kinds[0] == "all" {
		kinds = FaultKinds()
	}
	began := time.Now()
	g, err := Start(t.Context(), Options{Dir: os.Getenv("TMC_CHAOS_DIR"), Binaries: os.Getenv("TMC_CHAOS_BIN"), Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the ground stands after %s", time.Since(began).Round(100*time.Millisecond))
	t.Cleanup(func() {
		if err := g.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	r := rand.New(rand.NewPCG(1, 2))
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { tryFault(t, g, kind, r) })
	}
}

func tryFault(t *testing.T, g *Ground, kind string, r *rand.Rand) {
	t.Helper()
	const times = 3
	for range times {
		fault, err := g.NewFaultOf(kind, r)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s for %s", fault.Name, fault.Lasts)
		if err := fault.Begin(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(fault.Lasts)
		healing := time.Now()
		if err := g.Heal(t.Context()); err != nil {
			t.Fatal(err)
		}
		healed := time.Now()
		for _, p := range g.Programs {
			if err := p.waitReady(t.Context()); err != nil {
				t.Error(err)
			}
		}
		t.Logf("touched %v; healed in %s, ready %s later", fault.Touched(), healed.Sub(healing).Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
	}
	for _, death := range g.Deaths() {
		t.Errorf("%s ended by itself: %s", death.Program, death.Log)
	}
}
