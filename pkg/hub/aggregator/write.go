package aggregator

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// movedRetry is how long an object waits that is placed otherwise than the cache has it. The news of that brings its next turn, at
// once; the time is for what is no news.
const movedRetry = time.Second

// carryOut writes the status of an object, and returns how long to wait where kcp does not take it, or where it says nothing new.
func (a *Aggregator) carryOut(ctx context.Context, key kcp.ObjectKey, says utterance, upstreamObj *unstructured.Unstructured, merged map[string]any) (wait time.Duration, err error) {
	if wait := max(a.refusals.Wait(key), a.spoken.wait(key, says)); wait > 0 {
		return wait, nil
	}
	switch err := a.write(ctx, key, upstreamObj, merged); {
	case kcp.IsTestFailed(err):
		klog.FromContext(ctx).V(2).Info("The object is placed otherwise by now, its status is merged anew", "reason", err.Error())
		a.seen.moved(key, upstreamObj.GetResourceVersion())
		return movedRetry, nil
	case kcp.IsRefusal(err):
		return a.refusals.Refused(key, err), nil
	case err != nil:
		return 0, err
	}
	a.seen.moved(key, "")
	a.paces.wrote(key, a.now())
	a.refusals.Written(key)
	a.spoken.written(key, says)
	return 0, nil
}

// write writes the status that was merged from the object. kcp refuses it where the object is placed otherwise by now, which is no
// refusal of the status: see kcp.IsTestFailed. What has been refused so, and has not changed since, is written if the object is just
// as it was read. An object that was deleted meanwhile is no error.
func (a *Aggregator) write(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, merged map[string]any) error {
	patch, err := protocol.Read(upstreamObj).StatusPatch(merged, a.seen.hasMoved(key, upstreamObj.GetResourceVersion()))
	if err != nil {
		return err
	}
	if _, err = a.config.Upstream.Patch(ctx, key, types.JSONPatchType, patch, "status"); kcp.IsMissingObject(err, key.Name) {
		return nil
	}
	return err
}
