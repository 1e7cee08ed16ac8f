package placement

import (
	"cmp"
	"maps"
	"math/big"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// divisible returns the object's replicas, and whether they can be divided: only those
// of Deployments and StatefulSets mean the same on several clusters as on one.
func (s *survey) divisible() (int64, bool) {
	if !s.hasReplicas() {
		return 0, false
	}
	value, found, err := unstructured.NestedFieldNoCopy(s.Object.Object, "spec", "replicas")
	if err != nil {
		return 0, false
	}
	if !found || value == nil {
		return 1, true // as Kubernetes has it
	}
	replicas, isInteger := value.(int64)
	return max(replicas, 0), isInteger
}

// divide returns the shares of the chosen clusters, which add up to the total, those of
// nothing left out.
func (s *survey) divide(t terms, o outcome, total int64) map[string]int64 {
	if total == 0 {
		return s.idle(o)
	}
	var shares map[string]int64
	if t.byWeight {
		shares = apportion(total, s.parts(o.chosen, t.weight))
	} else {
		shares = s.fill(total, o.chosen)
	}
	maps.DeleteFunc(shares, func(_ string, share int64) bool { return share == 0 })
	return shares
}

// idle has what is scaled to nothing stay where it is, with nothing.
func (s *survey) idle(o outcome) map[string]int64 {
	shares := map[string]int64{}
	for _, cluster := range o.chosen {
		if slices.Contains(o.question.staying, cluster) {
			shares[cluster.Name] = 0
		}
	}
	if len(shares) > 0 {
		return shares
	}
	for _, cluster := range o.chosen {
		shares[cluster.Name] = 0
	}
	return shares
}

// part is a cluster in a division.
type part struct {
	name            string
	weight, present int64
}

func (s *survey) parts(clusters []*Cluster, weight func(*Cluster) int64) []part {
	parts := make([]part, 0, len(clusters))
	for _, cluster := range clusters {
		parts = append(parts, part{name: cluster.Name, weight: weight(cluster), present: s.presentShare(cluster.Name)})
	}
	return parts
}

// presentShare returns the cluster's share of the replicas as decided before. What it
// runs only until it is available elsewhere is placed there already.
func (s *survey) presentShare(cluster string) int64 {
	if !s.present.Has(cluster) {
		return 0
	}
	if share, assumed := s.Assumed.Shares[cluster]; assumed {
		return max(share, 0)
	}
	if s.waning.Has(cluster) {
		return 0
	}
	return s.writtenShare(cluster)
}

func (s *survey) writtenShare(cluster string) int64 {
	if !s.on.Has(cluster) {
		return 0
	}
	share, err := strconv.ParseInt(s.annotations[v1alpha1.ReplicasAnnotation(cluster)], 10, 64)
	if err != nil {
		return 0 // it is rewritten
	}
	return max(share, 0)
}

// fill divides by free capacity. What is placed stays; what has to be placed anew goes
// where there is room, and what has to go is taken off in proportion.
func (s *survey) fill(total int64, chosen []*Cluster) map[string]int64 {
	placed := s.parts(chosen, func(cluster *Cluster) int64 { return s.presentShare(cluster.Name) })
	missing := total
	for _, part := range placed {
		if part.present > missing {
			return apportion(total, placed)
		}
		missing -= part.present
	}
	request := podRequest(s.Object)
	room := make([]part, 0, len(chosen))
	for _, cluster := range chosen {
		room = append(room, part{name: cluster.Name, weight: freeReplicas(cluster, request)})
	}
	shares := apportion(missing, room)
	for _, part := range placed {
		shares[part.name] += part.present
	}
	return shares
}

// quota is a part while it is apportioned.
type quota struct {
	part

	share     int64
	remainder *big.Int
}

// apportion divides the total in proportion to the weights, equally if all of them are
// 0. The shares add up to the total, and none is off its exact quota by one or more: of
// the two integers next to it, a part gets the upper one if that is less to move, and
// else by the largest remainder. With parts, there is always somebody who gets it.
func apportion(total int64, parts []part) map[string]int64 {
	sum := new(big.Int)
	for _, part := range parts {
		sum.Add(sum, big.NewInt(part.weight))
	}
	if sum.Sign() == 0 {
		parts = slices.Clone(parts)
		for i := range parts {
			parts[i].weight = 1
		}
		sum.SetInt64(int64(len(parts)))
	}
	left := total
	quotas := make([]quota, 0, len(parts))
	for _, part := range parts {
		product := new(big.Int).Mul(big.NewInt(total), big.NewInt(part.weight))
		floor, remainder := product.QuoRem(product, sum, new(big.Int))
		quotas = append(quotas, quota{part: part, share: floor.Int64(), remainder: remainder})
		left -= floor.Int64()
	}
	slices.SortFunc(quotas, byClaim)
	shares := make(map[string]int64, len(parts))
	for i, quota := range quotas {
		// What is left over is less than there are remainders, which come first.
		if int64(i) < left {
			quota.share++
		}
		shares[quota.name] = quota.share
	}
	return shares
}

// byClaim orders by who gets one more of what is left over.
func byClaim(a, b quota) int {
	return cmp.Or(
		-cmp.Compare(a.claim(), b.claim()),
		-a.remainder.Cmp(b.remainder),
		cmp.Compare(a.name, b.name),
	)
}

// claim is 2 for who would have to give one up, 0 for whose quota is exact.
func (q quota) claim() int {
	switch {
	case q.remainder.Sign() == 0:
		return 0
	case q.present > q.share:
		return 2
	default:
		return 1
	}
}
