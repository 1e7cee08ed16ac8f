package evaluate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Recheck is how long a problem is left alone that no event tells the end of.
const Recheck = 30 * time.Second

// RecheckConflict is how long an object that is in the way is left alone: nothing tells when somebody has removed it, and its
// user waits for that.
const RecheckConflict = 10 * time.Second

// StuckAfter is how long a copy may take to go before the report says what keeps it.
const StuckAfter = 5 * time.Second

// Action is what one turn of the spec loop does.
type Action string

// The actions.
const (
	// Nothing: all is as it should be, or an event will come.
	Nothing Action = "nothing"
	// Hold sets our finalizer, before anything is written downstream.
	Hold Action = "hold"
	// Complain tells what keeps the copy from being made. Nothing is sent down, and the copy that runs stays.
	Complain Action = "complain"
	// Wait lets what the object needs go first.
	Wait Action = "wait"
	// BackOff leaves a copy for a while that somebody on the cluster keeps changing.
	BackOff Action = "back off"
	// Create and Update apply the copy.
	Create Action = "create"
	Update Action = "update"
	// Refuse leaves an object alone that is in the way and not ours.
	Refuse Action = "refuse"
	// Delete removes our copies.
	Delete Action = "delete"
	// Linger keeps the copies where the object used to go for as long as they are needed there.
	Linger Action = "linger"
	// Clear removes the copies that lie where the object used to go.
	Clear Action = "clear"
	// Release takes our finalizer off the upstream object, the copies being gone.
	Release Action = "release"
	// Inquire asks kcp about an object that the caches do not have any more.
	Inquire Action = "inquire"
)

// Surroundings are what is decided with beside the evaluation.
type Surroundings struct {
	// Strays are our copies of the object that lie elsewhere: where the cluster's rule used to put them.
	Strays []Stray
	// Needs are the objects that the upstream object names and that are placed here as well.
	Needs []Need
	// EndingFor is since how long the copy is known to be being deleted, 0 when it is not.
	EndingFor time.Duration
	// Contest is how it stands with somebody who changes the copy whenever it is put back.
	Contest Standing
}

// Stray is one copy that lies elsewhere. HasWorkloads is set while workloads of ours are in its namespace.
type Stray struct {
	Copy         *unstructured.Unstructured
	HasWorkloads bool
}

// Need is an object that another one names: what its own copy depends on, what was remembered of that, and the problems of its
// last turn.
type Need struct {
	Input    Input
	Last     *Evaluation
	Problems []protocol.Problem
}

// Decision is what a turn of the spec loop is to do.
type Decision struct {
	Action Action
	// Problems are what the report is to tell, and Again is when to take the next turn, 0 for not before the next event, as far
	// as the action itself does not say it.
	Problems []protocol.Problem
	Again    time.Duration
	// Awaited are the needs that are not in place.
	Awaited []Need
}

// Situation is what decides about the action: one field for each column of the truth table.
type Situation struct {
	Upstream Presence
	// Bare is set when the upstream object has lost what the hub says of it.
	Bare bool
	// Held is set when the upstream object has our finalizer.
	Held bool
	// Blocked is set when a problem keeps the copy from being made.
	Blocked bool
	// HasRun is set for a Job that has come to its end here.
	HasRun bool
	// Copy is the difference of what lies where the copy goes, and Ending is set when that is being deleted.
	Copy   Difference
	Ending bool
	// Strays says whether copies lie elsewhere, and StraysEnding is set when all of those are being deleted.
	Strays       Strays
	StraysEnding bool
	// Lacks is set when something that the object needs is not in place.
	Lacks bool
	// Contested is set while the copy is not to be put back yet, for somebody keeps changing it.
	Contested bool
}

// Presence says whether an object is to be on the cluster.
type Presence string

// The states of an upstream object.
const (
	// Unseen is an object that the caches do not have.
	Unseen Presence = "unseen"
	// Placed is an object that is to be on the cluster.
	Placed Presence = "placed"
	// Leaving is an object that is not, or not any more.
	Leaving Presence = "leaving"
)

// Strays says whether copies lie where the object used to go.
type Strays string

// The states of strays.
const (
	NoStrays Strays = "none"
	// Needed are strays that serve until the copy does.
	Needed Strays = "needed"
	// Dispensable are strays that can be removed once the copy is in place.
	Dispensable Strays = "dispensable"
)

// Action is the truth table.
func (s Situation) Action() Action {
	isOurs := s.Copy != Missing && s.Copy != Foreign
	hasCopies := isOurs || s.Strays != NoStrays
	switch {
	case s.Upstream == Placed:
		return s.placed()
	case s.Upstream == Unseen:
		return map[bool]Action{true: Inquire, false: Nothing}[hasCopies]
	case isOurs && !s.Ending, s.Strays != NoStrays && !s.StraysEnding:
		return Delete
	case !hasCopies && s.Held:
		return Release
	default:
		return Nothing // the copies are on their way out, or nothing is left to do
	}
}

