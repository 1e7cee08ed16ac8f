package v1alpha1

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ClusterRegistrationsResource is where the registry of clusters is, in the provider
// workspace.
var ClusterRegistrationsResource = SchemeGroupVersion.WithResource("clusterregistrations")

// HeartbeatNamespace is the namespace of the provider workspace that holds a Lease
// for each cluster, by the cluster's name. The cluster's syncer renews it, the hub
// watches it; as kubelets do in kube-node-lease.
const HeartbeatNamespace = "tmc-heartbeats"

// MaxTokenLifetime is how long a token of a syncer's account is valid at most. The policy
// tmc-accounts of the provider workspace has no syncer get a better one.
const MaxTokenLifetime = 24 * time.Hour

// SyncersNamespace is the namespace of the provider workspace that holds a
// ServiceAccount for each cluster that was joined, by the cluster's name: the cluster's
// syncer is system:serviceaccount:tmc-syncers:<cluster> in kcp.
const SyncersNamespace = "tmc-syncers"

// ConditionReady is the condition of a ClusterRegistration, written by the hub: True
// while the cluster's syncer renews its Lease, Unknown when it has been silent.
const ConditionReady = "Ready"

// ClusterRegistration tells tmc of a physical cluster. It is in the provider
// workspace; its name is the cluster's, and its labels are what placements select by.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=cr,categories=tmc
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Location,type=string,JSONPath=`.spec.location`
// +kubebuilder:printcolumn:name=Ready,type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name=Isolation,type=string,JSONPath=`.spec.isolation`
// +kubebuilder:printcolumn:name=Unschedulable,type=boolean,JSONPath=`.spec.unschedulable`
// +kubebuilder:printcolumn:name=Version,type=string,JSONPath=`.status.kubernetesVersion`
// +kubebuilder:printcolumn:name=Nodes,type=integer,JSONPath=`.status.nodes`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 63",fieldPath=".metadata",message="name: expected a DNS label (lower case letters, digits and '-') of at most 63 characters, since it becomes part of label keys"
type ClusterRegistration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is there, with its defaults, also where nobody has written one.
	//
	// +kubebuilder:default={}
	Spec   ClusterRegistrationSpec   `json:"spec,omitempty"`
	Status ClusterRegistrationStatus `json:"status,omitempty"`
}

// ClusterRegistrationList is a list of ClusterRegistrations.
//
// +kubebuilder:object:root=true
type ClusterRegistrationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ClusterRegistration `json:"items"`
}

