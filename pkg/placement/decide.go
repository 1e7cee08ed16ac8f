package placement

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
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

// Why an object is on a cluster, for people. None of these texts has anything in it that changes while the object stays.
const (
	reasonNamed           = "named in the annotation"
	reasonEveryAnnotation = "annotation: every ready cluster"
	reasonEveryDefault    = "default: every ready cluster"
	reasonKept            = "stays until it is available elsewhere"
)

// Decide returns where an object is to be. The annotation target-clusters wins; without it the oldest placement that
// selects the object decides; without one, a workload goes where the default says, and anything else follows.
func Decide(request Request) Decision {
	s := newSnapshot(request)
	decision := s.decide()
	slices.Sort(decision.Problems)
	decision.Problems = slices.Compact(decision.Problems)
	if len(decision.LeftOut) == 0 {
		decision.LeftOut = nil
	}
	decision.Interest = s.interest(decision)
	return decision
}

func (s *snapshot) decide() Decision {
	if value, named := s.object.Targets(); named {
		return s.decideByAnnotation(value)
	}
	placement, ignored, problems := Of(s.Placements, s.Object, s.kind.Workload)
	var decision Decision
	switch {
	case placement != nil:
		decision = s.decideByPlacement(placement)
	case !s.kind.Workload:
		decision.Follows = true
	case s.Default != DefaultNone:
		decision = s.decideEverywhere(protocol.ByDefault, reasonEveryDefault)
	}
	decision.Problems = append(decision.Problems, problems...)
	if len(ignored) > 0 {
		decision.Problems = append(decision.Problems, fmt.Sprintf(
			"placement %s is the oldest that selects this object, and decides; ignored: %s", placement.Name, strings.Join(ignored, ", ")))
	}
	return decision
}

// decideEverywhere places on all clusters that take the object, and leaves it on those that tolerate it.
func (s *snapshot) decideEverywhere(by protocol.DecidedBy, reason string) Decision {
	candidates := s.filter(terms{})
	decision := Decision{By: by, Reasons: map[string]string{}, LeftOut: candidates.leftOut}
	for _, cluster := range slices.Concat(candidates.staying, candidates.open) {
		decision.Reasons[cluster.Name] = reason
	}
	s.complete(&decision, terms{})
	if len(decision.Clusters) == 0 {
		decision.Unsatisfied = s.unsatisfied("no cluster comes into question", candidates)
	}
	return decision
}

// decideByAnnotation places where the annotation says, whatever the state of the clusters: nothing would replace one that a
// user has named. The object leaves only clusters that the operator has it leave.
func (s *snapshot) decideByAnnotation(value string) Decision {
	decision := Decision{By: protocol.ByAnnotation, Reasons: map[string]string{}, LeftOut: map[string]v1alpha1.LeftOut{}}
	if strings.TrimSpace(value) == "" {
		return decision // explicitly nowhere
	}
	everywhere := map[string]string{}
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if name == v1alpha1.AllClusters {
			all := s.decideEverywhere(protocol.ByAnnotation, reasonEveryAnnotation)
			decision.Unsatisfied, everywhere = all.Unsatisfied, all.Reasons
			maps.Copy(decision.LeftOut, all.LeftOut)
			continue
		}
		problem := s.checkNamed(name)
		if cluster := s.known[name]; problem == "" && s.leavesOut(cluster) {
			why := s.leftOut(cluster)
			decision.LeftOut[name] = why
			problem = s.sayLeftOut(map[string]v1alpha1.LeftOut{name: why})
		}
		if problem != "" {
			decision.Problems = append(decision.Problems, fmt.Sprintf("annotation %s: %s", v1alpha1.TargetClustersAnnotation, problem))
		} else if !s.closed || s.present.Has(name) {
			decision.Reasons[name] = reasonNamed
		}
	}
	maps.Copy(everywhere, decision.Reasons) // of a cluster that is named as well, the user is told that it is
	decision.Reasons = everywhere
	s.complete(&decision, terms{})
	switch {
	case len(decision.Clusters) > 0:
		decision.Unsatisfied = ""
	case decision.Unsatisfied == "":
		decision.Unsatisfied = s.sayLeftOut(decision.LeftOut)
	}
	return decision
}

// checkNamed returns what is wrong with one name of the annotation, empty if nothing.
func (s *snapshot) checkNamed(name string) string {
	if err := v1alpha1.ValidateClusterName(name); err != nil {
		return fmt.Sprintf("%v; expected cluster names separated by commas, or %q for all", err, v1alpha1.AllClusters)
	}
	cluster, known := s.known[name]
	switch {
	case !known:
		return fmt.Sprintf("there is no cluster %q; there are: %s", name, s.usable())
	case !s.allowed(cluster):
		return fmt.Sprintf("cluster %q is not for this workspace; there are: %s", name, s.usable())
	case cluster.Draining:
		return fmt.Sprintf("cluster %q is being drained; expected others of: %s", name, s.usable())
	}
	for _, taint := range cluster.Taints {
		if taint.Effect == v1alpha1.TaintNoExecute && taint.Key != v1alpha1.TaintUnreachable {
			return fmt.Sprintf("cluster %q has the %s; expected others of: %s, or a WorkloadPlacement that tolerates it",
				name, taintText(taint), s.usable())
		}
	}
	return ""
}

