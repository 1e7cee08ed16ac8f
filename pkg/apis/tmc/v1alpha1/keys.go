package v1alpha1

import "strings"

// Every key that tmc writes or reads is here, each with its writer and its readers. Nobody else spells one. pkg/protocol
// parses those of upstream objects, pkg/transform those of copies.

// Keys on an upstream object that name no cluster.
const (
	// TargetClustersAnnotation holds comma-separated cluster names, or AllClusters. Empty means nowhere.
	// Writer: the user. Readers: the scheduler, the aggregator, the plugin.
	TargetClustersAnnotation = GroupName + "/target-clusters"
	// AllClusters is the value of TargetClustersAnnotation, or one element of it, that stands for every cluster.
	AllClusters = "*"
	// StatusStrategyAnnotation names how the clusters' reports become one status: one of the StatusStrategy constants.
	// Writer: the user. Reader: the aggregator.
	StatusStrategyAnnotation = GroupName + "/status-strategy"
	// StatusCountersAnnotation names whose numbers the status shows: one of the Counters constants.
	// Writer: the user. Reader: the aggregator.
	StatusCountersAnnotation = GroupName + "/status-counters"
	// ReplaceAnnotation has a syncer, where its value is "true", delete a copy and make it anew when its cluster refuses a
	// change of it as immutable.
	// Writer: the user. Readers: the syncers.
	ReplaceAnnotation = GroupName + "/replace"
	// PropagationAnnotation says, on an object that is being deleted, what is to become of what belongs to it on the clusters:
	// "Orphan" or "Foreground", as the finalizer of the API server said that kcp's garbage collector takes off. A policy keeps
	// that finalizer until this is there.
	// Writer: the scheduler. Readers: the syncers.
	PropagationAnnotation = GroupName + "/propagation"
	// ProvidedByClusterAnnotation names objects, as KIND/NAME with commas between them, that the object needs and that something
	// on its clusters makes. In names, "*" stands for any characters.
	// Writer: the user. Readers: the scheduler, the aggregator.
	ProvidedByClusterAnnotation = GroupName + "/provided-by-cluster"
	// RetryAnnotation has the clusters of an object try again at once what they have failed to do, whenever its value changes. The
	// value is a time (RFC 3339), for people. No copy changes by it.
	// Writer: the user (`kubectl tmc retry`). Readers: the syncers; the scheduler, as it reads any change.
	RetryAnnotation = GroupName + "/retry"
	// StaysForAnnotation names, as "statefulsets.apps/db" with commas between them, what an object followed and was deleted with
	// --cascade=orphan: the object stays where it is, for what was left behind there uses it, until there is such a one again.
	// Writer: the scheduler. Readers: the scheduler, people.
	StaysForAnnotation = GroupName + "/stays-for"
	// YieldAnnotation names fields, as paths with commas between them, that are a cluster's own once it has changed them:
	// "spec.suspend,spec.template.spec.nodeSelector". The user's value goes down first, and again when the user changes it.
	// Writer: the user. Readers: the syncers; the aggregator, as part of the inputs.
	YieldAnnotation = GroupName + "/yield"
	// PlacementAnnotation says why an object is where it is: a protocol.Placement as JSON.
	// Writer: the scheduler, with the labels. Readers: the scheduler, the aggregator, the plugin, and people; the syncers, whether
	// it is there.
	PlacementAnnotation = GroupName + "/placement"
	// GroupLabelPrefix starts the label, with PlacementLabelValue, of an object that is placed on a cluster of the isolation
	// group that follows.
	// Writer: the scheduler, together with the placement labels. Reader: kcp, which selects the group's view by it.
	GroupLabelPrefix = "group." + GroupName + "/"
)

// The values of StatusStrategyAnnotation.
const (
	// StatusStrategyUnion, the default: the worst condition counts.
	StatusStrategyUnion = "union"
	// StatusStrategyMajority: a condition holds when more than half of the placed clusters say so.
	StatusStrategyMajority = "majority"
	// StatusStrategyLatest: the newest report alone.
	StatusStrategyLatest = "latest"
)

