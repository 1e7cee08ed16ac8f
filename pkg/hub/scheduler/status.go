package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

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
	clusters, missing := sets.New[string](), 0
	s.config.Upstream.EachIn(key.Workspace, key.Namespace, func(_ kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		object := protocol.Read(upstreamObj)
		explanation := object.Placement()
		if explanation.By != protocol.ByPlacement || explanation.Name != key.Name {
			return
		}
		decided := decisionOn(upstreamObj, object, explanation)
		status.Workloads++
		status.Decisions = append(status.Decisions, decided)
		for _, cluster := range decided.Clusters {
			clusters.Insert(cluster.Name)
		}
		if decided.Message != "" {
			missing++
		}
	})
	slices.SortFunc(status.Decisions, func(a, b v1alpha1.PlacementDecision) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	condition := satisfied(status.Decisions, missing)
	condition.ObservedGeneration, condition.LastTransitionTime = placementObj.Generation, metav1.NewTime(s.now().Truncate(time.Second))
	status.Conditions = slices.Clone(placementObj.Status.Conditions)
	apimeta.SetStatusCondition(&status.Conditions, condition)
	status.Decisions = status.Decisions[:min(len(status.Decisions), v1alpha1.MaxDecisions)]
	status.SelectedClusters = nil
	if len(clusters) > 0 {
		status.SelectedClusters = sets.List(clusters)
	}
	return status
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

// satisfied returns the condition that says whether all workloads have the clusters that are asked for. missing is how many
// do not.
func satisfied(decisions []v1alpha1.PlacementDecision, missing int) metav1.Condition {
	condition := metav1.Condition{Type: v1alpha1.ConditionSatisfied, Status: metav1.ConditionTrue, Reason: reasonSatisfied, Message: "Every workload has the clusters that are asked for."}
	switch {
	case len(decisions) == 0:
		condition.Reason, condition.Message = reasonNoWorkloads, "It decides about no workload."
	case missing > 0:
		first := decisions[slices.IndexFunc(decisions, func(d v1alpha1.PlacementDecision) bool { return d.Message != "" })]
		condition.Status, condition.Reason = metav1.ConditionFalse, reasonMissing
		condition.Message = fmt.Sprintf("%s %s: %s", first.Kind, first.Name, first.Message)
		if missing > 1 {
			condition.Message += fmt.Sprintf("; and %d more", missing-1)
		}
	}
	return condition
}