// placed is the part of the truth table about an object that is placed here.
func (s Situation) placed() Action {
	switch {
	case s.Bare:
		return Nothing // the hub says in a moment what the copy is to be
	case !s.Held:
		return Hold
	case s.Blocked:
		return Complain
	case s.Copy == Missing && s.HasRun, s.Copy == NoDifference && !s.Ending:
		return map[Strays]Action{NoStrays: Nothing, Needed: Linger, Dispensable: Clear}[s.Strays]
	case s.Copy == Foreign:
		return Refuse
	case s.Ending:
		return Nothing // the copy is made anew once it is gone
	case s.Copy == Namesake:
		return Delete
	default:
		return s.differing()
	}
}

// differing is the part of the truth table about a copy that is missing, or is to be put as it should be.
func (s Situation) differing() Action {
	switch {
	case s.Lacks:
		return Wait
	case s.Contested:
		return BackOff
	case s.Copy == Missing:
		return Create
	default:
		return Update
	}
}

// Decide returns what to do about the object.
func (e *Evaluation) Decide(around Surroundings) Decision {
	awaited := e.awaited(around.Needs)
	situation := e.situation(around.Strays, len(awaited) > 0)
	situation.Contested = around.Contest.Wait > 0
	d := Decision{Action: situation.Action()}
	switch d.Action {
	case Complain:
		d.Problems, d.Again = []protocol.Problem{*e.Problem}, Recheck
	case Refuse:
		d.Problems, d.Again = []protocol.Problem{e.Conflict()}, RecheckConflict
	case Wait:
		d.Awaited, d.Problems, d.Again = awaited, problemsOf(awaited), Recheck
	case Linger:
		d.Problems = e.moving(around.Strays)
	case Nothing:
		if d.Again = e.untilStuck(around); d.Again < 0 {
			d.Problems, d.Again = []protocol.Problem{e.stuck()}, Recheck
		}
	default: // the action itself says it
	}
	if e.Placed {
		d.heed(around.Contest)
	}
	return d
}

// heed adds what there is to tell of a contest, and has the next turn come in time for it.
func (d *Decision) heed(contest Standing) {
	if contest.Problem != nil {
		d.Problems = append(d.Problems, *contest.Problem)
	}
	if again := max(contest.Wait, contest.Again); again > 0 && (d.Again <= 0 || again < d.Again) {
		d.Again = again
	}
}

func (e *Evaluation) situation(strays []Stray, lacks bool) Situation {
	s := Situation{
		Upstream: Unseen, Bare: e.IsBare, Blocked: e.Problem != nil, HasRun: e.HasRun, Copy: e.Difference, Strays: NoStrays, Lacks: lacks,
		Ending: e.Downstream != nil && isEnding(e.Downstream),
	}
	if e.Upstream != nil {
		s.Upstream, s.Held = Leaving, protocol.Read(e.Upstream).IsHeld(e.Origin.Cluster)
	}
	if e.Placed {
		s.Upstream = Placed
	}
	if len(strays) > 0 {
		s.Strays = Dispensable
		s.StraysEnding = !slices.ContainsFunc(strays, func(stray Stray) bool { return !isEnding(stray.Copy) })
	}
	if slices.ContainsFunc(strays, e.isNeeded) {
		s.Strays = Needed
	}
	return s
}

func isEnding(obj *unstructured.Unstructured) bool { return obj.GetDeletionTimestamp() != nil }

// isNeeded reports whether a copy that lies where the object used to go is needed there: a workload until the new one serves as
// well as it does, anything else while workloads of ours are left there to use it.
func (e *Evaluation) isNeeded(stray Stray) bool {
	switch kind := e.kind(); {
	case !kind.Workload:
		return stray.HasWorkloads
	case e.HasRun || e.Downstream == nil:
		return !e.HasRun
	default:
		return kind.CopyHas(e.Downstream) < min(kind.CopyWants(e.Downstream), kind.CopyHas(stray.Copy))
	}
}

// awaited returns the needs that are not in place. What they need in turn does not matter here. Nothing is awaited for a copy
// that is as it should be.
func (e *Evaluation) awaited(needs []Need) []Need {
	if e.Difference == NoDifference {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(needs), func(need Need) bool {
		evaluated, err := Evaluate(need.Input, need.Last)
		return err == nil && evaluated.Difference == NoDifference
	})
}

// problemsOf says what keeps the needs from being in place, nothing of those that are on their way.
func problemsOf(needs []Need) []protocol.Problem {
	var problems []protocol.Problem
	for _, need := range needs {
		if len(need.Problems) > 0 {
			in := need.Input
			problems = append(problems, protocol.Problem{Reason: ReasonDependency, Message: shorten(fmt.Sprintf("%s %s/%s is needed first and is not in place: %s",
				in.Resource.GroupResource(), in.Origin.Namespace, in.Origin.Name, need.Problems[0].Message))})
		}
	}
	return problems
}

