package transform

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// clustersNamespaces starts the names that Kubernetes reserves for itself: a
// workspace's policy that names one means the cluster's.
const clustersNamespaces = "kube-"

// renamePeers maps the namespaces that a NetworkPolicy selects by name, so that it
// means on the cluster what it means in the workspace.
func renamePeers(desired *unstructured.Unstructured, rule v1alpha1.TransformRule, workspace string) {
	rename := func(name any) any {
		namespace, isString := name.(string)
		if !isString || namespace == "" || strings.HasPrefix(namespace, clustersNamespaces) {
			return name
		}
		return Namespace(rule, workspace, namespace)
	}
	spec := child(desired.Object, "spec")
	for direction, peers := range map[string]string{"ingress": "from", "egress": "to"} {
		for _, policyRule := range children(spec, direction) {
			for _, peer := range children(policyRule, peers) {
				renameSelected(child(peer, "namespaceSelector"), rename)
			}
		}
	}
}

// renameSelected maps the names in a label selector for namespaces.
func renameSelected(selector map[string]any, rename func(any) any) {
	matchLabels := child(selector, "matchLabels")
	if name, selected := matchLabels[corev1.LabelMetadataName]; selected {
		matchLabels[corev1.LabelMetadataName] = rename(name)
	}
	for _, requirement := range children(selector, "matchExpressions") {
		if requirement["key"] != corev1.LabelMetadataName || !comparesNames(requirement["operator"]) {
			continue
		}
		names, _ := requirement["values"].([]any)
		for i, name := range names {
			names[i] = rename(name)
		}
	}
}

// confine has what crosses namespaces on the cluster reach no namespace of another workspace,
// where the rule separates workspaces. It comes after the user's override: it is a boundary.
func confine(desired *unstructured.Unstructured, rule v1alpha1.TransformRule, workspace string) {
	if !rule.SeparatesWorkspaces() {
		return
	}
	if desired.GroupVersionKind().GroupKind() == networkPolicy {
		spec := child(desired.Object, "spec")
		for _, policyRule := range children(spec, "ingress") {
			confinePeers(policyRule, "from", workspace)
		}
		for _, policyRule := range children(spec, "egress") {
			confinePeers(policyRule, "to", workspace)
		}
	}
	for _, podSpec := range podSpecs(desired) {
		for _, kind := range []string{"podAffinity", "podAntiAffinity"} {
			affinity := child(podSpec, "affinity", kind)
			terms := children(affinity, "requiredDuringSchedulingIgnoredDuringExecution")
			for _, preferred := range children(affinity, "preferredDuringSchedulingIgnoredDuringExecution") {
				terms = append(terms, child(preferred, "podAffinityTerm"))
			}
			for _, term := range terms {
				confineTerm(term, rule, workspace, desired.GetNamespace())
			}
		}
	}
}

// confinePeers makes two peers of each that selects namespaces: those of them that are the
// workspace's own, and those that are no workspace's, the cluster's own (where its DNS is).
func confinePeers(policyRule map[string]any, field, workspace string) {
	peers, isList := policyRule[field].([]any)
	if !isList {
		return
	}
	var confined []any
	for _, peer := range peers {
		fields, isObject := peer.(map[string]any)
		selector, selects := fields["namespaceSelector"].(map[string]any)
		if !isObject || !selects {
			confined = append(confined, peer)
			continue
		}
		for _, more := range []map[string]any{ofWorkspace(workspace), ofNobody()} {
			one := maps.Clone(fields)
			one["namespaceSelector"] = narrowed(selector, more)
			confined = append(confined, runtime.DeepCopyJSONValue(one))
		}
	}
	if confined != nil {
		policyRule[field] = confined
	}
}

// confineTerm has a term of a pod affinity select namespaces of the workspace alone. A term
// may have a list of names and a selector, which add up; one selector cannot say that, and
// of the names the pod's own is kept then.
func confineTerm(term map[string]any, rule v1alpha1.TransformRule, workspace, own string) {
	names, _ := term["namespaces"].([]any)
	selector, selects := term["namespaceSelector"].(map[string]any)
	if len(names) == 0 && !selects {
		return // the pod's own namespace
	}
	var renamed []any
	for _, name := range names {
		if text, isString := name.(string); isString {
			renamed = append(renamed, Namespace(rule, workspace, text))
		}
	}
	delete(term, "namespaces")
	if !selects {
		named := requirement(corev1.LabelMetadataName, metav1.LabelSelectorOpIn, renamed...)
		term["namespaceSelector"] = narrowed(narrowed(nil, named), ofWorkspace(workspace))
		return
	}
	renameSelected(selector, func(name any) any {
		if text, isString := name.(string); isString && text != "" {
			return Namespace(rule, workspace, text)
		}
		return name
	})
	term["namespaceSelector"] = narrowed(selector, ofWorkspace(workspace))
	if slices.Contains(renamed, any(own)) {
		term["namespaces"] = []any{own}
	}
}

// ofWorkspace selects the namespaces of a workspace.
func ofWorkspace(workspace string) map[string]any {
	return requirement(v1alpha1.WorkspaceLabel, metav1.LabelSelectorOpIn, workspaceValue(workspace))
}

// ofNobody selects the namespaces that no syncer has made or noted. It goes by the older of
// the labels: what a syncer of an earlier version has marked is a workspace's as well.
func ofNobody() map[string]any {
	return requirement(v1alpha1.ManagedByLabel, metav1.LabelSelectorOpDoesNotExist)
}

// requirement is one of a label selector's matchExpressions.
func requirement(key string, operator metav1.LabelSelectorOperator, values ...any) map[string]any {
	one := map[string]any{"key": key, "operator": string(operator)}
	if len(values) > 0 {
		one["values"] = values
	}
	return one
}

// narrowed returns the selector with one more requirement.
func narrowed(selector, more map[string]any) map[string]any {
	narrow := maps.Clone(selector)
	if narrow == nil {
		narrow = map[string]any{}
	}
	requirements, _ := narrow["matchExpressions"].([]any)
	narrow["matchExpressions"] = append(slices.Clip(requirements), more)
	return narrow
}

func comparesNames(operator any) bool {
	return operator == string(metav1.LabelSelectorOpIn) || operator == string(metav1.LabelSelectorOpNotIn)
}
