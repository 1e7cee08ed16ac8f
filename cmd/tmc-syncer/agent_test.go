package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// parts are fakes of an agent's parts, which note what they are asked for.
type parts struct {
	mu      sync.Mutex
	calls   []string
	claim   error
	failed  error
	synced  bool
	refused bool
}

func (p *parts) call(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, name)
}

// has reports whether all these calls were made.
func (p *parts) has(names ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(p.calls, name) })
}

type credentials struct{ *parts }

func (c credentials) Refused() bool { return c.refused }

func (c credentials) Run(ctx context.Context) {
	c.call("credentials")
	<-ctx.Done()
}

type beats struct{ *parts }

func (b beats) Claim(context.Context) error {
	b.call("claim")
	return b.claim
}

func (b beats) Run(ctx context.Context) error {
	b.call("heartbeat")
	<-ctx.Done()
	return nil
}

type syncing struct{ *parts }

func (s syncing) HasSynced() bool { return s.synced }

func (s syncing) Run(ctx context.Context) error {
	s.call("sync")
	if s.failed != nil {
		return s.failed
	}
	<-ctx.Done()
	return nil
}

func newTestAgent(p *parts) *agent {
	return &agent{
		credentials: credentials{p}, heartbeat: beats{p}, syncer: syncing{p}, settings: &settings{},
		waitSupported: func(context.Context) error { p.call("kcp"); return nil },
		follow: func(ctx context.Context, _ func(v1alpha1.TransformRule)) {
			p.call("follow")
			<-ctx.Done()
		},
	}
}

func TestAgentRun(t *testing.T) {
	lost, old := errors.New("the name is another cluster's"), errors.New("kcp is too old")
	cases := map[string]struct {
		prepare func(p *parts, a *agent)
		calls   []string
		err     error
	}{
		"it works until it is stopped":              {func(*parts, *agent) {}, []string{"credentials", "kcp", "claim", "sync", "heartbeat", "follow"}, nil},
		"without a file there is nothing to follow": {func(_ *parts, a *agent) { a.follow = nil }, []string{"credentials", "kcp", "claim", "sync", "heartbeat"}, nil},
		"a replica works when it leads": {func(p *parts, a *agent) {
			a.lead = func(ctx context.Context, work func(context.Context) error) error { p.call("lead"); return work(ctx) }
		}, []string{"credentials", "lead", "kcp", "claim", "sync", "heartbeat"}, nil},
		"a kcp that is too old ends it":  {func(_ *parts, a *agent) { a.waitSupported = func(context.Context) error { return old } }, []string{"credentials"}, old},
		"another cluster's name ends it": {func(p *parts, _ *agent) { p.claim = lost }, []string{"credentials", "kcp", "claim"}, lost},
		"a syncer that fails ends it":    {func(p *parts, _ *agent) { p.failed = lost }, []string{"sync"}, lost},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := &parts{}
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
		if err := newTestAgent(&parts{claim: lost}).work(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestAgentIsReady(t *testing.T) {
	lead := func(context.Context, func(context.Context) error) error { return nil }
	cases := map[string]struct {
		parts *parts
		lead  func(context.Context, func(context.Context) error) error
		leads bool
		want  bool
	}{
		"both sides are read":              {&parts{synced: true}, nil, false, true},
		"something is not read yet":        {&parts{}, nil, false, false},
		"kcp refuses the credentials":      {&parts{synced: true, refused: true}, nil, false, false},
		"a replica waits":                  {&parts{}, lead, false, true},
		"a replica leads and has not read": {&parts{}, lead, true, false},
		"a replica waits and is refused":   {&parts{refused: true}, lead, false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := newTestAgent(c.parts)
			a.lead = c.lead
			a.leads.Store(c.leads)
			if got := a.isReady(); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}
