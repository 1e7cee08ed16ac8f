package revisions

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/revisions"
)

// longestLag is how long the caches may be behind a write. After that they are believed: what was written may be gone again, without
// an event of either.
const longestLag = time.Minute

// memory is what was written and the caches do not show yet, and since when numbers are too high.
type memory struct {
	now func() time.Time

	mu    sync.Mutex
	byKey map[kcp.ObjectKey]*remembered
}

// remembered is what is known of one workload. It is dropped when it holds nothing.
type remembered struct {
	// written are revisions by their names.
	written map[string]write
	// workload is the resource version that a write of the workload gave, empty where the cache has it.
	workload string
	at       time.Time
	// due is when the numbers of the present revision may be lowered, zero while they are not too high.
	due time.Time
	// first is when the first revision is made at the latest, zero while there is nothing to make.
	first time.Time
}

// write is a revision as it was written, deleted or not.
type write struct {
	revision  *revisions.Revision
	isDeleted bool
	at        time.Time
}

func newMemory(now func() time.Time) *memory {
	return &memory{now: now, byKey: map[kcp.ObjectKey]*remembered{}}
}

// of returns what is remembered of a workload, for a change. It is called with mu held.
func (m *memory) of(key kcp.ObjectKey) *remembered {
	if m.byKey[key] == nil {
		m.byKey[key] = &remembered{written: map[string]write{}}
	}
	return m.byKey[key]
}

// tidy drops what is remembered of a workload if that is nothing. It is called with mu held.
func (m *memory) tidy(key kcp.ObjectKey) {
	if r := m.byKey[key]; r != nil && len(r.written) == 0 && r.workload == "" && r.due.IsZero() && r.first.IsZero() {
		delete(m.byKey, key)
	}
}

// drop drops a part of what is remembered of a workload. It is called with mu held.
func (m *memory) drop(key kcp.ObjectKey, part func(r *remembered)) {
	if r := m.byKey[key]; r != nil {
		part(r)
		m.tidy(key)
	}
}

// forget drops all that is remembered of a workload that is gone.
func (m *memory) forget(key kcp.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byKey, key)
}

// wrote remembers a revision as a write has returned it.
func (m *memory) wrote(key kcp.ObjectKey, revision *revisions.Revision) { m.note(key, revision, false) }

// deleted remembers that a revision was deleted.
func (m *memory) deleted(key kcp.ObjectKey, revision *revisions.Revision) {
	m.note(key, revision, true)
}

func (m *memory) note(key kcp.ObjectKey, revision *revisions.Revision, isDeleted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(key).written[revision.Name] = write{revision, isDeleted, m.now()}
}

// gone takes note that a revision has left the caches.
func (m *memory) gone(key kcp.ObjectKey, revision *revisions.Revision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.byKey[key]; r != nil && isOf(r.written[revision.Name], revision.UID) {
		delete(r.written, revision.Name)
		m.tidy(key)
	}
}

func isOf(w write, uid types.UID) bool { return w.revision != nil && w.revision.UID == uid }

// overlay returns the revisions as they are with what was written, and forgets what the caches show.
func (m *memory) overlay(key kcp.ObjectKey, cached []*revisions.Revision) []*revisions.Revision {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.byKey[key]
	if r == nil {
		return cached
	}
	defer m.tidy(key)
	for name, w := range r.written {
		at := slices.IndexFunc(cached, func(revision *revisions.Revision) bool { return revision.Name == name })
		var shown *revisions.Revision
		if at >= 0 {
			shown = cached[at]
		}
		switch {
		case m.now().Sub(w.at) > longestLag || w.isIn(shown):
			delete(r.written, name)
		case w.isDeleted:
			cached = slices.Delete(cached, at, at+1)
		case shown != nil:
			cached[at] = w.revision
		default:
			cached = append(cached, w.revision)
		}
	}
	return cached
}

// isIn reports whether the caches have a write, or what came after it: they show that of its name, nil for nothing.
func (w write) isIn(shown *revisions.Revision) bool {
	switch {
	case w.isDeleted:
		return shown == nil || shown.UID != w.revision.UID
	case shown == nil:
		return false
	default:
		return shown.UID != w.revision.UID || !isOlder(shown.ResourceVersion, w.revision.ResourceVersion)
	}
}

// isOlder reports whether a resource version is older than another. Of what cannot be compared, nothing is.
func isOlder(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order < 0
}

// wroteWorkload remembers a workload as a write has returned it.
func (m *memory) wroteWorkload(key kcp.ObjectKey, written *unstructured.Unstructured) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.of(key)
	r.workload, r.at = written.GetResourceVersion(), m.now()
}

// isStale reports whether the cache has a workload as it was before our last write.
func (m *memory) isStale(key kcp.ObjectKey, workload *unstructured.Unstructured) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.byKey[key]
	if r == nil || r.workload == "" {
		return false
	}
	if isOlder(workload.GetResourceVersion(), r.workload) && m.now().Sub(r.at) < longestLag {
		return true
	}
	r.workload = ""
	m.tidy(key)
	return false
}

// hasFallen reports whether the numbers of the present revision have been too high for long enough.
func (m *memory) hasFallen(key kcp.ObjectKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.byKey[key]
	return r != nil && !r.due.IsZero() && !m.now().Before(r.due)
}

// falls takes note of what a plan says of numbers that are too high, and returns when to look again, 0 for not before the next event.
func (m *memory) falls(key kcp.ObjectKey, plan revisions.Plan) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !plan.Falls {
		m.drop(key, func(r *remembered) { r.due = time.Time{} })
		return 0
	}
	r, grace := m.of(key), fallGrace
	if plan.Settled {
		grace = settledGrace
	}
	if due := m.now().Add(grace); r.due.IsZero() || due.Before(r.due) {
		r.due = due
	}
	return r.due.Sub(m.now())
}

// untilFirst returns how long the first revision that a plan makes may wait for the end of the roll-out, of grace in all.
func (m *memory) untilFirst(key kcp.ObjectKey, plan revisions.Plan, grace time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !plan.IsEarly {
		m.drop(key, func(r *remembered) { r.first = time.Time{} })
		return 0
	}
	r := m.of(key)
	if r.first.IsZero() {
		r.first = m.now().Add(grace)
	}
	return r.first.Sub(m.now())
}
