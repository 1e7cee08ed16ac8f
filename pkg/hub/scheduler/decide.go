package scheduler

import (
	"cmp"
	"encoding/json"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

// decided is what has been decided of an object last.
type decided struct {
	placement.Decision

	// assumed is what of it is not on the object yet.
	assumed placement.Assumed
}

// decide returns where an object is to be, and whether that differs from what was
// decided last. Decisions are taken one after the other, and each is known to the next:
// two workloads do not both take the place that is free. What has been decided is kept
// until it is carried out.
func (s *Scheduler) decide(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) (decision placement.Decision, isNews bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.decided[key]
	decision = placement.Decide(s.request(key, upstreamObj))
	s.decided[key] = decided{decision, assumption(upstreamObj, decision)}
	if s.config.Kinds.IsWorkload(upstreamObj.GroupVersionKind().GroupKind()) {
		s.load.set(key, decision.Clusters...)
	}
	return decision, !known || before.Follows != decision.Follows || !slices.Equal(before.Clusters, decision.Clusters)
}

// recall returns where an object is to be as was decided last: what follows it asks, and
// there may be hundreds that do. When it is decided anew, they are asked again.
func (s *Scheduler) recall(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) placement.Decision {
	s.mu.Lock()
	last, known := s.decided[key]
	s.mu.Unlock()
	if known {
		return last.Decision
	}
	decision, _ := s.decide(key, upstreamObj)
	return decision
}

func (s *Scheduler) request(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) placement.Request {
	clusters := s.config.Registry.Clusters()
	for i := range clusters {
		clusters[i].Workloads = s.load.of(clusters[i].Name)
		clusters[i].LeftOut = s.leftOut(key, clusters[i])
	}
	path, _ := s.config.Paths.Path(key.Workspace)
	return placement.Request{
		Object:        upstreamObj,
		IsWorkload:    s.config.Kinds.IsWorkload(upstreamObj.GroupVersionKind().GroupKind()),
		Workspace:     path,
		Placements:    s.config.Inventory.Placements(key.Workspace, key.Namespace),
		Clusters:      clusters,
		Default:       s.config.Default,
		TenantType:    s.config.TenantType,
		Assumed:       s.decided[key].assumed,
		Assigned:      s.assigned(key),
		FailoverAfter: s.config.FailoverAfter,
		Now:           s.now(),
	}
}

// assumption returns what has been decided of an object and is not on it yet.
func assumption(upstreamObj *unstructured.Unstructured, decision placement.Decision) placement.Assumed {
	var assumed placement.Assumed
	for _, cluster := range decision.Clusters {
		if placement.IsOn(upstreamObj, cluster) {
			continue
		}
		assumed.Clusters = append(assumed.Clusters, cluster)
		if share, divided := decision.Shares[cluster]; divided {
			if assumed.Shares == nil {
				assumed.Shares = map[string]int64{}
			}
			assumed.Shares[cluster] = share
		}
	}
	return assumed
}

// forget drops what has been decided of an object that is gone.
func (s *Scheduler) forget(key kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.decided, key)
	s.load.set(key)
}

// isMoving reports whether an object stays where it is to leave until it is available
// where it goes: then its reports matter.
func (s *Scheduler) isMoving(key kcp.ObjectKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.decided[key].Kept) > 0
}

// assigned returns what counts the objects, other than that of the key, that a
// placement of its namespace has on a cluster. They are counted when first asked for:
// few decisions do.
func (s *Scheduler) assigned(key kcp.ObjectKey) func(placement, cluster string) int {
	var counts map[string]map[string]int
	return func(name, cluster string) int {
		if counts == nil {
			counts = s.countAssigned(key)
		}
		return counts[byPlacement(name)][cluster]
	}
}

func (s *Scheduler) countAssigned(key kcp.ObjectKey) map[string]map[string]int {
	counts := map[string]map[string]int{}
	s.config.Upstream.EachIn(key.Workspace, key.Namespace, func(otherKey kcp.ObjectKey, other *unstructured.Unstructured) {
		if otherKey == key {
			return
		}
		by := cmp.Or(s.decided[otherKey].By, reasonOf(other).By)
		if counts[by] == nil {
			counts[by] = map[string]int{}
		}
		for cluster := range sets.New(append(v1alpha1.PlacedClusters(other.GetLabels()), s.decided[otherKey].assumed.Clusters...)...) {
			counts[by][cluster]++
		}
	})
	return counts
}

// reasonOf returns what stands on an object about why it is where it is.
func reasonOf(upstreamObj *unstructured.Unstructured) v1alpha1.PlacementReason {
	return parseReason(upstreamObj.GetAnnotations()[v1alpha1.PlacementAnnotation])
}

func parseReason(annotation string) v1alpha1.PlacementReason {
	var reason v1alpha1.PlacementReason
	if err := json.Unmarshal([]byte(annotation), &reason); err != nil {
		return v1alpha1.PlacementReason{} // none, or tampered with: the next write mends it
	}
	return reason
}

// byPlacement is what stands on an object that a placement has decided about.
func byPlacement(name string) string { return "placement " + name }

// without returns the names that are not among the others.
func without(names []string, others ...string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}
