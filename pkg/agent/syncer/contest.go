package syncer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// noteTime is how long a report tells of a copy that was put back: long enough to become an event, and no longer, so that the next
// time becomes another.
const noteTime = time.Minute

// notesAt returns what is told of what was put right, and for how long.
func (m *memory) notesAt(now time.Time) ([]protocol.Problem, time.Duration) {
	if wait := m.notesUntil.Sub(now); wait > 0 {
		return m.notes, wait
	}
	return nil, 0
}

// What is in this file keeps the syncer from fighting for ever with another writer: see evaluate.Contest.

// standing returns how it stands with somebody who changes the copy whenever it is put back. A contest that is over is forgotten.
func (s *Syncer) standing(key kcp.ObjectKey, e *evaluate.Evaluation) evaluate.Standing {
	contest := s.memories.get(key).contest
	if contest == nil {
		return evaluate.Standing{}
	}
	hash, isInPlace := "", e.Difference == evaluate.NoDifference
	if e.Desired != nil {
		hash = hashOf(e.Desired)
	}
	standing := contest.At(hash, isInPlace, s.now())
	if isInPlace && contest.IsOver(s.now()) {
		s.memories.update(key, func(m *memory) { m.contest = nil })
	}
	return standing
}

// noteWrite takes note that the cluster has taken a copy. It is a repair, and counts, unless it brings something new: live is what
// it was written onto, nil for nothing. Whatever puts a copy back calls it once.
func (s *Syncer) noteWrite(t turn, live *unstructured.Unstructured) {
	hash, fields, now := hashOf(t.Desired), t.Fields(live), s.now()
	s.memories.update(t.key, func(m *memory) {
		isRepair := t.Difference == evaluate.Drifted || m.applied == hash
		switch {
		case isRepair && len(fields) > 0:
			m.contest = m.contest.Repaired(hash, fields, now)
			m.notes, m.notesUntil = []protocol.Problem{evaluate.DriftRepaired(fields)}, now.Add(noteTime)
		case !isRepair:
			m.contest = m.contest.Changed(hash, now)
		}
		m.applied = hash
	})
}

// backOff leaves the copy alone until it may be put back again.
func (s *Syncer) backOff(ctx context.Context, t turn) (result, error) {
	if s.memories.get(t.key).contest.IsPending() {
		return result{t.Problems, t.Again}, nil
	}
	if err := s.findRivals(ctx, t); err != nil {
		return result{}, err
	}
	s.memories.update(t.key, func(m *memory) { m.contest = m.contest.Waiting() })
	return result{[]protocol.Problem{s.memories.get(t.key).contest.Problem()}, t.Again}, nil
}

// findRivals notes who has the fields of the copy that we do not, before these are put back once more. The cluster is asked, for
// the cache does not know: once for each repair of a contest, and never before there is one.
func (s *Syncer) findRivals(ctx context.Context, t turn) error {
	if !s.memories.get(t.key).contest.IsOn(s.now()) {
		return nil
	}
	live, err := s.downstream.live(ctx, t.key.Resource, t.Namespace, t.Name)
	if err != nil || live == nil {
		return err
	}
	rivals := transform.Holders(live, transform.Taken(t.Desired, live))
	s.memories.update(t.key, func(m *memory) { m.contest = m.contest.Against(rivals) })
	return nil
}
