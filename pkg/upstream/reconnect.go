package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// An informer that cannot reach its server waits for up to a minute before it tries again, each for itself. So those of a source wait
// here, within their requests: one of them tries again every probeInterval, and when it gets through, the others do within spread. A
// syncer that finds kcp away asks it once in two seconds, whatever it watches.
const (
	probeInterval = 2 * time.Second
	spread        = time.Second
	// ownInterval is after how long one tries by itself: the one that tries may be about something that is never served.
	ownInterval = 15 * time.Second
)

// reconnect has the requests of one source wait for its server. The zero value is ready for use.
type reconnect struct {
	mu sync.Mutex
	// isProbing is set while one of those that wait is about to try, and answered is closed when one got through.
	isProbing bool
	answered  chan struct{}
}

// do makes a request until the server answers it, with an error perhaps, or ctx ends. It calls failed with the first error.
func (r *reconnect) do(ctx context.Context, request func() error, failed func(error)) error {
	for tries := 0; ; tries++ {
		err := request()
		if !isAway(err) || ctx.Err() != nil {
			r.gotThrough()
			return err
		}
		if tries == 0 {
			failed(err)
		}
		if !r.wait(ctx) {
			return err
		}
	}
}

// isAway reports whether an error says that a server did not answer, or cannot at the moment.
func isAway(err error) bool {
	return err != nil && (kcp.IsTransient(err) || utilnet.IsProbableEOF(err) || utilnet.IsHTTP2ConnectionLost(err))
}

// wait waits until it is time to try again, and reports whether it is; false when ctx has ended.
func (r *reconnect) wait(ctx context.Context) bool {
	r.mu.Lock()
	probes := !r.isProbing
	r.isProbing = true
	if r.answered == nil {
		r.answered = make(chan struct{})
	}
	answered, interval := r.answered, ownInterval
	r.mu.Unlock()
	if probes {
		interval, answered = probeInterval, nil
	}
	timer := time.NewTimer(wait.Jitter(interval, 0.2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-answered:
		timer.Reset(rand.N(spread)) //nolint:gosec // it spreads requests
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	case <-timer.C:
	}
	if probes {
		r.mu.Lock()
		r.isProbing = false
		r.mu.Unlock()
	}
	return ctx.Err() == nil
}

// gotThrough tells those that wait that the server answers.
func (r *reconnect) gotThrough() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered != nil {
		close(r.answered)
		r.answered = nil
	}
}
