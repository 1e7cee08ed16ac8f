package syncer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// reportInterval is the least time between two reports on one object: while pods churn, the first news goes up at once and the
// latest follows.
const reportInterval = time.Second

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
// 0 for never.
func (s *Syncer) report(ctx context.Context, key kcp.ObjectKey, e *evaluate.Evaluation, report protocol.Report) (time.Duration, error) {
	remembered, now := s.memories.get(key), s.now()
	present, isReported := protocol.Read(e.Upstream).EncodedReport(s.cluster)
	// What cannot be read was written at no time, says nothing, and is not what we would write.
	last, _ := protocol.ParseReport(s.cluster, present)
	report, onlyWhy, err := s.withCauses(key, e, last, present, report)
	if err != nil {
		return 0, err
	}
	again := remembered.heldBack(now)
	if same, err := saysSame(last, present, report); err != nil || same {
		return again, err
	}
	wait := remembered.spacing(onlyWhy, now)
	if !isReported {
		wait = s.untilNews(key, e, report, now)
	}
	if wait > 0 {
		return controller.Sooner(again, wait), nil
	}
	later, err := s.tryReport(ctx, key, e.Upstream, report, now)
	if isWritten := err == nil; onlyWhy && isWritten {
		s.memories.update(key, func(m *memory) { m.explained = now })
	}
	return controller.Sooner(again, later), err
}

// withdrawReport removes a report where there is nothing to say, and no status that it could become part of (ConfigMaps, Secrets).
func (s *Syncer) withdrawReport(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) error {
	if _, isReported := protocol.Read(upstreamObj).EncodedReport(s.cluster); !isReported {
		return nil
	}
	return s.patchReport(ctx, key, upstreamObj, nil)
}

// spacing returns how long the next report has to wait for the last one, and, where only the causes are new, for the last such one.
func (m *memory) spacing(onlyWhy bool, now time.Time) time.Duration {
	wait := reportInterval - now.Sub(m.reported)
	if onlyWhy {
		wait = max(wait, explainInterval-now.Sub(m.explained))
	}
	return wait
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
	case err == nil || !kcp.IsRefusal(err):
		return 0, err
	case len(report.Causes) > 0:
		s.memories.update(key, func(m *memory) { m.whyRefused = now })
		return reportInterval, nil // without them: the numbers count more
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
	s.memories.update(key, func(m *memory) { m.reported = now })
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

// untilNews returns how long to keep a first report back that says nothing yet: until there is a copy, and for as long as the
// copy is so new that its own controller is about to give it a status. It is as old as we have known it, by our clock: the time of
// its creation is by another machine's.
func (s *Syncer) untilNews(key kcp.ObjectKey, e *evaluate.Evaluation, report protocol.Report, now time.Time) time.Duration {
	switch {
	case len(report.Problems) > 0 || len(report.Counters) > 0 || len(report.Conditions) > 0:
		return 0
	case e.Downstream == nil:
		return reportInterval // its event will come, or a problem
	}
	since := now
	s.memories.update(key, func(m *memory) { since = m.silent.since(e.Downstream.GetUID(), now) })
	return reportInterval - now.Sub(since)
}
