package placement

import (
	"maps"
	"slices"
	"strings"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Interest says which changes of clusters that an object is not on may change what is decided about it. A change of a cluster that it is
// on, or is decided to be on, always may.
type Interest string

const (
	// InterestNone is that of an object that has all the clusters that it asks for, and stays there.
	InterestNone Interest = ""
	// InterestOpen is that of an object that takes clusters which it may come to have: it does not ask for a number, or has fewer.
	InterestOpen Interest = "Open"
	// InterestAny is that of an object that lacks something, or is moving: what is said of it names other clusters, too.
	InterestAny Interest = "Any"
)

// interest returns the interest of an object about which so is decided.
func (s *snapshot) interest(decision Decision) Interest {
	if decision.Unsatisfied != "" || len(decision.LeftOut)+len(decision.Problems)+len(decision.Kept) > 0 {
		return InterestAny
	}
	switch decision.By {
	case protocol.ByDefault:
		return InterestOpen
	case protocol.ByAnnotation:
		value, _ := s.object.Targets()
		if slices.ContainsFunc(strings.Split(value, ","), func(name string) bool { return strings.TrimSpace(name) == v1alpha1.AllClusters }) {
			return InterestOpen
		}
	case protocol.ByPlacement:
		return s.interestByPlacement(decision)
	case protocol.ByNobody:
	}
	return InterestNone
}

// interestByPlacement returns the interest of an object about which a placement has decided, and that lacks nothing.
func (s *snapshot) interestByPlacement(decision Decision) Interest {
	at := slices.IndexFunc(s.Placements, func(p *v1alpha1.WorkloadPlacement) bool { return p.Name == decision.Placement })
	switch {
	case at >= 0 && s.Placements[at].Spec.NumberOfClusters != nil && len(decision.Clusters) >= int(*s.Placements[at].Spec.NumberOfClusters):
		return InterestNone
	case decision.Shares != nil:
		return InterestAny // it is divided among clusters, too, that get no replicas
	default:
		return InterestOpen
	}
}

// MayConcern reports whether a change of a cluster may change what a placement decides about objects that are not on the cluster and
// have the interest. before and after are the zero value while the cluster is not registered.
func MayConcern(interest Interest, placement *v1alpha1.WorkloadPlacement, before, after Cluster) bool {
	if interest == InterestNone || interest == InterestOpen && isNarrower(before, after) {
		return false
	}
	if placement == nil || before.Name == "" || after.Name == "" || !slices.Equal(before.AllowedWorkspaces, after.AllowedWorkspaces) {
		return true
	}
	t, _ := readTerms(placement, false)
	return t.selector.selects(&before) || t.selector.selects(&after)
}

// isNarrower reports whether a cluster takes nothing that it did not take before: it differs in nothing but that it is silent, drained or
// tainted now.
func isNarrower(before, after Cluster) bool {
	if before.Name == "" || !before.Ready && after.Ready || before.Draining && !after.Draining {
		return false
	}
	return keepsTaints(before, after) && (after.Name == "" || offersSame(before, after))
}

// keepsTaints reports whether a cluster has all the taints that it had before.
func keepsTaints(before, after Cluster) bool {
	return !slices.ContainsFunc(before.Taints, func(taint v1alpha1.Taint) bool {
		return !slices.ContainsFunc(after.Taints, func(other v1alpha1.Taint) bool {
			return taint.Key == other.Key && taint.Value == other.Value && taint.Effect == other.Effect && taint.TimeAdded.Equal(other.TimeAdded)
		})
	})
}

// offersSame reports whether a cluster is where it was, takes the same resources from the same workspaces, and is called the same.
func offersSame(before, after Cluster) bool {
	return before.Location == after.Location && before.Export == after.Export && maps.Equal(before.Labels, after.Labels) &&
		slices.Equal(before.AllowedWorkspaces, after.AllowedWorkspaces) && slices.Equal(before.Groups, after.Groups) &&
		before.Resources.Equal(after.Resources)
}
