package syncer

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// withoutCausesAfter is how soon to write a report without causes that had no room for them.
const withoutCausesAfter = time.Second

// syncStatus is a turn of the status loop: one patch of our own annotation, when the report is not what it says. It uses the
// evaluation of the spec loop for as long as nothing has changed but the status.
func (s *Syncer) syncStatus(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	remembered := s.memories.get(key)
	if !remembered.seen {
		return 0, nil // the spec loop comes first, and queues the status
	}
	e, err := evaluate.Evaluate(s.gather(key), remembered.evaluation)
	if err != nil {
		return 0, err
	}
	if !e.IsReported() {
		s.explainer.Forget(key)
		return 0, nil
	}
	s.memories.keep(key, e)
	now := s.now()
	if wait := s.untilRestored(key, e, now); wait > 0 {
		return wait, nil
	}
	notes, again := remembered.notesAt(now)
	if len(remembered.problems)+len(notes) == 0 && !s.upstream.Resources()[key.Resource].HasStatus {
		return 0, s.withdrawReport(ctx, key, e.Upstream)
	}
	later, err := s.report(ctx, key, e, e.Report(remembered.problems, notes...))
	return controller.Sooner(again, later), err
}

// report writes a report if it is not what the annotation says, and adds why the copy is not ready. It returns when to look again,
// 0 for never. When it is written is up to its news: see evaluate.Pace.
func (s *Syncer) report(ctx context.Context, key kcp.ObjectKey, e *evaluate.Evaluation, report protocol.Report) (time.Duration, error) {
	now := s.now()
	present, unseen := s.lastReport(key, e.Upstream, now)
	remembered := s.memories.get(key)
	// What cannot be read was written at no time, says nothing, and is not what we would write.
	last, _ := protocol.ParseReport(s.cluster, present)
	report, onlyWhy, err := s.withCauses(key, e, last, present, report)
	if err != nil {
		return 0, err
	}
	again := controller.Sooner(remembered.heldBack(now), unseen)
	news, err := newsOf(e, last, present, report, onlyWhy)
	if err != nil {
		return again, err
	}
	pace, wait := remembered.pace.Heard(news, now)
	if pace != remembered.pace {
		s.memories.amend(key, func(m *memory) { m.pace = pace })
	}
	if onlyWhy {
		wait = max(wait, explainInterval-now.Sub(remembered.explained))
	}
	if news == evaluate.NoNews || wait > 0 {
		return controller.Sooner(again, wait), nil
	}
	later, err := s.tryReport(ctx, key, e.Upstream, report, now)
	if isWritten := err == nil && later == 0; isWritten {
		s.memories.amend(key, func(m *memory) {
			if m.pace = pace.Wrote(news, now); onlyWhy {
				m.explained = now
			}
		})
	}
	return controller.Sooner(again, later), err
}

// newsOf returns what a report brings beside the last one, which stands as present in the annotation; onlyWhy is set when nothing is
// new but the causes.
func newsOf(e *evaluate.Evaluation, last protocol.Report, present string, report protocol.Report, onlyWhy bool) (evaluate.News, error) {
	switch same, err := saysSame(last, present, report); {
	case err != nil || same:
		return evaluate.NoNews, err
	case onlyWhy:
		return evaluate.Trouble, nil
	default:
		return e.News(last, report, present == ""), nil
	}
}

// sent is a report that was written and that the cache does not show yet: what it showed before, what was written, and when.
type sent struct {
	before, encoded string
	at              time.Time
}

// lastReport returns the report that there is, empty for none, and, where that is one that the cache does not show yet, for how long
// that is believed: another event of the copy would have it written twice.
func (s *Syncer) lastReport(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, now time.Time) (encoded string, unseen time.Duration) {
	present, _ := protocol.Read(upstreamObj).EncodedReport(s.cluster)
	last := s.memories.get(key).sent
	if last == nil {
		return present, 0
	}
	if left := longestLag - now.Sub(last.at); left > 0 && present == last.before {
		return last.encoded, left
	}
	s.memories.amend(key, func(m *memory) { m.sent = nil })
	return present, 0
}

// withdrawReport removes a report where there is nothing to say, and no status that it could become part of (ConfigMaps, Secrets).
func (s *Syncer) withdrawReport(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) error {
	if _, isReported := protocol.Read(upstreamObj).EncodedReport(s.cluster); !isReported {
		return nil
	}
	return s.patchReport(ctx, key, upstreamObj, nil)
}

// restoreGrace is how long the hub may take to put back what an undo has taken off an object, this cluster's report among it. A hub
// that has not seen the object before reads then from the reports what each cluster runs.
const restoreGrace = 5 * time.Second

// untilRestored returns how long to wait before reporting on an object that an undo has taken the report off.
func (s *Syncer) untilRestored(key kcp.ObjectKey, e *evaluate.Evaluation, now time.Time) time.Duration {
	if !e.IsBare {
		return 0
	}
	since := now
	s.memories.update(key, func(m *memory) { since = m.bare.since(e.Upstream, now) })
	return restoreGrace - now.Sub(since)
}

// tryReport writes a report, and returns when to try again where kcp refuses it: there is no room for it. The hub says so on the
// object, a change of which is news.
func (s *Syncer) tryReport(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, report protocol.Report, now time.Time) (time.Duration, error) {
	err := s.writeReport(ctx, key, upstreamObj, report, now)
	switch {
	case err == nil || !kcp.IsRefusal(err) || apierrors.IsForbidden(err): // a kcp that starts forbids everything
		return 0, err
	case len(report.Causes) > 0:
		s.memories.update(key, func(m *memory) { m.whyRefused = now })
		return withoutCausesAfter, nil // without them: the numbers count more
	}
	klog.FromContext(ctx).Info("kcp refuses the report on an object", "reason", err.Error(), "again", longestRefusal)
	return longestRefusal, nil
}

// writeReport stamps a report and writes it.
func (s *Syncer) writeReport(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, report protocol.Report, now time.Time) error {
	report.Written = now.UTC().Format(protocol.WrittenLayout)
	encoded, err := report.Encode()
	if err != nil {
		return err
	}
	if err := s.patchReport(ctx, key, upstreamObj, &encoded); err != nil {
		return err
	}
	before, _ := protocol.Read(upstreamObj).EncodedReport(s.cluster)
	s.memories.amend(key, func(m *memory) { m.sent = &sent{before, encoded, now} })
	return nil
}

// patchReport writes our report, or removes it where encoded is nil.
func (s *Syncer) patchReport(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, encoded *string) error {
	change := protocol.Read(upstreamObj).NewChange()
	change.SetReport(s.cluster, encoded)
	return s.patchUpstream(ctx, key, change)
}

// saysSame reports whether the annotation, which reads as last, says just what the report does, whenever it was written. It
// compares bytes: a report that somebody has rewritten or added to is written anew.
func saysSame(last protocol.Report, annotation string, report protocol.Report) (bool, error) {
	report.Written = last.Written
	encoded, err := report.Encode()
	return encoded == annotation, err
}
