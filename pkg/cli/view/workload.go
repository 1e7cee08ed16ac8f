package view

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// State is how an object and a cluster stand to each other.
type State string

// The states that there are.
const (
	// Placed is on the cluster, or on its way there.
	Placed State = "placed"
	// Kept is on the cluster until it is available where it goes instead.
	Kept State = "kept"
	// Leaving is on its way out, or not gone yet after it was deleted.
	Leaving State = "leaving"
)

// Workload is where an object is and how it fares there. What belongs to kinds that
// count (replicas, pods, completions) is absent from others.
type Workload struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	// Generation is the present one, ObservedGeneration the last that all clusters have
	// taken up.
	Generation         int64 `json:"generation"`
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Deleting is whether it has been deleted, and is waited for.
	Deleting bool `json:"deleting,omitempty"`
	// PlacedBy is who decided where it goes: "annotation", "default", or "placement" and
	// the name of a WorkloadPlacement. Empty when nobody says.
	PlacedBy string `json:"placedBy,omitempty"`
	// PlacementMessage says what the placement asks for and does not have.
	PlacementMessage string `json:"placementMessage,omitempty"`
	// LeftOut are the first of the clusters that it would go to as well, and why it cannot:
	// one of the v1alpha1.LeftOut. MoreLeftOut is set when there are others.
	LeftOut     map[string]v1alpha1.LeftOut `json:"leftOut,omitempty"`
	MoreLeftOut bool                        `json:"moreLeftOut,omitempty"`
	// TargetClusters is the annotation that asks for clusters, nil without one.
	TargetClusters *string `json:"targetClusters,omitempty"`
	// Available and Wanted are sums over the clusters that it is not leaving. Silent
	// clusters have nothing available.
	Available *int64 `json:"available,omitempty"`
	Wanted    *int64 `json:"wanted,omitempty"`
	// Clusters are those that it is on, by name.
	Clusters []OnCluster `json:"clusters"`
	// Conditions are the merged ones, in their order.
	Conditions []Condition `json:"conditions,omitempty"`
	// Problems say what is wrong, empty when nothing is.
	Problems []string `json:"problems,omitempty"`

	groupKind  schema.GroupKind
	isWorkload bool
	rank       int
}

// OnCluster is how an object fares on one cluster.
type OnCluster struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// Why it is there.
	Why string `json:"why,omitempty"`
	// Share is the cluster's share of the replicas, where they are divided.
	Share *int64 `json:"share,omitempty"`
	// Silent is whether the cluster is not heard of: the rest is what it said last.
	Silent bool `json:"silent,omitempty"`
	// Unreported says why there is no report to believe, empty when there is one.
	Unreported string `json:"unreported,omitempty"`
	// Generation is the one that the copy was made from, 0 when there is no copy as it
	// should be. UpToDate is whether the copy is made from the object as it is now,
	// Observed whether the cluster's own controller has seen the copy as it is.
	Generation int64 `json:"generation,omitempty"`
	UpToDate   bool  `json:"upToDate"`
	Observed   bool  `json:"observed"`
	// Available and Wanted are how many there are and should be.
	Available *int64 `json:"available,omitempty"`
	Wanted    *int64 `json:"wanted,omitempty"`
	// Counters are those of the copy's status that are not 0.
	Counters map[string]int64 `json:"counters,omitempty"`
	// Conditions are those of the copy's status.
	Conditions []Condition `json:"conditions,omitempty"`
	// Problems say why the copy is not what it should be.
	Problems []string `json:"problems,omitempty"`
}

// Condition is a condition without its times.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// reading is an object and what is read of it once.
type reading struct {
	obj         *unstructured.Unstructured
	annotations map[string]string
	reason      v1alpha1.PlacementReason
	silent      sets.Set[string]
}

// Of says where an object is and how it fares there. Silent are the clusters that are
// not heard of; nil when the caller does not know: then the object's condition Synced
// says which.
func Of(obj *unstructured.Unstructured, silent sets.Set[string]) Workload {
	r := reading{obj: obj, annotations: obj.GetAnnotations(), silent: silent}
	// What nobody can read says nothing.
	_ = json.Unmarshal([]byte(r.annotations[v1alpha1.PlacementAnnotation]), &r.reason)
	rank := rankOf(obj.GroupVersionKind())
	w := Workload{
		APIVersion: obj.GetAPIVersion(), Kind: obj.GetKind(), Namespace: obj.GetNamespace(), Name: obj.GetName(),
		Generation:       obj.GetGeneration(),
		Deleting:         obj.GetDeletionTimestamp() != nil,
		PlacedBy:         r.reason.By,
		PlacementMessage: r.reason.Message,
		LeftOut:          r.reason.LeftOut,
		MoreLeftOut:      r.reason.MoreLeftOut,
		Clusters:         []OnCluster{},
		Conditions:       conditionsOf(obj),
		groupKind:        obj.GroupVersionKind().GroupKind(),
		isWorkload:       rank >= 0,
		rank:             rank,
	}
	w.ObservedGeneration, _, _ = unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	if targets, named := r.annotations[v1alpha1.TargetClustersAnnotation]; named {
		w.TargetClusters = &targets
	}
	if silent == nil {
		r.silent = silentBy(w.Conditions)
	}
	for _, cluster := range clustersOf(obj) {
		w.Clusters = append(w.Clusters, r.on(cluster))
	}
	w.addUp()
	w.Problems = w.problems()
	return w
}

