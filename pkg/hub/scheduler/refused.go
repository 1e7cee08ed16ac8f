package scheduler

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/hub/refusals"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// reasonWriteRefused is the reason of the events on objects that kcp does not let the scheduler write to.
const reasonWriteRefused = protocol.ReasonWriteRefused

// carryOut writes the change, if there is any, and reports whether that is done. What kcp refuses for good is tried again after a
// while: when is returned. Where that is for want of room, what places the object is written with the shortest explanation, or without
// any: labels and finalizers have room of their own.
func (s *Scheduler) carryOut(ctx context.Context, key kcp.ObjectKey, change *protocol.Change) (written bool, again time.Duration, err error) {
	if wait := s.refusals.Wait(key); wait > 0 && !change.IsEmpty() {
		return false, wait, nil
	}
	err = s.write(ctx, key, change)
	if kcp.IsRefusal(err) {
		return s.refused(ctx, key, change, err)
	}
	if err == nil {
		s.refusals.Written(key)
	}
	return err == nil, 0, err
}

// refused deals with a change that kcp has refused, as carryOut does.
func (s *Scheduler) refused(ctx context.Context, key kcp.ObjectKey, change *protocol.Change, refusal error) (written bool, again time.Duration, err error) {
	if _, known := s.refusals.Problem(key); !known {
		klog.FromContext(ctx).Info("kcp refuses what places an object; will try again, ever less often", "reason", refusal.Error())
	}
	again = s.refusals.Refused(key, refusal)
	if _, explains := change.Explanation(); !explains {
		return false, again, nil
	}
	for _, short := range []*protocol.Change{change.Shortened(), change.WithoutExplanation()} {
		if short.IsEmpty() {
			break
		}
		if err := s.write(ctx, key, short); err == nil {
			break
		} else if !kcp.IsRefusal(err) {
			return false, 0, err
		}
	}
	return false, again, nil // what is missing is what its next turn writes
}

// Refusals returns the objects that kcp does not let the scheduler write to.
func (s *Scheduler) Refusals() *refusals.Refusals { return s.refusals }

// onRefusal tells the user of an object that kcp does not let the scheduler write to, or lets again.
func (s *Scheduler) onRefusal(key kcp.ObjectKey) {
	problem, _ := s.refusals.Problem(key)
	if upstreamObj := s.config.Upstream.Cached(key); upstreamObj != nil {
		s.config.Notices.Warn(key, upstreamObj, reasonWriteRefused, problem.Message)
	}
	if s.config.Refused != nil {
		s.config.Refused(key)
	}
}
