package aggregator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"

	"github.com/kcp-tmc/tmc/pkg/aggregate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// reasonBadStrategy is the reason of the events on strategies that do not exist.
const reasonBadStrategy = "InvalidStatusStrategy"

// placementGrace is how long the placement of a new workload may take before its
// status says that it is placed nowhere.
const placementGrace = 2 * time.Second

// upstream is what the aggregator needs of kcp.
type upstream interface {
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
}

// notices writes events on upstream objects, each once.
type notices interface {
	Warn(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, reason string, messages ...string)
	Forget(key kcp.ObjectKey)
}

// Aggregator merges reports into the status of upstream objects.
type Aggregator struct {
	upstream upstream
	notices  notices
	loop     *controller.Controller[kcp.ObjectKey]
	// now is the clock; tests replace it.
	now func() time.Time
}

// New returns an Aggregator over the caches of upstream, which tells users through
// notices what is wrong with their objects.
func New(upstream upstream, notices notices) *Aggregator {
	a := &Aggregator{upstream: upstream, notices: notices, now: time.Now}
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
		a.notices.Forget(key)
		return 0, nil
	}
	if wait := a.untilPlaced(upstreamObj); wait > 0 {
		return wait, nil
	}
	merged, problem := aggregate.Status(aggregate.Input{
		Object: upstreamObj,
		Inputs: func(cluster string) string { return transform.Inputs(upstreamObj, cluster) },
		Now:    metav1.NewTime(a.now()),
	})
	a.notices.Warn(key, upstreamObj, reasonBadStrategy, problem)
	present, _, _ := unstructured.NestedMap(upstreamObj.Object, "status")
	if len(present) == 0 && len(merged) == 0 || apiequality.Semantic.DeepEqual(present, merged) {
		return 0, nil
	}
	return 0, a.write(ctx, key, upstreamObj.GetUID(), present, merged)
}

// untilPlaced returns how long to leave a workload alone that has just come and
// is placed nowhere yet: most are about to be, and a status that says otherwise
// would be a write for nothing.
func (a *Aggregator) untilPlaced(upstreamObj *unstructured.Unstructured) time.Duration {
	_, hasStatus := upstreamObj.Object["status"]
	if hasStatus || len(v1alpha1.PlacedClusters(upstreamObj.GetLabels())) > 0 {
		return 0
	}
	return placementGrace - a.now().Sub(upstreamObj.GetCreationTimestamp().Time)
}

// write patches what differs of the status, and nothing else.
func (a *Aggregator) write(ctx context.Context, key kcp.ObjectKey, uid types.UID, present, merged map[string]any) error {
	patch, err := statusPatch(uid, present, merged)
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
// one, for the object of that UID.
func statusPatch(uid types.UID, present, merged map[string]any) ([]byte, error) {
	before, err := json.Marshal(present)
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
		"metadata": map[string]any{"uid": uid},
		"status":   json.RawMessage(status),
	})
}
