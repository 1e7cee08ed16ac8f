package evaluate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// ReasonContested is that of a copy of which somebody on the cluster keeps changing what tmc puts back.
const ReasonContested = "Contested"

// How a tug of war is bounded. A fault that is mended once is none: whoever changes the same fields again and again is one of two
// writers that take turns, and would go on for ever.
const (
	// contestWindow is the time in which repairs count as repeated.
	contestWindow = time.Minute
	// freeRepairs is how many repairs of the same field in that time are made at once, freeRepairsOfAll how many of any fields.
	freeRepairs      = 3
	freeRepairsOfAll = 10
	// firstPause is how long the next one waits after that, and lastPause the longest that one waits: each waits twice as long as
	// the one before.
	firstPause = time.Second
	lastPause  = time.Minute
	// contestQuiet is how long a copy has to stay as it was put for the other side to count as having given up.
	contestQuiet = 30 * time.Second
	// maxNamed is how many fields, and how many managers, a message names.
	maxNamed = 3
)

// Contest is what is remembered of the repairs of one copy. It is nil for none, and never changed.
type Contest struct {
	// hash is that of the copy as it was put last.
	hash string
	// repairs are those of the last minute, the last one last, and put is when the copy was last applied.
	repairs []repair
	put     time.Time
	// pause is how long the next repair waits after the last one, 0 while none does.
	pause time.Duration
	// isPending is set since a repair waits.
	isPending bool
	// isTold is set since it is more than repairs that came close together: one has waited, or was made although others had to wait.
	isTold bool
	// rivals are who has the fields where we do not, as far as it is known.
	rivals []string
}

// repair is one: when it was made, and of which fields.
type repair struct {
	at     time.Time
	fields []string
}

// Standing is what a Contest says at a time.
type Standing struct {
	// Wait is how long to wait until the copy may be put back, 0 for no time.
	Wait time.Duration
	// Problem is what is to be told, nil for nothing.
	Problem *protocol.Problem
	// Again is when the contest is over if nothing happens until then, 0 where there is none.
	Again time.Duration
}

// Repaired returns the contest after a copy with that hash has been put back, or that was tried, because the fields were not as
// they should be.
func (c *Contest) Repaired(hash string, fields []string, now time.Time) *Contest {
	next := &Contest{hash: hash, put: now}
	if c.IsOn(now) {
		next.pause, next.isTold, next.rivals = min(2*c.pause, lastPause), true, c.rivals
	}
	if c != nil && (c.pause == 0 || next.pause > 0) { // and is not over
		next.repairs = slices.DeleteFunc(slices.Clone(c.repairs), func(r repair) bool { return now.Sub(r.at) >= contestWindow })
	}
	next.repairs = append(next.repairs, repair{at: now, fields: fields})
	if next.pause == 0 && (next.repeated(fields) >= freeRepairs || len(next.repairs) >= freeRepairsOfAll) {
		next.pause = firstPause
	}
	return next
}

// repeated returns how many of the repairs were of one of the fields.
func (c *Contest) repeated(fields []string) int {
	count := 0
	for _, r := range c.repairs {
		if slices.ContainsFunc(r.fields, func(field string) bool { return slices.Contains(fields, field) }) {
			count++
		}
	}
	return count
}

// Changed returns the contest after the copy has been applied because it is to be another one: that is no repair, and ends no
// contest.
func (c *Contest) Changed(hash string, now time.Time) *Contest {
	if c == nil {
		return nil
	}
	next := *c
	if next.hash, next.put, next.isPending = hash, now, false; !c.IsOn(now) {
		next.pause, next.isTold = 0, false
	}
	return &next
}

// Waiting returns the contest since a repair waits.
func (c *Contest) Waiting() *Contest {
	next := *c
	next.isPending, next.isTold = true, true
	return &next
}

// Against returns the contest with who has the fields, as it was where nobody does: who has removed a field does not have it.
func (c *Contest) Against(rivals []string) *Contest {
	if len(rivals) == 0 {
		return c
	}
	next := *c
	next.rivals = rivals
	return &next
}

// IsPending reports whether a repair waits.
func (c *Contest) IsPending() bool { return c != nil && c.isPending }

// IsOn reports whether repairs wait and the other side has not given up: one is due, or the last was made a moment ago.
func (c *Contest) IsOn(now time.Time) bool {
	return c != nil && c.pause > 0 && (c.isPending || now.Sub(c.put) < contestQuiet)
}

// IsOver reports whether nothing of the contest counts any more, the copy being in place.
func (c *Contest) IsOver(now time.Time) bool { return now.Sub(c.put) >= contestWindow }

// At returns what the contest says of a copy that is to have that hash; isInPlace says that it is as it should be. Another hash
// is what kcp wants since: that does not wait.
func (c *Contest) At(hash string, isInPlace bool, now time.Time) Standing {
	if isInPlace && c != nil && c.isPending {
		settled := *c // it came back by itself
		settled.isPending = false
		c = &settled
	}
	if !c.IsOn(now) {
		return Standing{}
	}
	s := Standing{}
	if c.isTold {
		s.Problem = new(c.Problem())
	}
	if isInPlace {
		s.Again = contestQuiet - now.Sub(c.put)
		return s
	}
	if hash == c.hash {
		s.Wait = max(c.pause-now.Sub(c.put), 0)
	}
	return s
}

// Problem tells who keeps changing what. Its words stay the same while the contest lasts: each change of them would be a write.
func (c *Contest) Problem() protocol.Problem {
	who := "somebody on the cluster"
	if len(c.rivals) > 0 {
		who = listed(c.rivals) + " on the cluster"
	}
	fields := c.repairs[len(c.repairs)-1].fields
	return protocol.Problem{Reason: ReasonContested, Message: shorten(fmt.Sprintf(
		"%s keeps changing %s, which tmc keeps putting back, from now on once a minute at most: have the other side leave it alone, "+
			"set in kcp what it wants, or leave it to the cluster by the annotation %s", who, listed(fields), v1alpha1.YieldAnnotation))}
}

// DriftRepaired tells of a copy that somebody on the cluster had changed, and that was put back.
func DriftRepaired(fields []string) protocol.Problem {
	return protocol.Problem{Reason: protocol.ReasonDriftRepaired, Message: shorten(fmt.Sprintf(
		"changed on the cluster, and put back as it is in kcp: %s; what a cluster is to decide is left to it by the annotation %s", listed(fields), v1alpha1.YieldAnnotation))}
}

// listed names the first few of many.
func listed(names []string) string {
	shown := strings.Join(names[:min(len(names), maxNamed)], ", ")
	if len(names) > maxNamed {
		shown += fmt.Sprintf(" and %d more", len(names)-maxNamed)
	}
	return shown
}

// The fields that stand for what no field does.
const (
	// wholeCopy is that of a copy that somebody has deleted.
	wholeCopy = "the object itself (it was deleted)"
	// orderOfLists is that of a copy of which the items of a list lie in another order.
	orderOfLists = "the order of a list's items"
)
