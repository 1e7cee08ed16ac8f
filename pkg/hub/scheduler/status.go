package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// statusInterval is the least time between two writes of a placement's status: a hundred workloads that come at once are
// one piece of news.
const statusInterval = time.Second

// Reasons of the Satisfied condition.
const (
	reasonSatisfied   = "Satisfied"
	reasonNoWorkloads = "NoWorkloads"
	reasonMissing     = "ClustersMissing"
)

// syncStatus says in the status of a placement what it has decided.
func (s *Scheduler) syncStatus(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	upstreamObj := s.config.Upstream.Cached(key)
	if upstreamObj == nil || upstreamObj.GetDeletionTimestamp() != nil {
		s.written.Delete(key)
		return 0, nil
	}
	if last, ok := s.written.Load(key); ok {
		if left := statusInterval - s.now().Sub(last.(time.Time)); left > 0 {
			return left, nil
		}
	}
	placementObj := &v1alpha1.WorkloadPlacement{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(upstreamObj.Object, placementObj); err != nil {
		return 0, fmt.Errorf("reading WorkloadPlacement %s: %w", key, err)
	}
	status := s.statusOf(key, placementObj)
	if apiequality.Semantic.DeepEqual(status, placementObj.Status) {
		return 0, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": placementObj.UID}, "status": status})
	if err != nil {
		return 0, fmt.Errorf("encoding the status of WorkloadPlacement %s: %w", key, err)
	}
	_, err = s.config.Upstream.Patch(ctx, key, types.MergePatchType, patch, "status")
	if kcp.IsMissingObject(err, key.Name) {
		return 0, nil // deleted meanwhile
	}
	s.written.Store(key, s.now())
	return 0, err
}

// statusOf sums up what the objects say that the placement has decided about.
func (s *Scheduler) statusOf(key kcp.ObjectKey, placementObj *v1alpha1.WorkloadPlacement) v1alpha1.WorkloadPlacementStatus {
	status := v1alpha1.WorkloadPlacementStatus{ObservedGeneration: placementObj.Generation}
	decisions, clusters := s.decisionsOf(key)
	status.Workloads = int32(min(len(decisions), math.MaxInt32))
	missing := slices.DeleteFunc(slices.Clone(decisions), func(d decision) bool { return !d.isMissing })
	condition := s.satisfied(len(decisions), missing)
	condition.ObservedGeneration, condition.LastTransitionTime = placementObj.Generation, metav1.NewTime(s.now().Truncate(time.Second))
	status.Conditions = slices.Clone(placementObj.Status.Conditions)
	apimeta.SetStatusCondition(&status.Conditions, condition)
	for _, d := range decisions[:min(len(decisions), v1alpha1.MaxDecisions)] {
		if upstreamObj := s.config.Upstream.Cached(d.key); upstreamObj != nil {
			object := protocol.Read(upstreamObj)
			status.Decisions = append(status.Decisions, decisionOn(upstreamObj, object, object.Placement()))
		}
	}
	if len(clusters) > 0 {
		status.SelectedClusters = clusters
	}
	return status
}

// decision is an object about which a placement has decided.
type decision struct {
	key       kcp.ObjectKey
	isMissing bool
}

// decisionsOf returns the objects that say that a placement has decided about them, sorted by kind and name, and the clusters that they
// are on.
func (s *Scheduler) decisionsOf(key kcp.ObjectKey) (decisions []decision, clusters []string) {
	s.observe(key.Workspace, key.Namespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.ledger.decidedBy(key) {
		decisions = append(decisions, decision{r.key, r.entry.isMissing})
	}
	if b := s.ledger.books[key]; b != nil {
		clusters = slices.Sorted(maps.Keys(b.placed))
	}
	return decisions, clusters
}

// decisionOn returns what an object says about where it is.
func decisionOn(upstreamObj *unstructured.Unstructured, object protocol.Object, explanation protocol.Placement) v1alpha1.PlacementDecision {
	decided := v1alpha1.PlacementDecision{Kind: upstreamObj.GetKind(), Name: upstreamObj.GetName(), Message: explanation.Message}
	for _, cluster := range object.Placed() {
		on := v1alpha1.ClusterDecision{Name: cluster, Reason: explanation.Clusters[cluster]}
		if share, divided, err := object.Share(cluster); divided && err == nil {
			on.Replicas = &share
		}
		decided.Clusters = append(decided.Clusters, on)
	}
	return decided
}

// satisfied returns the condition that says whether all workloads have the clusters that are asked for. missing are those that do not.
func (s *Scheduler) satisfied(workloads int, missing []decision) metav1.Condition {
	condition := metav1.Condition{Type: v1alpha1.ConditionSatisfied, Status: metav1.ConditionTrue, Reason: reasonSatisfied, Message: "Every workload has the clusters that are asked for."}
	switch {
	case workloads == 0:
		condition.Reason, condition.Message = reasonNoWorkloads, "It decides about no workload."
	case len(missing) > 0:
		condition.Status, condition.Reason = metav1.ConditionFalse, reasonMissing
		if first := s.config.Upstream.Cached(missing[0].key); first != nil {
			condition.Message = fmt.Sprintf("%s %s: %s", first.GetKind(), first.GetName(), protocol.Read(first).Placement().Message)
		}
		if len(missing) > 1 {
			condition.Message += fmt.Sprintf("; and %d more", len(missing)-1)
		}
	}
	return condition
}