// usable returns the names of the clusters that the workspace may use.
func (s *snapshot) usable() string {
	var names []string
	for _, cluster := range s.clusters {
		if s.allowed(cluster) {
			names = append(names, cluster.Name)
		}
	}
	return strings.Join(names, ", ")
}

// decideByPlacement places as a WorkloadPlacement has it.
func (s *snapshot) decideByPlacement(placement *v1alpha1.WorkloadPlacement) Decision {
	total, divided := s.kind.ReplicasOf(s.Object)
	divided = divided && placement.Spec.Replicas == v1alpha1.ReplicasDivided
	t, problems := readTerms(placement, divided)
	c := s.chooseAndDivide(t, divided, total)

	decision := Decision{By: protocol.ByPlacement, Placement: t.name, Shares: c.shares, Reasons: map[string]string{}, Problems: problems}
	decision.Parts = s.partition(c.shares)
	decision.Unsatisfied = s.shortfall(t, c.candidates, len(c.clusters))
	decision.LeftOut = s.missed(t, c)
	serving := c.serving()
	for _, cluster := range serving {
		decision.Reasons[cluster.Name] = fmt.Sprintf("placement %s: %s", t.name, t.reason(cluster))
	}
	decision.Kept = s.keep(t, serving, c)
	for _, name := range decision.Kept {
		decision.Reasons[name] = reasonKept
		delete(decision.LeftOut, name)
	}
	s.complete(&decision, t)
	return decision
}

// choice is what a placement chooses.
type choice struct {
	candidates candidates
	// clusters are those that it takes.
	clusters []*Cluster
	// shares are the replicas of those that get any, nil where replicas are not divided.
	shares map[string]int64
	// dropped are those that the object is on and that get no replicas any more.
	dropped sets.Set[string]
}

// serving returns the chosen clusters without those that get no replicas: they are no place for the object.
func (c choice) serving() []*Cluster {
	return slices.DeleteFunc(slices.Clone(c.clusters), func(cluster *Cluster) bool {
		_, has := c.shares[cluster.Name]
		return c.shares != nil && !has
	})
}

// chooseAndDivide chooses and divides, without the clusters that get no replicas any more, until there are no more of them.
// Otherwise the next decision would replace the cluster that the object has left for want of replicas.
func (s *snapshot) chooseAndDivide(t terms, divided bool, total int64) choice {
	c := choice{dropped: sets.New[string]()}
	for {
		c.candidates = s.filter(t)
		c.clusters = s.choose(t, c.candidates)
		if !divided {
			return c
		}
		c.shares = s.divide(t, c, total)
		dropped := sets.New[string]()
		for _, cluster := range c.clusters {
			if share := c.shares[cluster.Name]; share == 0 && total > 0 && s.present.Has(cluster.Name) {
				dropped.Insert(cluster.Name)
			}
		}
		if len(dropped) == 0 {
			return c
		}
		c.dropped = c.dropped.Union(dropped)
		s.present = s.present.Difference(dropped)
	}
}

// missed returns which of the clusters that are left out the placement would have: none when it has as many as it asks for,
// and of preferences no lower one than it has.
func (s *snapshot) missed(t terms, c choice) map[string]v1alpha1.LeftOut {
	if n := t.NumberOfClusters; n != nil && len(c.clusters) >= int(*n) {
		return nil
	}
	missed := maps.Clone(c.candidates.leftOut)
	if t.Strategy == v1alpha1.StrategyAffinity && t.NumberOfClusters == nil && len(c.clusters) > 0 {
		has := t.preference(c.clusters[0])
		maps.DeleteFunc(missed, func(name string, _ v1alpha1.LeftOut) bool { return t.preference(s.known[name]) > has })
	}
	return missed
}

// returns reports whether a cluster that the object was leaving has a report that may be older than the end of its copy.
func (s *snapshot) returns(cluster string) bool {
	if _, leaving := s.object.LeavingSince(cluster); !leaving {
		return false
	}
	report, err := s.object.Report(cluster)
	return err == nil && !s.kind.ReportsEnd(report)
}

// complete adds what follows from the reasons: the clusters, which of them the object comes back to, and after how long time alone changes the decision.
func (s *snapshot) complete(decision *Decision, t terms) {
	decision.Clusters = sets.List(sets.KeySet(decision.Reasons))
	for _, name := range decision.Clusters {
		if s.returns(name) {
			decision.Returning = append(decision.Returning, name)
		}
		left, _ := s.timeLeft(s.known[name], t.Tolerations)
		if left > 0 && left < forever && (decision.Again == 0 || left < decision.Again) {
			decision.Again = left
		}
	}
}
