package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WorkloadPlacementsResource is the resource of WorkloadPlacements in consumer
// workspaces.
var WorkloadPlacementsResource = SchemeGroupVersion.WithResource("workloadplacements")

// WorkloadPlacement says where workloads of its namespace go. Where two match a
// workload, the older one decides; the workload's own annotation target-clusters
// wins over both.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=wp,categories=tmc
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Strategy,type=string,JSONPath=`.spec.strategy`
// +kubebuilder:printcolumn:name=Replicas,type=string,JSONPath=`.spec.replicas`
// +kubebuilder:printcolumn:name=Workloads,type=integer,JSONPath=`.status.workloads`
// +kubebuilder:printcolumn:name=Clusters,type=string,JSONPath=`.status.selectedClusters`
// +kubebuilder:printcolumn:name=Satisfied,type=string,JSONPath=`.status.conditions[?(@.type=="Satisfied")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type WorkloadPlacement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:default={}
	Spec   WorkloadPlacementSpec   `json:"spec,omitempty"`
	Status WorkloadPlacementStatus `json:"status,omitempty"`
}

// WorkloadPlacementList is a list of WorkloadPlacements.
//
// +kubebuilder:object:root=true
type WorkloadPlacementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []WorkloadPlacement `json:"items"`
}

// WorkloadPlacementSpec is what the user wants.
//
// +kubebuilder:validation:XValidation:rule="!has(self.strategy) || self.strategy != 'Affinity' || (has(self.preferences) && size(self.preferences) > 0)",fieldPath=".preferences",message="expected at least one with strategy Affinity"
// +kubebuilder:validation:XValidation:rule="(has(self.strategy) && self.strategy == 'Affinity') || !has(self.preferences) || size(self.preferences) == 0",fieldPath=".preferences",message="expected only with strategy Affinity"
// +kubebuilder:validation:XValidation:rule="!has(self.weights) || size(self.weights) == 0 || (has(self.replicas) && self.replicas == 'Divided' && (!has(self.divideBy) || self.divideBy == 'Weights'))",fieldPath=".weights",message="expected only with replicas Divided and divideBy Weights"
// +kubebuilder:validation:XValidation:rule="!has(self.divideBy) || (has(self.replicas) && self.replicas == 'Divided')",fieldPath=".divideBy",message="expected only with replicas Divided"
type WorkloadPlacementSpec struct {
	// WorkloadSelector says which objects of the namespace it is about; empty, all
	// workloads.
	WorkloadSelector WorkloadSelector `json:"workloadSelector,omitempty"`
	// ClusterSelector says which clusters come into question; empty, all.
	ClusterSelector ClusterSelector `json:"clusterSelector,omitempty"`
	// Tolerations are the taints of clusters that do not matter.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Tolerations []Toleration `json:"tolerations,omitempty"`
	// NumberOfClusters is how many clusters a workload is on. Without it, on all that
	// come into question, with strategy Affinity on all of the first preference that
	// has any.
	//
	// +kubebuilder:validation:Minimum=1
	NumberOfClusters *int32 `json:"numberOfClusters,omitempty"`
	// Strategy says which clusters are taken when not all are. Spread is the default.
	//
	// +kubebuilder:default=Spread
	Strategy Strategy `json:"strategy,omitempty"`
	// Preferences are, with strategy Affinity, groups of clusters, the preferred first.
	// What none of them selects comes last.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Preferences []ClusterSelector `json:"preferences,omitempty"`
	// Replicas says whether each cluster runs spec.replicas of a workload (Duplicated,
	// the default), or all of them together (Divided). Kinds without replicas are
	// always duplicated.
	//
	// +kubebuilder:default=Duplicated
	Replicas ReplicasPolicy `json:"replicas,omitempty"`
	// DivideBy says by what replicas are divided. Weights is the default.
	DivideBy DivideBy `json:"divideBy,omitempty"`
	// Weights are those of clusters. The first that selects a cluster counts; a
	// cluster that none selects has the weight 1.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Weights []ClusterWeight `json:"weights,omitempty"`
	// StatusStrategy says how the clusters' reports become one status, unless the
	// workload's annotation says so. Union is the default.
	StatusStrategy StatusStrategy `json:"statusStrategy,omitempty"`
	// StatusCounters says whose numbers the status shows, unless the workload's
	// annotation says so: the sums over all clusters (Sum), or those of the cluster that
	// is least advanced (PerCluster). Without it, as tmc-controller's --status-counters
	// has it: Sum by default.
	StatusCounters StatusCounters `json:"statusCounters,omitempty"`
}

