package aggregate

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// ended notes since when an object with a time to live has ended on every cluster that it is placed on, whatever the strategy.
// The condition is in the status, and so outlives the hub; its time is the hub's own, since the clocks of clusters are theirs.
// The conditions of the kind do not do: one that fails on a cluster has failed, and may still run on others.
func (m *merge) ended() []condition {
	_, expires := m.kind.TTLOf(m.in.Object)
	if !expires || len(m.placed) == 0 || !all(m.placed, m.hasEnded) {
		return nil
	}
	return []condition{{v1alpha1.ConditionEnded, metav1.ConditionTrue, reasonEnded, fmt.Sprintf("In %s.", clusters(len(m.placed)))}}
}

// hasEnded reports whether the object does nothing more on a cluster. Where its user wants a changed one to replace the one
// that ran, that is still to run.
func (m *merge) hasEnded(e protocol.Entry) bool {
	isToRun := protocol.Read(m.in.Object).Replaces() && e.Report.Generation != m.in.Object.GetGeneration()
	return m.kind.ReportsEnd(e.Report) && !isToRun
}

// Expiry returns since when an object has ended on all its clusters, by the clock of the hub that noted it, and for how long it
// is there after that. It returns false for one that has not ended, or that stays.
func Expiry(kind *kinds.Kind, upstreamObj *unstructured.Unstructured) (since time.Time, ttl time.Duration, expires bool) {
	ttl, expires = kind.TTLOf(upstreamObj)
	if !expires {
		return time.Time{}, 0, false
	}
	text, _ := trueCondition(upstreamObj, v1alpha1.ConditionEnded)["lastTransitionTime"].(string)
	since, err := time.Parse(time.RFC3339, text)
	return since, ttl, err == nil
}
