package evaluate

import "time"

// News is how a report differs from the one that was written last, for how long it may wait. It is ordered: what is more urgent is
// larger.
type News int

// The kinds of news.
const (
	// NoNews is a report that need not be written.
	NoNews News = iota
	// Unsaid is a report that says nothing yet: the copy was only just made or changed, and its own controller is about to say more.
	Unsaid
	// UnsaidByPods is the same of a new copy none of whose pods serves yet.
	UnsaidByPods
	// Progress are numbers on the way.
	Progress
	// Turn is what people and the hub act on: a copy that has taken up another state, the first pod that serves or the last that
	// does not any more, a condition that has turned.
	Turn
	// Done is a copy that has become as it should be, and Trouble a new reason why it cannot.
	Done
	Trouble
)

const (
	// unsaidFor and unsaidByPodsFor are how long a report waits that says nothing yet. Where pods become ready within that time,
	// nothing is written before they are.
	unsaidFor       = time.Second
	unsaidByPodsFor = 2 * time.Second
	// gatherFor is how long what is not done waits for more: the pods of a copy become ready shortly one after the other.
	gatherFor = 200 * time.Millisecond
	// firstProgress is the time between a report and numbers on the way, lastProgress the longest that it grows to: it doubles with
	// each report of nothing else.
	firstProgress = 3 * time.Second
	lastProgress  = 5 * time.Second
	// reportBudget is how many reports there may be at once on one object, and reportInterval is how long it takes until there may
	// be one more.
	reportBudget   = 3
	reportInterval = time.Second
)

// Pace is when reports on one object are written. Its zero value is that of an object on which none was written lately. It can be
// lost: that never has anything written that says nothing new.
//
// A report is written at once that says that the copy is as it should be, or why it cannot be: those are what people wait for. All
// else waits for what follows: most of what a copy goes through on its way is over in a moment. Whatever it says, an object costs no
// more than reportBudget reports at once and one for each reportInterval. What is kept back is never lost: Heard says when its turn
// comes, and then the latest state is written.
type Pace struct {
	// unsaid, going and turned are since when there has been anything unsaid, anything on the way, and a turn, that was not written
	// yet; zero for none.
	unsaid, going, turned time.Time
	// written is when the last report was written, and alike how many were in a row that told of progress alone.
	written time.Time
	alike   int
	// paid is when the budget is full again.
	paid time.Time
}

// Heard takes note of the news that a report would bring, now, and returns how long it has to wait: 0 when it is to be written now.
// For NoNews there is nothing to write, and what was kept back is undone.
func (p Pace) Heard(news News, now time.Time) (Pace, time.Duration) {
	begin := func(since *time.Time) time.Time {
		if since.IsZero() {
			*since = now
		}
		return *since
	}
	due := now
	switch news {
	case NoNews:
		p.unsaid, p.going, p.turned = time.Time{}, time.Time{}, time.Time{}
		return p, 0
	case Unsaid:
		due = begin(&p.unsaid).Add(unsaidFor)
	case UnsaidByPods:
		due = begin(&p.unsaid).Add(unsaidByPodsFor)
	case Progress:
		due = later(begin(&p.going).Add(gatherFor), p.written.Add(p.spacing()))
	case Turn:
		due = begin(&p.turned).Add(gatherFor)
	case Done, Trouble: // at once
	}
	return p, max(later(due, p.paid.Add(-(reportBudget-1)*reportInterval)).Sub(now), 0)
}

// spacing returns the time between the last report and numbers on the way.
func (p Pace) spacing() time.Duration { return min(firstProgress<<min(p.alike, 8), lastProgress) }

// Wrote takes note that a report with those news was written now.
func (p Pace) Wrote(news News, now time.Time) Pace {
	alike := 0
	if news == Progress {
		alike = p.alike + 1
	}
	return Pace{written: now, alike: alike, paid: later(p.paid, now).Add(reportInterval)}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
