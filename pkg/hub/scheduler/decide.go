package scheduler

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// decided is what has been decided about an object last.
type decided struct {
	placement.Decision

	// assumed is what of it is not on the object yet.
	assumed placement.Assumed
}

// decide returns where an object is to be, and whether that differs from what was decided last. Decisions are taken one
// after the other, and each is known to the next: two workloads do not both take the place that is free. What has been
// decided is assumed until it is carried out.
func (s *Scheduler) decide(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) (decision placement.Decision, isNews bool) {
	upstreamObj, _ = s.restored(key, upstreamObj)
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.decided[key]
	decision = placement.Decide(s.request(key, upstreamObj))
	s.decided[key] = decided{decision, assumption(upstreamObj, decision)}
	if s.config.Kinds.IsWorkload(upstreamObj.GroupVersionKind().GroupKind()) {
		s.load.set(key, decision.Clusters)
	}
	return decision, !known || before.Follows != decision.Follows || !slices.Equal(before.Clusters, decision.Clusters)
}

// lastDecision returns where an object is to be as was decided last. What follows an object asks for that, and there may be
// hundreds of such objects. When the object is decided anew, they ask again.
func (s *Scheduler) lastDecision(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) placement.Decision {
	s.mu.Lock()
	last, known := s.decided[key]
	s.mu.Unlock()
	if known {
		return last.Decision
	}
	decision, _ := s.decide(key, upstreamObj)
	return decision
}

// request is called with mu held.
func (s *Scheduler) request(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) placement.Request {
	path, _ := s.config.Paths.Path(key.Workspace)
	return placement.Request{
		Object:        upstreamObj,
		Kinds:         s.config.Kinds,
		Workspace:     path,
		Placements:    s.config.Inventory.Placements(key.Workspace, key.Namespace),
		Fleet:         s.config.Registry.Fleet(),
		LeftOut:       s.leavesOut(key),
		Workloads:     func(cluster string) int { return s.load.workloads[cluster] },
		Default:       s.config.Default,
		TenantType:    s.config.TenantType,
		Assumed:       s.decided[key].assumed,
		Assigned:      s.assigned(key),
		FailoverAfter: s.config.FailoverAfter,
		Now:           s.now(),
	}
}

// leftOut returns why the cluster's syncer would not see an object, empty when it would.
func (s *Scheduler) leftOut(key kcp.ObjectKey, cluster placement.Cluster) v1alpha1.LeftOut {
	return cluster.WhyLeftOut(s.config.Bindings.LeftOut(key.Workspace, cluster.Export, key.Resource.GroupResource()), key.Resource)
}

// leavesOut returns leftOut for one decision about an object. Of each APIExport it asks once: a group has one for all its clusters.
func (s *Scheduler) leavesOut(key kcp.ObjectKey) func(*placement.Cluster) v1alpha1.LeftOut {
	bound := map[string]v1alpha1.LeftOut{}
	return func(cluster *placement.Cluster) v1alpha1.LeftOut {
		why, known := bound[cluster.Export]
		if !known {
			why = s.config.Bindings.LeftOut(key.Workspace, cluster.Export, key.Resource.GroupResource())
			bound[cluster.Export] = why
		}
		return cluster.WhyLeftOut(why, key.Resource)
	}
}

// assumption returns what has been decided about an object and is not on it yet.
func assumption(upstreamObj *unstructured.Unstructured, decision placement.Decision) placement.Assumed {
	object := protocol.Read(upstreamObj)
	var assumed placement.Assumed
	for _, cluster := range decision.Clusters {
		if object.IsPlaced(cluster) {
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

// forget drops what has been decided about an object that is gone.
func (s *Scheduler) forget(key kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.decided, key)
	s.load.set(key, nil)
}

// isDraining reports whether an object stays on a cluster until it is available where it goes instead: then its reports
// matter.
func (s *Scheduler) isDraining(key kcp.ObjectKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.decided[key].Kept) > 0
}

// assigned returns what counts the objects, other than that of the key, that a placement of its namespace has on a cluster.
// They are counted when first asked for: few decisions do. It is called with mu held.
func (s *Scheduler) assigned(key kcp.ObjectKey) func(placement, cluster string) int {
	var counts map[string]map[string]int
	return func(name, cluster string) int {
		if counts == nil {
			counts = s.countAssigned(key)
		}
		return counts[name][cluster]
	}
}

// countAssigned returns how many objects each placement of the key's namespace has on each cluster.
func (s *Scheduler) countAssigned(key kcp.ObjectKey) map[string]map[string]int {
	counts := map[string]map[string]int{}
	s.config.Upstream.EachIn(key.Workspace, key.Namespace, func(otherKey kcp.ObjectKey, other *unstructured.Unstructured) {
		object, last := protocol.Read(other), s.decided[otherKey]
		name := last.Placement
		if last.By == protocol.ByNobody {
			name = object.Placement().Name
		}
		if otherKey == key || name == "" {
			return
		}
		if counts[name] == nil {
			counts[name] = map[string]int{}
		}
		for cluster := range sets.New(append(object.Labelled(), last.assumed.Clusters...)...) {
			counts[name][cluster]++
		}
	})
	return counts
}

// load counts the workloads on each cluster, those included that are decided and not written yet.
type load struct {
	clusters  map[kcp.ObjectKey][]string
	workloads map[string]int
}

// set says which clusters a workload is on. None forgets it.
func (l load) set(key kcp.ObjectKey, clusters []string) {
	for _, cluster := range l.clusters[key] {
		l.workloads[cluster]--
	}
	delete(l.clusters, key)
	for _, cluster := range clusters {
		l.workloads[cluster]++
	}
	if len(clusters) > 0 {
		l.clusters[key] = clusters
	}
}
