package dependency

import (
	"errors"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// appsGroup is the API group of most workloads.
const appsGroup = "apps"

// Kinds that follow or are followed by name.
var (
	autoscalerKind    = schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}
	serviceKind       = schema.GroupKind{Kind: "Service"}
	budgetKind        = schema.GroupKind{Group: "policy", Kind: "PodDisruptionBudget"}
	networkPolicyKind = schema.GroupKind{Group: "networking.k8s.io", Kind: "NetworkPolicy"}
	ingressKind       = schema.GroupKind{Group: "networking.k8s.io", Kind: "Ingress"}
	statefulSetKind   = schema.GroupKind{Group: appsGroup, Kind: "StatefulSet"}
)

// workloads are the kinds that run pods, and that others follow.
var workloads = map[schema.GroupKind]bool{
	{Group: appsGroup, Kind: "Deployment"}: true,
	statefulSetKind:                        true,
	{Group: appsGroup, Kind: "DaemonSet"}:  true,
	{Group: "batch", Kind: "Job"}:          true,
	{Group: "batch", Kind: "CronJob"}:      true,
}

// IsWorkload reports whether objects of the kind are workloads: Deployments,
// StatefulSets, DaemonSets, Jobs and CronJobs.
func IsWorkload(gk schema.GroupKind) bool { return workloads[gk] }

// followers say of each kind that follows whether one of it follows the leader.
var followers = map[schema.GroupKind]func(follower, leader *unstructured.Unstructured) bool{
	autoscalerKind:    isScaledBy,
	serviceKind:       isServedBy,
	budgetKind:        isBudgetedBy,
	networkPolicyKind: isGuardedBy,
	ingressKind:       isExposedBy,
}

// MayFollow reports whether objects of the kind can be followers. Of any other kind
// Follows is false.
func MayFollow(gk schema.GroupKind) bool { return followers[gk] != nil }

// Follows reports whether the follower belongs with the leader, in the same namespace,
// and goes where it goes:
//
//   - a HorizontalPodAutoscaler with its scaleTargetRef, in whatever version that
//     names it;
//   - a Service with whatever has a pod template that its selector matches, but not
//     without a selector, nor as an ExternalName, where the selector is ignored
//     (k8s.io/api/core/v1.ServiceSpec); and with the StatefulSet that names it as its
//     own;
//   - a PodDisruptionBudget with whatever has a pod template that its selector
//     matches, where an empty selector matches all and none matches nothing
//     (k8s.io/api/policy/v1.PodDisruptionBudgetSpec);
//   - a NetworkPolicy likewise, where none is an empty one
//     (k8s.io/api/networking/v1.NetworkPolicySpec);
//   - an Ingress with the Services that its rules and its default backend name.
//
// A selector is compared with the labels of the template: one by labels that
// controllers add to single pods (statefulset.kubernetes.io/pod-name, job-name)
// matches nothing. One that is not valid matches nothing either.
func Follows(follower, leader *unstructured.Unstructured) bool {
	follows, known := followers[follower.GroupVersionKind().GroupKind()]
	return known && follower.GetNamespace() == leader.GetNamespace() && follows(follower, leader)
}

// isScaledBy reads the group out of the target's apiVersion, as the autoscaler does
// (kubernetes, pkg/controller/podautoscaler/horizontal.go).
func isScaledBy(autoscaler, leader *unstructured.Unstructured) bool {
	var target autoscalingv2.CrossVersionObjectReference
	content := mapAt(autoscaler.Object, specField, "scaleTargetRef")
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &target); err != nil {
		return false
	}
	version, err := schema.ParseGroupVersion(target.APIVersion)
	return err == nil && target.Name != "" && target.Name == leader.GetName() &&
		version.WithKind(target.Kind).GroupKind() == leader.GroupVersionKind().GroupKind()
}

func isServedBy(service, leader *unstructured.Unstructured) bool {
	if isGovernedBy(leader, service.GetName()) {
		return true
	}
	selector, _, err := unstructured.NestedStringMap(service.Object, specField, "selector")
	if err != nil || len(selector) == 0 || mapAt(service.Object, specField)["type"] == "ExternalName" {
		return false
	}
	return runsPodsOf(leader, labels.SelectorFromSet(selector))
}

// isGovernedBy reports whether the leader is a StatefulSet whose pods have their names
// from the Service.
func isGovernedBy(leader *unstructured.Unstructured, service string) bool {
	return service != "" && leader.GroupVersionKind().GroupKind() == statefulSetKind &&
		mapAt(leader.Object, specField)["serviceName"] == service
}

func isBudgetedBy(budget, leader *unstructured.Unstructured) bool {
	selector, err := labelSelector(mapAt(budget.Object, specField)["selector"])
	return err == nil && matches(selector, leader)
}

func isGuardedBy(policy, leader *unstructured.Unstructured) bool {
	selector, err := labelSelector(mapAt(policy.Object, specField)["podSelector"])
	if selector == nil {
		selector = &metav1.LabelSelector{}
	}
	return err == nil && matches(selector, leader)
}

var errNoSelector = errors.New("this is no label selector")

// labelSelector reads a label selector, nil when there is none.
func labelSelector(value any) (*metav1.LabelSelector, error) {
	if value == nil {
		return nil, nil
	}
	content, isObject := value.(map[string]any)
	if !isObject {
		return nil, errNoSelector
	}
	selector := &metav1.LabelSelector{}
	return selector, runtime.DefaultUnstructuredConverter.FromUnstructured(content, selector)
}

func matches(labelSelector *metav1.LabelSelector, leader *unstructured.Unstructured) bool {
	selector, err := metav1.LabelSelectorAsSelector(labelSelector)
	return err == nil && runsPodsOf(leader, selector)
}

// runsPodsOf reports whether the leader has a pod template that the selector matches.
func runsPodsOf(leader *unstructured.Unstructured, selector labels.Selector) bool {
	for _, path := range templatePaths {
		template := podTemplate(leader.Object, path)
		if template != nil && selector.Matches(labels.Set(templateLabels(template))) {
			return true
		}
	}
	return false
}

// backends is where an Ingress names Services.
var backends = fields{specField: fields{
	"defaultBackend": backend,
	"rules": each{fields{"http": fields{
		"paths": each{fields{"backend": backend}},
	}}},
}}

var backend = fields{"service": reference{resource: services, field: nameField}}

func isExposedBy(ingress, leader *unstructured.Unstructured) bool {
	if leader.GroupVersionKind().GroupKind() != serviceKind {
		return false
	}
	exposes := false
	backends.prune(ingress.Object, func(service Reference) {
		exposes = exposes || service.Name == leader.GetName()
	})
	return exposes
}
