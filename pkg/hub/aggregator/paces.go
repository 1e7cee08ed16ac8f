package aggregator

import (
	"sync"
	"time"

	"github.com/kcp-tmc/tmc/pkg/aggregate"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// paces are those of the objects of which something waits, or is on its way. They know nothing after a restart.
type paces struct {
	mu    sync.Mutex
	byKey map[kcp.ObjectKey]aggregate.Pace
}

func newPaces() *paces { return &paces{byKey: map[kcp.ObjectKey]aggregate.Pace{}} }

// heard returns how long to wait before a status is written.
func (p *paces) heard(key kcp.ObjectKey, news aggregate.News, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byKey[key], wait = p.byKey[key].Heard(news, now)
	return wait
}

// wrote takes note that a status was written.
func (p *paces) wrote(key kcp.ObjectKey, now time.Time) {
	p.change(key, func(pace aggregate.Pace) aggregate.Pace { return pace.Wrote(now) })
}

// rests takes note that the status is as it should be.
func (p *paces) rests(key kcp.ObjectKey) { p.change(key, aggregate.Pace.Rested) }

// forget drops what is remembered of an object that is gone.
func (p *paces) forget(key kcp.ObjectKey) {
	p.change(key, func(aggregate.Pace) aggregate.Pace { return aggregate.Pace{} })
}

// change changes the pace of an object, and forgets one that says nothing.
func (p *paces) change(key kcp.ObjectKey, change func(aggregate.Pace) aggregate.Pace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pace := change(p.byKey[key]); pace != (aggregate.Pace{}) {
		p.byKey[key] = pace
	} else {
		delete(p.byKey, key)
	}
}
