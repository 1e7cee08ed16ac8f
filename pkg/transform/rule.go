package transform

import (
	_ "crypto/sha512" // without it, reference refuses sha384 and sha512 digests, which kubelets know
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

var networkPolicy = schema.GroupKind{Group: "networking.k8s.io", Kind: "NetworkPolicy"}

// The fields of what a container, or a pod, may use and wants to have.
const (
	limitsField   = "limits"
	requestsField = "requests"
)

// applyRule does to a copy what the cluster's rule says, apart from its namespace.
func applyRule(desired *unstructured.Unstructured, rule v1alpha1.TransformRule, workspace string) {
	if desired.GroupVersionKind().GroupKind() == networkPolicy {
		renamePeers(desired, rule, workspace)
	}
	for _, podSpec := range podSpecs(desired) {
		if rule.ImageRegistry != "" {
			useRegistry(podSpec, rule.ImageRegistry)
		}
		capPod(podSpec, rule.ResourceLimits)
	}
	add(desired, rule.Labels, rule.Annotations)
}

// useRegistry takes every image of a pod from the registry.
func useRegistry(podSpec map[string]any, registry string) {
	replace := func(holder map[string]any, field string) {
		if image, isString := holder[field].(string); isString {
			holder[field] = imageFrom(registry, image)
		}
	}
	for _, container := range children(podSpec, "containers", "initContainers", "ephemeralContainers") {
		replace(container, "image")
	}
	for _, volume := range children(podSpec, "volumes") {
		replace(child(volume, "image"), "reference")
	}
}

// imageFrom returns the reference of the same image in the registry: the domain is replaced; path, tag and digest are
// kept, and no tag is added. An image that is in the registry already stays as it is. So does one that the grammar of
// references (github.com/distribution/reference) refuses: the kubelet will say so.
func imageFrom(registry, image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	inRegistry := registry + "/"
	if strings.HasPrefix(image, inRegistry) || strings.HasPrefix(named.Name(), inRegistry) {
		return image
	}
	moved := inRegistry + reference.Path(named)
	if tagged, ok := named.(reference.Tagged); ok {
		moved += ":" + tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		moved += "@" + digested.Digest().String()
	}
	return moved
}

// capPod lowers the limits and requests of a pod's containers to the caps. Ephemeral containers cannot have any
// (ValidateEphemeralContainers in k8s.io/kubernetes).
func capPod(podSpec map[string]any, caps corev1.ResourceList) {
	for name, ceiling := range caps {
		ceiling = quantity.Clamp(name, ceiling)
		mayAdd := isForAnyContainer(name) && !isOfPod(podSpec, name)
		for _, container := range children(podSpec, "containers", "initContainers") {
			capContainer(container, string(name), ceiling, mayAdd)
		}
	}
}

// isForAnyContainer reports whether every container uses the resource, so that one without a limit may use all of it. Of
// any other resource, a container without a limit has nothing.
func isForAnyContainer(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage
}

// isOfPod reports whether the pod as a whole states how much it takes. A limit added to a container may then be above
// the pod's; and since it becomes the container's request unless that is stated, the sum of requests may be too. Either
// makes the pod invalid (validatePodResourceConsistency in k8s.io/kubernetes). Lowering a limit does not.
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
		return // no quantity: the cluster will say so
	}
	if value.Cmp(ceiling) > 0 && setLimit(container, name, ceiling) {
		limit, value = ceiling.String(), ceiling
	}
	requests := child(container, "resources", requestsField)
	if request, ok := quantity.ParseClamped(requests[name]); ok && request.Cmp(value) > 0 {
		requests[name] = limit
	}
}

// setLimit sets a container's limit. It returns false where there is something else in the way.
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
