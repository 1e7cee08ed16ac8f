package v1alpha1

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Names of what `kubectl tmc init` installs in kcp.
const (
	// GroupName is the API group, and the domain under which every key lies.
	GroupName = "tmc.kcp.io"
	// APIExportName names the APIExport, its APIExportEndpointSlice and the
	// APIBinding that consumer workspaces bind it with.
	APIExportName = GroupName
	// DefaultProviderWorkspace is the workspace that holds the APIExport unless
	// a flag says otherwise.
	DefaultProviderWorkspace = "root:tmc"
)

// ClusterLabel is on what `kubectl tmc join` makes for a cluster in the provider
// workspace, with the cluster's name as value. By it, `kubectl tmc bind` finds the
// APIExports of isolated clusters.
const ClusterLabel = GroupName + "/cluster"

// ClusterExportPrefix starts the name of the APIExport that an isolated cluster has for
// itself.
const ClusterExportPrefix = "cluster-"

// GroupExportPrefix starts the name of the APIExport that the clusters of an isolation
// group share.
const GroupExportPrefix = "group-"

// IsolationGroupLabel is on the APIExport of an isolation group, with the group's name as
// value. `kubectl tmc join --group` writes it; by it, `kubectl tmc bind` finds the
// APIExports of groups.
const IsolationGroupLabel = GroupName + "/isolation-group"

// KindsAnnotationPrefix starts the annotation, on the APIExport of a cluster or of a group, that
// says which kinds a cluster was joined with: "deployments.apps,configmaps", or AllKinds. The
// APIExport claims those of all its clusters.
const KindsAnnotationPrefix = "kinds." + GroupName + "/"

// AllKinds is the value of a kinds annotation of a cluster that takes all that is served, also
// what will be served later.
const AllKinds = "*"

// MaxGroupName is how many characters the name of an isolation group may have.
const MaxGroupName = 50

// TenantWorkspaceType names the WorkspaceType in the provider workspace whose workspaces
// have tmc and the APIExports of all isolated clusters and groups bound, also those that come
// later.
const TenantWorkspaceType = "tmc-tenant"

// What repairs patches that kcp merges wrongly: `kubectl tmc init --repair-url` makes it, and tmc-controller keeps it.
const (
	// RepairName names the MutatingWebhookConfiguration in the provider workspace by which kcp asks tmc-controller, and
	// the Secret with its certificates.
	RepairName = "tmc-repair"
	// RepairNamespace is where in the provider workspace the Secret lies.
	RepairNamespace = "default"
	// RepairWebhook names the only webhook of the configuration.
	RepairWebhook = "repair." + GroupName
)

// ClusterExport returns the name of the isolated cluster's own APIExport.
func ClusterExport(cluster string) string { return ClusterExportPrefix + cluster }

// KindsAnnotation returns the annotation key of the kinds that the cluster was joined with.
func KindsAnnotation(cluster string) string { return KindsAnnotationPrefix + cluster }

// GroupExport returns the name of the APIExport of an isolation group.
func GroupExport(group string) string { return GroupExportPrefix + group }

// ClusterOfExport returns the cluster whose own APIExport has the name, if it is one.
func ClusterOfExport(export string) (cluster string, ok bool) {
	return strings.CutPrefix(export, ClusterExportPrefix)
}

// GroupOfExport returns the isolation group whose APIExport has the name, if it is one.
func GroupOfExport(export string) (group string, ok bool) {
	return strings.CutPrefix(export, GroupExportPrefix)
}

// Keys on the upstream object that name no cluster.
const (
	// TargetClustersAnnotation holds comma-separated cluster names, or "*" for
	// all clusters; empty means nowhere. The user writes it, the scheduler
	// reads it.
	TargetClustersAnnotation = GroupName + "/target-clusters"
	// StatusStrategyAnnotation names how the clusters' reports become one status:
	// one of the StatusStrategy constants. The user writes it, the aggregator reads
	// it.
	StatusStrategyAnnotation = GroupName + "/status-strategy"
	// AllClusters is the value of TargetClustersAnnotation, or one element of
	// it, that stands for every cluster.
	AllClusters = "*"
)

// The values of StatusStrategyAnnotation.
const (
	// StatusStrategyUnion, the default: the worst condition counts.
	StatusStrategyUnion = "union"
	// StatusStrategyMajority: a condition holds when more than half of the placed
	// clusters say so.
	StatusStrategyMajority = "majority"
	// StatusStrategyLatest: the newest report alone.
	StatusStrategyLatest = "latest"
)

