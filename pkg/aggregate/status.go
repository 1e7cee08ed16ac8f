package aggregate

import (
	"math"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Fields that the statuses of many kinds have.
const (
	// stalled is the type of a condition that kstatus takes for a failure.
	stalled            = "Stalled"
	conditionsField    = "conditions"
	observedGeneration = "observedGeneration"
)

// Input is all that a merged status depends on.
type Input struct {
	// Object is the upstream object: its kind, generation and spec, the placement in its labels, the reports in its
	// annotations, and its present status. It is not changed.
	Object *unstructured.Unstructured
	// Kinds are the kinds that are known.
	Kinds kinds.Kinds
	// Inputs and Silent are those of protocol.Facts.
	Inputs func(cluster string) string
	Silent func(cluster string) string
	// FirstSeen returns when the hub, by its own clock, first saw a report. The strategy latest asks for it. Nil means that
	// nobody knows: then the times that reports say themselves count.
	FirstSeen func(report protocol.Report) time.Time
	// Strategy is the strategy of an object that names none; empty for union.
	Strategy string
	// Counters says whose numbers are shown of an object that does not say it: one of the Counters constants; empty for the
	// sums.
	Counters string
	// Problems are what the hub itself finds wrong with the object, such as a missing ConfigMap that its pods need: the
	// condition Synced is false with the first reason, and its message begins with the first few of them, in their order,
	// as they are, wherever the object is placed and if it is placed nowhere.
	Problems []protocol.Problem
	// Waits is asked when nothing is wrong but that clusters have not taken up a change yet: it reports whether to wait a little
	// before saying so. Nil never does.
	Waits func() bool
	// Coarse leaves out of messages of how many pods and clusters a cause is true. Who compares two such statuses learns whether
	// more has changed than that.
	Coarse bool
	// Now is the time for conditions that change.
	Now metav1.Time
}

// Status merges the reports on an object into its status, by the entry of its kind and by the strategy that its annotation
// asks for. Whatever the strategy, observedGeneration reaches the present generation only when every placed cluster has
// applied and observed it, and never goes back; and nothing reads as rolled out while a placed cluster is not done. The
// second result says, for the user, what was wrong with the annotation; empty if nothing.
func Status(in Input) (status map[string]any, problem string) {
	m, problem := gather(in)
	kind, placed := m.kind, m.placed
	if len(placed) == 0 && kind.HasEnded(in.Object) {
		return present(in), problem // that stays so when it has left the last cluster
	}
	if m.isTakenUpSoon() {
		return present(in), problem
	}
	if counters, _ := CountersOf(protocol.Read(in.Object), in.Counters); counters == v1alpha1.CountersPerCluster {
		m.least = m.leastOf(m.shown)
	}
	if !kind.IsKnown() {
		m.status = present(in) // what is not known to add up stays as it is
	}
	m.addCounters()
	m.addObservedGeneration()
	m.addTimes()
	m.addRevisions()
	m.addPhase()
	m.addAlike()
	m.addAddresses()
	m.addUnderstatement()
	m.addConditions()
	return m.status, problem
}

// isTakenUpSoon reports whether the status stays as it is for a moment, since clusters are about to take up a change of an object that
// was in place. Its observedGeneration says to every client that it is not about the change yet, and what clusters say until the last
// of them has taken it up would be a write each.
func (m *merge) isTakenUpSoon() bool {
	observed, _, _ := unstructured.NestedInt64(m.in.Object.Object, "status", observedGeneration)
	isOfBefore := m.kind.Observes == kinds.AlwaysObserves && observed < m.in.Object.GetGeneration()
	isWrong := func(e protocol.Entry) bool { return !isBelieved(e) || len(e.Report.Problems) > 0 }
	if !isOfBefore || !m.wasSynced() || len(m.in.Problems)+len(filter(m.placed, isWrong)) > 0 {
		return false
	}
	return !all(m.placed, protocol.Entry.IsUpToDate) && m.in.Waits != nil && m.in.Waits()
}

// gather reads what clusters report of an object.
func gather(in Input) (m merge, problem string) {
	kind := in.Kinds.Of(in.Object.GroupVersionKind().GroupKind())
	object := protocol.Read(in.Object)
	chosen, problem := strategyOf(object, in.Strategy)
	facts := kind.Facts(in.Object)
	facts.Inputs, facts.Silent = in.Inputs, in.Silent
	placed := object.Entries(object.Placed(), facts)
	for i := range placed {
		if !isBelieved(placed[i]) {
			placed[i].Report = protocol.Report{Cluster: placed[i].Cluster}
		}
		if !placed[i].IsUpToDate() {
			placed[i].Report.Conditions = withoutStalled(placed[i].Report.Conditions)
		}
	}
	return merge{in: in, kind: kind, strategy: chosen, replicas: facts.Replicas, placed: placed, shown: chosen.show(in, placed), status: map[string]any{}}, problem
}

// withoutStalled returns the conditions of a copy that is of an earlier state of the object without the one by which kstatus is told
// of a failure: it is history, and the object is not to be given up for it.
func withoutStalled(conditions []protocol.ReportCondition) []protocol.ReportCondition {
	return slices.DeleteFunc(conditions, func(c protocol.ReportCondition) bool { return c.Type == stalled })
}

// present returns a copy of the present status.
func present(in Input) map[string]any {
	status, _, err := unstructured.NestedMap(in.Object.Object, "status")
	if status == nil || err != nil {
		return map[string]any{}
	}
	return status
}

// merge is a merge under way.
type merge struct {
	in       Input
	kind     *kinds.Kind
	strategy strategy
	// replicas is spec.replicas, that of each cluster unless they are divided; 1 where there is none.
	replicas int64
	// placed are all clusters of the placement, shown those whose numbers and conditions the status shows. A report that
	// does not count is empty there.
	placed, shown []protocol.Entry
	// least is the cluster of those shown whose numbers the status has, nil where it has the sums.
	least  *protocol.Entry
	status map[string]any
	// isWhySaid is set when a condition says why the object does not run as it should.
	isWhySaid bool
}

// set writes a counter. A zero is left out, as with omitempty, unless the kind's API requires the field; of a kind that is
// not known, a field that is there may be required.
func (m *merge) set(counter string, value int64) {
	_, isThere := m.status[counter]
	if value == 0 && !m.kind.Requires(counter) && (m.kind.IsKnown() || !isThere) {
		delete(m.status, counter)
		return
	}
	m.status[counter] = value
}

func (m *merge) get(counter string) int64 {
	value, _ := m.status[counter].(int64)
	return value
}

// share is how many of the replicas a cluster is to run.
func (m *merge) share(e protocol.Entry) int64 {
	if e.Share != nil {
		return *e.Share
	}
	return m.replicas
}

// sum adds up a counter. What a report claims beyond an int32 counts as the most that a status can hold.
func sum(entries []protocol.Entry, counter string) int64 {
	var total int64
	for _, e := range entries {
		total = clamp(total + clamp(e.Report.Counters[counter]))
	}
	return total
}

func clamp(count int64) int64 { return min(max(count, 0), math.MaxInt32) }

// addObservedGeneration says which generation every placed cluster has observed. What is placed nowhere is observed by no cluster.
func (m *merge) addObservedGeneration() {
	isUnreported := func(e protocol.Entry) bool { return e.Report.LocalObservedGeneration == 0 }
	if m.kind.Observes == kinds.NeverObserves || m.kind.Observes == kinds.ObservesWhenReported && all(m.placed, isUnreported) {
		return
	}
	generation := m.in.Object.GetGeneration()
	observed, _, _ := unstructured.NestedInt64(m.in.Object.Object, "status", observedGeneration)
	observed = min(observed, generation)
	if len(m.placed) > 0 && all(m.placed, protocol.Entry.IsUpToDate) {
		observed = generation
	}
	m.set(observedGeneration, observed)
}

func isBelieved(e protocol.Entry) bool { return e.Belief == protocol.Believed }

// filter returns the entries for which the test holds, in their order.
func filter(entries []protocol.Entry, test func(protocol.Entry) bool) []protocol.Entry {
	var passed []protocol.Entry
	for _, e := range entries {
		if test(e) {
			passed = append(passed, e)
		}
	}
	return passed
}

// all reports whether the test holds for each entry.
func all(entries []protocol.Entry, test func(protocol.Entry) bool) bool {
	return len(filter(entries, test)) == len(entries)
}

// without returns the names of the clusters for which the test does not hold.
func without(entries []protocol.Entry, test func(protocol.Entry) bool) []string {
	var clusters []string
	for _, e := range entries {
		if !test(e) {
			clusters = append(clusters, e.Cluster)
		}
	}
	return clusters
}
