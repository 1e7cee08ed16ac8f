package kinds

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
)

// Ties are texts by which an index finds what may follow an object, and what an object may follow, without going through a namespace:
// whenever Follows is true of two objects of a namespace, one of these is true as well.
//
//   - They have a tie in common: one of FollowerTies, and one of LeaderTies or of OwnTies of the leader.
//   - The leader names the follower: it is among Followers of the leader.
const (
	tieByTarget = "target "
	tieByName   = "name "
	tieByPods   = "pods "
)

// FollowerTies returns the ties of an object that may follow others: what it has as its target, what it names, and one label of the pods
// that it selects, or that it may select any.
func (k Kinds) FollowerTies(obj *unstructured.Unstructured) []string {
	f := k.Of(obj.GroupVersionKind().GroupKind()).Follows
	if f == nil {
		return nil
	}
	var ties []string
	if target, isObject := f.Target.In(obj.Object).(map[string]any); isObject {
		kind, _ := target["kind"].(string)
		name, _ := target["name"].(string)
		ties = append(ties, targetTie(kind, name))
	}
	for _, reference := range f.Names {
		shapeOf(reference).prune(obj.Object, func(need Need) {
			for name := range namesIn(need.Name, obj.GetNamespace()) {
				ties = append(ties, nameTie(need.Resource, name))
			}
		})
	}
	return append(ties, f.Selector.ties(obj)...)
}

// ties returns the tie of what selects pods, none of what selects none.
func (s Selector) ties(obj *unstructured.Unstructured) []string {
	if len(s.Path) == 0 || s.Unless != nil && s.Unless.IsIn(obj.Object) {
		return nil
	}
	selector, err := s.parse(s.Path.In(obj.Object))
	if err != nil {
		return nil
	}
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		isEqual := r.Operator() == selection.Equals || r.Operator() == selection.DoubleEquals || r.Operator() == selection.In
		if values := r.Values(); isEqual && values.Len() == 1 {
			return []string{podsTie(r.Key(), values.UnsortedList()[0])}
		}
	}
	return []string{tieByPods}
}

// LeaderTies returns the ties of an object that runs pods: each label of theirs, and one for what selects any.
func (k Kinds) LeaderTies(obj *unstructured.Unstructured) []string {
	var ties []string
	for _, at := range templatePaths {
		if template := podTemplate(obj.Object, at); template != nil {
			ties = append(ties, tieByPods)
			for key, value := range templateLabels(template) {
				ties = append(ties, podsTie(key, value))
			}
		}
	}
	return ties
}

// OwnTies returns the ties of an object by what it is: what may have it as its target, or name it.
func (k Kinds) OwnTies(obj *unstructured.Unstructured) []string {
	return []string{targetTie(obj.GetKind(), obj.GetName()), nameTie(k.ResourceOf(obj), obj.GetName())}
}

// MayLead reports whether an object of the kind may be a target, or be named by what follows it. ConfigMaps, Secrets and accounts are not:
// there are many of them, and they need no ties.
func (k Kinds) MayLead(gk schema.GroupKind) bool {
	return !k.Of(gk).Statusless || slices.ContainsFunc(k.own, func(kind *Kind) bool { return kind.Follows != nil && len(kind.Follows.Names) > 0 })
}

// Followers returns what an object names that goes where it goes.
func (k Kinds) Followers(obj *unstructured.Unstructured) []Need {
	var needs []Need
	for _, reference := range k.Of(obj.GroupVersionKind().GroupKind()).FollowedBy {
		shapeOf(reference).prune(obj.Object, func(need Need) {
			for name := range namesIn(need.Name, obj.GetNamespace()) {
				needs = append(needs, Need{Resource: need.Resource, Name: name})
			}
		})
	}
	return needs
}

func targetTie(kind, name string) string { return tieByTarget + kind + "/" + name }

func nameTie(resource schema.GroupResource, name string) string {
	return tieByName + resource.String() + "/" + name
}

func podsTie(key, value string) string { return tieByPods + key + "=" + value }
