package aggregate

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// When a status is written that has changed: see News and Pace. Each write costs kcp as much as a report, and most of what clusters
// report while a roll-out is under way is of use for a moment.

const (
	// unsaidFor is how long the first status waits while no cluster has said anything: clusters wait for what is worth telling.
	unsaidFor = 3 * time.Second
	// gatherFor is how long news waits for that of other clusters where one has nothing on its way any more: the others are mostly at
	// the same. Where none is so far, clusters have waited themselves, and news waits for turnFor.
	gatherFor = 200 * time.Millisecond
	turnFor   = 80 * time.Millisecond
	// progressFor is how long what tells of progress alone waits, and spacing is the least time between a status and such a one.
	progressFor = 500 * time.Millisecond
	spacing     = time.Second
)

// News says how soon a status that differs from the present one is to be written.
type News string

const (
	// AtOnce is news that somebody waits for: nothing is on its way any more, or something is wrong, or is no longer.
	AtOnce News = "AtOnce"
	// Turn is what users see of what is on its way: its first status, and a condition that is another one.
	Turn News = "Turn"
	// LateTurn is what users see of what is on its way, where a cluster is done.
	LateTurn News = "LateTurn"
	// Progress is all else of what is on its way.
	Progress News = "Progress"
	// Unsaid is a first status that says that no cluster has said anything.
	Unsaid News = "Unsaid"
)

// NewsOf returns how soon the status that was merged is to be written. It is asked where that differs from the present one.
func NewsOf(in Input, merged map[string]any) News {
	m, _ := gather(in)
	isOnItsWay := func(e protocol.Entry) bool { return m.stageOf(e) < unsettled }
	isWrong := func(e protocol.Entry) bool { return len(e.Report.Problems) > 0 }
	present := present(in)
	onTheirWay := filter(m.placed, isOnItsWay)
	switch {
	case len(onTheirWay) == 0, len(present) == 0 && len(in.Problems)+len(filter(m.placed, isWrong)) > 0:
		return AtOnce
	case len(present) == 0 && all(m.placed, func(e protocol.Entry) bool { return e.Report.Generation == 0 }):
		return Unsaid
	}
	turn := Turn
	if len(onTheirWay) < len(m.placed) {
		turn = LateTurn
	}
	return newsOfConditions(saidBy(present), saidBy(merged), turn)
}

// newsOfConditions returns what the conditions of a status say that those of another one do not. Its first status is a turn.
func newsOfConditions(was, is map[string]string, turn News) News {
	if len(was) == 0 {
		return turn
	}
	news := Progress
	for conditionType, said := range is {
		before, isThere := was[conditionType]
		switch {
		case before == said:
		case isThere && conditionType != availableCondition:
			return AtOnce // such as Synced, Progressing, Failed
		default:
			news = turn
		}
	}
	return news
}

// availableCondition is the type of the condition that comes and goes with pods. So does the reason of progressing.
const availableCondition = "Available"

// saidBy returns what the conditions of a status say, by their types: the status, and the reason where that does not come and go.
func saidBy(status map[string]any) map[string]string {
	list, _ := status[conditionsField].([]any)
	said := make(map[string]string, len(list))
	for _, item := range list {
		condition, _ := item.(map[string]any)
		conditionType, _, _ := unstructured.NestedString(condition, "type")
		said[conditionType], _, _ = unstructured.NestedString(condition, "status")
		if reason, _, _ := unstructured.NestedString(condition, "reason"); conditionType != availableCondition && conditionType != progressing {
			said[conditionType] += " " + reason
		}
	}
	return said
}

// Pace says when the status of one object is written. The zero value is that of an object of which nothing waits, and of which nothing
// was written while it was on its way.
type Pace struct {
	// Since is from when the present status has not been the merged one, zero while it is, and News how soon that is to be written.
	Since time.Time
	News  News
	// Written is when a status was written last, zero if nothing was on its way then.
	Written time.Time
}

// Heard returns the Pace with what has come, and how long to wait before it is written. Whatever it is, that is unsaidFor after it has
// come at the latest, and spacing once a cluster has said anything.
func (p Pace) Heard(news News, now time.Time) (_ Pace, wait time.Duration) {
	if p.Since.IsZero() {
		p.Since = now
	}
	p.News = news
	waited := now.Sub(p.Since)
	switch news {
	case AtOnce:
	case Turn:
		wait = turnFor - waited
	case LateTurn:
		wait = gatherFor - waited
	case Progress:
		wait = min(max(progressFor-waited, spacing-now.Sub(p.Written)), spacing-waited)
	case Unsaid:
		wait = unsaidFor - waited
	}
	return p, max(wait, 0)
}

// Wrote returns the Pace after the status was written.
func (p Pace) Wrote(now time.Time) Pace {
	if p.News == AtOnce {
		return Pace{}
	}
	return Pace{Written: now}
}

// Rested returns the Pace when the status is as it should be: what waited is not so any more.
func (p Pace) Rested() Pace { return Pace{Written: p.Written} }
