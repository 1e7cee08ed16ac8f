package placement

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Default says where a workload goes that names no clusters.
type Default string

// The defaults that there are.
const (
	// DefaultAll places on every cluster.
	DefaultAll Default = "all"
	// DefaultNone places on none: placement is opt-in.
	DefaultNone Default = "none"
)

// Decision says where an object is to be.
type Decision struct {
	// Clusters are sorted and without duplicates.
	Clusters []string
	// Follows is set when the object is where what needs it, or what it belongs
	// with, is: nothing places the object itself.
	Follows bool
	// Problems say, for the user, which of the names asked for were not heeded
	// and what was expected. They do not keep the other names from being.
	Problems []string
}

// Decide returns where an object is to be, out of the clusters that there are. The
// annotation target-clusters wins; without it, a workload goes where the default
// says, and anything else follows.
func Decide(upstreamObj metav1.Object, isWorkload bool, clusters []string, byDefault Default) Decision {
	value, named := upstreamObj.GetAnnotations()[v1alpha1.TargetClustersAnnotation]
	switch {
	case named:
		return decideNamed(value, sets.New(clusters...))
	case !isWorkload:
		return Decision{Follows: true}
	case byDefault == DefaultNone:
		return Decision{}
	default:
		return Decision{Clusters: sets.List(sets.New(clusters...))}
	}
}

// Held returns the clusters that an object is on, is to be on, or has not left yet:
// what it needs stays there until it has.
func Held(upstreamObj metav1.Object, decision Decision) sets.Set[string] {
	held := sets.New(v1alpha1.PlacedClusters(upstreamObj.GetLabels())...)
	for _, finalizer := range upstreamObj.GetFinalizers() {
		addCluster(held, finalizer, v1alpha1.FinalizerPrefix)
	}
	if upstreamObj.GetDeletionTimestamp() == nil {
		held.Insert(decision.Clusters...)
	}
	return held
}

// IsOn tells whether an object is placed on the cluster, and not leaving it.
func IsOn(upstreamObj metav1.Object, cluster string) bool {
	_, leaving := upstreamObj.GetAnnotations()[v1alpha1.DeletionAnnotation(cluster)]
	return !leaving && upstreamObj.GetLabels()[v1alpha1.PlacementLabel(cluster)] == v1alpha1.PlacementLabelValue
}

func decideNamed(value string, known sets.Set[string]) Decision {
	if strings.TrimSpace(value) == "" {
		return Decision{} // explicitly nowhere
	}
	var decision Decision
	selected := sets.New[string]()
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if name == v1alpha1.AllClusters {
			selected = selected.Union(known)
			continue
		}
		if problem := check(name, known); problem != "" {
			decision.Problems = append(decision.Problems, problem)
			continue
		}
		selected.Insert(name)
	}
	decision.Clusters = sets.List(selected)
	slices.Sort(decision.Problems)
	decision.Problems = slices.Compact(decision.Problems)
	return decision
}

// check returns what is wrong with one name of the annotation, empty if nothing.
func check(name string, known sets.Set[string]) string {
	if err := v1alpha1.ValidateClusterName(name); err != nil {
		return fmt.Sprintf("annotation %s: %v; expected cluster names separated by commas, or %q for all",
			v1alpha1.TargetClustersAnnotation, err, v1alpha1.AllClusters)
	}
	if !known.Has(name) {
		return fmt.Sprintf("annotation %s: there is no cluster %q; there are: %s",
			v1alpha1.TargetClustersAnnotation, name, strings.Join(sets.List(known), ", "))
	}
	return ""
}