// The values of StatusCountersAnnotation, and of the flag --status-counters of tmc-controller.
const (
	// CountersSum, the default: the sums over the placed clusters.
	CountersSum = "sum"
	// CountersPerCluster: the numbers of the least advanced placed cluster.
	CountersPerCluster = "per-cluster"
)

// Prefixes of the keys on an upstream object that end in a cluster's name.
const (
	// PlacementLabelPrefix starts the label that places an object on a cluster.
	// Writer: the scheduler. Readers: the cluster's syncer, which selects by it and so is never sent what is not its own;
	// the aggregator, the plugin.
	PlacementLabelPrefix = "cluster." + GroupName + "/"
	// PlacementLabelValue is the only value that a placement label has.
	PlacementLabelValue = "sync"
	// DeletionAnnotationPrefix starts the annotation, an RFC 3339 time, that asks a cluster's syncer to remove its copy.
	// Writer: the scheduler, which removes it together with the placement label once the syncer's finalizer is gone.
	// Readers: that syncer, the aggregator, the plugin.
	DeletionAnnotationPrefix = "deletion." + GroupName + "/"
	// FinalizerPrefix starts the finalizer that is there before a cluster's syncer first writes downstream.
	// Writers: the scheduler, with the label; the syncer, where the scheduler has not, and which removes it when its copy is
	// gone. Readers: both, what protects bindings, the plugin.
	FinalizerPrefix = "syncer." + GroupName + "/"
	// ReplicasAnnotationPrefix starts the annotation that holds a cluster's share of the replicas, 0 to 2147483647, where
	// they are divided.
	// Writer: the scheduler, with the label. Readers: that cluster's syncer, the scheduler, the aggregator, the plugin.
	ReplicasAnnotationPrefix = "replicas." + GroupName + "/"
	// PartitionAnnotationPrefix starts the annotation that holds a cluster's part of the partition, as protocol.Part has it,
	// where the replicas are divided: how many of its share a roll-out leaves as they are. There is none where that is the
	// whole partition, as the object's spec has it.
	// Writer: the scheduler, with the share. Readers: that cluster's syncer, the scheduler, the aggregator.
	PartitionAnnotationPrefix = "partition." + GroupName + "/"
	// OverrideAnnotationPrefix starts the annotation that holds a JSON patch (RFC 6902) of one cluster's copy.
	// Writer: the user. Readers: that cluster's syncer; the aggregator, as part of the inputs.
	OverrideAnnotationPrefix = "override." + GroupName + "/"
	// StatusAnnotationPrefix starts the annotation that holds a cluster's protocol.Report.
	// Writer: that cluster's syncer; the scheduler removes it with the label. Readers: the aggregator, the scheduler, the
	// plugin, that syncer.
	StatusAnnotationPrefix = "status." + GroupName + "/"
)

// Types of conditions that the hub adds to those of the workload's own kind, in the status of an upstream object.
const (
	// ConditionSynced is true when every placed cluster has reported and has no problem to tell of.
	// Writer: the aggregator. Readers: people, the plugin.
	ConditionSynced = "Synced"
	// ConditionReconciling is true of an object that a placed cluster has not taken up as it is now, or has not started while others
	// have, where no number of its status tells: it is how kstatus is told (Helm, Flux, kapply). It is absent otherwise, or what
	// clusters say of it under this name.
	// Writer: the aggregator, in the same write as ConditionSynced. Readers: these clients, and people.
	ConditionReconciling = "Reconciling"
	// ConditionEnded is true of an object with a time to live (a Job's ttlSecondsAfterFinished) since it has ended on every
	// cluster that it is placed on, and absent otherwise. Its lastTransitionTime, by the hub's clock, is when that time began.
	// Writer and reader: the aggregator, which deletes the object when the time is over.
	ConditionEnded = GroupName + "/Ended"
	// ConditionBoundTo is true of an object, such as a claim, that all its clusters have bound to something of the same name;
	// its message is the name. It is absent otherwise.
	// Writer: the aggregator. Readers: people.
	ConditionBoundTo = GroupName + "/BoundTo"
	// ConditionHindered is true of an object whose copies are in place and do not run as they should, where the conditions of its
	// kind do not say why: the reason and the message do. It is absent otherwise.
	// Writer: the aggregator. Readers: people, the plugin.
	ConditionHindered = GroupName + "/Hindered"
	// SilentConditionPrefix starts the type of a condition that is true while the cluster that follows is silent, and absent
	// otherwise. There is one for each silent cluster that the object is placed on.
	// Writer: the aggregator, in the same write as ConditionSynced. Reader: the plugin, where it may not read registrations.
	SilentConditionPrefix = "silent." + GroupName + "/"
)

