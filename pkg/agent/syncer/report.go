package syncer

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// observedGeneration is the one integer of a status that is no counter.
const observedGeneration = "observedGeneration"

// buildReport says what has become of the object here. A copy that is not as it
// should be does not count as made from the present generation: what its own
// controller says is about something else.
func buildReport(s state, problems []v1alpha1.Problem) v1alpha1.Report {
	report := v1alpha1.Report{
		Version:  v1alpha1.ReportVersion,
		Cluster:  s.origin.Cluster,
		Problems: problems,
	}
	if s.downstreamObj == nil && s.hasRun && s.final != nil {
		s.downstreamObj, s.settled = s.final, isAsApplied(withCopy(s, s.final)) // it has run, and that stays so
	}
	if s.downstreamObj == nil || !isOurs(s, s.downstreamObj) {
		return report.Bounded()
	}
	if stands(s) {
		report.Generation = transform.AppliedGeneration(s.downstreamObj)
		report.Inputs = s.downstreamObj.GetAnnotations()[v1alpha1.SourceInputsAnnotation]
	}
	content := s.downstreamObj.Object
	report.LocalGeneration = s.downstreamObj.GetGeneration()
	report.LocalObservedGeneration, _, _ = unstructured.NestedInt64(content, "status", observedGeneration)
	if replicas, found, err := unstructured.NestedInt64(content, "spec", "replicas"); found && err == nil {
		report.Replicas = &replicas
	}
	status, _, _ := unstructured.NestedMap(content, "status")
	report.Counters = counters(status)
	report.Texts = texts(status)
	report.Addresses, _, _ = unstructured.NestedSlice(status, "loadBalancer", "ingress")
	report.Conditions = conditionsOf(s.downstreamObj)
	return report.Bounded()
}

func withCopy(s state, downstreamObj *unstructured.Unstructured) state {
	s.downstreamObj = downstreamObj
	return s
}

// counters returns the integers of a status that are not zero.
func counters(status map[string]any) map[string]int64 {
	counters := map[string]int64{}
	for name, value := range status {
		if count, isInteger := value.(int64); isInteger && count != 0 && name != observedGeneration {
			counters[name] = count
		}
	}
	return counters
}

// longestText is how long a string of a status may be to go into the report: a
// revision or a time, not the list of a Job's completed indexes.
const longestText = 128

// texts returns the short strings of a status.
func texts(status map[string]any) map[string]string {
	texts := map[string]string{}
	for name, value := range status {
		if text, isText := value.(string); isText && text != "" && len(text) <= longestText {
			texts[name] = text
		}
	}
	return texts
}

// conditionsOf returns the conditions of an object's status without their times.
func conditionsOf(obj *unstructured.Unstructured) []v1alpha1.ReportCondition {
	list, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	conditions := make([]v1alpha1.ReportCondition, 0, len(list))
	for _, item := range list {
		fields, isMap := item.(map[string]any)
		if !isMap {
			continue
		}
		text := func(name string) string {
			value, _, _ := unstructured.NestedString(fields, name)
			return value
		}
		conditions = append(conditions, v1alpha1.ReportCondition{
			Type:    text("type"),
			Status:  metav1.ConditionStatus(text("status")),
			Reason:  text("reason"),
			Message: text("message"),
		})
	}
	return conditions
}
