package aggregator

import (
	"sync"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// seen remembers when reports were first seen that claim to be from the future: one for
// each object and cluster that has such a report, and goes with the object. After a restart
// they are seen for the first time again.
type seen struct {
	mu    sync.Mutex
	byKey map[kcp.ObjectKey]map[string]sighting
}

// sighting is a report, by the time that it claims, and when it was seen.
type sighting struct {
	written string
	at      time.Time
}

func newSeen() *seen { return &seen{byKey: map[kcp.ObjectKey]map[string]sighting{}} }

// first returns when the report of the object was first seen, which is now if it never was.
func (s *seen) first(key kcp.ObjectKey, report v1alpha1.Report, now time.Time) time.Time {
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

// forget drops what is remembered of an object that is gone.
func (s *seen) forget(key kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, key)
}