// ClusterRegistrationSpec is what people say of a cluster.
//
// +kubebuilder:validation:XValidation:rule="has(self.isolation) && self.isolation == 'Group' ? has(self.isolationGroup) && size(self.isolationGroup) > 0 : !has(self.isolationGroup) || size(self.isolationGroup) == 0",fieldPath=".isolationGroup",message="expected the name of a group where isolation is Group, and none elsewhere"
type ClusterRegistrationSpec struct {
	// Location is where the cluster is: a region, a site. Placements select by it and
	// spread over it.
	//
	// +kubebuilder:validation:MaxLength=63
	Location string `json:"location,omitempty"`
	// Unschedulable keeps new workloads away (`kubectl tmc cordon`). What is there
	// stays.
	Unschedulable bool `json:"unschedulable,omitempty"`
	// Drain has everything leave (`kubectl tmc drain`), and nothing come, whatever
	// tolerations and annotations say. Where a placement wants another cluster
	// instead, the copy there is available before the one here goes.
	Drain bool `json:"drain,omitempty"`
	// Taints keep away (NoSchedule), or send away (NoExecute), what does not tolerate
	// them.
	//
	// +listType=map
	// +listMapKey=key
	// +listMapKey=effect
	// +kubebuilder:validation:MaxItems=64
	Taints []Taint `json:"taints,omitempty"`
	// AllowedWorkspaces are the paths of the workspaces whose workloads may run here.
	// A path that ends in ":*" stands for all workspaces below it. Empty means all.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?:)*([a-z0-9]([-a-z0-9]*[a-z0-9])?|[*])$')",message="expected the path of a workspace, for instance root:team-a, or root:org:* for those below one"
	AllowedWorkspaces []string `json:"allowedWorkspaces,omitempty"`
	// DeniedNamespaces are the cluster's namespaces that nothing from kcp comes into, by
	// the names that they have on the cluster; "*" stands for any characters. The
	// namespace of the cluster's syncer is always one of them. What is there already
	// stays, and is changed no more. Not given, it is the namespaces by which clusters
	// live; an empty list denies none but the syncer's.
	//
	// +optional
	// +listType=set
	// +kubebuilder:default={"kube-*","*-system","openshift","openshift-*","cert-manager"}
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[-a-z0-9*]+$')",message="expected the name of a namespace, in which * stands for any characters, for instance kube-*"
	DeniedNamespaces []string `json:"deniedNamespaces,omitempty"`
	// AllowedNamespaces are the cluster's namespaces that copies may come into although tmc
	// did not make them, by the names that they have on the cluster; "*" stands for any
	// characters. What is in them already (ServiceAccounts with rights, Secrets) a
	// workload that comes there can use. DeniedNamespaces wins. Not given, or empty, it
	// is none: copies come into the namespaces that tmc made, and into no other. What is
	// in another one from before is kept up.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[-a-z0-9*]+$')",message="expected the name of a namespace, in which * stands for any characters, for instance shop-*"
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`
	// ProvidedByCluster are objects that something on the cluster makes, cert-manager for
	// instance: KIND/NAME, or NAMESPACE/KIND/NAME with the namespace of the workspace. In names
	// and namespaces, "*" stands for any characters. What names such an object does not miss it
	// where it does not exist in kcp. Where it does, it goes to the cluster as ever.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([-a-z0-9*]+/)?[A-Za-z][-A-Za-z0-9.]*/[-a-z0-9.*]+$')",message="expected KIND/NAME or NAMESPACE/KIND/NAME, in which * stands for any characters of a name, for instance secrets/*-tls"
	ProvidedByCluster []string `json:"providedByCluster,omitempty"`
	// Transform is how copies are adapted to the cluster.
	Transform *TransformRule `json:"transform,omitempty"`
	// Isolation says what the cluster's syncer can see in kcp, and so which APIExport a
	// workspace must have bound for its workloads to run here. `kubectl tmc join` writes
	// it. Not given, it is Shared: a syncer that somebody runs by hand with a kubeconfig
	// of his own reads what that kubeconfig may read.
	Isolation Isolation `json:"isolation,omitempty"`
	// IsolationGroup names the group of clusters that share one view, where isolation is
	// Group.
	//
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$')",message="expected a DNS label, for instance eu-prod"
	IsolationGroup string `json:"isolationGroup,omitempty"`
}

// namespacePattern is what the schema takes in DeniedNamespaces and AllowedNamespaces.
var namespacePattern = regexp.MustCompile(`^[-a-z0-9*]{1,63}$`)

// IsNamespacePattern reports whether DeniedNamespaces and AllowedNamespaces take a pattern.
func IsNamespacePattern(pattern string) bool { return namespacePattern.MatchString(pattern) }

// ValidateNamespacePatterns returns an error that names every one of the patterns which
// DeniedNamespaces and AllowedNamespaces do not take, and what was expected; nil when there
// is none.
func ValidateNamespacePatterns(patterns []string) error {
	var errs []error
	for i, pattern := range patterns {
		switch {
		case !IsNamespacePattern(pattern):
			errs = append(errs, fmt.Errorf("%q is not the name of a namespace, in which * stands for any characters, for instance shop-*", pattern))
		case slices.Contains(patterns[:i], pattern):
			errs = append(errs, fmt.Errorf("%q is there twice", pattern))
		}
	}
	return errors.Join(errs...)
}

// Isolation says what the syncer of a cluster can see in kcp.
//
// +kubebuilder:validation:Enum=Cluster;Group;Shared
type Isolation string

const (
	// IsolationCluster is what is placed on the cluster, and nothing else.
	IsolationCluster Isolation = "Cluster"
	// IsolationGroup is what is placed on any cluster of its group.
	IsolationGroup Isolation = "Group"
	// IsolationShared is everything in the bound workspaces, Secrets included.
	IsolationShared Isolation = "Shared"
)

// ExportFor returns the name of the APIExport through which the syncer of the named
// cluster sees its objects.
func (s *ClusterRegistrationSpec) ExportFor(cluster string) string {
	switch s.Isolation {
	case IsolationCluster:
		return ClusterExport(cluster)
	case IsolationGroup:
		return GroupExport(s.IsolationGroup)
	default:
		return APIExportName
	}
}

// IsolationGroups returns the isolation groups whose views are to show what is placed on the
// cluster, without duplicates: that of the spec, and, until its syncer runs with the manifest
// for it, the one through whose view the syncer sees its objects at present.
func (r *ClusterRegistration) IsolationGroups() []string {
	var groups []string
	if r.Spec.Isolation == IsolationGroup {
		groups = append(groups, r.Spec.IsolationGroup)
	}
	if present, ok := strings.CutPrefix(r.Status.Export, GroupExportPrefix); ok && !slices.Contains(groups, present) {
		groups = append(groups, present)
	}
	return groups
}

// Taint is a taint of a cluster, as those of nodes.
type Taint struct {
	// Key is a qualified name, such as example.com/maintenance.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=316
	// +kubebuilder:validation:XValidation:rule="!format.qualifiedName().validate(self).hasValue()",message="expected a qualified name, for instance example.com/maintenance"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('tmc.kcp.io/')",message="expected a key outside of tmc.kcp.io, whose taints follow from the registration and are never written"
	Key string `json:"key"`
	// Value may be empty.
	//
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
	Value string `json:"value,omitempty"`
	// Effect is NoSchedule or NoExecute.
	Effect TaintEffect `json:"effect"`
	// TimeAdded is from when the tolerationSeconds of tolerations count. Without it
	// they count from when the hub first saw the taint.
	TimeAdded *metav1.Time `json:"timeAdded,omitempty"`
}

// TaintEffect is what a taint does to what does not tolerate it.
//
// +kubebuilder:validation:Enum=NoSchedule;NoExecute
type TaintEffect string

// The effects that there are.
const (
	// TaintNoSchedule keeps new workloads away.
	TaintNoSchedule TaintEffect = "NoSchedule"
	// TaintNoExecute sends away those that are there as well.
	TaintNoExecute TaintEffect = "NoExecute"
)

// ClusterRegistrationStatus is what is seen of a cluster. The hub writes the
// conditions, the cluster's syncer the rest.
type ClusterRegistrationStatus struct {
	// ClusterUID is the UID of the cluster's kube-system namespace: by it, a second
	// cluster that comes under the same name is found out.
	ClusterUID types.UID `json:"clusterUID,omitempty"`
	// KubernetesVersion is the version of the cluster's API server.
	//
	// +kubebuilder:validation:MaxLength=128
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// Nodes is how many nodes the cluster has.
	//
	// +kubebuilder:validation:Minimum=0
	Nodes int32 `json:"nodes,omitempty"`
	// Allocatable is the sum of what schedulable, ready nodes can give to pods: cpu,
	// memory and pods.
	Allocatable corev1.ResourceList `json:"allocatable,omitempty"`
	// Requested is how much of that is requested by pods that are bound and not done,
	// whoever made them.
	Requested corev1.ResourceList `json:"requested,omitempty"`
	// Resources are the resources that the cluster serves, of those that kcp does, as
	// "resource.group/version".
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=4096
	// +kubebuilder:validation:items:MaxLength=512
	Resources []string `json:"resources,omitempty"`
	// Export is the APIExport through which the cluster's syncer sees its objects at
	// present. It is another one than the spec says from when the cluster was joined with
	// another isolation until the syncer runs with the manifest of that.
	//
	// +kubebuilder:validation:MaxLength=253
	Export string `json:"export,omitempty"`
	// Conditions hold Ready.
	//
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