// Conflict tells of an object that is in the way. Users do not learn whose it is; the cluster's operator does, from the object
// and from the log. Where it is the copy of an object of another workspace, the report carries what the hub finds that by.
func (e *Evaluation) Conflict() protocol.Problem {
	in, what := e.Input, "was not made by tmc"
	problem := protocol.Problem{Reason: protocol.ReasonConflict}
	if origin, isCopy := transform.OriginOf(in.Downstream); isCopy {
		what = "is the copy of another object"
		if origin.Cluster == in.Origin.Cluster && origin.Workspace != in.Origin.Workspace {
			problem.Concerns = origin.Hash()
		}
	}
	problem.Message = fmt.Sprintf("%s %s/%s is in the way: it %s; it is left alone", in.Resource.GroupResource(), in.Namespace, in.Name, what)
	return problem
}

// moving tells of a workload that is kept where it used to go. What workloads there use goes with them, and is not worth a word.
func (e *Evaluation) moving(strays []Stray) []protocol.Problem {
	if !e.kind().Workload {
		return nil
	}
	return []protocol.Problem{{Reason: ReasonMoving, Message: fmt.Sprintf("it moves to namespace %s, and stays in namespace %s until it is available there",
		e.Namespace, strays[0].Copy.GetNamespace())}}
}

// untilStuck returns how long until a copy that is to be there, and is being deleted, counts as stuck: less than 0 when it does.
func (e *Evaluation) untilStuck(around Surroundings) time.Duration {
	isCopy := e.Placed && e.Downstream != nil && isEnding(e.Downstream) && e.IsOurs(e.Downstream)
	if !isCopy || e.HasRun || e.Problem != nil || !protocol.Read(e.Upstream).IsHeld(e.Origin.Cluster) {
		return 0
	}
	if around.EndingFor >= StuckAfter {
		return -1
	}
	return StuckAfter - around.EndingFor
}

// stuck tells of a copy that somebody on the cluster has deleted and that does not go.
func (e *Evaluation) stuck() protocol.Problem {
	keeps := "its cluster does not say what keeps it"
	if finalizers := e.Downstream.GetFinalizers(); len(finalizers) > 0 {
		keeps = "its finalizers keep it: " + strings.Join(finalizers, ", ")
	}
	return protocol.Problem{Reason: ReasonCopyTerminating, Message: shorten(fmt.Sprintf("%s %s/%s was deleted on the cluster, and is made anew when it is gone; %s",
		e.Resource.GroupResource(), e.Namespace, e.Name, keeps))}
}

// Reasons of problems.
const (
	ReasonBadOverride = "InvalidOverride"
	ReasonBadShare    = "InvalidShare"
	ReasonBadYield    = "InvalidYield"
	ReasonNotServed   = "NotServed"
	ReasonDenied      = "NamespaceDenied"
	// ReasonNotAllowed is that of a namespace that tmc did not make and that the operator does not allow.
	ReasonNotAllowed = "NamespaceNotAllowed"
	// ReasonTaken is that of a namespace that another workspace owns.
	ReasonTaken       = "NamespaceTaken"
	ReasonNeverSynced = "NeverSynced"
	ReasonDependency  = "DependencyNotReady"
	ReasonMoving      = "Moving"
	// ReasonTerminating is that of a namespace that is being deleted on the cluster.
	ReasonTerminating = "NamespaceTerminating"
	// ReasonCopyTerminating is that of a copy that somebody on the cluster has deleted and that does not go.
	ReasonCopyTerminating = "CopyTerminating"
	// ReasonChangedThere is that of a copy that is refused because of what somebody on the cluster has changed.
	ReasonChangedThere = "ChangedOnCluster"
)

// NotAllowed tells of a namespace that tmc did not make and that the operator does not allow.
func NotAllowed(namespace, cluster, suffix string) protocol.Problem {
	return protocol.Problem{Reason: ReasonNotAllowed, Message: fmt.Sprintf(
		"namespace %[1]s of the cluster was not made by tmc, and is not among those that may be used all the same: use another namespace, "+
			"or have the cluster's operator add %[1]s to spec.allowedNamespaces of ClusterRegistration %[2]s%[3]s", namespace, cluster, suffix)}
}

// Taken tells of a namespace that another workspace owns. It does not say which: that is for who may read the cluster's namespaces.
func Taken(namespace, suffix string) protocol.Problem {
	return protocol.Problem{Reason: ReasonTaken, Message: fmt.Sprintf(
		"namespace %s of the cluster is another workspace's: use another namespace, or have the cluster's operator set namespaceMode: Isolated in its rule%s", namespace, suffix)}
}

// MaxProblemBytes keeps the reports of many clusters within the limit of an object's annotations.
const MaxProblemBytes = 512

func shorten(message string) string { return text.Shorten(message, MaxProblemBytes) }
