package evaluate

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// obstacles are the conditions of a namespace that say, when they are true, what it waits for (NamespaceConditionType in
// k8s.io/api/core/v1), those first that a person has to mend.
var obstacles = []corev1.NamespaceConditionType{
	corev1.NamespaceFinalizersRemaining, corev1.NamespaceDeletionDiscoveryFailure, corev1.NamespaceDeletionGVParsingFailure,
	corev1.NamespaceDeletionContentFailure, corev1.NamespaceContentRemaining,
}

// counts are the numbers in what the namespace controller says (namespaceConditionUpdater in k8s.io/kubernetes/pkg/controller/namespace/deletion).
// They change while pods go, and each change would be a report of every object there.
var counts = regexp.MustCompile(` (has|in) \d+ resource instances`)

// UnknownObstacle is what a namespace waits for that does not say what.
const UnknownObstacle = "it does not say for what"

// WaitsFor says, for people, what a namespace of the cluster waits for that is being deleted: what its conditions and its
// finalizers say. It is empty for one that is not being deleted, nil included.
func WaitsFor(namespace *unstructured.Unstructured) string {
	if namespace == nil || !isEnding(namespace) {
		return ""
	}
	said := map[corev1.NamespaceConditionType]string{}
	conditions, _, _ := unstructured.NestedSlice(namespace.Object, "status", "conditions")
	for _, item := range conditions {
		condition, _ := item.(map[string]any)
		conditionType, _ := condition["type"].(string)
		message, _ := condition["message"].(string)
		if condition["status"] == string(corev1.ConditionTrue) {
			said[corev1.NamespaceConditionType(conditionType)] = strings.TrimSpace(counts.ReplaceAllString(message, ""))
		}
	}
	var parts []string
	for _, obstacle := range obstacles {
		if message := said[obstacle]; message != "" {
			parts = append(parts, message)
		}
	}
	if finalizers := namespace.GetFinalizers(); len(finalizers) > 0 {
		parts = append(parts, "finalizers of the namespace: "+strings.Join(finalizers, ", "))
	}
	if len(parts) == 0 {
		return UnknownObstacle
	}
	return strings.Join(parts, "; ")
}

// Terminating tells of a namespace that is being deleted on the cluster, and of what it waits for.
func Terminating(namespace, waitsFor string) protocol.Problem {
	return protocol.Problem{Reason: ReasonTerminating, Message: shorten(fmt.Sprintf(
		"namespace %s of the cluster is being deleted, and nothing can come into it; the copy is made when the namespace is gone, which waits: %s", namespace, waitsFor))}
}
