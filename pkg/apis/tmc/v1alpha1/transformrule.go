package v1alpha1

import corev1 "k8s.io/api/core/v1"

// ReplaceAnnotation lets a syncer, where its value is "true", delete a copy and make
// it anew when its cluster refuses a change of it as immutable. The user writes it
// on the upstream object, the syncers read it.
const ReplaceAnnotation = GroupName + "/replace"

// NamespaceMode says whether workspaces share the namespaces of a cluster.
type NamespaceMode string

const (
	// NamespaceModeShared is the default, also when nothing is said: namespaces of one
	// name in several workspaces are one namespace on the cluster.
	NamespaceModeShared NamespaceMode = "Shared"
	// NamespaceModeIsolated gives every namespace of every workspace a namespace of its
	// own on the cluster.
	NamespaceModeIsolated NamespaceMode = "Isolated"
)

// TransformRule is what a cluster's operator has done to every copy that comes to
// that cluster. The zero rule does nothing. It is for adapting what tenants write
// to a cluster, and no boundary against them: a tenant's override for the cluster
// (OverrideAnnotationPrefix) is applied after it. What must hold against tenants
// belongs into the cluster's own admission.
type TransformRule struct {
	// NamespacePrefix goes before the name of every namespace.
	NamespacePrefix string `json:"namespacePrefix,omitempty"`
	// NamespaceMode is Shared (the default) or Isolated.
	NamespaceMode NamespaceMode `json:"namespaceMode,omitempty"`
	// ImageRegistry, HOST[:PORT][/PATH], takes the place of the registry in every
	// image of a pod template: with registry.example.com, nginx:1 becomes
	// registry.example.com/library/nginx:1.
	ImageRegistry string `json:"imageRegistry,omitempty"`
	// ResourceLimits are caps for each container of a pod template: a limit above is
	// lowered, and a request above the limit with it. A container without a limit for
	// cpu, memory or ephemeral-storage gets the cap as its limit; where it makes no
	// request either, Kubernetes takes the limit for one, as it does with the maximum
	// of a LimitRange.
	ResourceLimits corev1.ResourceList `json:"resourceLimits,omitempty"`
	// Labels and Annotations are added to the metadata of every copy and of every
	// namespace made for copies, and win over the user's. Pod templates do not get
	// them: changing a rule must not restart pods for a label.
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}
