package placement

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// choose returns the candidates that the placement takes. Those that the object is on come first, so that it moves no more
// than it has to; among others, the strategy scores.
func (s *snapshot) choose(t terms, c candidates) []*Cluster {
	if t.NumberOfClusters == nil {
		return t.all(c)
	}
	var staying, draining []*Cluster
	for _, cluster := range c.staying {
		// Clusters that the object drains from come after the others that it is on: their replacements are on their way, and a
		// decision that goes back and forth never comes to an end.
		if s.draining.Has(cluster.Name) {
			draining = append(draining, cluster)
		} else {
			staying = append(staying, cluster)
		}
	}
	p := picker{spreads: t.Strategy != v1alpha1.StrategyRoundRobin && t.Strategy != v1alpha1.StrategyLeastLoaded, left: int(*t.NumberOfClusters)}
	locations := map[string]*int{}
	for _, pool := range [][]*Cluster{staying, draining, c.open} {
		p.take(s.score(t, pool, locations))
	}
	return p.chosen
}

// all returns every candidate; with preferences, every one of the best group that the object is on already, or else of the
// best group that has any.
func (t terms) all(c candidates) []*Cluster {
	every := slices.Concat(c.staying, c.open)
	if t.Strategy != v1alpha1.StrategyAffinity || len(every) == 0 {
		return every
	}
	basis := c.staying
	if len(basis) == 0 {
		basis = c.open
	}
	best := len(t.preferences)
	for _, cluster := range basis {
		best = min(best, t.preference(cluster))
	}
	return slices.DeleteFunc(every, func(cluster *Cluster) bool { return t.preference(cluster) != best })
}

// candidate is a cluster with its score. The lower score is the better one.
type candidate struct {
	*Cluster

	// score and tieBreak are the strategy's. Where clusters are spread, the number of chosen ones in the same location comes
	// between the two.
	score, tieBreak int
	inLocation      *int
	// hash makes different workloads prefer different clusters among equals.
	hash uint64
}

// score scores the clusters by the strategy. locations count the chosen ones.
func (s *snapshot) score(t terms, pool []*Cluster, locations map[string]*int) []candidate {
	scored := make([]candidate, 0, len(pool))
	for _, cluster := range pool {
		if locations[cluster.Location] == nil {
			locations[cluster.Location] = new(int)
		}
		c := candidate{Cluster: cluster, inLocation: locations[cluster.Location]}
		if t.Strategy != v1alpha1.StrategyRoundRobin {
			c.hash = s.rendezvous(cluster)
		}
		switch t.Strategy {
		case v1alpha1.StrategyRoundRobin:
			if s.Assigned != nil {
				c.score = s.Assigned(t.name, cluster.Name)
			}
		case v1alpha1.StrategyLeastLoaded:
			c.score, c.tieBreak = load(cluster), s.workloads(cluster)
		case v1alpha1.StrategyAffinity:
			c.score = t.preference(cluster)
		case v1alpha1.StrategySpread: // by location and hash alone
		}
		scored = append(scored, c)
	}
	return scored
}

// workloads returns how many workloads are placed on a cluster.
func (s *snapshot) workloads(cluster *Cluster) int {
	if s.Workloads == nil {
		return cluster.Workloads
	}
	return s.Workloads(cluster.Name)
}

// picker takes candidates, the best first, until it has enough.
type picker struct {
	spreads bool
	left    int
	chosen  []*Cluster
}

func (p *picker) take(pool []candidate) {
	if !p.spreads {
		slices.SortFunc(pool, p.compare)
	}
	for len(pool) > 0 && p.left > 0 {
		best := 0
		for i := 1; p.spreads && i < len(pool); i++ {
			if p.compare(pool[i], pool[best]) < 0 {
				best = i
			}
		}
		p.chosen = append(p.chosen, pool[best].Cluster)
		p.left--
		*pool[best].inLocation++
		pool = slices.Delete(pool, best, best+1)
	}
}

func (p *picker) compare(a, b candidate) int {
	if order := cmp.Compare(a.score, b.score); order != 0 {
		return order
	}
	if order := cmp.Compare(*a.inLocation, *b.inLocation); p.spreads && order != 0 {
		return order
	}
	return cmp.Or(cmp.Compare(a.tieBreak, b.tieBreak), cmp.Compare(a.hash, b.hash), cmp.Compare(a.Name, b.Name))
}

// rendezvous ranks a cluster for the object. Each object has an order of its own, in which a cluster that comes or goes
// changes nothing about the others.
func (s *snapshot) rendezvous(cluster *Cluster) uint64 {
	identity := cmp.Or(string(s.Object.GetUID()), s.Object.GetNamespace()+"/"+s.Object.GetName())
	sum := sha256.Sum256([]byte(identity + "\x00" + cluster.Name))
	return binary.BigEndian.Uint64(sum[:])
}

// loadSteps is how many steps of load there are. Small differences, which come and go, do not decide.
const loadSteps = 20

// load returns how much of the cluster is taken, by the resource that is scarcest, in steps up to loadSteps. A cluster of which
// that is not known counts as full.
func load(cluster *Cluster) int {
	most := 0
	for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods} {
		allocatable := quantity.Amount(resource, cluster.Allocatable[resource])
		if allocatable <= 0 {
			return loadSteps
		}
		taken := float64(quantity.Amount(resource, cluster.Requested[resource])) / float64(allocatable)
		most = max(most, int(min(max(taken, 0), 1)*loadSteps))
	}
	return most
}