// WorkloadSelector selects objects. Everything that is given has to match.
type WorkloadSelector struct {
	// LabelSelector selects by labels.
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
	// Kinds are kinds, such as Deployment or ConfigMap, with the group after a dot
	// where it is needed to tell them apart: Widget.example.com. Empty means all
	// workloads; what is no workload is selected only by its kind.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=316
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="expected a kind, for instance Deployment or Widget.example.com"
	Kinds []string `json:"kinds,omitempty"`
}

// ClusterSelector selects clusters. Everything that is given has to match.
type ClusterSelector struct {
	// LabelSelector selects by the labels of ClusterRegistrations.
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
	// Locations are the locations of ClusterRegistrations.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	Locations []string `json:"locations,omitempty"`
	// ClusterNames are names of clusters.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="expected the name of a cluster: a DNS label (lower case letters, digits and '-')"
	ClusterNames []string `json:"clusterNames,omitempty"`
}

// Toleration tolerates taints, as those of pods do
// (https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/).
//
// +kubebuilder:validation:XValidation:rule="(has(self.key) && size(self.key) > 0) || (has(self.operator) && self.operator == 'Exists')",fieldPath=".operator",message="expected Exists where key is empty"
// +kubebuilder:validation:XValidation:rule="!has(self.operator) || self.operator != 'Exists' || !has(self.value) || size(self.value) == 0",fieldPath=".value",message="expected none with operator Exists"
// +kubebuilder:validation:XValidation:rule="!has(self.tolerationSeconds) || !has(self.effect) || self.effect == 'NoExecute'",fieldPath=".tolerationSeconds",message="expected only with effect NoExecute"
type Toleration struct {
	// Key of the taints; empty, with operator Exists, means all.
	//
	// +kubebuilder:validation:MaxLength=316
	Key string `json:"key,omitempty"`
	// Operator is Equal, the default, or Exists.
	//
	// +kubebuilder:validation:Enum=Equal;Exists
	Operator corev1.TolerationOperator `json:"operator,omitempty"`
	// Value of the taints, with operator Equal.
	//
	// +kubebuilder:validation:MaxLength=63
	Value string `json:"value,omitempty"`
	// Effect of the taints; empty means all.
	Effect TaintEffect `json:"effect,omitempty"`
	// TolerationSeconds is how long a NoExecute taint is tolerated; without it, for
	// ever. Zero and less: not at all.
	TolerationSeconds *int64 `json:"tolerationSeconds,omitempty"`
}

// Strategy says which clusters are taken when not all are.
//
// +kubebuilder:validation:Enum=Spread;RoundRobin;LeastLoaded;Affinity
type Strategy string

// The strategies that there are. All of them are sticky: what is placed moves only
// when its cluster no longer comes into question.
const (
	// StrategySpread takes as many locations as it can, and within them differs from
	// workload to workload.
	StrategySpread Strategy = "Spread"
	// StrategyRoundRobin takes, workload after workload, the next clusters.
	StrategyRoundRobin Strategy = "RoundRobin"
	// StrategyLeastLoaded takes the clusters with the smallest share of their capacity
	// requested.
	StrategyLeastLoaded Strategy = "LeastLoaded"
	// StrategyAffinity takes the clusters in the order of spec.preferences.
	StrategyAffinity Strategy = "Affinity"
)

// ReplicasPolicy says who runs the replicas of a workload.
//
// +kubebuilder:validation:Enum=Duplicated;Divided
type ReplicasPolicy string

// The policies that there are.
const (
	// ReplicasDuplicated has each cluster run spec.replicas.
	ReplicasDuplicated ReplicasPolicy = "Duplicated"
	// ReplicasDivided has all clusters together run spec.replicas.
	ReplicasDivided ReplicasPolicy = "Divided"
)

// DivideBy says by what replicas are divided.
//
// +kubebuilder:validation:Enum=Weights;FreeCapacity
type DivideBy string

// What replicas can be divided by.
const (
	// DivideByWeights divides by spec.weights, exactly.
	DivideByWeights DivideBy = "Weights"
	// DivideByFreeCapacity divides what has to be placed anew by how many more
	// replicas each cluster has room for. What is placed stays.
	DivideByFreeCapacity DivideBy = "FreeCapacity"
)

// StatusStrategy says how the clusters' reports become one status.
//
// +kubebuilder:validation:Enum=Union;Majority;Latest
type StatusStrategy string

