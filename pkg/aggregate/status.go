package aggregate

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Names that statuses of many kinds share.
const (
	conditionsField    = "conditions"
	observedGeneration = "observedGeneration"
)

// Input is all that a merged status depends on.
type Input struct {
	// Object is the upstream object: its kind, generation and spec, the placement
	// in its labels, the reports in its annotations, and its present status. It is
	// not changed.
	Object *unstructured.Unstructured
	// Inputs returns what else than the generation shapes a cluster's copy at
	// present, as the cluster's report is to name it; nil when nothing does.
	Inputs func(cluster string) string
	// Silent says, for people, that nothing is heard of a cluster, and since when, empty
	// of one that is heard of: what it last reported does not count. Nil when all are.
	Silent func(cluster string) string
	// FirstSeen returns when the hub first saw a report that claims to be from the future
	// (IsFuture), the zero time when it does not know. Nil means that it never does.
	FirstSeen func(report v1alpha1.Report) time.Time
	// Strategy is the strategy of an object that names none; empty for union.
	Strategy string
	// Problems are what the hub itself finds wrong with the object, such as a missing
	// ConfigMap that its pods need: the condition Synced is false with the first
	// reason, and its message begins with the first few of them, in their order, as
	// they are, wherever the object is placed and if it is placed nowhere.
	Problems []v1alpha1.Problem
	// Now is the time for conditions that change.
	Now metav1.Time
}

// Status merges the reports on an object into its status, by the rules of its
// kind and by the strategy that its annotation asks for. Whatever the strategy,
// observedGeneration reaches the present generation only when every placed
// cluster has applied and observed it, and never goes back; and nothing reads as
// rolled out while a placed cluster is not done. The second result says, for the
// user, what was wrong with the annotation; empty if nothing.
func Status(in Input) (status map[string]any, problem string) {
	rules, known := kinds[in.Object.GroupVersionKind().GroupKind()]
	chosen, problem := strategyOf(in)
	placed := observe(in, rules)
	if len(placed) == 0 && endedBefore(in, rules) {
		return present(in), problem
	}

	m := merge{in: in, rules: rules, strategy: chosen, placed: placed, shown: chosen.show(in, placed), status: map[string]any{}}
	if !known {
		m.status = present(in) // its counters are left alone
	}
	m.addCounters()
	m.addObservedGeneration()
	if rules.extend != nil {
		rules.extend(&m)
	}
	if rules.isDone != nil && !all(placed, func(o observation) bool { return o.current && rules.isDone(&m, o) }) {
		rules.hold(&m)
	}
	m.addConditions()
	return m.status, problem
}

// endedBefore tells of a Job whether its status says that it has come to its end: that
// stays true when it has left the last cluster.
func endedBefore(in Input, rules rules) bool {
	conditions, _, _ := unstructured.NestedSlice(in.Object.Object, "status", conditionsField)
	return slices.ContainsFunc(conditions, func(entry any) bool {
		c, _ := entry.(map[string]any)
		conditionType, _ := c["type"].(string)
		return slices.Contains(rules.ends, conditionType) && c["status"] == string(metav1.ConditionTrue)
	})
}

// present returns a copy of the status that stands.
func present(in Input) map[string]any {
	status, found, err := unstructured.NestedMap(in.Object.Object, "status")
	if !found || err != nil {
		return map[string]any{}
	}
	return status
}

// merge is a merge under way.
type merge struct {
	in       Input
	rules    rules
	strategy strategy
	// placed are all clusters of the placement, shown those whose numbers and
	// conditions the status shows.
	placed, shown []observation
	status        map[string]any
}

// set writes a counter: zeros stay away, as with omitempty, unless the kind's API
// requires the field.
func (m *merge) set(counter string, value int64) {
	if value == 0 && !m.rules.requires(counter) {
		delete(m.status, counter)
		return
	}
	m.status[counter] = value
}

func (m *merge) get(counter string) int64 {
	value, _ := m.status[counter].(int64)
	return value
}

// replicas is spec.replicas, that of each cluster unless they are divided.
func (m *merge) replicas() int64 { return specReplicas(m.in) }

// specReplicas returns spec.replicas; 1 when it is not given.
func specReplicas(in Input) int64 {
	replicas, found, err := unstructured.NestedInt64(in.Object.Object, "spec", "replicas")
	if !found || err != nil {
		return 1
	}
	return replicas
}

// share is how many of the replicas a cluster is to run.
func (m *merge) share(cluster string) int64 {
	if share, divided, err := v1alpha1.Share(m.in.Object.GetAnnotations(), cluster); divided && err == nil {
		return share
	}
	return m.replicas()
}

// hasNoMoreThanItsShare tells of a cluster whether it runs no more than its share, where
// replicas are divided. A Deployment on one cluster counts as rolled out while the last
// of its surplus goes; of shares the sum is what the user asked for.
func (m *merge) hasNoMoreThanItsShare(o observation) bool {
	_, divided, err := v1alpha1.Share(m.in.Object.GetAnnotations(), o.cluster)
	return !divided || err != nil || o.report.Counters[replicas] <= m.wanted(o)
}

// wanted is how many replicas a cluster's copy asks for.
func (m *merge) wanted(o observation) int64 {
	if o.report.Replicas == nil {
		return m.share(o.cluster)
	}
	return *o.report.Replicas
}

// addCounters sums what the clusters count. Updated ones count only where the
// cluster has taken up the present inputs: to another they are something else.
func (m *merge) addCounters() {
	for _, counter := range m.rules.sums {
		m.set(counter, sum(m.shown, counter, every))
	}
	for _, counter := range m.rules.updated {
		m.set(counter, sum(m.shown, counter, isCurrent))
	}
}

// addObservedGeneration says which generation every placed cluster has observed.
// Nobody observes what is placed nowhere.
func (m *merge) addObservedGeneration() {
	if !m.observes() {
		return
	}
	generation := m.in.Object.GetGeneration()
	observed, _, _ := unstructured.NestedInt64(m.in.Object.Object, "status", observedGeneration)
	observed = min(observed, generation)
	if len(m.placed) > 0 && all(m.placed, isCurrent) {
		observed = generation
	}
	m.set(observedGeneration, observed)
}

// observes reports whether the kind's status has an observedGeneration. Of a kind
// without rules, the reports show it.
func (m *merge) observes() bool {
	switch m.rules.observes {
	case always:
		return true
	case never:
		return false
	default:
		return !all(m.placed, func(o observation) bool { return o.report.LocalObservedGeneration == 0 })
	}
}

// addConditions merges the conditions, those that the kind has rules for, those
// that it has none for, and our own.
func (m *merge) addConditions() {
	merged := []*condition{}
	for _, one := range m.rules.conditions {
		merged = append(merged, one(m))
	}
	merged = append(merged, m.otherConditions(merged)...)
	merged = append(merged, mergeSynced(m.placed, m.in.Problems))
	previous, _, _ := unstructured.NestedSlice(m.in.Object.Object, "status", conditionsField)
	conditions := []any{}
	for _, c := range merged {
		if c != nil && c.status != "" {
			conditions = append(conditions, m.timed(*c, previous))
		}
	}
	m.status[conditionsField] = conditions
}

// placedClusters returns the clusters that count: not those that the object is
// leaving, for what they still run is on its way out.
func placedClusters(in Input) []string {
	annotations := in.Object.GetAnnotations()
	return slices.DeleteFunc(v1alpha1.PlacedClusters(in.Object.GetLabels()), func(cluster string) bool {
		_, leaving := annotations[v1alpha1.DeletionAnnotation(cluster)]
		return leaving
	})
}
