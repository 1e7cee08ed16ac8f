package placement

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// decidePlaced places as a WorkloadPlacement has it.
func (s *survey) decidePlaced(placement *v1alpha1.WorkloadPlacement) Decision {
	total, divided := s.divisible()
	divided = divided && placement.Spec.Replicas == v1alpha1.ReplicasDivided
	t, problems := read(placement, divided)
	o := s.settle(t, divided, total)

	decision := Decision{By: byPlacement + t.name, Placement: t.name, Shares: o.shares, Reasons: map[string]string{}, Problems: problems}
	decision.Unsatisfied = s.shortfall(t, o.question, len(o.chosen))
	decision.LeftOut = s.missed(t, o)
	chosen := o.serving()
	for _, cluster := range chosen {
		decision.Reasons[cluster.Name] = decision.By + ": " + t.reason(cluster)
	}
	decision.Kept = s.kept(t, chosen, o)
	for _, name := range decision.Kept {
		decision.Reasons[name] = v1alpha1.ReasonKept
		delete(decision.LeftOut, name)
	}
	s.finish(&decision, t)
	return decision
}

// outcome is what a placement comes to.
type outcome struct {
	question question
	// chosen are the clusters that it takes.
	chosen []*Cluster
	// shares are the replicas of those that get any; nil where they are not divided.
	shares map[string]int64
	// dropped are those that the object is on and that get none any more.
	dropped sets.Set[string]
}

// serving returns the chosen clusters without those that get no replicas: they are no
// place for the object.
func (o outcome) serving() []*Cluster {
	if o.shares == nil {
		return o.chosen
	}
	var serving []*Cluster
	for _, cluster := range o.chosen {
		if _, has := o.shares[cluster.Name]; has {
			serving = append(serving, cluster)
		}
	}
	return serving
}

// settle chooses and divides until nothing follows from what is dropped: else the
// cluster that an object has left for want of replicas would be replaced a moment later.
func (s *survey) settle(t terms, divided bool, total int64) outcome {
	o := outcome{dropped: sets.New[string]()}
	for {
		o.question = s.ask(t)
		o.chosen = s.choose(t, o.question)
		if !divided {
			return o
		}
		o.shares = s.divide(t, o, total)
		dropped := sets.New[string]()
		for _, cluster := range o.chosen {
			if share := o.shares[cluster.Name]; share == 0 && total > 0 && s.present.Has(cluster.Name) {
				dropped.Insert(cluster.Name)
			}
		}
		if len(dropped) == 0 {
			return o
		}
		o.dropped = o.dropped.Union(dropped)
		s.present = s.present.Difference(dropped)
	}
}

// missed returns which of the clusters that are left out the placement would have: none
// when it has as many as it asks for, and of preferences no lower one than it has.
func (s *survey) missed(t terms, o outcome) map[string]v1alpha1.LeftOut {
	if n := t.NumberOfClusters; n != nil && len(o.chosen) >= int(*n) {
		return nil
	}
	missed := maps.Clone(o.question.leftOut)
	if t.Strategy == v1alpha1.StrategyAffinity && t.NumberOfClusters == nil && len(o.chosen) > 0 {
		has := t.preference(o.chosen[0])
		maps.DeleteFunc(missed, func(name string, _ v1alpha1.LeftOut) bool { return t.preference(s.known[name]) > has })
	}
	return missed
}

// reason says why the placement has a cluster that it has.
func (t terms) reason(cluster *Cluster) string {
	if t.Strategy == v1alpha1.StrategyAffinity {
		if preference := t.preference(cluster); preference < len(t.preferences) {
			return fmt.Sprintf("preference %d", preference+1)
		}
		return "in none of the preferences"
	}
	switch {
	case t.NumberOfClusters == nil:
		return "every ready cluster that it selects"
	case t.Strategy == v1alpha1.StrategyRoundRobin:
		return "the next in turn"
	case t.Strategy == v1alpha1.StrategyLeastLoaded:
		return "the least loaded"
	case cluster.Location != "":
		return "spread over locations (" + cluster.Location + ")"
	default:
		return "spread"
	}
}

// shortfall says what the placement asks for and cannot have, empty when it has all.
func (s *survey) shortfall(t terms, q question, has int) string {
	wants := 1
	if t.NumberOfClusters != nil {
		wants = int(*t.NumberOfClusters)
	}
	switch {
	case has >= wants:
		return ""
	case t.NumberOfClusters == nil:
		return s.unsatisfied(fmt.Sprintf("placement %s: no cluster comes into question", t.name), q)
	default:
		return s.unsatisfied(fmt.Sprintf("placement %s: %d of %d clusters", t.name, has, wants), q)
	}
}

// mostNamed is how many clusters a message names.
const mostNamed = 3

// unsatisfied completes a message with why other clusters do not qualify.
func (s *survey) unsatisfied(message string, q question) string {
	if s.closed {
		return "" // it asks for nothing any more
	}
	why := slices.Clone(q.barred)
	if more := len(why) - mostNamed; more > 0 {
		why = append(why[:mostNamed], fmt.Sprintf("%d more in such states", more))
	}
	for _, reason := range slices.Sorted(maps.Keys(q.outside)) {
		why = append(why, fmt.Sprintf("%d %s", q.outside[reason], reason))
	}
	parts := []string{message}
	if len(why) > 0 {
		parts = append(parts, strings.Join(why, ", "))
	}
	return strings.Join(append(parts, s.sayAllLeftOut(q.leftOut)...), "; ")
}
