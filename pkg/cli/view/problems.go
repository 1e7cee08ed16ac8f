package view

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Problem is something that is wrong with an object.
type Problem struct {
	// Cluster is where it is, empty for the object as a whole.
	Cluster string
	// Reason is what is wrong: one of the reasons below, a protocol.Belief, a protocol.Lag, the type of a condition, or
	// what the cluster or the hub calls it.
	Reason string
	// Message says it for people.
	Message string
}

// Reasons of problems that nobody else names.
const (
	// Unsatisfied is a placement that does not have what it asks for.
	Unsatisfied = "Unsatisfied"
	// Nowhere is an object on no cluster, although nobody asked for that.
	Nowhere = "Nowhere"
	// Unavailable is a cluster on which not all are available, and that does not say why.
	Unavailable = "Unavailable"
	// StillThere is a cluster that the object is leaving and has not left.
	StillThere = "StillThere"
)

// String says the problem in a line.
func (p Problem) String() string {
	if p.Cluster == "" {
		return p.Message
	}
	return p.Cluster + ": " + p.Message
}

// MarshalText is String: in JSON, a problem is a text.
func (p Problem) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// isProblem reports whether a condition is not as it should be.
func (c Condition) isProblem() bool { return c.meaning.IsProblem(c.Status) }

// String says a condition in a line.
func (c Condition) String() string {
	text := c.Type + "=" + c.Status
	if details := said(c.Reason, c.Message); details != "" {
		text += " " + details
	}
	return text
}

// problemsOf returns the conditions that are not as they should be.
func problemsOf(conditions []Condition) []Condition {
	return slices.DeleteFunc(slices.Clone(conditions), func(c Condition) bool { return !c.isProblem() })
}

// isFailing reports whether the cluster says that something went wrong, or why pods do not run.
func (o OnCluster) isFailing() bool {
	return len(o.Problems) > 0 || len(o.Causes) > 0 || slices.ContainsFunc(o.Conditions, func(c Condition) bool { return c.isProblem() && c.meaning.Failure })
}

// isLagging reports whether the cluster has yet to take up the object as it is now.
func (o OnCluster) isLagging() bool { return o.lag != protocol.UpToDate }

// lacks reports whether something is missing on the cluster.
func (o OnCluster) lacks() bool {
	return o.Available != nil && (o.Wanted == nil || *o.Available < *o.Wanted)
}

// problems returns what is wrong with the object.
func (w *Workload) problems(obj *unstructured.Unstructured) []Problem {
	var problems []Problem
	if w.PlacementMessage != "" {
		problems = append(problems, Problem{Reason: Unsatisfied, Message: "placement: " + w.PlacementMessage})
	}
	hubs := w.hubsProblems()
	if len(hubs) == 0 {
		hubs = w.lost(obj)
	}
	problems = append(problems, hubs...)
	for _, o := range w.Clusters {
		for _, problem := range o.problems(w.Generation) {
			problem.Cluster = o.Name
			problems = append(problems, problem)
		}
	}
	return problems
}

// hubsProblems returns what the hub says in the condition Synced that it has found itself, but what is said already, and that the
// object is nowhere when its user asks for that.
func (w *Workload) hubsProblems() []Problem {
	var problems []Problem
	for _, c := range w.Conditions {
		isSaid := c.Reason == protocol.ReasonNoClusters && w.PlacementMessage != "" || c.Reason == protocol.ReasonNotPlaced && w.asksForNowhere()
		if c.Type == v1alpha1.ConditionSynced && c.isProblem() && protocol.IsHubsReason(c.Reason) && !isSaid {
			problems = append(problems, Problem{Reason: c.Reason, Message: said(c.Reason, c.Message)})
		}
	}
	return problems
}

// isLost reports whether it is a workload on no cluster, and nobody asked for that.
func (w *Workload) isLost() bool {
	return w.kind.Workload && len(w.Clusters) == 0 && !w.asksForNowhere() && !w.Deleting
}

// problems returns what is wrong on one cluster.
func (o OnCluster) problems(generation int64) []Problem {
	var problems []Problem
	if o.Silent {
		problems = append(problems, Problem{Reason: string(protocol.Silent), Message: "is silent: what it runs is not known"})
	}
	problems = append(problems, o.Problems...)
	switch {
	case o.State == protocol.Leaving && len(o.Problems) > 0: // they say why it has not left
	case o.State == protocol.Leaving:
		problems = append(problems, Problem{Reason: StillThere, Message: "has not removed its copy yet"})
	case o.Unreported != "":
		problems = append(problems, Problem{Reason: string(protocol.NotReported), Message: o.Unreported})
	default:
		problems = append(problems, o.shortcomings(generation)...)
	}
	return problems
}

// shortcomings returns what is not as it should be on a cluster that has a copy, or is to have one, beside what it reports
// as problems.
func (o OnCluster) shortcomings(generation int64) []Problem {
	var found []Problem
	if len(o.Problems) == 0 && o.isLagging() {
		found = append(found, Problem{Reason: string(o.lag), Message: o.lagMessage(generation)})
	}
	for _, cause := range o.Causes {
		found = append(found, Problem{Reason: cause.Reason, Message: cause.text})
	}
	conditions := problemsOf(o.Conditions)
	for _, c := range conditions {
		found = append(found, Problem{Reason: c.Type, Message: c.String()})
	}
	if len(conditions) == 0 && len(o.Causes) == 0 && o.lacks() && !o.ends {
		found = append(found, Problem{Reason: Unavailable, Message: "has " + fraction(o.Available, o.Wanted) + " available"})
	}
	return found
}

// lagMessage says what a cluster has not done yet.
func (o OnCluster) lagMessage(generation int64) string {
	return protocol.SayLag(o.lag, o.Generation, generation)
}
