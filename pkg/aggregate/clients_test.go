package aggregate

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/kubectl/pkg/polymorphichelpers"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// suspended is what Argo CD concludes from what its user has stopped.
const suspended verdict = "suspended"

// client is a client that concludes from an object's status whether it is as it should be. It is empty for one that concludes
// nothing.
type client func(t *testing.T, object *unstructured.Unstructured) verdict

// clients are those that tmc is held against.
var clients = map[string]client{"kubectl": kubectlRolloutStatus, "kstatus": kstatus, "Argo CD": argoCD}

// kubectlRolloutStatus is kubectl's own code.
func kubectlRolloutStatus(t *testing.T, object *unstructured.Unstructured) verdict {
	t.Helper()
	viewer, err := polymorphichelpers.StatusViewerFor(object.GroupVersionKind().GroupKind())
	if err != nil {
		return ""
	}
	_, isDone, err := viewer.Status(object, 0)
	switch {
	case err != nil && strings.Contains(err.Error(), "exceeded its progress deadline"):
		return failed
	case err != nil && strings.Contains(err.Error(), "rollout status is only available for RollingUpdate"):
		return ""
	case err != nil:
		t.Fatalf("kubectl: %v", err)
	case isDone:
		return done
	}
	return waiting
}

// kstatus is its own code, by which Helm 4, Flux and kapply wait.
func kstatus(t *testing.T, object *unstructured.Unstructured) verdict {
	t.Helper()
	result, err := status.Compute(object)
	if err != nil {
		t.Fatalf("kstatus: %v", err)
	}
	switch result.Status {
	case status.CurrentStatus:
		return done
	case status.FailedStatus:
		return failed
	case status.InProgressStatus:
		return waiting
	default:
		t.Fatalf("kstatus says %s: %s", result.Status, result.Message)
		return ""
	}
}

// argoCD restates Argo CD's built-in rules (https://argo-cd.readthedocs.io/en/stable/operator-manual/health/): Healthy, Progressing
// and Degraded. It has no rule for other kinds.
func argoCD(t *testing.T, object *unstructured.Unstructured) verdict {
	t.Helper()
	number := func(fields ...string) int64 {
		number, _, _ := unstructured.NestedInt64(object.Object, fields...)
		return number
	}
	text := func(fields ...string) string {
		text, _, _ := unstructured.NestedString(object.Object, fields...)
		return text
	}
	generation, observed := object.GetGeneration(), number("status", observedGeneration)
	wanted := number("spec", replicas)
	_, isRolling, _ := unstructured.NestedMap(object.Object, "spec", "updateStrategy", "rollingUpdate")
	partition, isPartitioned, _ := unstructured.NestedInt64(object.Object, "spec", "updateStrategy", "rollingUpdate", "partition")
	isOnDelete := text("spec", "updateStrategy", "type") == "OnDelete"
	switch object.GetKind() {
	case "Deployment":
		isPaused, _, _ := unstructured.NestedBool(object.Object, "spec", "paused")
		switch updated := number("status", updatedReplicas); {
		case isPaused:
			return suspended
		case generation > observed:
			return waiting
		case reasonOf(object, progressing) == reasonDeadlineExceeded:
			return failed
		case updated < wanted, number("status", replicas) > updated, number("status", availableReplicas) < updated:
			return waiting
		}
	case "StatefulSet":
		switch {
		case observed == 0, generation > observed, number("status", readyReplicas) < wanted:
			return waiting
		case isRolling:
			return waitingIf(isPartitioned && number("status", updatedReplicas) < wanted-partition)
		case !isOnDelete:
			return waitingIf(text("status", updateRevision) != text("status", currentRevision))
		}
	case "DaemonSet":
		desired := number("status", desiredScheduled)
		isDone := number("status", updatedScheduled) >= desired && number("status", numberAvailable) >= desired
		return waitingIf(generation > observed || !isOnDelete && !isDone)
	case "Job":
		return argoJob(object)
	case "HorizontalPodAutoscaler":
		return argoAutoscaler(object)
	case "PersistentVolumeClaim":
		return map[string]verdict{"Bound": done, "Lost": failed, "Pending": waiting, "": waiting}[text("status", phase)]
	case "Service", "Ingress":
		ingress, _, _ := unstructured.NestedSlice(object.Object, "status", "loadBalancer", "ingress")
		return waitingIf(len(ingress) == 0 && (object.GetKind() == "Ingress" || text("spec", "type") == "LoadBalancer"))
	default:
		return ""
	}
	return done
}

func waitingIf(isWaiting bool) verdict {
	if isWaiting {
		return waiting
	}
	return done
}

// argoJob looks at which conditions there are. It does not look whether those of an end are true.
func argoJob(object *unstructured.Unstructured) verdict {
	conclusion := waiting
	for _, c := range conditionsOf(object) {
		switch {
		case c["type"] == "Failed":
			return failed
		case c["type"] == "Suspended" && c["status"] == "True":
			conclusion = suspended
		case c["type"] == "Complete", c["type"] == "Suspended":
			if conclusion == waiting {
				conclusion = done
			}
		}
	}
	return conclusion
}

// argoAutoscaler believes the first condition that it knows.
func argoAutoscaler(object *unstructured.Unstructured) verdict {
	for _, c := range conditionsOf(object) {
		switch fmt.Sprint(c["type"], " ", c["reason"]) {
		case "AbleToScale FailedGetScale", "AbleToScale FailedUpdateScale", "ScalingActive FailedGetResourceMetric", "ScalingActive InvalidSelector":
			return failed
		}
		if c["status"] == "True" && (c["type"] == "AbleToScale" || c["type"] == "ScalingLimited") {
			return done
		}
	}
	return waiting
}

func conditionsOf(object *unstructured.Unstructured) []map[string]any {
	entries, _, _ := unstructured.NestedSlice(object.Object, "status", conditionsField)
	conditions := make([]map[string]any, 0, len(entries))
	for _, entry := range entries {
		conditions = append(conditions, entry.(map[string]any))
	}
	return conditions
}

func reasonOf(object *unstructured.Unstructured, conditionType string) any {
	for _, c := range conditionsOf(object) {
		if c["type"] == conditionType {
			return c["reason"]
		}
	}
	return nil
}
