package aggregate

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// reasonNotStarted is the reason of Reconciling where a cluster has not started what others have.
const reasonNotStarted = "NotStarted"

// addReconciling has the conditions say that the object is under way while a placed cluster has not taken it up as it is now, or has
// not started what others have. It is the condition by which kstatus is told so of any kind
// (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md): without it, a Service, a budget or a claim would
// read as current at once. It is left to numbers where these tell, and to a failure where there is one. It comes and goes with
// Synced, in the same write.
func (m *merge) addReconciling(merged []condition) []condition {
	if m.tellsByNumbers() || slices.ContainsFunc(merged, m.saysEnd) {
		return merged
	}
	reason, messages := m.notTakenUp()
	if len(messages) == 0 {
		reason, messages = m.notStarted()
	}
	if len(messages) == 0 {
		return merged
	}
	own := condition{v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason, list(messages, "; ")}
	at := slices.IndexFunc(merged, func(c condition) bool { return c.conditionType == own.conditionType })
	switch {
	case at < 0:
		return append(merged, own)
	case merged[at].status != metav1.ConditionTrue:
		merged[at] = own
	}
	return merged
}

// tellsByNumbers reports whether the numbers of the status tell that a cluster is not done. A StatefulSet whose pods only its user
// updates reads as current whatever they are.
func (m *merge) tellsByNumbers() bool {
	if m.kind.Rollout != kinds.StatefulSetRollout {
		return m.kind.Rollout != kinds.NoRollout
	}
	isOnDelete, _, _ := m.updateStrategy()
	return !isOnDelete
}

// saysEnd reports whether a condition says that the object will do nothing more.
func (m *merge) saysEnd(c condition) bool {
	return c.status == metav1.ConditionTrue && slices.Contains(m.kind.Ends, c.conditionType)
}

// notTakenUp says which clusters have not taken the object up as it is now, after the time that they have for that.
func (m *merge) notTakenUp() (reason string, messages []string) {
	onlyLag := true
	for _, e := range m.placed {
		switch {
		case !isBelieved(e):
			onlyLag = false
			reason = cmp.Or(reason, string(e.Belief))
			messages = append(messages, e.Cluster+": "+e.Doubt)
		case !e.IsUpToDate() && !m.kind.ReportsEnd(e.Report):
			reason = cmp.Or(reason, protocol.ReasonNotTakenUp)
			messages = append(messages, e.Cluster+": "+protocol.SayLag(e.Lag, e.Report.Generation, m.in.Object.GetGeneration()))
		}
	}
	isNew := trueCondition(m.in.Object, v1alpha1.ConditionReconciling) == nil
	if len(messages) > 0 && onlyLag && isNew && m.in.Waits != nil && m.in.Waits() {
		return "", nil
	}
	return reason, messages
}

// notStarted says which clusters have not started what others have, by the times of which the earliest counts.
func (m *merge) notStarted() (reason string, messages []string) {
	for _, field := range m.kind.Times {
		if _, started := m.status[field.Field]; !started || field.Rule != kinds.Earliest {
			continue
		}
		for _, e := range m.placed {
			if e.Report.Texts[field.Field] == "" && !m.kind.ReportsEnd(e.Report) {
				reason, messages = reasonNotStarted, append(messages, e.Cluster+": has not started it")
			}
		}
	}
	return reason, messages
}
