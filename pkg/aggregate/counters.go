package aggregate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// CountersOf returns whose numbers the status of an object shows, one of the Counters constants of v1alpha1: those that its
// annotation names, or else the default, which is empty for the sums. For a value that does not exist it returns the default,
// and a message for the user.
func CountersOf(object protocol.Object, byDefault string) (chosen, problem string) {
	byDefault = cmp.Or(byDefault, v1alpha1.CountersSum)
	name, named := object.Counters()
	switch {
	case !named:
		return byDefault, ""
	case IsCounters(name):
		return name, ""
	default:
		return byDefault, fmt.Sprintf("annotation %s: %q, expected %q or %q; taking %q",
			v1alpha1.StatusCountersAnnotation, name, v1alpha1.CountersSum, v1alpha1.CountersPerCluster, byDefault)
	}
}

// IsCounters reports whether a text is one of the Counters constants of v1alpha1.
func IsCounters(name string) bool {
	return name == v1alpha1.CountersSum || name == v1alpha1.CountersPerCluster
}

// addCounters gives the numbers: the sums, or those of the cluster that is least advanced.
func (m *merge) addCounters() {
	_, counted := m.kind.ReplicasOf(m.in.Object)
	switch {
	case !counted && !m.kind.IsKnown():
	case m.least != nil:
		m.addLeast(*m.least, counted)
	default:
		m.addSums()
	}
}

// addSums sums what the clusters count. Updated ones count only where the cluster has taken up the present inputs: to
// another they are something else. A cluster that is not heard of lacks its whole share.
func (m *merge) addSums() {
	for _, counter := range m.kind.Sums {
		m.set(counter, sum(m.shown, counter))
	}
	current := filter(m.shown, protocol.Entry.IsUpToDate)
	for _, counter := range m.kind.Updated {
		m.set(counter, sum(current, counter))
	}
	if m.kind.Lacking == "" {
		return
	}
	lacking := sum(m.shown, m.kind.Lacking)
	for _, e := range m.shown {
		if !isBelieved(e) {
			lacking = clamp(lacking + clamp(m.share(e)))
		}
	}
	m.set(m.kind.Lacking, lacking)
}

// addLeast gives the numbers of one cluster. What it has too few or too many of its replicas becomes too few or too many of those
// that the object asks for: so a share, or a number that the cluster's autoscaler has chosen, reads as any other. Where the
// cluster wants what the object asks for, the numbers are exactly its own.
func (m *merge) addLeast(e protocol.Entry, counted bool) {
	local, merged := m.figuresOf(e), m.figures()
	laidOn := func(counter string, asked, wanted int64) int64 {
		if !counted || slices.Contains(m.kind.Absolute, counter) {
			return local.counters(counter)
		}
		return clamp(asked + local.counters(counter) - wanted)
	}
	for _, counter := range m.kind.Sums {
		m.set(counter, laidOn(counter, merged.wanted, local.wanted))
	}
	for _, counter := range m.kind.Updated {
		m.set(counter, laidOn(counter, merged.toUpdate(), local.toUpdate()))
	}
	switch {
	case m.kind.Lacking == "":
	case isBelieved(e):
		m.set(m.kind.Lacking, local.counters(m.kind.Lacking))
	default:
		m.set(m.kind.Lacking, clamp(m.share(e)))
	}
}

// stage is how far a cluster is with an object.
type stage int

// The stages that there are, the least advanced first.
const (
	// unheard is a cluster whose report does not count.
	unheard stage = iota
	// behind is one that has not taken up the object as it is now.
	behind
	// underway is one that kubectl waits for.
	underway
	// unsettled is one that kubectl does not wait for, but others do.
	unsettled
	// settled is one that has nothing left to do.
	settled
)

func (m *merge) stageOf(e protocol.Entry) stage {
	r, hasRollout := rollouts[m.kind.Rollout]
	switch {
	case !isBelieved(e):
		return unheard
	case m.kind.ReportsEnd(e.Report):
		return settled
	case !e.IsUpToDate():
		return behind
	case len(m.kind.Ends) > 0, hasRollout && !r.isDone(m, e):
		return underway
	case hasRollout && !r.isSettled(m, m.figuresOf(e)), !hasRollout && m.figuresOf(e).left(m.kind) > 0:
		return unsettled
	default:
		return settled
	}
}

// leastOf returns the cluster that is least advanced, nil where there is none: the one at the first stage, of these the one with
// most left to do, and of these the first by name. So the status does not go back and forth between clusters that are equally
// advanced.
func (m *merge) leastOf(entries []protocol.Entry) *protocol.Entry {
	if len(entries) == 0 {
		return nil
	}
	least := slices.MinFunc(entries, func(a, b protocol.Entry) int {
		return cmp.Or(
			cmp.Compare(m.stageOf(a), m.stageOf(b)),
			cmp.Compare(m.figuresOf(b).left(m.kind), m.figuresOf(a).left(m.kind)),
			cmp.Compare(a.Cluster, b.Cluster))
	})
	return &least
}
