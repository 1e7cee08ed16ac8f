package daemon

import (
	"context"
	"runtime"
	"testing"
)

func TestHolds(t *testing.T) {
	cases := map[string]struct {
		sys, released, next, want uint64
	}{
		"what is live is needed":             {100, 0, 200, 0},
		"what a start has taken":             {300, 0, 200, 200},
		"what was given back does not count": {300, 200, 200, 0},
		"less than what was live":            {80, 0, 200, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := holds(&runtime.MemStats{HeapSys: c.sys, HeapReleased: c.released, NextGC: c.next}); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestGiveBackEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	giveBack(ctx)
}