// Keys on a downstream copy. The syncer writes and reads all of them, and the cluster's admission policy reads them.
const (
	// ManagedByLabel and ManagedByValue mark what a syncer made.
	ManagedByLabel = GroupName + "/managed-by"
	ManagedByValue = "tmc-syncer"
	// ManagedByOthersValue marks a namespace that no syncer made and that a workspace uses: nothing but this label and the
	// annotations that say whose it is are ours.
	ManagedByOthersValue = "others"
	// WorkspaceLabel is on the cluster's namespaces that a workspace has, where the cluster's rule separates workspaces, and
	// says which: what crosses namespaces on the cluster (NetworkPolicies, pod affinities) selects by it. Its value is the
	// name of the logical cluster, as in SourceWorkspaceAnnotation.
	WorkspaceLabel = GroupName + "/workspace"
	// SourceHashLabel is a hash of the upstream identity, for look-ups.
	SourceHashLabel = GroupName + "/source-hash"

	// SourceWorkspaceAnnotation holds the name of the logical cluster of the upstream object's workspace. Its key says
	// "cluster" in kcp's sense of the word. It stays: another key would change the hash of every copy there is, and have all
	// of them written again, and the admission policies of clusters ask for this one.
	SourceWorkspaceAnnotation = GroupName + "/source-cluster"
	// SourceNamespaceAnnotation and those below hold the upstream object's namespace, name and UID, and the generation that
	// was applied.
	SourceNamespaceAnnotation  = GroupName + "/source-namespace"
	SourceNameAnnotation       = GroupName + "/source-name"
	SourceUIDAnnotation        = GroupName + "/source-uid"
	SourceGenerationAnnotation = GroupName + "/source-generation"
	// SourceInputsAnnotation holds what else of the upstream object shaped the copy, as protocol.Object.Inputs gives it. The
	// report says it as well.
	SourceInputsAnnotation = GroupName + "/source-inputs"
	// SourcePathAnnotation, on a namespace alone, holds the path of the workspace as the workspace's own APIBinding tells
	// it. Its tenant may have written that: it is for people to read, and nothing is decided by it.
	SourcePathAnnotation = GroupName + "/source-path"
	// TargetClusterAnnotation names the cluster that the copy was made for: two syncers on one cluster under two names do
	// not take each other's copies.
	TargetClusterAnnotation = GroupName + "/target-cluster"
	// YieldedAnnotation, on the copy of an object that yields fields, holds for each of them that went down a hash of its
	// value, as JSON: so it is known whether the user has changed it since.
	YieldedAnnotation = GroupName + "/yielded"
	// OthersAnnotation, on a copy with a list into which others have put something that is applied along with what is kcp's,
	// holds what is theirs, as JSON by path.
	OthersAnnotation = GroupName + "/others"
	// AppliedHashAnnotation is the hash of everything else that was applied, so that a restarted syncer sees without a write
	// that nothing has changed.
	AppliedHashAnnotation = GroupName + "/applied-hash"
)

