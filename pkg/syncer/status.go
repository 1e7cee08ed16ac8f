package syncer

import (
	"context"
	"slices"
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
	if err != nil {
		return 0, err
	}
	// An object that leaves keeps its last report until it is released.
	if st.desired == nil || !hasFinalizer(st.upstreamObj, s.cluster) {
		return 0, nil
	}
	report := buildReport(st, remembered.problems)
	encoded, err := report.Encode()
	if err != nil {
		return 0, err
	}
	annotation := v1alpha1.StatusAnnotation(s.cluster)
	present, reported := st.upstreamObj.GetAnnotations()[annotation]
	if encoded == present {
		return 0, nil
	}
	if wait := s.untilNews(st, report); !reported && wait > 0 {
		return wait, nil
	}
	if wait := reportInterval - s.now().Sub(remembered.reported); wait > 0 {
		return wait, nil
	}
	if err := s.patchUpstream(ctx, key, kcp.MetadataPatch{
		Of:          st.upstreamObj,
		Annotations: map[string]*string{annotation: &encoded},
	}); err != nil {
		return 0, err
	}
	s.memories.update(key, func(m *memory) { m.reported = s.now() })
	s.warn(st.upstreamObj, present, report)
	return 0, nil
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

// warn records an event for each problem that the previous report did not have.
func (s *Syncer) warn(upstreamObj *unstructured.Unstructured, previous string, report v1alpha1.Report) {
	// A previous report that cannot be read had no problem that we know of.
	known, _ := v1alpha1.ParseReport(s.cluster, previous)
	for _, problem := range report.Problems {
		if !slices.Contains(known.Problems, problem) {
			s.recorder.Warning(upstreamObj, problem.Reason, "cluster "+s.cluster+": "+problem.Message)
		}
	}
}
