package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Condition types of Deployments.
const (
	available      = "Available"
	progressing    = "Progressing"
	replicaFailure = "ReplicaFailure"
)

// Reasons of our own.
const (
	reasonNoClusters    = "NoClusters"
	reasonNotReported   = "NotReported"
	reasonSilent        = "ClusterSilent"
	reasonInvalidReport = "InvalidReport"
	reasonSynced        = "Synced"
	reasonMerged        = "Merged"
)

// condition is a merged condition before it has times.
type condition struct {
	conditionType string
	status        metav1.ConditionStatus
	reason        string
	message       string
}

// says is a test whether a cluster reports the condition with the status.
func says(conditionType string, status metav1.ConditionStatus) func(observation) bool {
	return func(o observation) bool {
		c, ok := o.report.Condition(conditionType)
		return ok && c.Status == status
	}
}

// opinion is what a cluster says for a message to quote.
func opinion(o observation, c v1alpha1.ReportCondition) string {
	return o.cluster + ": " + cmp.Or(c.Message, c.Reason, string(c.Status))
}

// quote returns what the clusters say of which the test holds, and the first of
// their reasons.
func quote(observations []observation, conditionType string, test func(observation) bool) (reason string, quotes []string) {
	for _, o := range observations {
		if c, ok := o.report.Condition(conditionType); ok && test(o) {
			reason = cmp.Or(reason, c.Reason)
			quotes = append(quotes, opinion(o, c))
		}
	}
	return reason, quotes
}

// mergeAvailable is true when the clusters say so. A cluster that says nothing is
// not available.
func mergeAvailable(m *merge) *condition {
	merged := &condition{conditionType: available, status: metav1.ConditionFalse}
	isAvailable := says(available, metav1.ConditionTrue)
	lacking := clustersOf(m.shown, func(o observation) bool { return !isAvailable(o) })
	total := len(m.shown)
	switch {
	case len(m.placed) == 0:
		merged.reason, merged.message = reasonNoClusters, "The workload is placed on no cluster."
	case total > 0 && m.strategy.holds(total-len(lacking), total):
		merged.status, merged.reason = metav1.ConditionTrue, reasonAvailable
		merged.message = fmt.Sprintf("Minimum availability in %s.", clusters(total-len(lacking)))
	default:
		merged.reason = reasonUnavailable
		merged.message = fmt.Sprintf("No minimum availability in %s (%d of %s).", list(lacking, ", "), len(lacking), clusters(total))
	}
	return merged
}

// hasFailed reports whether the cluster has exceeded the progress deadline of the
// present inputs: a failure of earlier ones is history.
func hasFailed(o observation) bool {
	c, ok := o.report.Condition(progressing)
	return o.current && ok && c.Reason == reasonDeadlineExceeded
}

// cannotProgress reports whether the cluster says so for another reason.
func cannotProgress(o observation) bool {
	return o.current && !hasFailed(o) && says(progressing, metav1.ConditionFalse)(o)
}

// mergeProgressing is false when clusters have failed, complete when they are,
// and absent when no cluster has an opinion (a paused Deployment without a
// deadline). An exceeded deadline comes before other failures: it is the one that
// ends a rollout.
func mergeProgressing(m *merge) *condition {
	total := len(m.shown)
	for _, failure := range []func(observation) bool{hasFailed, cannotProgress} {
		if m.strategy.fails(count(m.shown, failure), total) {
			reason, quotes := quote(m.shown, progressing, failure)
			return &condition{progressing, metav1.ConditionFalse, reason, list(quotes, "; ")}
		}
	}
	waiting := clustersOf(m.shown, func(o observation) bool { return !o.current })
	if !m.strategy.holds(total-len(waiting), total) {
		return &condition{progressing, metav1.ConditionTrue, reasonProgressing, fmt.Sprintf("Waiting for %s to take up the present generation.", list(waiting, ", "))}
	}
	hasOpinion := func(o observation) bool { _, ok := o.report.Condition(progressing); return ok }
	opinions := count(m.shown, hasOpinion)
	if opinions == 0 {
		return nil
	}
	_, unfinished := quote(m.shown, progressing, func(o observation) bool {
		c, _ := o.report.Condition(progressing)
		return c.Reason != reasonComplete
	})
	if !m.strategy.holds(opinions-len(unfinished), opinions) {
		return &condition{progressing, metav1.ConditionTrue, reasonProgressing, list(unfinished, "; ")}
	}
	return &condition{progressing, metav1.ConditionTrue, reasonComplete, fmt.Sprintf("Successfully progressed in %s.", clusters(total))}
}

// mergeReplicaFailure is true when clusters say so, and absent otherwise, as on a
// cluster.
func mergeReplicaFailure(m *merge) *condition { return anywhere(replicaFailure)(m) }

// anywhere merges a condition that is bad when true, and absent otherwise.
func anywhere(conditionType string) func(*merge) *condition {
	return func(m *merge) *condition {
		isTrue := says(conditionType, metav1.ConditionTrue)
		if !m.strategy.fails(count(m.shown, isTrue), len(m.shown)) {
			return &condition{conditionType: conditionType}
		}
		reason, quotes := quote(m.shown, conditionType, isTrue)
		return &condition{conditionType, metav1.ConditionTrue, reason, list(quotes, "; ")}
	}
}

