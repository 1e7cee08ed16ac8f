package v1alpha1

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// NamespaceMode says what becomes of namespaces that have one name in several workspaces.
//
// +kubebuilder:validation:Enum=Exclusive;Isolated;Shared
type NamespaceMode string

const (
	// NamespaceModeExclusive is the default, also when nothing is said: the first
	// workspace that uses a namespace of the cluster has it, and what others would put
	// there is refused until it is free again.
	NamespaceModeExclusive NamespaceMode = "Exclusive"
	// NamespaceModeIsolated gives every namespace of every workspace a namespace of its
	// own on the cluster.
	NamespaceModeIsolated NamespaceMode = "Isolated"
	// NamespaceModeShared is for workspaces that trust each other as one tenant would
	// himself: namespaces of one name in several workspaces are one namespace on the
	// cluster. The Services, PodDisruptionBudgets and NetworkPolicies of one workspace
	// select the pods of the others there, and pods of one may use the Secrets of the
	// others.
	NamespaceModeShared NamespaceMode = "Shared"
)

// TransformRule is what a cluster's operator has done to every copy that comes to
// that cluster. The zero rule does nothing. It is for adapting what tenants write
// to a cluster, and no boundary against them: a tenant's override for the cluster
// (OverrideAnnotationPrefix) is applied after it. What must hold against tenants
// belongs into the cluster's own admission.
//
// The markers say in a schema's words what transform.ValidateRule checks, and so does
// the overlay of ClusterRegistrations in hack/schemagen, for what has no markers.
//
// +kubebuilder:validation:XValidation:rule="!has(self.resourceLimits) || self.resourceLimits.all(name, !format.qualifiedName().validate(name).hasValue() && (name.contains('/') || name.startsWith('hugepages-') || name in ['cpu', 'memory', 'ephemeral-storage']))",fieldPath=".resourceLimits",message="expected cpu, memory, ephemeral-storage, hugepages-SIZE or names with a domain, for instance example.com/gpu"
// +kubebuilder:validation:XValidation:rule="!has(self.resourceLimits) || self.resourceLimits.all(name, type(self.resourceLimits[name]) == int ? self.resourceLimits[name] > 0 : quantity(self.resourceLimits[name]).isGreaterThan(quantity('0')))",fieldPath=".resourceLimits",message="expected quantities of more than 0"
// +kubebuilder:validation:XValidation:rule="!has(self.resourceLimits) || self.resourceLimits.all(name, name in ['cpu', 'memory', 'ephemeral-storage'] || type(self.resourceLimits[name]) == int || quantity(self.resourceLimits[name]).isInteger())",fieldPath=".resourceLimits",message="expected whole numbers but for cpu, memory and ephemeral-storage"
// +kubebuilder:validation:XValidation:rule="!has(self.labels) || self.labels.all(key, !format.qualifiedName().validate(key).hasValue())",fieldPath=".labels",message="expected keys that are qualified names, for instance example.com/site"
// +kubebuilder:validation:XValidation:rule="!has(self.labels) || self.labels.all(key, !(key.startsWith('kcp.io/') || key.contains('.kcp.io/') || key.startsWith('deployment.kubernetes.io/') || key in ['kubectl.kubernetes.io/last-applied-configuration', 'kubernetes.io/metadata.name']))",fieldPath=".labels",message="expected keys that tmc, kcp or the cluster do not write themselves"
// +kubebuilder:validation:XValidation:rule="!has(self.annotations) || self.annotations.all(key, !format.qualifiedName().validate(key.lowerAscii()).hasValue())",fieldPath=".annotations",message="expected keys that are qualified names, for instance example.com/site"
// +kubebuilder:validation:XValidation:rule="!has(self.annotations) || self.annotations.all(key, !(key.startsWith('kcp.io/') || key.contains('.kcp.io/') || key.startsWith('deployment.kubernetes.io/') || key in ['kubectl.kubernetes.io/last-applied-configuration', 'kubernetes.io/metadata.name']))",fieldPath=".annotations",message="expected keys that tmc, kcp or the cluster do not write themselves"
type TransformRule struct {
	// NamespaceLabels and NamespaceAnnotations are the keys of labels and annotations that go
	// down from a tenant's namespaces to the cluster's: a whole key, a domain and "/*" for
	// all keys of that domain, or "*" for all. Not given, none do. Labels of namespaces grant
	// rights on a cluster: a level of pod security, an exemption from a policy, what a
	// NetworkPolicy or a webhook selects by them. Those in Labels and Annotations win.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([*]|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[*]|([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$')",message="expected a key, for instance example.com/team, a domain with all its keys, for instance example.com/*, or *"
	NamespaceLabels []string `json:"namespaceLabels,omitempty"`
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([*]|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[*]|([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$')",message="expected a key, for instance example.com/team, a domain with all its keys, for instance example.com/*, or *"
	NamespaceAnnotations []string `json:"namespaceAnnotations,omitempty"`
	// DropLabels and DropAnnotations are the keys of labels and annotations that do not go down
	// with copies and namespaces: a whole key, or a domain and "/" for all keys of that domain.
	// They are removed from the metadata of the object itself, never from pod templates or
	// selectors. Those in Labels and Annotations are added all the same. What the well-known
	// deployment tools write to find their own objects again does not go down in any case.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",message="expected a key, for instance example.com/team, or a domain with a slash for all its keys, for instance example.com/"
	// +kubebuilder:validation:items:XValidation:rule="!(self.startsWith('kcp.io/') || self.contains('.kcp.io/') || self.startsWith('deployment.kubernetes.io/') || self in ['kubectl.kubernetes.io/last-applied-configuration', 'kubernetes.io/metadata.name'])",message="expected keys that tmc, kcp or the cluster do not write themselves"
	DropLabels []string `json:"dropLabels,omitempty"`
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",message="expected a key, for instance example.com/team, or a domain with a slash for all its keys, for instance example.com/"
	// +kubebuilder:validation:items:XValidation:rule="!(self.startsWith('kcp.io/') || self.contains('.kcp.io/') || self.startsWith('deployment.kubernetes.io/') || self in ['kubectl.kubernetes.io/last-applied-configuration', 'kubernetes.io/metadata.name'])",message="expected keys that tmc, kcp or the cluster do not write themselves"
	DropAnnotations []string `json:"dropAnnotations,omitempty"`
	// NamespacePrefix goes before the name of every namespace.
	//
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9][-a-z0-9]*)?$')",message="expected the beginning of a name: lower case letters, digits and '-', the first no '-'"
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !(self.startsWith('kube-') || 'kube-'.startsWith(self))",message="must not begin names of the form kube-…, which are the cluster's own"
	NamespacePrefix string `json:"namespacePrefix,omitempty"`
	// NamespaceMode is Exclusive (the default: the first workspace that uses a namespace
	// has it), Isolated (each workspace has namespaces of its own) or Shared (for
	// workspaces that trust each other).
	NamespaceMode NamespaceMode `json:"namespaceMode,omitempty"`
	// ImageRegistry, HOST[:PORT][/PATH], takes the place of the registry in every
	// image of a pod template: with registry.example.com, nginx:1 becomes
	// registry.example.com/library/nginx:1.
	//
	// +kubebuilder:validation:MaxLength=240
	// +kubebuilder:validation:XValidation:rule="self.matches('^((localhost|[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)+|([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|[[][A-Fa-f0-9:]+[]]):[0-9]+|[[][A-Fa-f0-9:]+[]])(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*)?$')",message="expected HOST[:PORT][/PATH], for instance registry.example.com/mirror"
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
	//
	// +kubebuilder:validation:MaxProperties=64
	Labels map[string]string `json:"labels,omitempty"`
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`
}

// SeparatesWorkspaces reports whether the rule keeps what several workspaces have on the
// cluster in different namespaces.
func (r *TransformRule) SeparatesWorkspaces() bool { return r.NamespaceMode != NamespaceModeShared }

// SharedWarning says what it means that the rules of clusters have the namespaceMode Shared.
func SharedWarning(clusters ...string) string {
	return "namespaceMode Shared is for workspaces that trust each other: it makes one tenant of all that use " + strings.Join(clusters, ", ") +
		". There, their pods can use each other's Secrets, and their Services take each other's pods; Exclusive and Isolated keep them apart"
}
