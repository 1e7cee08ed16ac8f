package scheduler

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// decide returns where an object is to be, and whether that makes a difference for what follows it. Decisions are taken one after the
// other, and each is known to the next: two workloads do not both take the place that is free. What has been decided is assumed until
// it is carried out.
func (s *Scheduler) decide(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) (decision placement.Decision, isNews bool) {
	present := upstreamObj
	upstreamObj, _ = s.restored(key, upstreamObj)
	placements := s.config.Inventory.Placements(key.Workspace, key.Namespace)
	if slices.ContainsFunc(placements, func(p *v1alpha1.WorkloadPlacement) bool { return p.Spec.Strategy == v1alpha1.StrategyRoundRobin }) {
		s.observe(key.Workspace, key.Namespace)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.ledger.recordOf(key)
	before, known := r.decided, r.isDecided
	decision = placement.Decide(s.request(key, upstreamObj, placements))
	r.isDecided, r.decided = true, decided{
		follows: decision.Follows, clusters: decision.Clusters, isMoving: len(decision.Kept) > 0,
		by: decision.By, placement: decision.Placement, interest: decision.Interest, assumed: assumption(upstreamObj, decision),
	}
	if known && slices.Equal(before.clusters, decision.Clusters) {
		r.decided.clusters = before.clusters // others keep it, too
	}
	moved := s.enterLedger(r, present)
	return decision, moved || !known || before.follows != decision.Follows || !slices.Equal(before.clusters, decision.Clusters)
}

// lastDecision returns where an object is to be as was decided last. What follows an object asks for that, and there may be
// hundreds of such objects. When the object is decided anew, they ask again.
func (s *Scheduler) lastDecision(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) placement.Decision {
	s.mu.Lock()
	r := s.ledger.records[key]
	if r != nil && r.isDecided {
		defer s.mu.Unlock()
		return placement.Decision{Follows: r.decided.follows, Clusters: r.decided.clusters}
	}
	s.mu.Unlock()
	decision, _ := s.decide(key, upstreamObj)
	s.forgetIfGone(key)
	return decision
}

// request is called with mu held.
func (s *Scheduler) request(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, placements []*v1alpha1.WorkloadPlacement) placement.Request {
	path, _ := s.config.Paths.Path(key.Workspace)
	return placement.Request{
		Object:     upstreamObj,
		Kinds:      s.config.Kinds,
		Workspace:  path,
		Placements: placements,
		Fleet:      s.config.Registry.Fleet(),
		LeftOut:    s.leavesOut(key),
		Workloads:  func(cluster string) int { return s.ledger.workloads[cluster] },
		Default:    s.config.Default,
		TenantType: s.config.TenantType,
		Assumed:    s.ledger.recordOf(key).decided.assumed,
		Assigned: func(name, cluster string) int {
			return s.ledger.assigned(key, placementKey(key, name), cluster)
		},
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

// isDraining reports whether an object stays on a cluster until it is available where it goes instead: then its reports
// matter.
func (s *Scheduler) isDraining(key kcp.ObjectKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.ledger.records[key]
	return r != nil && r.decided.isMoving
}
