package placement

import (
	"cmp"
	"maps"
	"math"
	"math/big"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
)

// divide returns the shares of the chosen clusters. They add up to the total. A cluster that gets nothing has no share.
func (s *snapshot) divide(t terms, c choice, total int64) map[string]int64 {
	if total == 0 {
		return s.idle(c)
	}
	var shares map[string]int64
	if t.byWeight {
		shares = apportion(total, s.parts(c.clusters, t.weight))
	} else {
		shares = s.fill(total, c.clusters)
	}
	maps.DeleteFunc(shares, func(_ string, share int64) bool { return share == 0 })
	return shares
}

// idle returns shares of 0 replicas: the object stays on the clusters that it is on, or else goes to all that are chosen.
func (s *snapshot) idle(c choice) map[string]int64 {
	shares := map[string]int64{}
	for _, cluster := range c.clusters {
		if slices.Contains(c.candidates.staying, cluster) {
			shares[cluster.Name] = 0
		}
	}
	if len(shares) > 0 {
		return shares
	}
	for _, cluster := range c.clusters {
		shares[cluster.Name] = 0
	}
	return shares
}

// part is a cluster among which replicas are divided, and the share that it has at present.
type part struct {
	name            string
	weight, present int64
}

func (s *snapshot) parts(clusters []*Cluster, weight func(*Cluster) int64) []part {
	parts := make([]part, 0, len(clusters))
	for _, cluster := range clusters {
		parts = append(parts, part{name: cluster.Name, weight: weight(cluster), present: s.presentShare(cluster.Name)})
	}
	return parts
}

// presentShare returns the cluster's share of the replicas as decided before. A cluster that the object drains from has none:
// its replicas are placed elsewhere already.
func (s *snapshot) presentShare(cluster string) int64 {
	if !s.present.Has(cluster) {
		return 0
	}
	if share, assumed := s.Assumed.Shares[cluster]; assumed {
		return max(share, 0)
	}
	if s.draining.Has(cluster) {
		return 0
	}
	return s.writtenShare(cluster)
}

// writtenShare returns the cluster's share of the replicas as the object has it. One that cannot be read is written anew.
func (s *snapshot) writtenShare(cluster string) int64 {
	if !s.on.Has(cluster) {
		return 0
	}
	share, _, _ := s.object.Share(cluster)
	return share
}

// fill divides by free capacity. Replicas that are placed stay. New ones go where there is room, and surplus ones are removed
// in proportion to the shares.
func (s *snapshot) fill(total int64, chosen []*Cluster) map[string]int64 {
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

// apportion divides the total in proportion to the weights, equally if all of them are 0. The shares add up to the total, and
// none is off its exact quota by one or more. Of the two integers next to its quota, a part gets the upper one if it has that
// already, and otherwise by the largest remainder. There has to be a part.
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
		// There are more quotas with a remainder than replicas left over, and those come first.
		if int64(i) < left {
			quota.share++
		}
		shares[quota.name] = quota.share
	}
	return shares
}

// byClaim orders quotas by which one gets one more of the replicas that are left over.
func byClaim(a, b quota) int {
	return cmp.Or(
		-cmp.Compare(a.claim(), b.claim()),
		-a.remainder.Cmp(b.remainder),
		cmp.Compare(a.name, b.name),
	)
}

// claim is 0 for a quota that is exact, 2 for a part that has one more at present and would have to give it up, and 1 for
// others.
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

// amounts are amounts of resources, as quantity.Amount returns them. Sums of them end at the largest int64: what tenants and
// clusters write has no bounds.
type amounts map[corev1.ResourceName]int64

// freeReplicas returns for how many more pods the cluster has room, as far as sums over its nodes tell. It returns 0 while the
// cluster's capacity is not known.
func freeReplicas(cluster *Cluster, request amounts) int64 {
	free := int64(math.MaxInt64)
	for name, each := range request {
		if each <= 0 {
			continue
		}
		left := quantity.Sub(quantity.Amount(name, cluster.Allocatable[name]), quantity.Amount(name, cluster.Requested[name]))
		free = min(free, max(left, 0)/each)
	}
	return free
}

// podRequest returns what one replica requests: one pod, and the CPU and memory that its template says. What is no quantity
// there counts for nothing; the clusters report what is wrong with it.
func podRequest(upstreamObj *unstructured.Unstructured) amounts {
	request := amounts{corev1.ResourcePods: 1}
	content, _, _ := unstructured.NestedFieldNoCopy(upstreamObj.Object, "spec", "template", "spec")
	pod, isMap := content.(map[string]any)
	if !isMap {
		return request
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request[name] = requestOf(pod, name)
	}
	return request
}

// requestOf returns what a pod requests of a resource, as Kubernetes counts it: containers that run at the same time add up,
// and each init container needs room for itself and the sidecars that were started before it.
func requestOf(pod map[string]any, name corev1.ResourceName) int64 {
	var together, before int64
	for _, container := range containers(pod, "initContainers") {
		request := containerRequest(container, name)
		if container["restartPolicy"] == string(corev1.ContainerRestartPolicyAlways) {
			together = quantity.Add(together, request)
			continue
		}
		before = max(before, quantity.Add(request, together))
	}
	for _, container := range containers(pod, "containers") {
		together = quantity.Add(together, containerRequest(container, name))
	}
	return quantity.Add(max(before, together), amountAt(pod, name, "overhead"))
}

// mostContainers is how many containers of a list count. Decisions are taken one after the other: a pod with thousands of
// containers must not delay those about others.
const mostContainers = 100

func containers(pod map[string]any, list string) []map[string]any {
	entries, _ := pod[list].([]any)
	entries = entries[:min(len(entries), mostContainers)]
	containers := make([]map[string]any, 0, len(entries))
	for _, entry := range entries {
		if container, isMap := entry.(map[string]any); isMap {
			containers = append(containers, container)
		}
	}
	return containers
}

// containerRequest returns what a container requests. Where it requests nothing, its limit counts.
func containerRequest(container map[string]any, name corev1.ResourceName) int64 {
	if request, found, err := unstructured.NestedFieldNoCopy(container, "resources", "requests", string(name)); found && err == nil && request != nil {
		return amountAt(container, name, "resources", "requests")
	}
	return amountAt(container, name, "resources", "limits")
}

// amountAt returns the amount of a resource in the list of resources at the path, 0 where there is none or it is negative.
func amountAt(of map[string]any, name corev1.ResourceName, path ...string) int64 {
	value, _, _ := unstructured.NestedFieldNoCopy(of, append(path, string(name))...)
	parsed, ok := quantity.ParseClamped(value)
	if !ok {
		return 0
	}
	return max(quantity.Amount(name, parsed), 0)
}