// StatusCounters says whose numbers a status shows.
//
// +kubebuilder:validation:Enum=Sum;PerCluster
type StatusCounters string

// Whose numbers a status can show.
const (
	// StatusCountersSum shows the sums over the placed clusters.
	StatusCountersSum StatusCounters = "Sum"
	// StatusCountersPerCluster shows the numbers of the least advanced placed cluster.
	StatusCountersPerCluster StatusCounters = "PerCluster"
)

// Annotation returns the value of StatusCountersAnnotation that says the same, empty
// for none.
func (c StatusCounters) Annotation() string {
	switch c {
	case StatusCountersSum:
		return CountersSum
	case StatusCountersPerCluster:
		return CountersPerCluster
	default:
		return ""
	}
}

// ClusterWeight is the weight of some clusters.
type ClusterWeight struct {
	ClusterSelector `json:",inline"`

	// Weight is in relation to the other clusters'. 0 means no replicas.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Weight int64 `json:"weight"`
}

// ConditionSatisfied is the condition of a WorkloadPlacement, written by the
// scheduler: whether its workloads have the clusters that it asks for.
const ConditionSatisfied = "Satisfied"

// MaxDecisions is how many Decisions the status of a WorkloadPlacement holds: it has
// to stay small. Each workload has its own in PlacementAnnotation.
const MaxDecisions = 20

// WorkloadPlacementStatus is what has become of it. The scheduler writes it.
type WorkloadPlacementStatus struct {
	// ObservedGeneration is the generation of the spec that the rest is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Workloads is how many objects it decides about.
	Workloads int32 `json:"workloads"`
	// SelectedClusters are the clusters that any of them is on, or is to be on.
	//
	// +listType=set
	SelectedClusters []string `json:"selectedClusters,omitempty"`
	// Decisions are those about the first MaxDecisions objects, by kind and name.
	//
	// +listType=atomic
	Decisions []PlacementDecision `json:"decisions,omitempty"`
	// Conditions hold Satisfied.
	//
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PlacementDecision is where one object goes.
type PlacementDecision struct {
	// Kind and Name are the object's.
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Clusters are those that it goes to.
	//
	// +listType=atomic
	Clusters []ClusterDecision `json:"clusters,omitempty"`
	// Message says what is missing, empty when nothing is.
	Message string `json:"message,omitempty"`
}

// ClusterDecision is why an object is on one cluster.
type ClusterDecision struct {
	// Name is the cluster's.
	Name string `json:"name"`
	// Replicas is its share, where they are divided.
	Replicas *int64 `json:"replicas,omitempty"`
	// Reason is for people.
	Reason string `json:"reason,omitempty"`
}

// LeftOut says why an object cannot enter a cluster that it would else go to: the
// cluster's syncer would not see it, or kcp would not check who writes what is tmc's.
type LeftOut string

const (
	// LeftOutNotBound is that the workspace has not bound, or not yet, the APIExport through
	// which the cluster's syncer sees what is placed there.
	LeftOutNotBound LeftOut = "NotBound"
	// LeftOutBindingsHidden is that the workspace's own APIBinding of tmc does not accept the
	// claim by which the hub sees what else is bound, so nobody knows.
	LeftOutBindingsHidden LeftOut = "BindingsHidden"
	// LeftOutKindNotAccepted is that the APIExport is bound, and its claim on the object's
	// kind is not in force.
	LeftOutKindNotAccepted LeftOut = "KindNotAccepted"
	// LeftOutKindNotServed is that the cluster does not serve the object's kind, or its
	// syncer is not to take it (--kinds).
	LeftOutKindNotServed LeftOut = "KindNotServed"
	// LeftOutPoliciesNotAccepted is that the workspace's own APIBinding of tmc does not accept
	// the claims by which the hub keeps tmc's policies there.
	LeftOutPoliciesNotAccepted LeftOut = "PoliciesNotAccepted"
	// LeftOutPoliciesMissing is that a policy of tmc's is not in the workspace, or not, or not
	// yet again, as tmc has it.
	LeftOutPoliciesMissing LeftOut = "PoliciesMissing"
)

// HidesWhatIsThere reports whether syncers do not see what is on their clusters already,
// either. What policies keep out stays where it is, and is kept up to date.
func (l LeftOut) HidesWhatIsThere() bool {
	return l != "" && l != LeftOutPoliciesNotAccepted && l != LeftOutPoliciesMissing
}

// MaxLeftOut is how many clusters PlacementAnnotation names as left out: it has to stay small where a workspace has bound a few
// clusters of hundreds.
const MaxLeftOut = 8
