package placement

import (
	"fmt"
	"slices"
	"strings"

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

// Decision says where a workload is to run.
type Decision struct {
	// Clusters are sorted and without duplicates.
	Clusters []string
	// Problems say, for the user, which of the names asked for were not heeded
	// and what was expected. They do not keep the other names from being.
	Problems []string
}

// Decide returns where a workload with the given annotations runs, out of the
// clusters that there are. The annotation target-clusters wins; without it, the
// default does.
func Decide(annotations map[string]string, clusters []string, byDefault Default) Decision {
	value, named := annotations[v1alpha1.TargetClustersAnnotation]
	switch {
	case named:
		return decideNamed(value, sets.New(clusters...))
	case byDefault == DefaultNone:
		return Decision{}
	default:
		return Decision{Clusters: sets.List(sets.New(clusters...))}
	}
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
