package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// How long a problem is left alone that no event will tell the end of. An object
// in the way is looked at in every interval. A copy that the cluster has refused
// (it is invalid, a policy denies it) is applied again in ever longer ones, up to
// longestRecheck, until it or the answer changes.
const (
	recheck        = 30 * time.Second
	longestRecheck = 16 * time.Minute
)

// Reasons of problems with what is on the cluster.
const (
	reasonConflict  = v1alpha1.ReasonConflict
	reasonImmutable = "Immutable"
	reasonMoving    = "Moving"
)

// errStale is returned when a write has shown that a cache lags: the turn is
// taken again.
var errStale = errors.New("the cache lags behind")

// result is what a turn of the spec loop leaves behind.
type result struct {
	problems []v1alpha1.Problem
	again    time.Duration
}

// act carries the decision out, and tells what it tolerates.
func (s *Syncer) act(ctx context.Context, key kcp.ObjectKey, st state) (result, error) {
	done, err := s.carryOut(ctx, key, st)
	if st.tolerated != nil {
		done.problems = append(done.problems, *st.tolerated)
	}
	return done, err
}

func (s *Syncer) carryOut(ctx context.Context, key kcp.ObjectKey, st state) (result, error) {
	verdict := decide(st)
	if verdict != actNothing {
		klog.FromContext(ctx).V(2).Info("Acting", "action", verdict)
	}
	switch verdict {
	case actHold:
		return result{}, s.hold(ctx, key, st)
	case actCreate:
		return s.create(ctx, key, st)
	case actUpdate:
		return s.update(ctx, key, st)
	case actDelete:
		return result{}, s.removeAll(ctx, key, st.ours())
	case actClear:
		return result{}, s.removeAll(ctx, key, st.strays)
	case actRelease:
		return result{}, s.release(ctx, key, st)
	case actInquire:
		return s.inquire(ctx, key, st)
	default:
		return s.stay(ctx, key, st, verdict), nil
	}
}

// stay is the result of a turn that writes nothing.
func (s *Syncer) stay(ctx context.Context, key kcp.ObjectKey, st state, verdict action) result {
	switch verdict {
	case actComplain:
		return result{problems: []v1alpha1.Problem{*st.broken}, again: recheck}
	case actWait:
		return waiting(st.needs)
	case actRefuse:
		return s.refuse(ctx, key, st)
	case actLinger:
		return s.lingers(st)
	default:
		return result{}
	}
}

// hold sets our finalizer. Its event brings the next turn.
func (s *Syncer) hold(ctx context.Context, key kcp.ObjectKey, st state) error {
	finalizers := append(slices.Clone(st.upstreamObj.GetFinalizers()), v1alpha1.Finalizer(s.cluster))
	return s.patchUpstream(ctx, key, kcp.MetadataPatch{Of: st.upstreamObj, Finalizers: finalizers})
}

// release takes our finalizer and our report off the upstream object. That cannot
// be undone, so the cluster itself is asked first whether the copy is gone.
func (s *Syncer) release(ctx context.Context, key kcp.ObjectKey, st state) error {
	live, err := s.downstream.live(ctx, key.Resource, st.namespace, st.name)
	if err != nil {
		return err
	}
	if live != nil && isOurs(st, live) {
		// The cache lags, or somebody took the label off by which we watch.
		return errors.Join(s.removeAll(ctx, key, []*unstructured.Unstructured{live}), errStale)
	}
	finalizers := slices.DeleteFunc(slices.Clone(st.upstreamObj.GetFinalizers()), func(finalizer string) bool {
		return finalizer == v1alpha1.Finalizer(s.cluster)
	})
	return s.patchUpstream(ctx, key, kcp.MetadataPatch{
		Of:          st.upstreamObj,
		Finalizers:  finalizers,
		Annotations: map[string]*string{v1alpha1.StatusAnnotation(s.cluster): nil},
	})
}

func (s *Syncer) patchUpstream(ctx context.Context, key kcp.ObjectKey, patch kcp.MetadataPatch) error {
	data, err := patch.Encode()
	if err != nil {
		return err
	}
	_, err = s.upstream.Patch(ctx, key, types.MergePatchType, data)
	if apierrors.IsNotFound(err) {
		return nil // gone meanwhile: its event brings the next turn
	}
	return err
}

