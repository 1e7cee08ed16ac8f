package aggregator

import (
	"context"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/aggregate"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// expire deletes an object, such as a Job, that has ended on all its clusters when its time to live is over. Its status is to
// be as the reports have it. It returns after how long that is, 0 for not before the next event. An object that has changed
// meanwhile is not deleted: kcp refuses that, and its next turn sees what has become of it.
func (a *Aggregator) expire(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) (time.Duration, error) {
	since, ttl, expires := aggregate.Expiry(a.config.Kinds.Of(upstreamObj.GroupVersionKind().GroupKind()), upstreamObj)
	if !expires || upstreamObj.GetDeletionTimestamp() != nil {
		return 0, nil
	}
	if wait := ttl - a.endings.passed(key, upstreamObj.GetUID(), since, a.now()); wait > 0 {
		return wait, nil
	}
	isSilent := func(cluster string) bool { return a.config.Registry.Silent(cluster) != "" }
	if slices.ContainsFunc(protocol.Read(upstreamObj).Present(), isSilent) {
		return 0, nil // it would be neither there nor gone until the cluster is heard again, and that is an event
	}
	klog.FromContext(ctx).V(2).Info("Deleting what has ended: its time to live is over", "ttl", ttl)
	err := a.config.Upstream.Delete(ctx, key, metav1.Preconditions{UID: new(upstreamObj.GetUID()), ResourceVersion: new(upstreamObj.GetResourceVersion())})
	switch {
	case kcp.IsMissingObject(err, key.Name):
		return 0, nil
	case apierrors.IsConflict(err):
		return readRetry, nil
	default:
		return 0, err
	}
}

// endings remember since when objects have ended, by a clock that nobody sets. What the status says was written by a hub: this
// one, or one before it on another machine, whose clock may differ.
type endings struct {
	mu    sync.Mutex
	byKey map[kcp.ObjectKey]ending
}

// ending is when an object of that UID has ended: as its status has it, and as this process counts.
type ending struct {
	uid       types.UID
	since, at time.Time
}

func newEndings() *endings { return &endings{byKey: map[kcp.ObjectKey]ending{}} }

// passed returns for how long an object has ended. What the status says counts when it is first seen, without the second that
// its times may be too early, and not at all if it is of the future; from then on, what passes here.
func (e *endings) passed(key kcp.ObjectKey, uid types.UID, since, now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	last, known := e.byKey[key]
	if !known || last.uid != uid || !last.since.Equal(since) {
		before := max(now.Sub(since)-time.Second, 0)
		last = ending{uid: uid, since: since, at: now.Add(-before)}
		e.byKey[key] = last
	}
	return now.Sub(last.at)
}

// forget drops what is remembered of an object that is gone.
func (e *endings) forget(key kcp.ObjectKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.byKey, key)
}
