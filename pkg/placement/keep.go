package placement

import (
	"math"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// keep returns the clusters, sorted, that are not chosen and that the object does not leave yet: until the chosen ones
// serve, the object would be missing there.
func (s *snapshot) keep(t terms, chosen []*Cluster, c choice) []string {
	// Where a placement is on all clusters that there are for it, with all replicas, no cluster takes the place of another.
	replaces := c.shares != nil || t.NumberOfClusters != nil || t.Strategy == v1alpha1.StrategyAffinity
	if s.closed || !replaces {
		return nil
	}
	var kept []string
	for _, name := range s.leaving(chosen, c) {
		if cluster, known := s.known[name]; known && s.mayWait(t, cluster) {
			kept = append(kept, name)
		}
	}
	if len(kept) == 0 || s.allServe(chosen, c.shares) {
		return nil
	}
	return kept
}

// leaving returns, sorted, the clusters that the object moves away from. Where there are fewer replicas than before, those
// that were dropped because of that are not among them: nothing of theirs is to be anywhere else.
func (s *snapshot) leaving(chosen []*Cluster, c choice) []string {
	leaving := s.on.Clone()
	for _, cluster := range chosen {
		leaving.Delete(cluster.Name)
	}
	if len(leaving) > 0 && c.shares != nil && s.shrinks(c.shares) {
		leaving = leaving.Difference(c.dropped.Difference(s.draining))
	}
	return sets.List(leaving)
}

// shrinks reports whether there are to be fewer replicas than were divided before.
func (s *snapshot) shrinks(shares map[string]int64) bool {
	left := int64(0)
	for _, share := range shares {
		left += share
	}
	for cluster := range s.on {
		if s.draining.Has(cluster) {
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

// mayWait reports whether the object has anything to lose on a cluster that it is on, and nobody wants it to leave at once.
func (s *snapshot) mayWait(t terms, cluster *Cluster) bool {
	report, err := s.object.Report(cluster.Name)
	if err != nil || !cluster.Ready || !s.allowed(cluster) || !s.kind.HasToLose(report) {
		return false
	}
	left, _ := s.timeLeft(cluster, t.Tolerations)
	return left > 0
}

// allServe reports whether all of the chosen clusters have available what they are to have. No clusters serve nothing.
func (s *snapshot) allServe(chosen []*Cluster, shares map[string]int64) bool {
	replicas, counted := s.kind.ReplicasOf(s.Object)
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

// serves reports whether the object is available on the cluster. What a cluster said before it fell silent, or of another
// generation, does not count.
func (s *snapshot) serves(cluster *Cluster, wanted int64) bool {
	if wanted == 0 {
		return true
	}
	report, err := s.object.Report(cluster.Name)
	return err == nil && cluster.Ready && s.on.Has(cluster.Name) && report.Generation == s.Object.GetGeneration() &&
		s.kind.Serves(report, wanted)
}
