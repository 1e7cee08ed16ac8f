package kinds

import (
	"math"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// ReplicasOf returns how many replicas the object wants, 1 where it does not say, and whether its kind has replicas. It has
// none where the field is no integer, and, of a kind that no entry describes, where there is no field.
func (k *Kind) ReplicasOf(obj *unstructured.Unstructured) (number int64, counted bool) {
	if len(k.Replicas) == 0 {
		return 0, false
	}
	value := k.Replicas.In(obj.Object)
	if value == nil {
		return 1, !k.assumed
	}
	number, isInteger := value.(int64)
	return max(number, 0), isInteger
}

// WantedOf returns how many of the object a cluster is to have: what its copy asks for, or else its share, or else what the
// object asks for; of kinds of which the cluster decides, what that says. It is nil when nobody knows, and for kinds that
// count nothing.
func (k *Kind) WantedOf(obj *unstructured.Unstructured, share *int64, report protocol.Report) *int64 {
	switch number, counted := k.ReplicasOf(obj); {
	case counted && report.Replicas != nil:
		return report.Replicas
	case counted && share != nil:
		return share
	case counted:
		return &number
	case len(k.Completions) > 0:
		return new(numberAt(obj, k.Completions))
	case k.Wanted != "" && report.LocalGeneration > 0:
		return new(report.Counters[k.Wanted])
	default:
		return nil
	}
}

// Facts returns what the protocol has to know of the kind to judge what clusters report on an object of it.
func (k *Kind) Facts(obj *unstructured.Unstructured) protocol.Facts {
	number, counted := k.ReplicasOf(obj)
	if !counted {
		number = 1
	}
	return protocol.Facts{Replicas: number, Observes: k.Observes, Ends: k.Ends}
}

// numberAt returns an integer of an object, 1 when it is not given, as Kubernetes has it.
func numberAt(obj *unstructured.Unstructured, path Path) int64 {
	if number, isInteger := path.Int64In(obj.Object); isInteger {
		return number
	}
	return 1
}

// AvailableIn returns how many are as they should be on the cluster that reports; nil for kinds that count nothing. Of a
// kind that no entry describes it is nil as well unless the cluster counts them: the kind may have no such counter.
func (k *Kind) AvailableIn(report protocol.Report) *int64 {
	number, reported := report.Counters[k.Available]
	if k.Available == "" || k.assumed && !reported {
		return nil
	}
	return &number
}

// Serves reports whether the cluster that reports has as many available as it is to have; wanted is its number of replicas.
// Of kinds that count nothing it reports whether there is a copy without problems.
func (k *Kind) Serves(report protocol.Report, wanted int64) bool {
	available := k.AvailableIn(report)
	switch {
	case available == nil, len(k.Completions) > 0:
		return len(report.Problems) == 0
	case k.Wanted != "":
		return report.LocalObservedGeneration >= report.LocalGeneration && *available >= report.Counters[k.Wanted]
	default:
		return *available >= wanted
	}
}

// HasToLose reports whether anything would be missing without the copy of the cluster that reports: something that is
// available, or, of kinds that count nothing, the copy.
func (k *Kind) HasToLose(report protocol.Report) bool {
	if available := k.AvailableIn(report); available != nil && len(k.Completions) == 0 {
		return *available > 0
	}
	return report.Generation > 0
}

// CopyWants returns how many a copy on its cluster is to have, the most that there can be while its controller has not
// said.
func (k *Kind) CopyWants(downstreamObj *unstructured.Unstructured) int64 {
	if number, isInteger := k.Replicas.Int64In(downstreamObj.Object); isInteger {
		return number
	}
	if statusCount(downstreamObj, "observedGeneration") < downstreamObj.GetGeneration() {
		return math.MaxInt64
	}
	return statusCount(downstreamObj, k.Wanted)
}

// CopyHas returns how many of a copy on its cluster serve; 0 for kinds that end or count nothing.
func (k *Kind) CopyHas(downstreamObj *unstructured.Unstructured) int64 {
	if len(k.Completions) > 0 {
		return 0
	}
	return statusCount(downstreamObj, k.Available)
}

func statusCount(obj *unstructured.Unstructured, field string) int64 {
	count, _ := (Path{"status", field}).Int64In(obj.Object)
	return count
}

var statusConditions = path("status.conditions")

// HasEnded reports whether an object's own status says that it will do nothing more.
func (k *Kind) HasEnded(obj *unstructured.Unstructured) bool {
	if len(k.Ends) == 0 {
		return false
	}
	conditions, _ := statusConditions.In(obj.Object).([]any)
	return slices.ContainsFunc(conditions, func(entry any) bool {
		c, _ := entry.(map[string]any)
		conditionType, _ := c["type"].(string)
		return slices.Contains(k.Ends, conditionType) && c["status"] == string(metav1.ConditionTrue)
	})
}

// ReportsEnd reports whether a cluster says that the object will do nothing more there.
func (k *Kind) ReportsEnd(report protocol.Report) bool {
	return slices.ContainsFunc(k.Ends, func(conditionType string) bool {
		c, ok := report.Condition(conditionType)
		return ok && c.Status == metav1.ConditionTrue
	})
}
