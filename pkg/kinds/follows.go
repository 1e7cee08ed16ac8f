package kinds

import (
	"errors"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// MayFollow reports whether objects of the kind can be followers. Of any other kind Follows is false.
func (k Kinds) MayFollow(gk schema.GroupKind) bool { return k.Of(gk).Follows != nil }

// Follows reports whether the follower belongs with the leader, in the same namespace, and goes where it goes: because it
// names the leader as its target, the leader names it, its selector matches the leader's pod template, or it names the
// leader. What their entries say decides which of these count.
//
// A selector is compared with the labels of the template: one by labels that controllers add to single pods
// (statefulset.kubernetes.io/pod-name, job-name) matches nothing. One that is not valid matches nothing either.
func (k Kinds) Follows(follower, leader *unstructured.Unstructured) bool {
	f := k.Of(follower.GroupVersionKind().GroupKind()).Follows
	if f == nil || follower.GetNamespace() != leader.GetNamespace() {
		return false
	}
	leads := k.Of(leader.GroupVersionKind().GroupKind())
	return f.hasTarget(follower, leader) || k.names(leads.FollowedBy, leader, follower) ||
		f.Selector.selects(follower, leader) || k.names(f.Names, follower, leader)
}

// hasTarget reads the group out of the target's apiVersion: versions are views of one object.
func (f *Follows) hasTarget(follower, leader *unstructured.Unstructured) bool {
	var target autoscalingv2.CrossVersionObjectReference
	content, isObject := f.Target.In(follower.Object).(map[string]any)
	if !isObject || runtime.DefaultUnstructuredConverter.FromUnstructured(content, &target) != nil {
		return false
	}
	version, err := schema.ParseGroupVersion(target.APIVersion)
	return err == nil && target.Name != "" && target.Name == leader.GetName() &&
		version.WithKind(target.Kind).GroupKind() == leader.GroupVersionKind().GroupKind()
}

// names reports whether the object names the other one in one of the references.
func (k Kinds) names(references []Reference, obj, other *unstructured.Unstructured) bool {
	if len(references) == 0 {
		return false
	}
	resource, found := k.resourceOf(other), false
	for _, reference := range references {
		if reference.GroupResource() == resource {
			shapeOf(reference).prune(obj.Object, func(need Need) { found = found || need.Name == other.GetName() })
		}
	}
	return found
}

// resourceOf returns the resource of an object: as the entry of its kind has it, or as kinds are named by convention.
func (k Kinds) resourceOf(obj *unstructured.Unstructured) schema.GroupResource {
	gvk := obj.GroupVersionKind()
	if kind := k.Of(gvk.GroupKind()); kind.Resource != "" {
		return kind.GroupVersionResource().GroupResource()
	}
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return plural.GroupResource()
}

// selects reports whether the follower's selector matches the pod template of the leader.
func (s Selector) selects(follower, leader *unstructured.Unstructured) bool {
	if len(s.Path) == 0 || s.Unless != nil && s.Unless.IsIn(follower.Object) {
		return false
	}
	value := s.Path.In(follower.Object)
	selector, err := s.parse(value)
	return err == nil && runsPodsOf(leader, selector)
}

var errNoSelector = errors.New("this is no selector")

func (s Selector) parse(value any) (labels.Selector, error) {
	content, isObject := value.(map[string]any)
	switch {
	case value == nil && s.AbsentSelectsAll:
		return labels.Everything(), nil
	case !isObject:
		return nil, errNoSelector
	case s.Labels:
		set, _, err := unstructured.NestedStringMap(content)
		if err != nil || len(set) == 0 {
			return nil, errNoSelector
		}
		return labels.SelectorFromSet(set), nil
	}
	selector := &metav1.LabelSelector{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, selector); err != nil {
		return nil, err
	}
	return metav1.LabelSelectorAsSelector(selector)
}

// runsPodsOf reports whether the leader has a pod template that the selector matches.
func runsPodsOf(leader *unstructured.Unstructured, selector labels.Selector) bool {
	for _, at := range templatePaths {
		template := podTemplate(leader.Object, at)
		if template != nil && selector.Matches(labels.Set(templateLabels(template))) {
			return true
		}
	}
	return false
}
