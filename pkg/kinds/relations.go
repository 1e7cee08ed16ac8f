package kinds

import (
	"cmp"
	"errors"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Need is an object, in the namespace of the one that was asked about, that is needed there.
type Need struct {
	Resource schema.GroupResource
	Name     string
	// Optional is set when the one that needs it goes on without: where it exists it is to be there, where it does not
	// nothing is wrong.
	Optional bool
}

// Needs returns what the object needs on its cluster before it, sorted and each once; Optional only if every mention of it
// is. That is what a pod template in it names (podReferences), in an object of any kind, and what the entry of its kind
// says. It leaves out what each namespace of each cluster has of its own: the ConfigMap kube-root-ca.crt
// (RootCACertConfigMapName of kubernetes, pkg/controller/certificates/rootcacertpublisher) and the ServiceAccount default.
//
// What is in another namespace is left out as well, for annotations can name such objects, and so is what the object's user says
// that its clusters make themselves (protocol.Object.ProvidedByCluster).
//
// It does not read where a claim's data comes from (dataSource), nor what dynamic resource allocation asks for
// (resourceClaims).
func (k Kinds) Needs(obj *unstructured.Unstructured) []Need {
	provided, _ := protocol.Read(obj).ProvidedByCluster()
	optional := map[Need]bool{} // whether every mention so far was
	found := func(need Need) {
		for name := range namesIn(need.Name, obj.GetNamespace()) {
			if need.Resource == configMaps && name == rootCAConfigMap || protocol.AnyHas(provided, need.Resource, obj.GetNamespace(), name) {
				continue
			}
			one := Need{Resource: need.Resource, Name: name}
			before, mentioned := optional[one]
			optional[one] = need.Optional && (before || !mentioned)
		}
	}
	for _, at := range templatePaths {
		if template := podTemplate(obj.Object, at); template != nil {
			pruneTemplate(template, found)
		}
	}
	if needs := k.Of(obj.GroupVersionKind().GroupKind()).needs; needs != nil {
		needs.prune(obj.Object, found)
	}
	needs := make([]Need, 0, len(optional))
	for need, isOptional := range optional {
		need.Optional = isOptional
		needs = append(needs, need)
	}
	slices.SortFunc(needs, func(a, b Need) int {
		return cmp.Or(
			cmp.Compare(a.Resource.Group, b.Resource.Group),
			cmp.Compare(a.Resource.Resource, b.Resource.Resource),
			cmp.Compare(a.Name, b.Name),
		)
	})
	return needs
}

const (
	rootCAConfigMap = "kube-root-ca.crt"
	defaultAccount  = "default"
)

var (
	configMaps      = schema.ParseGroupResource("configmaps")
	serviceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
)

// templatePaths are where objects of any kind keep a pod template: most of them as Deployments do, CronJobs and what is
// like them within the template of a Job.
var templatePaths = []Path{path("spec.template"), path("spec.jobTemplate.spec.template")}

// Where a pod template has them.
var (
	containersPath = path("spec.containers")
	labelsPath     = path("metadata.labels")
)

// podTemplate returns the pod template at the path, nil when there is none. Its shape tells: other things than pods have a
// `template` as well.
func podTemplate(object map[string]any, at Path) map[string]any {
	template, _ := at.In(object).(map[string]any)
	if _, isList := containersPath.In(template).([]any); !isList {
		return nil
	}
	return template
}

// templateLabels are the labels of a template's pods, as far as the template has them: what controllers add to each pod is
// not among them.
func templateLabels(template map[string]any) map[string]string {
	all, _ := labelsPath.In(template).(map[string]any)
	labels := map[string]string{}
	for key, value := range all {
		if text, isText := value.(string); isText {
			labels[key] = text
		}
	}
	return labels
}

// accountOf returns the service account that a pod runs as, without which it is refused (kubernetes,
// plugin/pkg/admission/serviceaccount); empty for the default. The deprecated field counts where the other one is empty, as
// in Convert_v1_PodSpec_To_core_PodSpec (kubernetes, pkg/apis/core/v1/conversion.go).
func accountOf(spec map[string]any) string {
	account, _ := spec["serviceAccountName"].(string)
	if account == "" {
		account, _ = spec["serviceAccount"].(string)
	}
	if account == defaultAccount {
		return ""
	}
	return account
}

// podSpec is the shape of what is looked at in a pod's spec: references, and what it requests, which says how many of them
// a cluster has room for.
var podSpec = func() *shape {
	s := shapeOf(podReferences()...)
	s.at(path("overhead")).whole = true
	for _, list := range containerLists {
		s.at(path(list + "[].resources")).whole = true
	}
	return s
}()

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
	resource, found := k.ResourceOf(other), false
	for _, reference := range references {
		if reference.GroupResource() == resource {
			shapeOf(reference).prune(obj.Object, func(need Need) {
				for name := range namesIn(need.Name, obj.GetNamespace()) {
					found = found || name == other.GetName()
				}
			})
		}
	}
	return found
}

// ResourceOf returns the resource of an object: as the entry of its kind has it, or as kinds are named by convention.
func (k Kinds) ResourceOf(obj *unstructured.Unstructured) schema.GroupResource {
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
