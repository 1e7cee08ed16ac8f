package syncer

import (
	"sync"
	"time"
)

// lasting remembers since when something has lasted in namespaces that no event tells the end of. It is checked again after as long as
// it has lasted. Counting checks would not do: events have it checked as well, and a few of them in one second would put off the
// next check by minutes.
type lasting struct {
	mu    sync.Mutex
	since map[string]time.Time
}

func newLasting() *lasting { return &lasting{since: map[string]time.Time{}} }

// atLeast reports whether it has lasted that long. What was not noted has not lasted.
func (l *lasting) atLeast(name string, lasts time.Duration, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, isNoted := l.since[name]
	return isNoted && now.Sub(since) >= lasts
}

// note notes that it lasts, and returns when to check again: from namespaceRetry up to longestRecheck.
func (l *lasting) note(name string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, isNoted := l.since[name]
	if !isNoted {
		since = now
		l.since[name] = since
	}
	return min(max(now.Sub(since), namespaceRetry), longestRecheck)
}

// forget notes that it has ended.
func (l *lasting) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.since, name)
}
