package aggregator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/utils/ptr"

	"github.com/kcp-tmc/tmc/pkg/aggregate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// placementGrace is how long the placement of a new workload may take before its
// status says that it is placed nowhere.
const placementGrace = 2 * time.Second

// upstream is what the aggregator needs of kcp.
type upstream interface {
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
}

// Aggregator merges reports into the status of upstream objects.
type Aggregator struct {
	upstream upstream
	loop     *controller.Controller[kcp.ObjectKey]
	// now is the clock; tests replace it.
	now func() time.Time
}

// New returns an Aggregator over the caches of upstream.
func New(upstream upstream) *Aggregator {
	a := &Aggregator{upstream: upstream, now: time.Now}
	a.loop = controller.New("aggregator", a.sync)
	return a
}

// OnUpstream queues a changed object; it is a kcp.Handler.
func (a *Aggregator) OnUpstream(key kcp.ObjectKey, _, newObj *unstructured.Unstructured) {
	if newObj != nil {
		a.loop.Enqueue(key)
	}
}

// Run works until ctx ends and returns when all its work has.
func (a *Aggregator) Run(ctx context.Context, workers int) { a.loop.Run(ctx, workers) }

func (a *Aggregator) sync(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	upstreamObj := a.upstream.Cached(key)
	if upstreamObj == nil {
		return 0, nil
	}
	deployment := &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(upstreamObj.Object, deployment); err != nil {
		return 0, fmt.Errorf("reading %s: %w", key, err)
	}
	placed := v1alpha1.PlacedClusters(deployment.Labels)
	if wait := a.untilPlaced(deployment, placed); wait > 0 {
		return wait, nil
	}
	merged := aggregate.Deployment(aggregate.DeploymentInput{
		Generation:  deployment.Generation,
		Replicas:    ptr.Deref(deployment.Spec.Replicas, 1),
		Placed:      placed,
		Annotations: deployment.Annotations,
		Previous:    deployment.Status,
		Now:         metav1.NewTime(a.now()),
	})
	if apiequality.Semantic.DeepEqual(deployment.Status, merged) {
		return 0, nil
	}
	return 0, a.write(ctx, key, deployment, merged)
}

// untilPlaced returns how long to leave a workload alone that has just come and
// is placed nowhere yet: most are about to be, and a status that says otherwise
// would be a write for nothing.
func (a *Aggregator) untilPlaced(deployment *appsv1.Deployment, placed []string) time.Duration {
	if len(placed) > 0 || !apiequality.Semantic.DeepEqual(deployment.Status, appsv1.DeploymentStatus{}) {
		return 0
	}
	return placementGrace - a.now().Sub(deployment.CreationTimestamp.Time)
}

// write patches what differs of the status, and nothing else.
func (a *Aggregator) write(ctx context.Context, key kcp.ObjectKey, deployment *appsv1.Deployment, merged appsv1.DeploymentStatus) error {
	patch, err := statusPatch(deployment, merged)
	if err != nil {
		return fmt.Errorf("encoding the status of %s: %w", key, err)
	}
	_, err = a.upstream.Patch(ctx, key, types.MergePatchType, patch, "status")
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	return err
}

// statusPatch returns a merge patch from the status that stands to the merged
// one, for this very object.
func statusPatch(deployment *appsv1.Deployment, merged appsv1.DeploymentStatus) ([]byte, error) {
	before, err := json.Marshal(deployment.Status)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(merged)
	if err != nil {
		return nil, err
	}
	status, err := jsonmergepatch.CreateThreeWayJSONMergePatch(before, after, before)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": deployment.UID},
		"status":   json.RawMessage(status),
	})
}
