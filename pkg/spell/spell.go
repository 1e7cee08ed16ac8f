package spell

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// Spell is a state of affairs that is told of when it begins and when it ends, and
// not in between. It may be used by several goroutines, and must not be copied once it is.
type Spell struct {
	// Begins and Ends are what is logged: the one as an error, the other as news.
	Begins, Ends string

	mu    sync.Mutex
	since time.Time
}

// Begin tells why it begins, unless it goes on already.
func (s *Spell) Begin(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since = time.Now()
		klog.FromContext(ctx).Error(err, s.Begins)
	}
}

// End tells how long it went on, if it did.
func (s *Spell) End(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() {
		klog.FromContext(ctx).Info(s.Ends, "after", time.Since(s.since).Round(time.Second))
		s.since = time.Time{}
	}
}
