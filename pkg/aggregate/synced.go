package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// synced is true when the object is placed, every placed cluster has reported a copy of it as it is now, none has a problem and the
// hub has found none, whatever the strategy. Kinds of others have a condition of this name as well, such as those of Crossplane and
// Sealed Secrets, and clients that know them read it as theirs: so a copy that has it must have it true.
//
// What the hub has found comes first, and gives the reason: it is wrong for every cluster, it is what the user can mend,
// and often it is why clusters are silent or complain. Of it and of what clusters say the message names a few each, so that
// neither hides the other. That a cluster has not taken up a change yet is said when nothing else is.
func (m *merge) synced() condition {
	var reason string
	var own, theirs []string
	for _, problem := range m.in.Problems {
		own = append(own, cmp.Or(problem.Message, problem.Reason))
		reason = cmp.Or(reason, problem.Reason)
	}
	for _, e := range m.placed {
		if !isBelieved(e) {
			theirs = append(theirs, e.Cluster+": "+e.Doubt)
			reason = cmp.Or(reason, string(e.Belief))
		}
		for _, problem := range e.Report.Problems {
			theirs = append(theirs, e.Cluster+": "+problem.Message)
			reason = cmp.Or(reason, problem.Reason)
		}
		if c, has := e.Report.Condition(v1alpha1.ConditionSynced); has && c.Status != metav1.ConditionTrue {
			theirs = append(theirs, e.Cluster+": "+cmp.Or(c.Message, c.Reason, string(c.Status)))
			reason = cmp.Or(reason, c.Reason, reasonMerged)
		}
	}
	if len(own)+len(theirs) == 0 {
		return m.inPlace()
	}
	parts := slices.DeleteFunc([]string{list(own, "; "), list(theirs, "; ")}, func(part string) bool { return part == "" })
	return condition{v1alpha1.ConditionSynced, metav1.ConditionFalse, reason, strings.Join(parts, "; ")}
}

// inPlace is synced where neither the hub nor a cluster has a problem.
func (m *merge) inPlace() condition {
	if len(m.placed) == 0 {
		reason, message := m.nowhere()
		return condition{v1alpha1.ConditionSynced, metav1.ConditionFalse, reason, message}
	}
	lagging := filter(m.placed, m.isLagging)
	if len(lagging) == 0 || m.wasSynced() && m.in.Waits != nil && m.in.Waits() {
		return condition{v1alpha1.ConditionSynced, metav1.ConditionTrue, reasonSynced, fmt.Sprintf("In place in %s.", clusters(len(m.placed)))}
	}
	var messages []string
	for _, e := range lagging {
		messages = append(messages, e.Cluster+": "+protocol.SayLag(e.Lag, e.Report.Generation, m.in.Object.GetGeneration()))
	}
	return condition{v1alpha1.ConditionSynced, metav1.ConditionFalse, protocol.ReasonNotTakenUp, list(messages, "; ")}
}

// isLagging reports whether a cluster has no copy of the object as it is now. What has come to its end there needs none any more.
func (m *merge) isLagging(e protocol.Entry) bool {
	return !e.IsInPlace() && !m.kind.ReportsEnd(e.Report)
}

// wasSynced reports whether the present status says that the object is synced.
func (m *merge) wasSynced() bool {
	return trueCondition(m.in.Object, v1alpha1.ConditionSynced) != nil
}

// trueCondition returns a condition of an object's present status, nil where it is not true.
func trueCondition(obj *unstructured.Unstructured, conditionType string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", conditionsField)
	for _, item := range conditions {
		if c, _ := item.(map[string]any); c["type"] == conditionType && c["status"] == string(metav1.ConditionTrue) {
			return c
		}
	}
	return nil
}

// nowhere says why the object is placed on no cluster, and what changes that.
func (m *merge) nowhere() (reason, message string) {
	object := protocol.Read(m.in.Object)
	placement := object.Placement()
	targets, named := object.Targets()
	switch {
	case named && strings.TrimSpace(targets) == "":
		return protocol.ReasonNotPlaced, fmt.Sprintf("Placed on no cluster, as its annotation %s has it, which is empty.", v1alpha1.TargetClustersAnnotation)
	case placement.Message != "":
		return protocol.ReasonNoClusters, "Placed on no cluster: " + placement.Message
	case named:
		return protocol.ReasonNoClusters, fmt.Sprintf("Placed on no cluster: its annotation %s is %q; the events say what of that is not heeded.", v1alpha1.TargetClustersAnnotation, targets)
	case m.kind.Workload && placement.By == protocol.ByNobody:
		return protocol.ReasonNoClusters, "Placed on no cluster: it has not been decided where it goes."
	case m.kind.Workload:
		return protocol.ReasonNoClusters, fmt.Sprintf("Placed on no cluster (%s): `kubectl tmc get clusters` shows those that there are.", placement)
	default:
		return protocol.ReasonNotPlaced, fmt.Sprintf("Placed on no cluster: no workload that is placed names it. The annotation %s places it: names of clusters, or %q for all.",
			v1alpha1.TargetClustersAnnotation, v1alpha1.AllClusters)
	}
}
