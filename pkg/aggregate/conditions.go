package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Reasons of Deployments that clients look for (k8s.io/kubernetes/pkg/controller/deployment/util; kubectl's rollout status
// and Argo CD's health check both know ProgressDeadlineExceeded), and of our own.
const (
	reasonAvailable        = "MinimumReplicasAvailable"
	reasonUnavailable      = "MinimumReplicasUnavailable"
	reasonProgressing      = "ReplicaSetUpdated"
	reasonComplete         = "NewReplicaSetAvailable"
	reasonDeadlineExceeded = "ProgressDeadlineExceeded"

	reasonNoClusters = protocol.ReasonNoClusters
	reasonSynced     = "Synced"
	reasonMerged     = "Merged"
	reasonEnded      = "Ended"
	reasonAlike      = "Alike"
)

// progressing is the type of a Deployment's condition whose reason says that it is done, or that its deadline has passed.
const progressing = "Progressing"

// condition is a merged condition before it has times.
type condition struct {
	conditionType string
	status        metav1.ConditionStatus
	reason        string
	message       string
}

// addConditions merges the conditions: those that have a rule of their own in the kind's entry, in its order, all others by
// type, and our own.
func (m *merge) addConditions() {
	merged := slices.Concat(m.addReconciling(slices.Concat(m.ruled(), m.others())), []condition{m.synced()}, m.ended(), m.boundTo(), m.hindered(), m.silent())
	previous, _, _ := unstructured.NestedSlice(m.in.Object.Object, "status", conditionsField)
	conditions := make([]any, 0, len(merged))
	for _, c := range merged {
		conditions = append(conditions, m.timed(c, previous))
	}
	m.status[conditionsField] = conditions
}

func (m *merge) ruled() []condition {
	var merged []condition
	for _, c := range m.kind.Conditions {
		switch c.Merge {
		case kinds.MergeAvailable:
			merged = append(merged, m.available(c.Type))
		case kinds.MergeProgressing:
			merged = append(merged, m.progressing(c.Type)...)
		case kinds.MergeWhenTrue:
			merged = append(merged, m.whenTrue(c)...)
		case kinds.MergeByMeaning, kinds.MergeWhenAllSay: // is one of the others
		}
	}
	return merged
}

func (m *merge) others() []condition {
	var types []string
	for _, e := range m.shown {
		for _, c := range e.Report.Conditions {
			if m.isOther(c.Type) {
				types = append(types, c.Type)
			}
		}
	}
	slices.SortFunc(types, func(a, b string) int {
		return cmp.Or(isLast(a)-isLast(b), cmp.Compare(a, b))
	})
	var merged []condition
	for _, conditionType := range slices.Compact(types) {
		merged = append(merged, m.byMeaning(m.kind.Condition(conditionType)))
	}
	return merged
}

// isOther reports whether a type of conditions is merged by its meaning alone.
func (m *merge) isOther(conditionType string) bool {
	switch m.kind.Condition(conditionType).Merge {
	case kinds.MergeByMeaning:
		return !protocol.IsHubsCondition(conditionType)
	case kinds.MergeWhenAllSay:
		return all(m.shown, func(e protocol.Entry) bool { _, says := e.Report.Condition(conditionType); return says })
	default:
		return false
	}
}

// isLast is 1 for Reconciling, and 0 for what comes before it: kstatus believes the first that it knows, and what has failed on one
// cluster has failed.
func isLast(conditionType string) int {
	if conditionType == v1alpha1.ConditionReconciling {
		return 1
	}
	return 0
}

// says is a test whether a cluster reports the condition with the status.
func says(conditionType string, status metav1.ConditionStatus) func(protocol.Entry) bool {
	return func(e protocol.Entry) bool {
		c, ok := e.Report.Condition(conditionType)
		return ok && c.Status == status
	}
}

// quote returns what the clusters say of a condition, and the first of their reasons.
func quote(entries []protocol.Entry, conditionType string) (reason string, quotes []string) {
	for _, e := range entries {
		if c, ok := e.Report.Condition(conditionType); ok {
			reason = cmp.Or(reason, c.Reason)
			quotes = append(quotes, e.Cluster+": "+cmp.Or(c.Message, c.Reason, string(c.Status)))
		}
	}
	return reason, quotes
}

// available is true when the clusters say so. A cluster that says nothing is not available. Pods that do not run are no less worth
// a word where there are enough of others.
func (m *merge) available(conditionType string) condition {
	isTrue := says(conditionType, metav1.ConditionTrue)
	lacking, total := without(m.shown, isTrue), len(m.shown)
	switch {
	case len(m.placed) == 0:
		return condition{conditionType, metav1.ConditionFalse, reasonNoClusters, "The workload is placed on no cluster."}
	case total > 0 && m.strategy.passes(total-len(lacking), total):
		message := fmt.Sprintf("Minimum availability in %s.", clusters(total-len(lacking)))
		return condition{conditionType, metav1.ConditionTrue, reasonAvailable, m.because(message, " ", m.shown, "")}
	default:
		message := fmt.Sprintf("No minimum availability in %s (%d of %s).", list(lacking, ", "), len(lacking), clusters(total))
		isNot := func(e protocol.Entry) bool { return !isTrue(e) }
		return condition{conditionType, metav1.ConditionFalse, reasonUnavailable, m.because(message, " ", filter(m.shown, isNot), "")}
	}
}

// hasFailed reports whether the cluster has exceeded the progress deadline of the present inputs: a failure of earlier ones
// is history.
func hasFailed(e protocol.Entry) bool {
	c, ok := e.Report.Condition(progressing)
	return e.IsUpToDate() && ok && c.Reason == reasonDeadlineExceeded
}

// cannotProgress reports whether the cluster says so for another reason.
func cannotProgress(e protocol.Entry) bool {
	return e.IsUpToDate() && !hasFailed(e) && says(progressing, metav1.ConditionFalse)(e)
}

// progressing is false when clusters have failed, complete when they are, and absent when no cluster has an opinion (a
// paused Deployment without a deadline). An exceeded deadline comes before other failures: it is the one that ends a
// rollout.
func (m *merge) progressing(conditionType string) []condition {
	total := len(m.shown)
	for _, failure := range []func(protocol.Entry) bool{hasFailed, cannotProgress} {
		if failed := filter(m.shown, failure); m.strategy.fails(len(failed), total) {
			reason, quotes := quote(failed, conditionType)
			return []condition{{conditionType, metav1.ConditionFalse, reason, m.because(list(quotes, "; "), "; ", failed, "")}}
		}
	}
	waiting := without(m.shown, protocol.Entry.IsUpToDate)
	if !m.strategy.passes(total-len(waiting), total) {
		message := fmt.Sprintf("Waiting for %s to take up the present generation.", list(waiting, ", "))
		return []condition{{conditionType, metav1.ConditionTrue, reasonProgressing, message}}
	}
	_, opinions := quote(m.shown, conditionType)
	rolling := filter(m.shown, func(e protocol.Entry) bool {
		c, _ := e.Report.Condition(conditionType)
		return c.Reason != reasonComplete
	})
	_, unfinished := quote(rolling, conditionType)
	switch {
	case len(opinions) == 0:
		return nil
	case !m.strategy.passes(len(opinions)-len(unfinished), len(opinions)):
		return []condition{{conditionType, metav1.ConditionTrue, reasonProgressing, m.because(list(unfinished, "; "), "; ", rolling, "")}}
	default:
		return []condition{{conditionType, metav1.ConditionTrue, reasonComplete, fmt.Sprintf("Successfully progressed in %s.", clusters(total))}}
	}
}

// whenTrue is true as its meaning has it, and absent otherwise.
func (m *merge) whenTrue(c kinds.Condition) []condition {
	saySo := filter(m.shown, says(c.Type, metav1.ConditionTrue))
	reason, quotes := quote(saySo, c.Type)
	switch {
	case c.TrueAnywhere() && m.strategy.fails(len(saySo), len(m.shown)):
		return []condition{{c.Type, metav1.ConditionTrue, reason, m.quoted(c, reason, quotes, saySo)}}
	case !c.TrueAnywhere() && len(saySo) > 0 && m.strategy.passes(len(saySo), len(m.shown)):
		return []condition{{c.Type, metav1.ConditionTrue, reason, fmt.Sprintf("In %s.", clusters(len(saySo)))}}
	default:
		return nil
	}
}

// byMeaning merges a condition that has no rule of its own: the worst opinion counts, or what most say.
func (m *merge) byMeaning(c kinds.Condition) condition {
	good, bad := metav1.ConditionTrue, metav1.ConditionFalse
	if c.TrueAnywhere() {
		good, bad = bad, good
	}
	isGood, total := says(c.Type, good), len(m.shown)
	if agreeing := filter(m.shown, isGood); m.strategy.passes(len(agreeing), total) {
		reason, _ := quote(agreeing, c.Type)
		return condition{c.Type, good, cmp.Or(reason, reasonMerged), fmt.Sprintf("In %s.", clusters(total))}
	}
	others := filter(m.shown, func(e protocol.Entry) bool { return !isGood(e) })
	reason, quotes := quote(others, c.Type)
	for _, cluster := range without(m.shown, func(e protocol.Entry) bool { _, ok := e.Report.Condition(c.Type); return ok }) {
		quotes = append(quotes, cluster+": says nothing of it")
	}
	status := metav1.ConditionUnknown
	if m.strategy.fails(len(filter(m.shown, says(c.Type, bad))), total) {
		status = bad
	}
	return condition{c.Type, status, cmp.Or(reason, reasonMerged), m.quoted(c, reason, quotes, others)}
}

// silent returns a condition for each placed cluster that is silent: who reads the object need not read messages.
func (m *merge) silent() []condition {
	var silent []condition
	for _, e := range m.placed {
		if e.Belief == protocol.Silent {
			silent = append(silent, condition{v1alpha1.SilentCondition(e.Cluster), metav1.ConditionTrue, string(e.Belief), e.Doubt})
		}
	}
	return silent
}

// timed gives a condition its times: lastTransitionTime moves with the status alone, lastUpdateTime, where the kind has it,
// with any news.
func (m *merge) timed(c condition, previous []any) map[string]any {
	now := m.in.Now.UTC().Format(time.RFC3339)
	result := map[string]any{
		"type": c.conditionType, "status": string(c.status), "reason": c.reason, "message": text.Shorten(c.message, longestMessage),
		"lastTransitionTime": now,
	}
	if m.kind.UpdateTimes {
		result["lastUpdateTime"] = now
	}
	for _, entry := range previous {
		before, ok := entry.(map[string]any)
		if !ok || before["type"] != result["type"] || before["status"] != result["status"] {
			continue
		}
		keep(result, before, "lastTransitionTime")
		if m.kind.UpdateTimes && before["reason"] == result["reason"] && before["message"] == result["message"] {
			keep(result, before, "lastUpdateTime")
		}
	}
	return result
}

// keep takes a time over from the condition as it is.
func keep(result, before map[string]any, field string) {
	if value, ok := before[field].(string); ok {
		result[field] = value
	}
}

// longestMessage is how long the message of a merged condition may be: what clusters say is quoted in it.
const longestMessage = 8 << 10

// mostNames is how many clusters a message names before it counts the rest.
const mostNames = 3

// list joins entries for people: the first few, then how many more.
func list(entries []string, separator string) string {
	if len(entries) <= mostNames {
		return strings.Join(entries, separator)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(entries[:mostNames], separator), len(entries)-mostNames)
}

// clusters words a number of clusters.
func clusters(number int) string {
	if number == 1 {
		return "1 cluster"
	}
	return fmt.Sprintf("%d clusters", number)
}