// inquire settles what became of an upstream object that the caches have lost
// while its copy is here. Losing the label looks like a deletion, and so does a
// shard that is out of reach; only kcp's own word that the object is gone, or
// that it is no longer ours, lets the copy go.
func (s *Syncer) inquire(ctx context.Context, key kcp.ObjectKey, st state) (result, error) {
	live, err := s.upstream.Live(ctx, key)
	if err != nil {
		return result{}, err
	}
	if live != nil && !isReleased(live, s.cluster) {
		return result{}, nil // the hub will restore its label, and the caches get it back
	}
	if wait := s.untilBelieved(key, live); wait > 0 {
		return result{again: wait}, nil
	}
	return result{}, s.removeAll(ctx, key, st.ours())
}

// untilBelieved returns how long to wait before it is believed that an object is gone.
// The view that a cluster has of its own, or its group has, fills after the export was
// bound, as the hub and kcp label one object after the other for it: what is not in it may
// only not be in it yet. While the registration names another export, it empties just so.
// Whoever deletes an object waits for our finalizer, and does not wait here.
func (s *Syncer) untilBelieved(key kcp.ObjectKey, live *unstructured.Unstructured) time.Duration {
	if !s.hasOwnView || live != nil {
		return 0
	}
	if s.isAnothers.Load() {
		s.memories.update(key, func(m *memory) { m.missed = time.Time{} })
		return recheck
	}
	missed := s.memories.get(key).missed
	if missed.IsZero() {
		missed = s.now()
		s.memories.update(key, func(m *memory) { m.missed = missed })
	}
	return missed.Add(viewFills).Sub(s.now())
}

// viewFills is how long a cluster's own view may take to fill.
const viewFills = 5 * time.Minute

// removeAll deletes those copies that are not on their way out.
func (s *Syncer) removeAll(ctx context.Context, key kcp.ObjectKey, copies []*unstructured.Unstructured) error {
	var errs []error
	for _, downstreamObj := range copies {
		if !isDeleting(downstreamObj) {
			errs = append(errs, s.downstream.remove(ctx, key.Resource, downstreamObj))
		}
	}
	return errors.Join(errs...)
}

// refuse reports an object that is in the way. Users do not learn whose it is; the
// cluster's operator does, from the object and from the log. Where it is the copy of an
// object of another workspace, the report carries what the hub finds that by.
func (s *Syncer) refuse(ctx context.Context, key kcp.ObjectKey, st state) result {
	problem := v1alpha1.Problem{Reason: reasonConflict}
	origin, isCopy := transform.OriginOf(st.downstreamObj)
	what := "was not made by tmc"
	if isCopy {
		what = "is the copy of another object"
	}
	if isCopy && origin.Cluster == s.cluster && origin.Workspace != st.origin.Workspace {
		problem.Concerns = origin.Hash()
	}
	problem.Message = fmt.Sprintf("%s %s/%s is in the way: it %s; it is left alone", key.Resource.GroupResource(), st.namespace, st.name, what)
	s.logObstacle(ctx, key, st)
	return result{problems: []v1alpha1.Problem{problem}, again: recheck}
}

// logObstacle says in the log, once for each, what is in the way of a copy.
func (s *Syncer) logObstacle(ctx context.Context, key kcp.ObjectKey, st state) {
	known := false
	s.memories.update(key, func(m *memory) {
		known, m.obstacle = m.obstacle == st.downstreamObj.GetUID(), st.downstreamObj.GetUID()
	})
	if known {
		return
	}
	origin, _ := transform.OriginOf(st.downstreamObj)
	klog.FromContext(ctx).Info("An object is in the way of a copy, and is left alone", "object", nameOf(st.downstreamObj), "uid", st.downstreamObj.GetUID(),
		"copyOfWorkspace", origin.Workspace, "copyOfNamespace", origin.Namespace, "copyOf", origin.Name, "forCluster", origin.Cluster)
}

// lingers is the result of a turn that leaves copies where the object used to go.
// What workloads there use goes with them, and is not worth a word.
func (s *Syncer) lingers(st state) result {
	if !s.kinds.IsWorkload(st.upstreamObj.GroupVersionKind().GroupKind()) {
		return result{}
	}
	message := fmt.Sprintf("it moves to namespace %s, and stays in namespace %s until it is available there", st.namespace, st.strays[0].GetNamespace())
	return result{problems: []v1alpha1.Problem{{Reason: reasonMoving, Message: message}}}
}
