package daemon

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// ErrNotLeading is the error of a write by a program that does not hold its Lease: another one may be doing its work.
var ErrNotLeading = errors.New("nothing is written: this program does not hold its lease")

// Fence lets writes to servers pass while this program certainly holds its Lease: for RenewDeadline from before the last
// renewal was sent, by the monotonic clock, which no change of the time of day moves, and which goes on while the process
// is stopped. After that, a write waits until the Lease is renewed, or is known to be lost. Reads always pass. The zero value
// is a Fence that lets no write pass.
type Fence struct {
	mu sync.Mutex
	// until is how long the Lease is certainly held, zero when it is not held.
	until time.Time
	// hasSeen is set once the Lease was read, or taken.
	hasSeen bool
	// changed is closed when until changes; nil while nobody waits for that.
	changed chan struct{}
}

// Guard returns a copy of a configuration whose requests pass the Fence.
func (f *Fence) Guard(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &fenced{next, f} })
	return config
}

// hold takes note of how long the Lease is certainly held; the zero time for no longer.
func (f *Fence) hold(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = until
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// see takes note that the Lease was read, or taken.
func (f *Fence) see() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hasSeen = true
}

// HasSeen reports whether the program has read its Lease, or taken it: from then on it knows when to take over.
func (f *Fence) HasSeen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hasSeen
}

// isOpen reports whether writes pass at once.
func (f *Fence) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.until)
}

// pass returns when the Lease is certainly held. It fails with ErrNotLeading when it is not held, and when ctx ends.
func (f *Fence) pass(ctx context.Context) error {
	for {
		f.mu.Lock()
		if f.until.IsZero() {
			f.mu.Unlock()
			return ErrNotLeading
		}
		if time.Now().Before(f.until) {
			f.mu.Unlock()
			return nil
		}
		if f.changed == nil {
			f.changed = make(chan struct{})
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fenced is a transport behind a Fence.
type fenced struct {
	http.RoundTripper

	fence *Fence
}

// RoundTrip implements http.RoundTripper.
func (t *fenced) RoundTrip(request *http.Request) (*http.Response, error) {
	if isWrite(request.Method) {
		if err := t.fence.pass(request.Context()); err != nil {
			if request.Body != nil {
				_ = request.Body.Close() // as a transport has to
			}
			return nil, err
		}
	}
	return t.RoundTripper.RoundTrip(request)
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (t *fenced) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// isWrite reports whether requests of a method change what a server has.
func isWrite(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	default:
		return false
	}
}