// Prefixes of the keys on the upstream object that end in a cluster's name.
const (
	// PlacementLabelPrefix starts the label that places an object on a cluster.
	// The scheduler writes it; that cluster's syncer selects by it, so that it
	// is never sent what is not its own.
	PlacementLabelPrefix = "cluster." + GroupName + "/"
	// PlacementLabelValue is the only value a placement label has.
	PlacementLabelValue = "sync"
	// GroupLabelPrefix starts the label, PlacementLabelValue again, of an object that is
	// placed on a cluster of an isolation group. The scheduler writes it together with the
	// placement labels; the group's view in kcp is selected by it.
	GroupLabelPrefix = "group." + GroupName + "/"
	// DeletionAnnotationPrefix starts the annotation, an RFC 3339 time, that
	// tells a cluster's syncer to remove its copy. The scheduler writes it, and
	// removes it together with the placement label once the syncer's finalizer
	// is gone.
	DeletionAnnotationPrefix = "deletion." + GroupName + "/"
	// FinalizerPrefix starts the finalizer that is there before a cluster's syncer
	// first writes downstream, and that the syncer removes when its copy is gone. The
	// scheduler sets it with the label; where it has not, the syncer does.
	FinalizerPrefix = "syncer." + GroupName + "/"
	// ReplicasAnnotationPrefix starts the annotation that holds a cluster's share of
	// the replicas, where they are divided. The scheduler writes it, that cluster's
	// syncer reads it.
	ReplicasAnnotationPrefix = "replicas." + GroupName + "/"
	// OverrideAnnotationPrefix starts the annotation that holds a JSON patch (RFC
	// 6902) of one cluster's copy. The user writes it, that cluster's syncer reads
	// it.
	OverrideAnnotationPrefix = "override." + GroupName + "/"
	// StatusAnnotationPrefix starts the annotation that holds a cluster's
	// Report. That cluster's syncer writes it, the aggregator reads it.
	StatusAnnotationPrefix = "status." + GroupName + "/"
)

// Keys on the downstream copy. The syncer writes and reads all of them.
const (
	// ManagedByLabel and ManagedByValue mark what a syncer made.
	ManagedByLabel = GroupName + "/managed-by"
	ManagedByValue = "tmc-syncer"
	// ManagedByOthersValue marks a namespace that no syncer made and that a workspace
	// uses: nothing but this label and the annotations that say whose it is are ours.
	ManagedByOthersValue = "others"
	// WorkspaceLabel is on the cluster's namespaces that a workspace has, where the cluster's
	// rule separates workspaces, and says which: what crosses namespaces on the cluster
	// (NetworkPolicies, pod affinities) selects by it. Its value is the name of the logical
	// cluster, as in SourceClusterAnnotation.
	WorkspaceLabel = GroupName + "/workspace"
	// SourceHashLabel is a hash of the upstream identity, for look-ups.
	SourceHashLabel = GroupName + "/source-hash"

	// SourceClusterAnnotation and those below hold the upstream identity: workspace (its logical cluster name), namespace,
	// name and UID, and the generation that was applied.
	SourceClusterAnnotation    = GroupName + "/source-cluster"
	SourceNamespaceAnnotation  = GroupName + "/source-namespace"
	SourceNameAnnotation       = GroupName + "/source-name"
	SourceUIDAnnotation        = GroupName + "/source-uid"
	SourceGenerationAnnotation = GroupName + "/source-generation"
	// SourceInputsAnnotation stands for what else of the upstream object shaped the
	// copy: what the report says that it was made from.
	SourceInputsAnnotation = GroupName + "/source-inputs"
	// SourcePathAnnotation, on a namespace alone, holds the path of the workspace as the
	// workspace's own APIBinding tells it. Its tenant may have written that: it is for
	// people to read, and nothing is decided by it. SourceClusterAnnotation says whose
	// the namespace is.
	SourcePathAnnotation = GroupName + "/source-path"
	// TargetClusterAnnotation names the cluster that the copy was made for: two
	// syncers on one cluster under two names do not take each other's copies.
	TargetClusterAnnotation = GroupName + "/target-cluster"
	// AppliedHashAnnotation is the hash of everything else that was applied, so
	// that a restarted syncer sees without a write that nothing has changed.
	AppliedHashAnnotation = GroupName + "/applied-hash"
)

