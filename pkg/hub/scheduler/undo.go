package scheduler

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// What is in this file puts back what `kubectl rollout undo` takes off a Deployment: see pkg/protocol/undo.go. A hub that runs, and one
// that stands by, has seen the object before that: it writes all of it again, in one write with what the new annotations change, and
// nothing moves. A hub that has not seen it decides anew. Where replicas are divided, it waits for the reports of the clusters, which
// tell how many replicas each runs.

const (
	// reportsGrace is how long a hub waits for the reports on a bare object, from when it first decided about it, and reportsRetry is
	// how often it looks. Syncers report on a bare object after some seconds.
	reportsGrace = 15 * time.Second
	reportsRetry = time.Second
)

// bares are the objects that are bare.
type bares struct {
	mu    sync.Mutex
	byKey map[kcp.ObjectKey]bare
}

// bare is what is known of an object that is bare.
type bare struct {
	// lost are the annotations that it had, nil where that was not seen.
	lost map[string]string
	// since is when it was first decided about, where that counts.
	since time.Time
}

func newBares() *bares { return &bares{byKey: map[kcp.ObjectKey]bare{}} }

func (b *bares) get(key kcp.ObjectKey) bare {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byKey[key]
}

func (b *bares) set(key kcp.ObjectKey, known bare) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byKey[key] = known
}

func (b *bares) forget(key kcp.ObjectKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byKey, key)
}

// isBare reports whether an undo has taken the hub's annotations off an object.
func (s *Scheduler) isBare(upstreamObj *unstructured.Unstructured) bool {
	return s.config.Kinds.Of(upstreamObj.GroupVersionKind().GroupKind()).LosesAnnotations() && protocol.Read(upstreamObj).IsBare()
}

// noteLost remembers what an object has lost, until it has that again or is gone. Of several undos in a row, the first one counts.
func (s *Scheduler) noteLost(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	switch {
	case newObj == nil || !s.isBare(newObj):
		s.bares.forget(key)
	case oldObj != nil:
		if lost := protocol.Read(newObj).Lost(protocol.Read(oldObj)); lost != nil {
			s.bares.set(key, bare{lost: lost})
		}
	}
}

// restored returns the object as it would be had no undo taken anything off it, and which annotations are to be written for that. Most
// objects are returned as they are. One that leaves all its clusters needs nothing back.
func (s *Scheduler) restored(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) (whole *unstructured.Unstructured, regained map[string]string) {
	said := protocol.Read(upstreamObj)
	if !s.isBare(upstreamObj) || said.IsEnding() {
		return upstreamObj, nil
	}
	if lost := s.bares.get(key).lost; lost != nil {
		regained = said.Regained(lost)
	} else {
		regained, _ = said.FromReports()
	}
	return protocol.WithAnnotations(upstreamObj, regained), regained
}

// untilReported returns how long to wait before anything is written on a bare object that is divided and that this hub has not seen
// whole: clusters that are heard of are to say first how many replicas they run.
func (s *Scheduler) untilReported(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, decision placement.Decision) time.Duration {
	if decision.Shares == nil || !s.isBare(upstreamObj) {
		return 0
	}
	said, known := protocol.Read(upstreamObj), s.bares.get(key)
	_, silent := said.FromReports()
	isAwaited := func(cluster string) bool { return said.IsHeld(cluster) && s.config.Registry.Cluster(cluster).Ready }
	if known.lost != nil || !slices.ContainsFunc(silent, isAwaited) {
		return 0
	}
	if known.since.IsZero() {
		known.since = s.now()
		s.bares.set(key, known)
	}
	return min(reportsRetry, max(reportsGrace-s.now().Sub(known.since), 0))
}
