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

// newest picks the report that was written last; when no report counts, all clusters are shown. The clocks of clusters are their
// own, and one that is ahead would be the newest for ever: what counts is when the hub first saw the reports. Of those that it
// saw at the same time, as after its restart, the time that they say themselves decides.
func newest(in Input, placed []protocol.Entry) []protocol.Entry {
	known := filter(placed, isBelieved)
	if len(known) == 0 {
		return placed
	}
	firstSeen := map[string]time.Time{}
	if in.FirstSeen != nil {
		for _, e := range known {
			firstSeen[e.Cluster] = in.FirstSeen(e.Report)
		}
	}
	return []protocol.Entry{slices.MaxFunc(known, func(a, b protocol.Entry) int {
		return cmp.Or(firstSeen[a.Cluster].Compare(firstSeen[b.Cluster]), cmp.Compare(a.Report.Written, b.Report.Written))
	})}
}

func isAll(saySo, total int) bool { return saySo == total }

func isAny(saySo, _ int) bool { return saySo > 0 }

func isMost(saySo, total int) bool { return 2*saySo > total }