// FieldManager is the field manager of every write that a syncer makes, on
// either side.
const FieldManager = "tmc-syncer"

// PathReader is the ServiceAccount, in the namespace default of the provider workspace, as
// which the hub asks what is at the path that a workspace says is its own. It may read the
// LogicalClusters of workspaces that let it, and nothing else.
const PathReader = "tmc-path-reader"

// ControllerFieldManager is the field manager of tmc-controller's writes.
const ControllerFieldManager = "tmc-controller"

// ConditionSynced is the condition that the aggregator adds to those of the
// workload's own kind: true when every placed cluster has reported and has no
// problem to tell of.
const ConditionSynced = "Synced"

// PlacementLabel returns the label key that places an object on the cluster.
func PlacementLabel(cluster string) string { return PlacementLabelPrefix + cluster }

// GroupLabel returns the label key of what is placed on a cluster of the isolation group.
func GroupLabel(group string) string { return GroupLabelPrefix + group }

// DeletionAnnotation returns the annotation key that asks the cluster's syncer
// to remove its copy.
func DeletionAnnotation(cluster string) string { return DeletionAnnotationPrefix + cluster }

// InUseFinalizer keeps an APIBinding of a consumer that is being deleted while a cluster
// sees objects of the workspace through it. The hub writes it.
const InUseFinalizer = GroupName + "/in-use"

// Finalizer returns the finalizer of the cluster's syncer.
func Finalizer(cluster string) string { return FinalizerPrefix + cluster }

// StatusAnnotation returns the annotation key of the cluster's report.
func StatusAnnotation(cluster string) string { return StatusAnnotationPrefix + cluster }

// ReplicasAnnotation returns the annotation key of the cluster's share of the replicas.
func ReplicasAnnotation(cluster string) string { return ReplicasAnnotationPrefix + cluster }

// Share returns a cluster's share of the replicas from the annotations of an upstream
// object, and whether they are divided at all. It fails when the annotation is no
// number of replicas.
func Share(annotations map[string]string, cluster string) (share int64, divided bool, err error) {
	value, divided := annotations[ReplicasAnnotation(cluster)]
	if !divided {
		return 0, false, nil
	}
	share, err = strconv.ParseInt(value, 10, 32)
	if err != nil || share < 0 {
		return 0, true, fmt.Errorf("annotation %s: %q is no number of replicas, expected 0 or more", ReplicasAnnotation(cluster), value)
	}
	return share, true, nil
}

// PlacedClusters returns the clusters, sorted, that the labels place an object
// on, those that it is leaving included. It never returns nil.
func PlacedClusters(labels map[string]string) []string {
	placed := sets.New[string]()
	for key, value := range labels {
		cluster, ok := strings.CutPrefix(key, PlacementLabelPrefix)
		if ok && value == PlacementLabelValue {
			placed.Insert(cluster)
		}
	}
	return sets.List(placed)
}

// HoldingClusters returns the clusters, sorted, whose syncers hold an object by their
// finalizers. It never returns nil.
func HoldingClusters(finalizers []string) []string {
	holding := sets.New[string]()
	for _, finalizer := range finalizers {
		if cluster, ok := strings.CutPrefix(finalizer, FinalizerPrefix); ok {
			holding.Insert(cluster)
		}
	}
	return sets.List(holding)
}

// ValidateClusterName returns nil when name can name a cluster, and otherwise
// an error that says what is expected: a DNS-1123 label (RFC 1123) of at most
// 63 characters, since the name becomes part of label keys and object names.
func ValidateClusterName(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("%q is not a cluster name: %s", name, strings.Join(problems, "; "))
	}
	return nil
}

// ValidateGroupName returns nil when name can name an isolation group, and otherwise an
// error that says what is expected: a DNS-1123 label (RFC 1123) of at most MaxGroupName
// characters, since the name becomes part of label keys and of the names of objects.
func ValidateGroupName(name string) error {
	problems := validation.IsDNS1123Label(name)
	if len(name) > MaxGroupName {
		problems = append(problems, fmt.Sprintf("must have at most %d characters", MaxGroupName))
	}
	if len(problems) > 0 {
		return fmt.Errorf("%q is not the name of an isolation group: %s", name, strings.Join(problems, "; "))
	}
	return nil
}

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
