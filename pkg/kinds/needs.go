package kinds

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
// It does not read where a claim's data comes from (dataSource), nor what dynamic resource allocation asks for
// (resourceClaims).
func (k Kinds) Needs(obj *unstructured.Unstructured) []Need {
	optional := map[Need]bool{} // whether every mention so far was
	found := func(need Need) {
		if need.Resource == configMaps && need.Name == rootCAConfigMap {
			return
		}
		isOptional := need.Optional
		need.Optional = false
		before, mentioned := optional[need]
		optional[need] = isOptional && (before || !mentioned)
	}
	for _, at := range templatePaths {
		if template := podTemplate(obj.Object, at); template != nil {
			pruneTemplate(template, found)
		}
	}
	if references := k.Of(obj.GroupVersionKind().GroupKind()).References; len(references) > 0 {
		shapeOf(references...).prune(obj.Object, found)
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
