package heartbeat

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kcp-tmc/tmc/pkg/controller"
)

// pulse beats while its cluster answers: who does not know whether the cluster is
// alive must not vouch for it.
type pulse struct {
	interval time.Duration
	// due reports whether there is anything to vouch for.
	due func() bool
	// answers asks the cluster, renew tells kcp.
	answers func(context.Context) error
	renew   func(context.Context) error
	// silent lasts while the cluster does not answer, cut while kcp does not.
	silent, cut controller.Outage
}

func newPulse(interval time.Duration, due func() bool, answers, renew func(context.Context) error) *pulse {
	return &pulse{
		interval: interval, due: due, answers: answers, renew: renew,
		silent: controller.Outage{Begins: "The cluster does not answer: no heartbeat until it does", Ends: "The cluster answers again"},
		cut:    controller.Outage{Begins: "Cannot tell kcp that the cluster is alive, will try again", Ends: "kcp is told again that the cluster is alive"},
	}
}

// run beats once every interval until ctx ends.
func (p *pulse) run(ctx context.Context) {
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	for {
		if p.due() {
			p.beat(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// beat tries until it has succeeded, and tells of it when that takes longer than an
// interval. It gives a slow server time: whoever gives up early, and asks again, keeps
// it slow.
func (p *pulse) beat(ctx context.Context) {
	start := time.Now()
	delays := wait.Backoff{Duration: p.interval / 50, Factor: 2, Steps: 10, Cap: p.interval / 2}
	for {
		failed, err := p.try(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(start) >= p.interval {
			failed.Begin(ctx, err)
		}
		if !sleep(ctx, delays.Step()) {
			return
		}
	}
}

// try returns what it failed of.
func (p *pulse) try(ctx context.Context) (failed *controller.Outage, err error) {
	if err := bounded(ctx, p.answers); err != nil {
		return &p.silent, err
	}
	p.silent.End(ctx)
	if err := bounded(ctx, p.renew); err != nil {
		return &p.cut, err
	}
	p.cut.End(ctx)
	return nil, nil
}

func bounded(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return request(ctx)
}
