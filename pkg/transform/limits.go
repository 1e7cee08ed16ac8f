package transform

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
)

// capPod lowers the limits and requests of a pod's containers to the caps. Ephemeral
// containers cannot have any (ValidateEphemeralContainers in k8s.io/kubernetes).
func capPod(podSpec map[string]any, caps corev1.ResourceList) {
	for name, ceiling := range caps {
		ceiling = quantity.Clamp(name, ceiling)
		mayAdd := isForAnyContainer(name) && !isOfPod(podSpec, name)
		for _, container := range children(podSpec, "containers", "initContainers") {
			capContainer(container, string(name), ceiling, mayAdd)
		}
	}
}

// isForAnyContainer reports whether every container uses the resource, so that one
// that states no limit has none. Of all others it then has nothing.
func isForAnyContainer(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage
}

// isOfPod reports whether the pod as a whole states how much it takes. A limit added to
// a container may then be above the pod's; and as it is the container's request as
// well unless that is stated, the sum of requests may be: either makes the pod
// invalid (validatePodResourceConsistency in k8s.io/kubernetes). Lowering does not.
func isOfPod(podSpec map[string]any, name corev1.ResourceName) bool {
	for _, part := range []string{limitsField, requestsField} {
		if _, stated := child(podSpec, "resources", part)[string(name)]; stated {
			return true
		}
	}
	return false
}

func capContainer(container map[string]any, name string, ceiling resource.Quantity, mayAdd bool) {
	limit, stated := child(container, "resources", limitsField)[name]
	if !stated {
		if !mayAdd || !setLimit(container, name, ceiling) {
			return
		}
		limit = ceiling.String()
	}
	value, ok := quantity.ParseClamped(limit)
	if !ok {
		return // no quantity, the cluster will say so
	}
	if value.Cmp(ceiling) > 0 && setLimit(container, name, ceiling) {
		limit, value = ceiling.String(), ceiling
	}
	requests := child(container, "resources", requestsField)
	if request, ok := quantity.ParseClamped(requests[name]); ok && request.Cmp(value) > 0 {
		requests[name] = limit
	}
}

// setLimit sets a container's limit, unless that has no place because something else
// is there.
func setLimit(container map[string]any, name string, limit resource.Quantity) bool {
	for _, field := range []string{"resources", limitsField} {
		if _, present := container[field]; !present {
			container[field] = map[string]any{}
		}
		below, isObject := container[field].(map[string]any)
		if !isObject {
			return false
		}
		container = below
	}
	container[name] = limit.String()
	return true
}