// clustersOf returns the clusters that an object is placed on or held by, sorted.
func clustersOf(obj metav1.Object) []string {
	clusters := sets.New(v1alpha1.PlacedClusters(obj.GetLabels())...)
	for _, finalizer := range obj.GetFinalizers() {
		if cluster, held := strings.CutPrefix(finalizer, v1alpha1.FinalizerPrefix); held {
			clusters.Insert(cluster)
		}
	}
	return sets.List(clusters)
}

// stateOf says how an object and a cluster that it is placed on or held by stand to each
// other. Why is the reason why it is there.
func stateOf(obj metav1.Object, cluster, why string) State {
	_, asked := obj.GetAnnotations()[v1alpha1.DeletionAnnotation(cluster)]
	isPlaced := obj.GetLabels()[v1alpha1.PlacementLabel(cluster)] == v1alpha1.PlacementLabelValue
	switch {
	case asked, !isPlaced, obj.GetDeletionTimestamp() != nil:
		return Leaving
	case why == v1alpha1.ReasonKept:
		return Kept
	default:
		return Placed
	}
}

// on says how the object fares on one cluster.
func (r reading) on(cluster string) OnCluster {
	why := r.reason.Clusters[cluster]
	o := OnCluster{Name: cluster, State: stateOf(r.obj, cluster, why), Why: why, Silent: r.silent.Has(cluster)}
	if share, err := strconv.ParseInt(r.annotations[v1alpha1.ReplicasAnnotationPrefix+cluster], 10, 64); err == nil {
		o.Share = &share
	}
	report, unreported := r.report(cluster)
	o.Unreported = unreported
	if unreported == "" {
		r.addReport(&o, report)
	}
	if counting, counts := countings[r.obj.GroupVersionKind().GroupKind()]; counts {
		o.Available = new(report.Counters[counting.available])
		o.Wanted = counting.wanted(r.obj, o.Share, report)
	}
	return o
}

// report reads the report of a cluster, or says why there is none.
func (r reading) report(cluster string) (report v1alpha1.Report, unreported string) {
	value, reported := r.annotations[v1alpha1.StatusAnnotation(cluster)]
	if !reported {
		return report, "has not reported"
	}
	report, err := v1alpha1.ParseReport(cluster, value)
	if err != nil {
		return report, err.Error()
	}
	return report, ""
}

func (r reading) addReport(o *OnCluster, report v1alpha1.Report) {
	o.Generation = report.Generation
	o.UpToDate = report.Generation == r.obj.GetGeneration() && report.LocalGeneration > 0 && report.Inputs == transform.Inputs(r.obj, o.Name)
	observes := slices.Contains(observers, r.obj.GroupVersionKind().GroupKind()) || report.LocalObservedGeneration > 0
	o.Observed = report.LocalGeneration > 0 && (!observes || report.LocalObservedGeneration >= report.LocalGeneration)
	o.Counters = report.Counters
	for _, c := range report.Conditions {
		o.Conditions = append(o.Conditions, Condition{c.Type, string(c.Status), c.Reason, c.Message})
	}
	for _, problem := range report.Problems {
		o.Problems = append(o.Problems, said(problem.Reason, problem.Message))
	}
}

// said joins a reason and a message, either of which may be empty.
func said(reason, message string) string {
	if reason == "" || message == "" {
		return cmp.Or(message, reason)
	}
	return reason + ": " + message
}

// addUp sums what the clusters have that the object is not leaving.
func (w *Workload) addUp() {
	for _, o := range w.Clusters {
		if o.State == Leaving || o.Available == nil {
			continue
		}
		available := *o.Available
		if o.Silent {
			available = 0
		}
		w.Available = sum(w.Available, &available)
		w.Wanted = sum(w.Wanted, o.Wanted)
	}
}

func sum(total, more *int64) *int64 {
	switch {
	case total == nil:
		return more
	case more == nil:
		return total
	default:
		return new(quantity.Add(*total, *more))
	}
}

// conditionsOf returns the conditions of an object's status, in their order.
func conditionsOf(obj *unstructured.Unstructured) []Condition {
	list, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	var conditions []Condition
	for _, item := range list {
		fields, isMap := item.(map[string]any)
		if !isMap {
			continue
		}
		text := func(name string) string {
			value, _ := fields[name].(string)
			return value
		}
		conditions = append(conditions, Condition{text("type"), text("status"), text("reason"), text("message")})
	}
	return conditions
}

// SortWorkloads sorts by namespace, kind and name.
func SortWorkloads(workloads []Workload) {
	slices.SortFunc(workloads, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.rank, b.rank), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// fraction is how many there are of how many there should be; an unknown number is a
// question mark.
func fraction(available, wanted *int64) string {
	number := func(n *int64) string {
		if n == nil {
			return "?"
		}
		return strconv.FormatInt(*n, 10)
	}
	return fmt.Sprintf("%s/%s", number(available), number(wanted))
}
