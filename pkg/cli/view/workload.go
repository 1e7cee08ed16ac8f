package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Workload is where an object is and how it fares there. What belongs to kinds that count (replicas, pods, completions) is
// absent from others.
type Workload struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	// Generation is the present one, ObservedGeneration the last that all clusters have taken up.
	Generation         int64 `json:"generation"`
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Deleting is whether it has been deleted, and is waited for.
	Deleting bool `json:"deleting,omitempty"`
	// Holders are the finalizers, neither tmc's nor the API server's, for which its copies run on although it has been deleted.
	Holders []string `json:"holders,omitempty"`
	// PlacedBy is who decided where it goes: "annotation", "default", or "placement" and the name of a WorkloadPlacement.
	// Empty when nobody says.
	PlacedBy string `json:"placedBy,omitempty"`
	// PlacementMessage says what the placement asks for and does not have.
	PlacementMessage string `json:"placementMessage,omitempty"`
	// LeftOut are the first of the clusters that it would go to as well, and why it cannot: one of the v1alpha1.LeftOut.
	// MoreLeftOut is set when there are others.
	LeftOut     map[string]v1alpha1.LeftOut `json:"leftOut,omitempty"`
	MoreLeftOut bool                        `json:"moreLeftOut,omitempty"`
	// TargetClusters is the annotation that asks for clusters, nil without one.
	TargetClusters *string `json:"targetClusters,omitempty"`
	// Available and Wanted are sums over the clusters that it is not leaving. Silent clusters have nothing available.
	Available *int64 `json:"available,omitempty"`
	Wanted    *int64 `json:"wanted,omitempty"`
	// Clusters are those that it is on, by name.
	Clusters []OnCluster `json:"clusters"`
	// Conditions are the merged ones, in their order.
	Conditions []Condition `json:"conditions,omitempty"`
	// Problems are what is wrong, empty when nothing is.
	Problems []Problem `json:"problems,omitempty"`

	kind    *kinds.Kind
	by      protocol.DecidedBy
	nowhere nowhere
	// rank is the kind's place among those of workloads, -1 when it is none.
	rank int
}

// OnCluster is how an object fares on one cluster.
type OnCluster struct {
	Name  string         `json:"name"`
	State protocol.State `json:"state"`
	// Why it is there.
	Why string `json:"why,omitempty"`
	// Share is the cluster's share of the replicas, where they are divided.
	Share *int64 `json:"share,omitempty"`
	// Silent is whether the cluster is not heard of: the rest is what it said last.
	Silent bool `json:"silent,omitempty"`
	// Unreported says why there is no report that can be read, empty when there is one.
	Unreported string `json:"unreported,omitempty"`
	// Generation is the one that the copy was made from, 0 when there is no copy as it should be, and for kinds without
	// generations (ConfigMaps). UpToDate is whether the copy is made from the object as it is now, as far as the cluster
	// says: of kinds without a status it reports only problems. Observed is whether the cluster's own controller has seen the
	// copy as it is, where the kind's controllers tell.
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
	// Causes are why the copy does not run as it should, in the words of the cluster, the worst first.
	Causes []Cause `json:"causes,omitempty"`
	// Problems are what the cluster reports: why the copy is not what it should be.
	Problems []Problem `json:"problems,omitempty"`

	// lag is what keeps the copy from being up to date, ends is set for kinds that are done some day, tells where the
	// cluster's own controller says what it has observed, and onlyProblems of a cluster that holds an object of a kind without a
	// status and has no problem with it.
	lag                       protocol.Lag
	ends, tells, onlyProblems bool
}

// Cause is why a copy does not run as it should.
type Cause struct {
	// Reason is a word of Kubernetes, such as ImagePullBackOff.
	Reason string `json:"reason"`
	// Pods is of how many pods it is true; absent when it is not about pods.
	Pods    int64  `json:"pods,omitempty"`
	Message string `json:"message,omitempty"`

	// text says it in a line: "2 of 3 pods: ImagePullBackOff: …".
	text string
}

// Condition is a condition without its times.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`

	meaning kinds.Condition
}

