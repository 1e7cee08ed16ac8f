package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// strategy is how the opinions of clusters become one.
type strategy struct {
	// show picks the clusters whose numbers and conditions the status shows.
	show func(in Input, placed []protocol.Entry) []protocol.Entry
	// passes reports whether a good condition is true when so many clusters say so, fails whether a bad one is.
	passes, fails func(saySo, total int) bool
}

// strategies are those that the annotation can name.
var strategies = map[string]strategy{
	v1alpha1.StatusStrategyUnion:    {show: everybody, passes: isAll, fails: isAny},
	v1alpha1.StatusStrategyMajority: {show: everybody, passes: isMost, fails: isMost},
	v1alpha1.StatusStrategyLatest:   {show: newest, passes: isAll, fails: isAny},
}

// strategyOf returns the strategy that the object asks for, or the default. For one that does not exist it returns union,
// and a message for the user.
func strategyOf(object protocol.Object, byDefault string) (chosen strategy, problem string) {
	name, named := object.Strategy()
	if !named {
		name = cmp.Or(byDefault, v1alpha1.StatusStrategyUnion)
	}
	chosen, known := strategies[name]
	if known {
		return chosen, ""
	}
	return strategies[v1alpha1.StatusStrategyUnion], fmt.Sprintf("annotation %s: there is no strategy %q; expected %s, %s or %s; taking %s",
		v1alpha1.StatusStrategyAnnotation, name, v1alpha1.StatusStrategyUnion, v1alpha1.StatusStrategyMajority,
		v1alpha1.StatusStrategyLatest, v1alpha1.StatusStrategyUnion)
}

func everybody(_ Input, placed []protocol.Entry) []protocol.Entry { return placed }

// newest picks the report that was written last; when no report counts, all clusters are shown.
func newest(in Input, placed []protocol.Entry) []protocol.Entry {
	known := filter(placed, isBelieved)
	if len(known) == 0 {
		return placed
	}
	return []protocol.Entry{slices.MaxFunc(known, func(a, b protocol.Entry) int {
		return cmp.Compare(writtenAt(in, a.Report), writtenAt(in, b.Report))
	})}
}

// clockSkew is by how much the clock of a cluster may be ahead of the hub's.
const clockSkew = 30 * time.Second

// IsFuture reports whether a report says that it was written later than the hub's clock, with a little skew, has it.
func IsFuture(report protocol.Report, now time.Time) bool {
	return report.Written > now.Add(clockSkew).UTC().Format(protocol.WrittenLayout)
}

// writtenAt returns when a report was written. The clocks of clusters are their own, and one that is ahead would be the
// newest for ever: such a report was written when the hub first saw it, and, where nobody knows that, before all others.
func writtenAt(in Input, report protocol.Report) string {
	if !IsFuture(report, in.Now.Time) {
		return report.Written
	}
	if in.FirstSeen == nil {
		return ""
	}
	seen := in.FirstSeen(report)
	if seen.IsZero() {
		return ""
	}
	return seen.UTC().Format(protocol.WrittenLayout)
}

func isAll(saySo, total int) bool { return saySo == total }

func isAny(saySo, _ int) bool { return saySo > 0 }

func isMost(saySo, total int) bool { return 2*saySo > total }
