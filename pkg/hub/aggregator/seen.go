package aggregator

import (
	"sync"
	"time"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// seen remembers when something was first seen, by the hub's clock: the reports of objects that show the latest, one for each
// cluster, objects that are placed nowhere, those that a cluster lags behind, those that
// clusters are letting go of, and those that an undo has made bare. Of objects whose status kcp did not take, for they are placed
// otherwise, it remembers the state that was read. It forgets them with the object. After a restart all is seen for the first time
// again.
type seen struct {
	mu             sync.Mutex
	byKey          map[kcp.ObjectKey]map[string]sighting
	nobody, lagged map[kcp.ObjectKey]time.Time
	ending, bare   map[kcp.ObjectKey]time.Time
	// outdated are resource versions.
	outdated map[kcp.ObjectKey]string
}

// sighting is a report, by the time that it claims, and when it was seen.
type sighting struct {
	written string
	at      time.Time
}

func newSeen() *seen {
	return &seen{
		byKey:  map[kcp.ObjectKey]map[string]sighting{},
		nobody: map[kcp.ObjectKey]time.Time{}, lagged: map[kcp.ObjectKey]time.Time{},
		ending: map[kcp.ObjectKey]time.Time{}, bare: map[kcp.ObjectKey]time.Time{},
		outdated: map[kcp.ObjectKey]string{},
	}
}

// unplaced returns since when the object is known to be placed nowhere, which is now if it was not known.
func (s *seen) unplaced(key kcp.ObjectKey, now time.Time) time.Time {
	return s.since(s.nobody, key, now)
}

// placed notes that the object is placed somewhere, or has a status that says that it is not.
func (s *seen) placed(key kcp.ObjectKey) { s.drop(s.nobody, key) }

func (s *seen) since(times map[kcp.ObjectKey]time.Time, key kcp.ObjectKey, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since, known := times[key]; known {
		return since
	}
	times[key] = now
	return now
}

func (s *seen) drop(times map[kcp.ObjectKey]time.Time, key kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(times, key)
}

// first returns when the report of the object was first seen, which is now if it never was.
func (s *seen) first(key kcp.ObjectKey, report protocol.Report, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, known := s.byKey[key][report.Cluster]; known && last.written == report.Written {
		return last.at
	}
	if s.byKey[key] == nil {
		s.byKey[key] = map[string]sighting{}
	}
	s.byKey[key][report.Cluster] = sighting{report.Written, now}
	return now
}

// moved notes that kcp did not take a status that was merged from the object of that resource version, or, with an empty one, that it
// did.
func (s *seen) moved(key kcp.ObjectKey, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version == "" {
		delete(s.outdated, key)
		return
	}
	s.outdated[key] = version
}

// hasMoved reports whether kcp did not take the status that was merged last, of that very state of the object.
func (s *seen) hasMoved(key kcp.ObjectKey, version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, noted := s.outdated[key]
	return noted && last == version
}

// forget drops what is remembered of an object that is gone.
func (s *seen) forget(key kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, key)
	delete(s.nobody, key)
	delete(s.lagged, key)
	delete(s.ending, key)
	delete(s.bare, key)
	delete(s.outdated, key)
}

// lagging is one merge's question whether clusters that lag behind a change may do so a little longer.
type lagging struct {
	of  *seen
	key kcp.ObjectKey
	now time.Time
	// isLagging is set when the question was asked, and left is then how much longer they may.
	isLagging bool
	left      time.Duration
}

// waits is aggregate.Input.Waits.
func (l *lagging) waits() bool {
	l.isLagging, l.left = true, changeGrace-l.now.Sub(l.of.since(l.of.lagged, l.key, l.now))
	return l.left > 0
}

// end returns when to merge again, 0 for not before the next event. Where the question was not asked, no cluster lags behind, or the
// status says so already.
func (l *lagging) end() time.Duration {
	if !l.isLagging {
		l.of.drop(l.of.lagged, l.key)
	}
	return max(l.left, 0)
}
