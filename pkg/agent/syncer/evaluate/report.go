package evaluate

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// observedGeneration is the one integer of a status that is no counter.
const observedGeneration = "observedGeneration"

// maxText is how long a string of a status may be to go into the report: a revision or a time, not the list of a Job's
// completed indexes.
const maxText = 128

// Reported returns the copy that is reported: the one that is there or, of a Job that has run and is gone, the last that was
// seen. It returns nil for none.
func (e *Evaluation) Reported() *unstructured.Unstructured {
	if e.Downstream == nil && e.HasRun {
		return e.Final
	}
	return e.Downstream
}

// IsReported reports whether there is something to report. An object that leaves keeps its last report until it is released,
// and so does a Job that has run and is gone.
func (e *Evaluation) IsReported() bool {
	switch {
	case !e.Placed, !protocol.Read(e.Upstream).IsHeld(e.Origin.Cluster):
		return false
	case e.HasRun && e.Downstream == nil:
		return e.Final != nil
	default:
		return true
	}
}

// Report says what has become of the object here; problems are those of the last turn of the spec loop, notes what was put right a
// moment ago. A copy that is not as
// it should be does not count as made from the present generation: what its own controller says is about something else.
func (e *Evaluation) Report(problems []protocol.Problem, notes ...protocol.Problem) protocol.Report {
	report := protocol.Report{Version: protocol.ReportVersion, Cluster: e.Origin.Cluster, Problems: problems, Notes: notes}
	downstreamObj := e.Reported()
	if downstreamObj == nil || !e.IsOurs(downstreamObj) {
		return report.Bounded()
	}
	if e.Current {
		report.Generation = transform.AppliedGeneration(downstreamObj)
		report.Inputs = downstreamObj.GetAnnotations()[v1alpha1.SourceInputsAnnotation]
	}
	report.LocalGeneration = downstreamObj.GetGeneration()
	report.LocalObservedGeneration, _, _ = unstructured.NestedInt64(downstreamObj.Object, "status", observedGeneration)
	if replicas, found := e.kind().Replicas.Int64In(downstreamObj.Object); found {
		report.Replicas = &replicas
	}
	status, _ := downstreamObj.Object["status"].(map[string]any)
	report.Counters, report.Texts = countersAndTexts(status)
	maps.Copy(report.Texts, e.kind().AlikeTexts(downstreamObj, maxText))
	report.Addresses, _, _ = unstructured.NestedSlice(status, "loadBalancer", "ingress")
	report.Conditions = conditionsOf(status)
	return report.Bounded()
}

// countersAndTexts returns the integers of a status that are not zero, and its short strings.
func countersAndTexts(status map[string]any) (map[string]int64, map[string]string) {
	counters, texts := map[string]int64{}, map[string]string{}
	for name, value := range status {
		if count, isInteger := value.(int64); isInteger && count != 0 && name != observedGeneration {
			counters[name] = count
		}
		if text, isText := value.(string); isText && text != "" && len(text) <= maxText {
			texts[name] = text
		}
	}
	return counters, texts
}

// conditionsOf returns the conditions of a status without their times.
func conditionsOf(status map[string]any) []protocol.ReportCondition {
	items, _ := status["conditions"].([]any)
	conditions := make([]protocol.ReportCondition, 0, len(items))
	for _, item := range items {
		fields, isMap := item.(map[string]any)
		if !isMap {
			continue
		}
		text := func(name string) string {
			value, _ := fields[name].(string)
			return value
		}
		conditions = append(conditions, protocol.ReportCondition{
			Type: text("type"), Status: metav1.ConditionStatus(text("status")), Reason: text("reason"), Message: text("message"),
		})
	}
	return conditions
}
