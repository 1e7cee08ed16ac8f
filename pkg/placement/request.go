package placement

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Cluster is what placement knows of a cluster.
type Cluster struct {
	Name, Location string
	// Labels are those of its registration.
	Labels map[string]string
	// Taints are its own and those that the hub adds (v1alpha1.TaintUnreachable, v1alpha1.TaintUnschedulable). All of them say
	// since when.
	Taints []v1alpha1.Taint
	// Ready is set while the cluster is heard of.
	Ready bool
	// Draining is set while everything is to leave it, whatever it tolerates.
	Draining bool
	// AllowedWorkspaces are the paths of the workspaces that may use it; none means all.
	AllowedWorkspaces []string
	// Provides are the objects that something on it makes, as its registration has them: see protocol.ParseProvided.
	Provides []string
	// Export is the APIExport through which its syncer sees what is placed on it.
	Export string
	// Groups are the isolation groups whose views have to show what is placed on it: mostly one or none. What is placed on any
	// cluster of a group has the group's label.
	Groups []string
	// Resources are those that its syncer takes, as v1alpha1.ReportedResource names them. They are empty while it has said
	// nothing.
	Resources sets.Set[string]
	// LeftOut is why the object of the request cannot enter the cluster, empty when it can. What is there stays.
	LeftOut v1alpha1.LeftOut
	// Allocatable and Requested are its capacity and what is taken of it.
	Allocatable, Requested corev1.ResourceList
	// Workloads is how many workloads are placed on it.
	Workloads int
}

// Lacks reports whether the cluster's syncer does not take the resource. It is false while that is not known: before the
// registration says which it takes, and for groups of which registrations say nothing.
func (c Cluster) Lacks(resource schema.GroupVersionResource) bool {
	return c.Resources.Len() > 0 && v1alpha1.IsReported(resource.Group) && !c.Resources.Has(v1alpha1.ReportedResource(resource))
}

// WhyLeftOut returns why the cluster's syncer would not see an object of the resource, empty when it would. bound is what the
// bindings of the object's workspace say about that.
func (c Cluster) WhyLeftOut(bound v1alpha1.LeftOut, resource schema.GroupVersionResource) v1alpha1.LeftOut {
	if bound == "" && c.Lacks(resource) {
		return v1alpha1.LeftOutKindNotServed
	}
	return bound
}

// Request is all that a decision depends on. Nothing in it is changed.
type Request struct {
	// Object is to be placed. Its labels, annotations and finalizers say where it is, and the reports among its annotations
	// how it fares there.
	Object *unstructured.Unstructured
	// Kinds say whether the object goes somewhere by itself, and how its replicas are counted.
	Kinds kinds.Kinds
	// Workspace is the path of its workspace, empty while that is not known: then only clusters that are for all workspaces
	// are candidates.
	Workspace string
	// Placements are those of its namespace, in any order.
	Placements []*v1alpha1.WorkloadPlacement
	// Clusters are all that there are, in any order. They count where Fleet is nil.
	Clusters []Cluster
	// Fleet is all clusters that there are, shared by many decisions.
	Fleet *Fleet
	// LeftOut returns why the object cannot enter a cluster of the fleet, empty when it can. Nil means Cluster.LeftOut.
	LeftOut func(*Cluster) v1alpha1.LeftOut
	// Workloads returns how many workloads are placed on a cluster of the fleet. Nil means Cluster.Workloads.
	Workloads func(cluster string) int
	// Default says where a workload goes that nothing else places.
	Default Default
	// Assumed is what has been decided about the object and is not on it yet. It counts as if it were, so that a decision
	// stays until it is carried out.
	Assumed Assumed
	// TenantType is the path of the WorkspaceType whose workspaces have all clusters bound, for messages that say what to do.
	// It is empty when there is none.
	TenantType string
	// Assigned returns how many objects a placement of that name has on a cluster, for RoundRobin. Nil means none.
	Assigned func(placement, cluster string) int
	// FailoverAfter is how long an unreachable cluster (v1alpha1.TaintUnreachable) is tolerated by what has no toleration
	// for that taint of its own.
	FailoverAfter time.Duration
	// Now is the time.
	Now time.Time
}

// Assumed is a decision that is not on the object yet.
type Assumed struct {
	// Clusters are those that the object is to enter.
	Clusters []string
	// Shares are their shares of the replicas, where those are divided.
	Shares map[string]int64
}

// Decision says where an object is to be.
type Decision struct {
	// Clusters are where the object is to be, sorted and without duplicates, those in Kept included.
	Clusters []string
	// Kept are those of Clusters, sorted, that the object leaves as soon as it is available where it goes instead. What is
	// written about them stays as it is.
	Kept []string
	// Shares are the replicas of each of Clusters but those in Kept, where they are divided: they add up to spec.replicas.
	// They are nil where replicas are not divided.
	Shares map[string]int64
	// Parts are those of the partition, where it is divided with the replicas: together, the clusters roll out spec.replicas
	// less the partition. A cluster whose part is the whole partition has no entry.
	Parts map[string]protocol.Part
	// Returning are those of Clusters, sorted, that the object was leaving, and that may have removed its copy meanwhile: what
	// they have reported of it counts no more. A cluster on which the object has come to its end is none of them, for its report
	// is all that says so.
	Returning []string
	// Follows is set when the object is where the objects are that need it or that it belongs with: nothing places the
	// object itself.
	Follows bool
	// By is who decided, protocol.ByNobody when the object follows. Placement is the name of the WorkloadPlacement if one did.
	By        protocol.DecidedBy
	Placement string
	// Reasons say, for people, why the object is to be on each of Clusters.
	Reasons map[string]string
	// LeftOut are the clusters that the object would go to as well, and why it cannot. A placement that has all the clusters
	// that it asks for misses none.
	LeftOut map[string]v1alpha1.LeftOut
	// Unsatisfied says, for people, what the placement asks for and cannot have. It is empty when the placement has all.
	Unsatisfied string
	// Problems say, for the user, what of the object or of the placements was ignored, and what was expected: names of
	// clusters that do not exist, and a second placement that selects the object, too.
	Problems []string
	// Interest says which changes of other clusters may change the decision.
	Interest Interest
	// Again is after how long time alone may change the decision, 0 for never.
	Again time.Duration
}
