package placement

import (
	"math"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const appsGroup = "apps"

// The kinds whose reports say more than that there is a copy.
var (
	deploymentKind  = schema.GroupKind{Group: appsGroup, Kind: "Deployment"}
	statefulSetKind = schema.GroupKind{Group: appsGroup, Kind: "StatefulSet"}
	daemonSetKind   = schema.GroupKind{Group: appsGroup, Kind: "DaemonSet"}
)

func (s *survey) kind() schema.GroupKind { return s.Object.GroupVersionKind().GroupKind() }

func (s *survey) hasReplicas() bool { return s.kind() == deploymentKind || s.kind() == statefulSetKind }

// kept returns the clusters, sorted, that are not chosen and yet not left: until what is
// chosen serves, the object would be missing there.
func (s *survey) kept(t terms, chosen []*Cluster, o outcome) []string {
	if s.closed || !t.replaces(o.shares) {
		return nil
	}
	var kept []string
	for _, name := range s.left(chosen, o) {
		if cluster, known := s.known[name]; known && s.mayWait(t, cluster) {
			kept = append(kept, name)
		}
	}
	if len(kept) == 0 || s.allServe(chosen, o.shares) {
		return nil
	}
	return kept
}

// left returns, sorted, the clusters that the object moves away from. Where there are
// fewer replicas than before, those that were dropped for it are not among them: nothing
// of theirs is to be anywhere else.
func (s *survey) left(chosen []*Cluster, o outcome) []string {
	left := s.on.Clone()
	for _, cluster := range chosen {
		left.Delete(cluster.Name)
	}
	if len(left) > 0 && o.shares != nil && s.shrinks(o.shares) {
		left = left.Difference(o.dropped.Difference(s.waning))
	}
	return sets.List(left)
}

// replaces reports whether a cluster that is left has another take its place. Where the
// placement is on all clusters that there are for it, with all replicas, there is none.
func (t terms) replaces(shares map[string]int64) bool {
	return shares != nil || t.NumberOfClusters != nil || t.Strategy == v1alpha1.StrategyAffinity
}

// shrinks reports whether there are to be fewer replicas than were divided before.
func (s *survey) shrinks(shares map[string]int64) bool {
	left := int64(0)
	for _, share := range shares {
		left += share
	}
	for cluster := range s.on {
		if s.waning.Has(cluster) {
			continue
		}
		share := s.writtenShare(cluster)
		if share > left {
			return true
		}
		left -= share
	}
	return false
}

// mayWait reports whether the object has anything to lose on a cluster that it is on, and
// nobody wants it to leave at once.
func (s *survey) mayWait(t terms, cluster *Cluster) bool {
	if !cluster.Ready || !s.allowed(cluster) || !s.hasToLose(cluster.Name) {
		return false
	}
	left, _ := s.timeLeft(cluster, t.Tolerations)
	return left > 0
}

// allServe reports whether all of the chosen clusters have available what they are to
// have. Nowhere, nothing serves.
func (s *survey) allServe(chosen []*Cluster, shares map[string]int64) bool {
	replicas, counted := s.divisible()
	if !counted {
		replicas = math.MaxInt64 // nobody knows how many would do
	}
	for _, cluster := range chosen {
		wanted := replicas
		if shares != nil {
			wanted = shares[cluster.Name]
		}
		if !s.serves(cluster, wanted) {
			return false
		}
	}
	return len(chosen) > 0
}

// serves reports whether the object is available on the cluster. What a cluster said
// before it fell silent, or of another generation, does not count.
func (s *survey) serves(cluster *Cluster, replicas int64) bool {
	if s.hasReplicas() && replicas == 0 {
		return true
	}
	report, readable := s.report(cluster.Name)
	if !readable || !cluster.Ready || !s.on.Has(cluster.Name) || report.Generation != s.Object.GetGeneration() {
		return false
	}
	switch {
	case s.hasReplicas():
		return report.Counters["availableReplicas"] >= replicas
	case s.kind() == daemonSetKind:
		return report.LocalObservedGeneration >= report.LocalGeneration &&
			report.Counters["numberAvailable"] >= report.Counters["desiredNumberScheduled"]
	default:
		return len(report.Problems) == 0
	}
}

// hasToLose reports whether anything would be missing without the cluster's copy. What it
// runs of an older generation would.
func (s *survey) hasToLose(cluster string) bool {
	report, readable := s.report(cluster)
	switch {
	case !readable:
		return false
	case s.hasReplicas():
		return report.Counters["availableReplicas"] > 0
	case s.kind() == daemonSetKind:
		return report.Counters["numberAvailable"] > 0
	default:
		return report.Generation > 0
	}
}

func (s *survey) report(cluster string) (v1alpha1.Report, bool) {
	value, there := s.annotations[v1alpha1.StatusAnnotation(cluster)]
	if !there {
		return v1alpha1.Report{}, false
	}
	report, err := v1alpha1.ParseReport(cluster, value)
	return report, err == nil
}
