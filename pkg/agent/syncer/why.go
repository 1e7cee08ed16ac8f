package syncer

import (
	"time"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/causes"
	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/agent/syncer/explain"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// explainInterval is the least time between two reports on one object of which nothing is new but why it is not ready. The first
// such report goes up at once, and the latest follows. With other news, causes go along.
const explainInterval = 30 * time.Second

// withCauses returns the report with the reasons why the copy is not as ready as it should be; last is the report that there is,
// as it reads. onlyWhy is set when nothing else is new. Where only words churn, and while nothing is known yet, as after a restart,
// the reasons that were reported stay.
func (s *Syncer) withCauses(key kcp.ObjectKey, e *evaluate.Evaluation, last protocol.Report, present string, report protocol.Report) (with protocol.Report, onlyWhy bool, err error) {
	found, isKnown := s.causes(key, e, last.Causes)
	remembered := s.memories.get(key)
	switch {
	case remembered.heldBack(s.now()) > 0:
		found = nil
	case !isKnown:
		found = last.Causes
	}
	if len(found)+len(last.Causes) == 0 {
		return report, false, nil
	}
	asReported := becauseOf(report, last.Causes)
	onlyWhy, err = saysSame(last, present, asReported)
	if err != nil || onlyWhy && causes.Same(last.Causes, found) {
		return asReported, false, err
	}
	return becauseOf(report, causes.Kept(last.Causes, found)), onlyWhy, nil
}

// becauseOf returns the report with those causes.
func becauseOf(report protocol.Report, found []protocol.Cause) protocol.Report {
	report.Causes = found
	return report.Bounded()
}

// causes returns why a copy is not as ready as it should be, nothing when it is, and whether that is known by now. What was
// reported of a Job that has failed stays.
func (s *Syncer) causes(key kcp.ObjectKey, e *evaluate.Evaluation, reported []protocol.Cause) (found []protocol.Cause, isKnown bool) {
	unready := e.Unready()
	if unready == nil {
		s.explainer.Forget(key)
		return nil, true
	}
	subject := unready.Subject
	isAnswered := len(reported) > 0 || subject.Selector == "" && len(unready.Own) == 0
	if subject.Ended && isAnswered && !s.explainer.IsAsked(key) {
		return reported, true
	}
	found, isKnown = s.explainer.Explain(key, explain.Question{Subject: subject, Own: unready.Own})
	if isKnown && len(found) == 0 && unready.Lasting {
		return reported, true
	}
	return found, isKnown
}

// heldBack returns for how long reports have to do without causes, for which the annotations of the object had no room.
func (m *memory) heldBack(now time.Time) time.Duration {
	if m.whyRefused.IsZero() {
		return 0
	}
	return max(longestRefusal-now.Sub(m.whyRefused), 0)
}
