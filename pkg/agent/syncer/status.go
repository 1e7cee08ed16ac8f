package syncer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// reportInterval is the least time between two reports on one object: while pods
// churn, the first news goes up at once and the latest follows.
const reportInterval = time.Second

// syncStatus is a turn of the status loop: one patch of our own annotation, when
// the report is not what it says.
func (s *Syncer) syncStatus(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	remembered := s.memories.get(key)
	if !remembered.seen {
		return 0, nil // the spec loop comes first, and queues the status
	}
	st, err := s.gather(key)
	if err != nil || !isReported(st) {
		return 0, err
	}
	present, reported := st.upstreamObj.GetAnnotations()[v1alpha1.StatusAnnotation(s.cluster)]
	if len(remembered.problems) == 0 && !s.upstream.Resources()[key.Resource].HasStatus {
		return 0, s.withdrawReport(ctx, key, st, reported)
	}
	report := buildReport(st, remembered.problems)
	same, err := s.says(present, report)
	if err != nil || same {
		return 0, err
	}
	wait := reportInterval - s.now().Sub(remembered.reported)
	if !reported {
		wait = s.untilNews(st, report)
	}
	if wait > 0 {
		return wait, nil
	}
	return 0, s.writeReport(ctx, key, st.upstreamObj, report)
}

// isReported reports whether there is something to report. An object that leaves
// keeps its last report until it is released, and so does a Job that has run and is
// gone.
func isReported(st state) bool {
	switch {
	case st.desired == nil && st.broken == nil, !hasFinalizer(st.upstreamObj, st.origin.Cluster):
		return false
	case st.hasRun && st.downstreamObj == nil:
		return st.final != nil
	default:
		return true
	}
}

// withdrawReport takes the report off an object whose kind has no status that it
// could become part of, and that has no problem to tell of any more. Of such kinds
// (ConfigMaps, Secrets) there is nothing else to say.
func (s *Syncer) withdrawReport(ctx context.Context, key kcp.ObjectKey, st state, reported bool) error {
	if !reported {
		return nil
	}
	return s.patchUpstream(ctx, key, kcp.MetadataPatch{
		Of:          st.upstreamObj,
		Annotations: map[string]*string{v1alpha1.StatusAnnotation(s.cluster): nil},
	})
}

// writeReport stamps the report and patches the annotation.
func (s *Syncer) writeReport(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, report v1alpha1.Report) error {
	now := s.now()
	report.Written = now.UTC().Format(v1alpha1.WrittenLayout)
	encoded, err := report.Encode()
	if err != nil {
		return err
	}
	if err := s.patchUpstream(ctx, key, kcp.MetadataPatch{
		Of:          upstreamObj,
		Annotations: map[string]*string{v1alpha1.StatusAnnotation(s.cluster): &encoded},
	}); err != nil {
		return err
	}
	s.memories.update(key, func(m *memory) { m.reported = now })
	return nil
}

// says reports whether the annotation, as it stands, says just what the report
// does, whenever it was written. It compares bytes: a report that somebody has
// rewritten or added to is written anew.
func (s *Syncer) says(present string, report v1alpha1.Report) (bool, error) {
	// What cannot be read was written at no time, and is not what we would write.
	standing, _ := v1alpha1.ParseReport(s.cluster, present)
	report.Written = standing.Written
	encoded, err := report.Encode()
	return encoded == present, err
}

// untilNews returns how long to hold a first report back that says nothing yet:
// until there is a copy, and for as long as the copy is so new that its own
// controller is about to give it a status.
func (s *Syncer) untilNews(st state, report v1alpha1.Report) time.Duration {
	switch {
	case len(report.Problems) > 0 || len(report.Counters) > 0 || len(report.Conditions) > 0:
		return 0
	case st.downstreamObj == nil:
		return reportInterval // its event will come, or a problem
	default:
		return reportInterval - s.now().Sub(st.downstreamObj.GetCreationTimestamp().Time)
	}
}