// everywhere merges a condition that is good when true, and absent otherwise.
func everywhere(conditionType string) func(*merge) *condition {
	return func(m *merge) *condition {
		isTrue := says(conditionType, metav1.ConditionTrue)
		number := count(m.shown, isTrue)
		if number == 0 || !m.strategy.holds(number, len(m.shown)) {
			return &condition{conditionType: conditionType}
		}
		reason, _ := quote(m.shown, conditionType, isTrue)
		return &condition{conditionType, metav1.ConditionTrue, reason, fmt.Sprintf("In %s.", clusters(number))}
	}
}

// badTypes are the condition types of Kubernetes' own kinds that are bad when true,
// or say that something is not finished; those without a rule are taken for good when
// true, as the API conventions recommend.
var badTypes = []string{
	"ReplicaFailure", "Failed", "FailureTarget", "ScalingLimited", "LoadBalancerPortsError", "Degraded", "Stalled",
	// Of claims (k8s.io/api/core/v1.PersistentVolumeClaimConditionType).
	"Resizing", "FileSystemResizePending", "ModifyingVolume", "ControllerResizeError", "NodeResizeError", "ModifyVolumeError",
}

// otherConditions merges the conditions that have no rule, by type: the worst
// opinion counts, or what most say.
func (m *merge) otherConditions(ruled []*condition) []*condition {
	var types []string
	for _, o := range m.shown {
		for _, c := range o.report.Conditions {
			hasRule := slices.ContainsFunc(ruled, func(r *condition) bool { return r != nil && r.conditionType == c.Type })
			if !hasRule && c.Type != v1alpha1.ConditionSynced {
				types = append(types, c.Type)
			}
		}
	}
	slices.Sort(types)
	var merged []*condition
	for _, conditionType := range slices.Compact(types) {
		merged = append(merged, m.otherCondition(conditionType))
	}
	return merged
}

func (m *merge) otherCondition(conditionType string) *condition {
	good, bad := metav1.ConditionTrue, metav1.ConditionFalse
	if slices.Contains(badTypes, conditionType) {
		good, bad = bad, good
	}
	total := len(m.shown)
	merged := &condition{conditionType: conditionType, status: good, reason: reasonMerged}
	if m.strategy.holds(count(m.shown, says(conditionType, good)), total) {
		reason, _ := quote(m.shown, conditionType, says(conditionType, good))
		merged.reason = cmp.Or(reason, reasonMerged)
		merged.message = fmt.Sprintf("In %s.", clusters(total))
		return merged
	}
	isOther := func(o observation) bool { return !says(conditionType, good)(o) }
	reason, quotes := quote(m.shown, conditionType, isOther)
	merged.status = metav1.ConditionUnknown
	if m.strategy.fails(count(m.shown, says(conditionType, bad)), total) {
		merged.status = bad
	}
	silent := clustersOf(m.shown, func(o observation) bool { _, ok := o.report.Condition(conditionType); return !ok })
	for _, cluster := range silent {
		quotes = append(quotes, cluster+": says nothing of it")
	}
	merged.reason, merged.message = cmp.Or(reason, reasonMerged), list(quotes, "; ")
	return merged
}

// mergeSynced is true when every placed cluster has reported, none has a problem and
// the hub has found none, whatever the strategy.
//
// What the hub has found comes first, and gives the reason: it is wrong for every
// cluster, it is what the user can mend, and often it is why clusters are silent or
// complain. Of it and of what clusters say the message names a few each, so that
// neither hides the other.
func mergeSynced(placed []observation, found []v1alpha1.Problem) *condition {
	var reason string
	var own, theirs []string
	for _, problem := range found {
		own = append(own, cmp.Or(problem.Message, problem.Reason))
		reason = cmp.Or(reason, problem.Reason)
	}
	for _, o := range placed {
		if isUnknown(o) {
			theirs = append(theirs, o.cluster+": "+o.unknown)
			reason = cmp.Or(reason, o.reason)
		}
		for _, problem := range o.report.Problems {
			theirs = append(theirs, o.cluster+": "+problem.Message)
			reason = cmp.Or(reason, problem.Reason)
		}
	}
	merged := &condition{v1alpha1.ConditionSynced, metav1.ConditionTrue, reasonSynced, fmt.Sprintf("In place in %s.", clusters(len(placed)))}
	if len(own)+len(theirs) > 0 {
		parts := slices.DeleteFunc([]string{list(own, "; "), list(theirs, "; ")}, func(part string) bool { return part == "" })
		merged.status, merged.reason, merged.message = metav1.ConditionFalse, reason, strings.Join(parts, "; ")
	}
	return merged
}

// timed gives a condition its times: lastTransitionTime moves with the status
// alone, lastUpdateTime, where the kind has it, with any news.
func (m *merge) timed(c condition, previous []any) map[string]any {
	now := m.in.Now.UTC().Format(time.RFC3339)
	result := map[string]any{
		"type": c.conditionType, "status": string(c.status), "reason": c.reason, "message": text.Shorten(c.message, longestMessage),
		"lastTransitionTime": now,
	}
	if m.rules.hasUpdateTime {
		result["lastUpdateTime"] = now
	}
	for _, entry := range previous {
		before, ok := entry.(map[string]any)
		if !ok || before["type"] != result["type"] || before["status"] != result["status"] {
			continue
		}
		keep(result, before, "lastTransitionTime")
		if m.rules.hasUpdateTime && before["reason"] == result["reason"] && before["message"] == result["message"] {
			keep(result, before, "lastUpdateTime")
		}
	}
	return result
}

// longestMessage is how long the message of a merged condition may be: what clusters say is
// quoted in it.
const longestMessage = 8 << 10

// keep takes a time over from the condition as it stands.
func keep(result, before map[string]any, field string) {
	if value, ok := before[field].(string); ok {
		result[field] = value
	}
}
