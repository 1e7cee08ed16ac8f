package main

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// partsLog are fakes of an agent's parts, which note what they are asked for.
type partsLog struct {
	mu      sync.Mutex
	calls   []string
	claim   error
	failed  error
	broken  error
	synced  bool
	refused bool
}

func (p *partsLog) call(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, name)
}

// has reports whether all these calls were made.
func (p *partsLog) has(names ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(p.calls, name) })
}

type credentials struct{ *partsLog }

func (c credentials) Refused() bool { return c.refused }

func (c credentials) Run(ctx context.Context) {
	c.call("credentials")
	<-ctx.Done()
}

type beats struct{ *partsLog }

func (b beats) Claim(context.Context) error {
	b.call("claim")
	return b.claim
}

func (b beats) Run(ctx context.Context) error {
	b.call("heartbeat")
	<-ctx.Done()
	return nil
}

type syncing struct{ *partsLog }

func (s syncing) HasSynced() bool { return s.synced }

func (s syncing) Run(ctx context.Context) error {
	s.call("sync")
	if s.failed != nil {
		return s.failed
	}
	<-ctx.Done()
	return nil
}

func newTestAgent(p *partsLog) *agent {
	return &agent{
		credentials:   credentials{p},
		waitSupported: func(context.Context) error { p.call("kcp"); return nil },
		newParts: func() (*parts, error) {
			return &parts{
				heartbeat: beats{p}, syncer: syncing{p}, settings: &settings{},
				follow: func(ctx context.Context, _ func(v1alpha1.TransformRule)) {
					p.call("follow")
					<-ctx.Done()
				},
			}, p.broken
		},
	}
}

func TestAgentRun(t *testing.T) {
	lost, old := errors.New("the name is another cluster's"), errors.New("kcp is too old")
	cases := map[string]struct {
		prepare func(p *partsLog, a *agent)
		calls   []string
		err     error
	}{
		"it works until it is stopped": {func(*partsLog, *agent) {}, []string{"credentials", "kcp", "claim", "sync", "heartbeat", "follow"}, nil},
		"without a file there is nothing to follow": {func(_ *partsLog, a *agent) {
			all := a.newParts
			a.newParts = func() (*parts, error) {
				made, err := all()
				made.follow = nil
				return made, err
			}
		}, []string{"credentials", "kcp", "claim", "sync", "heartbeat"}, nil},
		"a replica works when it leads": {func(p *partsLog, a *agent) {
			a.lead = func(ctx context.Context, work func(context.Context) error) error { p.call("lead"); return work(ctx) }
		}, []string{"credentials", "lead", "kcp", "claim", "sync", "heartbeat"}, nil},
		"a kcp that is too old ends it":    {func(_ *partsLog, a *agent) { a.waitSupported = func(context.Context) error { return old } }, []string{"credentials"}, old},
		"another cluster's name ends it":   {func(p *partsLog, _ *agent) { p.claim = lost }, []string{"credentials", "kcp", "claim"}, lost},
		"a syncer that fails ends it":      {func(p *partsLog, _ *agent) { p.failed = lost }, []string{"sync"}, lost},
		"parts that cannot be made end it": {func(p *partsLog, _ *agent) { p.broken = lost }, []string{"credentials"}, lost},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := &partsLog{}
			a := newTestAgent(p)
			c.prepare(p, a)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- a.run(ctx) }()
			for !p.has(c.calls...) && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if c.err == nil {
				cancel()
			}
			if err := <-done; !errors.Is(err, c.err) || !p.has(c.calls...) {
				t.Errorf("ended with %v after %v, want %v after %v", err, p.calls, c.err, c.calls)
			}
		})
	}
	t.Run("stopped while it claims, it ends like any other", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := newTestAgent(&partsLog{claim: lost}).work(ctx); err != nil {
			t.Error(err)
		}
	})
}

// TestAgentStandsByAgain has the lease be lost 50 times, with real parts that reach nothing: each time the work has other parts, and
// nothing is left of those before.
func TestAgentStandsByAgain(t *testing.T) {
	o := working(t)
	o.leaderElect, o.namespace = true, "default"
	config, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	a, err := o.newAgent(config)
	if err != nil {
		t.Fatal(err)
	}
	a.waitSupported = func(context.Context) error { return nil }
	a.standsBy = func() bool { return true }
	goroutines := 0
	seen := map[*parts]bool{}
	a.lead = func(ctx context.Context, work func(context.Context) error) error {
		for round := range 50 {
			if !a.isReady() {
				t.Error("one that stands by is not ready")
			}
			leading, stop := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- work(leading) }()
			for a.working.Load() == nil {
				time.Sleep(time.Millisecond)
			}
			if now := a.working.Load(); seen[now] || a.isReady() {
				t.Errorf("round %d: works with the parts of before: %t; is ready before anything is read: %t", round, seen[now], a.isReady())
			} else {
				seen[now] = true
			}
			stop()
			if err := <-ended; err != nil {
				return err
			}
			if round == 1 {
				goroutines = settled(0)
			}
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := a.lead(ctx, a.work); err != nil {
		t.Error(err)
	}
	// A few come and go, of requests and timers. What a round leaves behind shows in each of the rounds.
	if now := settled(goroutines); now > goroutines+5 {
		t.Errorf("%d goroutines after 50 rounds, %d after the second", now, goroutines)
	}
}

// settled returns how many goroutines there are when they are no more than wanted, or have become no fewer for a while.
func settled(wanted int) int {
	least := runtime.NumGoroutine()
	for quiet := 0; quiet < 50 && least > wanted; quiet++ {
		time.Sleep(10 * time.Millisecond)
		if now := runtime.NumGoroutine(); now < least {
			least, quiet = now, 0
		}
	}
	return least
}

func TestAgentIsReady(t *testing.T) {
	standsBy, comes := func() bool { return true }, func() bool { return false }
	cases := map[string]struct {
		parts    *partsLog
		standsBy func() bool
		works    bool
		want     bool
	}{
		"both sides are read":                  {&partsLog{synced: true}, nil, true, true},
		"something is not read yet":            {&partsLog{}, nil, true, false},
		"it has not begun":                     {&partsLog{}, nil, false, false},
		"kcp refuses the credentials":          {&partsLog{synced: true, refused: true}, nil, true, false},
		"a replica waits":                      {&partsLog{}, standsBy, false, true},
		"a replica knows nothing of the lease": {&partsLog{}, comes, false, false},
		"a replica leads and has not read":     {&partsLog{}, standsBy, true, false},
		"a replica waits and is refused":       {&partsLog{refused: true}, standsBy, false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := newTestAgent(c.parts)
			a.standsBy = c.standsBy
			if c.works {
				made, _ := a.newParts()
				a.working.Store(made)
			}
			if got := a.isReady(); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}
