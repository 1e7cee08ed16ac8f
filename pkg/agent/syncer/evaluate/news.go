package evaluate

import (
	"maps"
	"reflect"
	"slices"

	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// News returns what a report brings beside the last one, which differs from it. isFirst is set where there is none.
func (e *Evaluation) News(last, next protocol.Report, isFirst bool) News {
	switch {
	case e.IsBare, bringsTrouble(last, next, isFirst):
		return Trouble // the hub waits for what the cluster runs
	case isFirst:
		return e.firstNews(next)
	case e.isDone(next) && (!e.isDone(last) || !isOfSame(last, next)):
		return Done
	case e.isStale(next):
		return Unsaid
	case e.turns(last, next):
		return Turn
	default:
		return Progress
	}
}

// bringsTrouble reports whether a report has a problem that the last one has not, or is the first and says why pods do not run.
func bringsTrouble(last, next protocol.Report, isFirst bool) bool {
	return isFirst && len(next.Causes) > 0 || slices.ContainsFunc(next.Problems, func(p protocol.Problem) bool {
		return !slices.ContainsFunc(last.Problems, func(known protocol.Problem) bool { return known.Reason == p.Reason })
	})
}

// isOfSame reports whether two reports are about the same state of the upstream object.
func isOfSame(last, next protocol.Report) bool {
	return last.Generation == next.Generation && last.Inputs == next.Inputs
}

// isStale reports whether what a report says of the copy is about an earlier state: the copy is about to be put as it should be, or
// its own controller has not seen it as it is.
func (e *Evaluation) isStale(report protocol.Report) bool {
	return len(report.Problems) == 0 && (!e.Current || !e.hasObserved(report))
}

// hasObserved reports whether the copy's own controllers have seen it as it is, as far as they tell.
func (e *Evaluation) hasObserved(report protocol.Report) bool {
	observes := e.kind().Observes
	tells := observes == kinds.AlwaysObserves || observes == kinds.ObservesWhenReported && report.LocalObservedGeneration > 0
	return !tells || report.LocalObservedGeneration >= report.LocalGeneration
}

// firstNews returns what the first report brings.
func (e *Evaluation) firstNews(report protocol.Report) News {
	kind, tells := e.kind(), len(report.Problems)+len(report.Notes) > 0
	switch {
	case !tells && (e.Reported() == nil || !e.IsOurs(e.Reported())):
		return NoNews // the event of the copy will come, or a problem
	case e.isDone(report):
		return Done
	case tells || hasFailed(kind, report):
		return Turn
	case countsPods(kind, report):
		return e.firstOfPods(kind, report)
	case e.isStale(report) || !saysAnything(report):
		return Unsaid
	default:
		return Turn
	}
}

// firstOfPods is firstNews of a copy that counts its pods.
func (e *Evaluation) firstOfPods(kind *kinds.Kind, report protocol.Report) News {
	if e.isStale(report) || serving(kind, report) == 0 {
		return UnsaidByPods
	}
	return Turn
}

// saysAnything reports whether the copy's controllers have said anything of it; a phase alone is none that it is to end in.
func saysAnything(report protocol.Report) bool {
	return len(report.Counters)+len(report.Conditions)+len(report.Addresses) > 0
}

// turns reports whether a report says another thing than the last one, and not only other numbers.
func (e *Evaluation) turns(last, next protocol.Report) bool {
	kind := e.kind()
	return !isOfSame(last, next) || e.hasObserved(last) != e.hasObserved(next) || len(last.Problems) != len(next.Problems) ||
		!slices.Equal(last.Notes, next.Notes) || !maps.Equal(last.Texts, next.Texts) || !reflect.DeepEqual(last.Addresses, next.Addresses) ||
		(serving(kind, last) > 0) != (serving(kind, next) > 0) || kind.ReportsEnd(last) != kind.ReportsEnd(next) ||
		!maps.Equal(wrongConditions(kind, last), wrongConditions(kind, next))
}

// isDone reports whether a report says that the copy is as it should be, and that nothing is under way.
func (e *Evaluation) isDone(report protocol.Report) bool {
	kind := e.kind()
	isRight := report.Generation > 0 || e.Upstream.GetGeneration() == 0 && report.Inputs != ""
	switch {
	case len(report.Problems) > 0, !isRight, !e.hasObserved(report):
		return false
	case len(kind.Ends) > 0:
		return kind.ReportsEnd(report)
	default:
		return len(wrongConditions(kind, report)) == 0 && e.hasAll(kind, report)
	}
}

// hasAll reports whether the copy has all that its kind counts, or tells in another way.
func (e *Evaluation) hasAll(kind *kinds.Kind, report protocol.Report) bool {
	switch {
	case kind.Phase != nil:
		return report.Texts[kind.Phase.Field] == kind.Phase.Everywhere
	case kind.Gap != nil:
		return len(report.Conditions) > 0 && report.Counters[kind.Gap.Has] >= report.Counters[kind.Gap.Of]
	case countsPods(kind, report):
		return e.hasAllPods(kind, report)
	case kind.IsKnown() && !kind.Addresses && kind.Observes == kinds.NeverObserves:
		return true // nothing else will be said of it
	default:
		return saysAnything(report)
	}
}

// hasAllPods reports whether as many pods serve as the copy is to have, all of them of the present spec, and no others are there.
func (e *Evaluation) hasAllPods(kind *kinds.Kind, report protocol.Report) bool {
	wants, total := kind.PodsOf(report), report.Counters["replicas"]
	if serving(kind, report) < wants || total > wants && slices.Contains(kind.Sums, "replicas") || report.Counters[kind.Lacking] > 0 {
		return false
	}
	return e.leavesOld() || !slices.ContainsFunc(kind.Updated, func(counter string) bool {
		_, isCounted := report.Counters[counter]
		return (isCounted || kind.IsKnown()) && report.Counters[counter] < wants
	})
}

// countsPods reports whether the numbers of a report say how many of the copy's pods serve.
func countsPods(kind *kinds.Kind, report protocol.Report) bool {
	return len(kind.Completions) > 0 || kind.AvailableIn(report) != nil && (report.Replicas != nil || kind.Wanted != "")
}

// serving returns how many of a copy serve; of what ends, how many have come to an end.
func serving(kind *kinds.Kind, report protocol.Report) int64 { return report.Counters[kind.Available] }

// hasFailed reports whether a report has a condition that says that something has failed.
func hasFailed(kind *kinds.Kind, report protocol.Report) bool {
	return slices.ContainsFunc(report.Conditions, func(c protocol.ReportCondition) bool {
		meaning := kind.Condition(c.Type)
		return meaning.Failure && meaning.IsProblem(string(c.Status))
	})
}

// wrongConditions returns the reasons of the conditions, by type, that are not as they should be.
func wrongConditions(kind *kinds.Kind, report protocol.Report) map[string]string {
	var wrong map[string]string
	for _, c := range report.Conditions {
		if kind.Condition(c.Type).IsProblem(string(c.Status)) {
			if wrong == nil {
				wrong = map[string]string{}
			}
			wrong[c.Type] = c.Reason
		}
	}
	return wrong
}
