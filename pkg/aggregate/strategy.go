package aggregate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// strategy is how the opinions of clusters become one.
type strategy struct {
	// show picks the clusters whose numbers and conditions the status shows.
	show func(placed []observation) []observation
	// holds tells whether a condition holds of which so many clusters say so that
	// it is good, fails whether one does that is bad.
	holds, fails func(saySo, total int) bool
}

// strategies are those that the annotation can name.
var strategies = map[string]strategy{
	v1alpha1.StatusStrategyUnion:    {show: everybody, holds: isAll, fails: isAny},
	v1alpha1.StatusStrategyMajority: {show: everybody, holds: isMost, fails: isMost},
	v1alpha1.StatusStrategyLatest:   {show: newest, holds: isAll, fails: isAny},
}

// strategyOf returns the strategy that the object asks for. One that does not
// exist gives the default, and a message for the user.
func strategyOf(in Input) (chosen strategy, problem string) {
	name, named := in.Object.GetAnnotations()[v1alpha1.StatusStrategyAnnotation]
	if !named {
		name = cmp.Or(in.Strategy, v1alpha1.StatusStrategyUnion)
	}
	chosen, known := strategies[name]
	if known {
		return chosen, ""
	}
	return strategies[v1alpha1.StatusStrategyUnion], fmt.Sprintf("annotation %s: there is no strategy %q; expected %s, %s or %s; taking %s",
		v1alpha1.StatusStrategyAnnotation, name, v1alpha1.StatusStrategyUnion, v1alpha1.StatusStrategyMajority,
		v1alpha1.StatusStrategyLatest, v1alpha1.StatusStrategyUnion)
}

func everybody(placed []observation) []observation { return placed }

// newest picks the report that was written last; without any, everybody is silent.
func newest(placed []observation) []observation {
	known := slices.DeleteFunc(slices.Clone(placed), isUnknown)
	if len(known) == 0 {
		return placed
	}
	return []observation{slices.MaxFunc(known, func(a, b observation) int {
		return cmp.Compare(a.report.Written, b.report.Written)
	})}
}

func isAll(saySo, total int) bool { return saySo == total }

func isAny(saySo, _ int) bool { return saySo > 0 }

func isMost(saySo, total int) bool { return 2*saySo > total }
