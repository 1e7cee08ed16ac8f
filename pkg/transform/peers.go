package transform

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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

func comparesNames(operator any) bool {
	return operator == string(metav1.LabelSelectorOpIn) || operator == string(metav1.LabelSelectorOpNotIn)
}