// Keys in the provider workspace, and on APIBindings.
const (
	// ClusterLabel is on what is made for a cluster, with the cluster's name as value.
	// Writer: `kubectl tmc join`. Reader: `kubectl tmc bind`, which finds the APIExports of isolated clusters by it.
	ClusterLabel = GroupName + "/cluster"
	// IsolationGroupLabel is on the APIExport of an isolation group, with the group's name as value.
	// Writer: `kubectl tmc join --group`. Reader: `kubectl tmc bind`, which finds the APIExports of groups by it.
	IsolationGroupLabel = GroupName + "/isolation-group"
	// KindsAnnotationPrefix starts the annotation, on the APIExport of a cluster or of a group, that says which kinds the
	// cluster that follows was joined with: "deployments.apps,configmaps", or AllKinds. The APIExport claims those of all its
	// clusters.
	// Writer and reader: `kubectl tmc join`.
	KindsAnnotationPrefix = "kinds." + GroupName + "/"
	// AllKinds is the value of a kinds annotation of a cluster that takes all that is served, also what will be served later.
	AllKinds = "*"
	// ExportAnnotation says, on the ClusterRole of a cluster's account, through which APIExport the last join has the cluster see
	// its objects. Until that join has written the registration as well, nothing else says that the APIExport is in use.
	// Writer and reader: `kubectl tmc join`.
	ExportAnnotation = GroupName + "/export"
	// RegistryFinalizer keeps a ClusterRegistration that is being deleted until nothing is placed on the cluster any more, or
	// until it is released.
	// Writer and reader: the hub.
	RegistryFinalizer = GroupName + "/drain"
	// ReleaseAnnotation says with "true", on a ClusterRegistration that is being deleted, that the cluster will never come
	// back: nothing waits for its syncer any more.
	// Writer: a person (`kubectl tmc remove --force`). Reader: the hub.
	ReleaseAnnotation = GroupName + "/release"
	// InUseFinalizer keeps an APIBinding of a consumer that is being deleted while a cluster sees objects of the workspace
	// through it.
	// Writer and reader: the hub.
	InUseFinalizer = GroupName + "/in-use"
)

// Keys of the taints that the hub itself puts on clusters, after those of Kubernetes' nodes. They are never written: they
// follow from the registration. Readers: placement, and tolerations of WorkloadPlacements.
const (
	// TaintUnreachable is on a cluster, with NoExecute, since its Ready condition is not True.
	TaintUnreachable = GroupName + "/unreachable"
	// TaintUnschedulable is on a cluster, with NoSchedule, while spec.unschedulable.
	TaintUnschedulable = GroupName + "/unschedulable"
)

// PlacementLabel returns the label key that places an object on the cluster.
func PlacementLabel(cluster string) string { return PlacementLabelPrefix + cluster }

// GroupLabel returns the label key of what is placed on a cluster of the isolation group.
func GroupLabel(group string) string { return GroupLabelPrefix + group }

// DeletionAnnotation returns the annotation key that asks the cluster's syncer to remove its copy.
func DeletionAnnotation(cluster string) string { return DeletionAnnotationPrefix + cluster }

// Finalizer returns the finalizer of the cluster's syncer.
func Finalizer(cluster string) string { return FinalizerPrefix + cluster }

// ReplicasAnnotation returns the annotation key of the cluster's share of the replicas.
func ReplicasAnnotation(cluster string) string { return ReplicasAnnotationPrefix + cluster }

// PartitionAnnotation returns the annotation key of the cluster's part of the partition.
func PartitionAnnotation(cluster string) string { return PartitionAnnotationPrefix + cluster }

// OverrideAnnotation returns the annotation key of the JSON patch of the cluster's copy.
func OverrideAnnotation(cluster string) string { return OverrideAnnotationPrefix + cluster }

// StatusAnnotation returns the annotation key of the cluster's report.
func StatusAnnotation(cluster string) string { return StatusAnnotationPrefix + cluster }

// SilentCondition returns the type of the condition that the cluster is silent.
func SilentCondition(cluster string) string { return SilentConditionPrefix + cluster }

// KindsAnnotation returns the annotation key of the kinds that the cluster was joined with.
func KindsAnnotation(cluster string) string { return KindsAnnotationPrefix + cluster }

// IsOwnKey reports whether a label, annotation or finalizer key belongs to tmc or
// to kcp (kcp.io or any domain under it): those are about the upstream object
// and never go down.
func IsOwnKey(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	return domain == "kcp.io" || strings.HasSuffix(domain, ".kcp.io")
}

// IsMark reports whether a label or annotation key is tmc's own. On a cluster, such keys mark
// what a syncer made, and say what of.
func IsMark(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	return domain == GroupName || strings.HasSuffix(domain, "."+GroupName)
}