// Of says where an object is and how it fares there. Silent are the clusters that are not heard of; nil when the caller
// does not know: then the object's own conditions say which.
func Of(obj *unstructured.Unstructured, known kinds.Kinds, silent sets.Set[string]) Workload {
	object, kind := protocol.Read(obj), known.Of(obj.GroupVersionKind().GroupKind())
	placement := object.Placement()
	w := Workload{
		APIVersion: obj.GetAPIVersion(), Kind: obj.GetKind(), Namespace: obj.GetNamespace(), Name: obj.GetName(),
		Generation:       obj.GetGeneration(),
		Deleting:         object.IsDeleting(),
		PlacedBy:         placement.String(),
		PlacementMessage: placement.Message,
		LeftOut:          placement.LeftOut,
		MoreLeftOut:      placement.MoreLeftOut,
		Clusters:         []OnCluster{},
		Conditions:       conditionsOf(obj, kind),
		kind:             kind,
		by:               placement.By,
		rank:             slices.IndexFunc(known.Workloads(), func(k *kinds.Kind) bool { return k.GroupKind() == kind.GroupKind() }),
	}
	if w.Deleting {
		w.Holders = object.Holders()
	}
	w.ObservedGeneration, _, _ = unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	if targets, named := object.Targets(); named {
		w.TargetClusters = &targets
	}
	if silent == nil {
		silent = protocol.SilentClusters(obj)
	}
	facts := kind.Facts(obj)
	facts.Silent = func(cluster string) string {
		if silent.Has(cluster) {
			return silentCell
		}
		return ""
	}
	for _, entry := range object.Entries(object.Present(), facts) {
		o := onCluster(obj, kind, entry)
		o.Silent = entry.Belief != protocol.Believed && silent.Has(entry.Cluster)
		w.Clusters = append(w.Clusters, o)
	}
	w.addUp()
	w.nowhere = w.whyNowhere(obj)
	w.Problems = w.problems(obj)
	return w
}

// onCluster says how the object fares on one cluster.
func onCluster(obj *unstructured.Unstructured, kind *kinds.Kind, entry protocol.Entry) OnCluster {
	report := entry.Report
	o := OnCluster{
		Name: entry.Cluster, State: entry.State, Why: entry.Why, Share: entry.Share,
		Generation: report.Generation,
		UpToDate:   entry.Lag == protocol.UpToDate || entry.Lag == protocol.NotObserved,
		Observed:   entry.Observed,
		Available:  kind.AvailableIn(report), Wanted: kind.WantedOf(obj, entry.Share, report),
		Counters: report.Counters,
		lag:      entry.Lag, ends: len(kind.Completions) > 0, tells: report.LocalObservedGeneration > 0,
	}
	switch {
	case entry.Belief == protocol.NotReported && kind.Statusless:
		o.Unreported = "has not taken it up yet"
	case entry.Belief == protocol.NotReported, entry.Belief == protocol.InvalidReport:
		o.Unreported = entry.Doubt
	default:
		o.onlyProblems = kind.Statusless && report.Version == 0
	}
	if o.Available == nil {
		o.Wanted = nil // nobody counts
	}
	for _, c := range report.Conditions {
		o.Conditions = append(o.Conditions, Condition{c.Type, string(c.Status), c.Reason, c.Message, kind.Condition(c.Type)})
	}
	pods := kind.PodsOf(report)
	for _, cause := range report.Causes {
		o.Causes = append(o.Causes, Cause{Reason: cause.Reason, Pods: cause.Count, Message: cause.Message, text: cause.Of(pods)})
	}
	for _, problem := range report.Problems {
		o.Problems = append(o.Problems, Problem{Reason: problem.Reason, Message: said(problem.Reason, problem.Message)})
	}
	return o
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
		if o.State == protocol.Leaving || o.Available == nil {
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
func conditionsOf(obj *unstructured.Unstructured, kind *kinds.Kind) []Condition {
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
		conditions = append(conditions, Condition{text("type"), text("status"), text("reason"), text("message"), kind.Condition(text("type"))})
	}
	return conditions
}

// SortWorkloads sorts by namespace, kind and name.
func SortWorkloads(workloads []Workload) {
	slices.SortFunc(workloads, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.rank, b.rank), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// fraction is how many there are of how many there should be; an unknown number is a question mark.
func fraction(available, wanted *int64) string {
	number := func(n *int64) string {
		if n == nil {
			return "?"
		}
		return strconv.FormatInt(*n, 10)
	}
	return fmt.Sprintf("%s/%s", number(available), number(wanted))
}
