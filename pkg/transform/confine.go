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

// kubernetesNamespaces begins the names that Kubernetes reserves for itself: a workspace's policy that names one means
// the cluster's.
const kubernetesNamespaces = "kube-"

// peersOf are the fields of a NetworkPolicy's rules that list peers, by direction.
var peersOf = map[string]string{"ingress": "from", "egress": "to"}

// renamePeers maps the namespaces that a NetworkPolicy selects by name, so that it means on the cluster what it means in
// the workspace.
func renamePeers(desired *unstructured.Unstructured, rule v1alpha1.TransformRule, workspace string) {
	rename := func(name any) any {
		namespace, isString := name.(string)
		if !isString || namespace == "" || strings.HasPrefix(namespace, kubernetesNamespaces) {
			return name
		}
		return Namespace(rule, workspace, namespace)
	}
	spec := child(desired.Object, "spec")
	for direction, peers := range peersOf {
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
		operator := requirement["operator"]
		comparesNames := operator == string(metav1.LabelSelectorOpIn) || operator == string(metav1.LabelSelectorOpNotIn)
		if requirement["key"] != corev1.LabelMetadataName || !comparesNames {
			continue
		}
		names, _ := requirement["values"].([]any)
		for i, name := range names {
			names[i] = rename(name)
		}
	}
}

// confine narrows the selectors of a copy that cross namespaces on the cluster, so that they reach no namespace of another
// workspace, where the rule separates workspaces. It comes after the user's override: it is a boundary.
func confine(desired *unstructured.Unstructured, rule v1alpha1.TransformRule, workspace string) {
	if !rule.SeparatesWorkspaces() {
		return
	}
	if desired.GroupVersionKind().GroupKind() == networkPolicy {
		for direction, peers := range peersOf {
			for _, policyRule := range children(child(desired.Object, "spec"), direction) {
				confinePeers(policyRule, peers, workspace)
			}
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

// confinePeers replaces each peer that selects namespaces by two: one for those that are the workspace's own, and one for
// those that are no workspace's, which are the cluster's own (its DNS is there).
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
		for _, more := range []map[string]any{ofWorkspace(workspace), ofNoWorkspace()} {
			one := maps.Clone(fields)
			one["namespaceSelector"] = narrowed(selector, more)
			confined = append(confined, runtime.DeepCopyJSONValue(one))
		}
	}
	if confined != nil {
		policyRule[field] = confined
	}
}

// confineTerm narrows a term of a pod affinity to the namespaces of the workspace. A term may have a list of names and a
// selector, which add up. One selector cannot express that; of the names only the pod's own namespace is kept then.
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

// ofNoWorkspace selects the namespaces that no syncer has made or marked. It uses the older of the two labels: what a
// syncer of an earlier version has marked is a workspace's as well.
func ofNoWorkspace() map[string]any {
	return requirement(v1alpha1.ManagedByLabel, metav1.LabelSelectorOpDoesNotExist)
}

// requirement returns one of a label selector's matchExpressions.
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
