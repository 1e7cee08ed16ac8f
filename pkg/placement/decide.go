package placement

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
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

// Who decides, as v1alpha1.PlacementReason has it.
const (
	byAnnotation = "annotation"
	byDefault    = "default"
	byPlacement  = "placement " // and its name
)

// Why an object is on a cluster. None of these texts has anything in it that moves
// while the object stays.
const (
	reasonNamed           = "named in the annotation"
	reasonEveryAnnotation = "annotation: every ready cluster"
	reasonEveryDefault    = "default: every ready cluster"
)

// Decide returns where an object is to be. The annotation target-clusters wins;
// without it the oldest placement that selects the object decides; without one, a
// workload goes where the default says, and anything else follows.
func Decide(request Request) Decision {
	s := look(request)
	decision := s.decide()
	slices.Sort(decision.Problems)
	decision.Problems = slices.Compact(decision.Problems)
	if len(decision.LeftOut) == 0 {
		decision.LeftOut = nil
	}
	return decision
}

func (s *survey) decide() Decision {
	if value, named := s.annotations[v1alpha1.TargetClustersAnnotation]; named {
		return s.decideNamed(value)
	}
	placement, ignored, problems := Of(s.Placements, s.Object, s.IsWorkload)
	decision := s.decideUnnamed(placement)
	decision.Problems = append(decision.Problems, problems...)
	if len(ignored) > 0 {
		decision.Problems = append(decision.Problems, fmt.Sprintf(
			"placement %s is the oldest that selects this object, and decides; ignored: %s", placement.Name, strings.Join(ignored, ", ")))
	}
	return decision
}

func (s *survey) decideUnnamed(placement *v1alpha1.WorkloadPlacement) Decision {
	switch {
	case placement != nil:
		return s.decidePlaced(placement)
	case !s.IsWorkload:
		return Decision{Follows: true}
	case s.Default == DefaultNone:
		return Decision{}
	default:
		return s.decideEverywhere(byDefault, reasonEveryDefault)
	}
}

// decideEverywhere places on all clusters that take the object, and leaves it on those
// that tolerate it.
func (s *survey) decideEverywhere(by, reason string) Decision {
	question := s.ask(terms{})
	decision := Decision{By: by, Reasons: map[string]string{}}
	for _, cluster := range slices.Concat(question.staying, question.open) {
		decision.Reasons[cluster.Name] = reason
	}
	decision.LeftOut = question.leftOut
	s.finish(&decision, terms{})
	if len(decision.Clusters) == 0 {
		decision.Unsatisfied = s.unsatisfied("no cluster comes into question", question)
	}
	return decision
}

// decideNamed places where the annotation says, whatever the state of the clusters:
// nothing would replace one that a user has named. Only what the operator has sent
// away leaves.
func (s *survey) decideNamed(value string) Decision {
	decision := Decision{By: byAnnotation, Reasons: map[string]string{}, LeftOut: map[string]v1alpha1.LeftOut{}}
	if strings.TrimSpace(value) == "" {
		return decision // explicitly nowhere
	}
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if name == v1alpha1.AllClusters {
			all := s.decideEverywhere(byAnnotation, reasonEveryAnnotation)
			decision.Unsatisfied = all.Unsatisfied
			addMissing(decision.Reasons, all.Reasons)
			maps.Copy(decision.LeftOut, all.LeftOut)
			continue
		}
		if problem := s.check(name); problem != "" {
			decision.Problems = append(decision.Problems, fmt.Sprintf("annotation %s: %s", v1alpha1.TargetClustersAnnotation, problem))
			continue
		}
		if cluster := s.known[name]; s.leavesOut(cluster) {
			decision.LeftOut[name] = cluster.LeftOut
			decision.Problems = append(decision.Problems, fmt.Sprintf("annotation %s: %s", v1alpha1.TargetClustersAnnotation, s.sayLeftOut([]string{name}, cluster.LeftOut)))
			continue
		}
		if !s.closed || s.present.Has(name) {
			decision.Reasons[name] = reasonNamed
		}
	}
	s.finish(&decision, terms{})
	switch {
	case len(decision.Clusters) > 0:
		decision.Unsatisfied = ""
	case decision.Unsatisfied == "":
		decision.Unsatisfied = strings.Join(s.sayAllLeftOut(decision.LeftOut), "; ")
	}
	return decision
}

func addMissing(reasons, more map[string]string) {
	for cluster, reason := range more {
		if _, there := reasons[cluster]; !there {
			reasons[cluster] = reason
		}
	}
}

// check returns what is wrong with one name of the annotation, empty if nothing.
func (s *survey) check(name string) string {
	if err := v1alpha1.ValidateClusterName(name); err != nil {
		return fmt.Sprintf("%v; expected cluster names separated by commas, or %q for all", err, v1alpha1.AllClusters)
	}
	cluster, known := s.known[name]
	switch {
	case !known:
		return fmt.Sprintf("there is no cluster %q; there are: %s", name, strings.Join(s.usable(), ", "))
	case !s.allowed(cluster):
		return fmt.Sprintf("cluster %q is not for this workspace; there are: %s", name, strings.Join(s.usable(), ", "))
	case cluster.Draining:
		return fmt.Sprintf("cluster %q is being drained; expected others of: %s", name, strings.Join(s.usable(), ", "))
	}
	for _, taint := range cluster.Taints {
		if taint.Effect == v1alpha1.TaintNoExecute && taint.Key != v1alpha1.TaintUnreachable {
			return fmt.Sprintf("cluster %q has the %s; expected others of: %s, or a WorkloadPlacement that tolerates it",
				name, taintText(taint), strings.Join(s.usable(), ", "))
		}
	}
	return ""
}

// usable returns the names of the clusters that the workspace may use.
func (s *survey) usable() []string {
	var names []string
	for _, cluster := range s.clusters {
		if s.allowed(cluster) {
			names = append(names, cluster.Name)
		}
	}
	return names
}

// finish derives from the reasons what follows from them: the clusters, and how long
// the decision stands while nothing but time changes.
func (s *survey) finish(decision *Decision, t terms) {
	decision.Clusters = sets.List(sets.KeySet(decision.Reasons))
	for _, name := range decision.Clusters {
		left, _ := s.timeLeft(s.known[name], t.Tolerations)
		if left > 0 && left < forever && (decision.Again == 0 || left < decision.Again) {
			decision.Again = left
		}
	}
}

// Held returns the clusters that an object is on, is to be on, or has not left yet:
// what it needs stays there until it has.
func Held(upstreamObj metav1.Object, decision Decision) sets.Set[string] {
	held := sets.New(v1alpha1.PlacedClusters(upstreamObj.GetLabels())...)
	for _, finalizer := range upstreamObj.GetFinalizers() {
		addCluster(held, finalizer, v1alpha1.FinalizerPrefix)
	}
	if upstreamObj.GetDeletionTimestamp() == nil {
		held.Insert(decision.Clusters...)
	}
	return held
}

// IsOn reports whether an object is placed on the cluster, and not leaving it.
func IsOn(upstreamObj metav1.Object, cluster string) bool {
	_, leaving := upstreamObj.GetAnnotations()[v1alpha1.DeletionAnnotation(cluster)]
	return !leaving && upstreamObj.GetLabels()[v1alpha1.PlacementLabel(cluster)] == v1alpha1.PlacementLabelValue
}

// forever is how long something is tolerated that is tolerated without an end.
const forever = time.Duration(1<<63 - 1)
