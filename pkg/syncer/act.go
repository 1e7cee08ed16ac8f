package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// errStale is returned when a write has shown that a cache lags: the turn is
// taken again.
var errStale = errors.New("the cache lags behind")

// result is what a turn of the spec loop leaves behind.
type result struct {
	problems []v1alpha1.Problem
	again    time.Duration
}

// act carries a decision out.
func (s *Syncer) act(ctx context.Context, key kcp.ObjectKey, st state) (result, error) {
	verdict := decide(st)
	if verdict != actNothing {
		klog.FromContext(ctx).V(2).Info("Acting", "action", verdict)
	}
	switch verdict {
	case actHold:
		return result{}, s.hold(ctx, key, st)
	case actCreate, actUpdate:
		return s.apply(ctx, key, st, verdict)
	case actRefuse:
		return s.refuse(key, st), nil
	case actDelete:
		return result{}, s.downstream.remove(ctx, key.Resource, st.downstreamObj)
	case actRelease:
		return result{}, s.release(ctx, key, st)
	case actInquire:
		return result{}, s.inquire(ctx, key, st)
	default:
		return result{}, nil
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
	namespace, name := st.origin.Target(v1alpha1.TransformRule{})
	live, err := s.downstream.live(ctx, key.Resource, namespace, name)
	if err != nil {
		return err
	}
	st.downstreamObj = live
	if live != nil && isOurs(st) {
		return errStale
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
func (s *Syncer) inquire(ctx context.Context, key kcp.ObjectKey, st state) error {
	live, err := s.upstream.Live(ctx, key)
	if err != nil {
		return err
	}
	if live != nil && !isReleased(live, s.cluster) {
		return nil // the hub will restore its label, and the caches get it back
	}
	return s.downstream.remove(ctx, key.Resource, st.downstreamObj)
}

// refuse reports an object that is in the way.
func (s *Syncer) refuse(key kcp.ObjectKey, st state) result {
	owner := "was not made by tmc"
	if origin, ok := transform.OriginOf(st.downstreamObj); ok {
		owner = fmt.Sprintf("is the copy of %s/%s of workspace %s", origin.Namespace, origin.Name, origin.Workspace)
		if origin.Cluster != s.cluster {
			owner = fmt.Sprintf("belongs to a syncer under the cluster name %q", origin.Cluster)
		}
	}
	namespace, name := st.origin.Target(v1alpha1.TransformRule{})
	message := fmt.Sprintf("%s %s/%s is in the way: it %s; it is left alone", key.Resource.GroupResource(), namespace, name, owner)
	return result{problems: []v1alpha1.Problem{{Reason: "Conflict", Message: message}}, again: recheck}
}

func (s *Syncer) apply(ctx context.Context, key kcp.ObjectKey, st state, verdict action) (result, error) {
	if verdict == actCreate && s.memories.get(key).inTheWay {
		return s.inspect(ctx, key, st) // trying to create it would be a write for nothing
	}
	body := st.desired.DeepCopy()
	if verdict == actCreate {
		body.SetResourceVersion(createOnly)
	} else {
		// Never onto another object that has come under the name.
		body.SetUID(st.downstreamObj.GetUID())
	}
	applied, err := s.downstream.apply(ctx, key.Resource, body)
	switch {
	case err == nil:
		if verdict == actUpdate && applied.GetResourceVersion() == st.downstreamObj.GetResourceVersion() {
			s.settle(key, st)
		}
		return result{}, nil
	case apierrors.IsConflict(err) && verdict == actCreate:
		return s.inspect(ctx, key, st)
	case isRefusal(err):
		return result{problems: []v1alpha1.Problem{applyProblem(err)}, again: s.refused(key, st)}, nil
	default:
		return result{}, err
	}
}

// settle remembers that applying changed nothing.
func (s *Syncer) settle(key kcp.ObjectKey, st state) {
	s.memories.update(key, func(m *memory) {
		m.settledHash = st.desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation]
		m.settledState = transform.Fingerprint(st.downstreamObj)
	})
}

// refused remembers that the cluster has refused a copy, and returns when to try
// again: each refusal of the same copy doubles the time.
func (s *Syncer) refused(key kcp.ObjectKey, st state) (again time.Duration) {
	hash := st.desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation]
	s.memories.update(key, func(m *memory) {
		if m.refusedHash != hash {
			m.refusedHash, m.refusedFor = hash, recheck
		} else {
			m.refusedFor = min(2*m.refusedFor, longestRecheck)
		}
		again = m.refusedFor
	})
	return again
}

// inspect looks at what is under the name of a copy that could not be created.
func (s *Syncer) inspect(ctx context.Context, key kcp.ObjectKey, st state) (result, error) {
	namespace, name := st.origin.Target(v1alpha1.TransformRule{})
	live, err := s.downstream.live(ctx, key.Resource, namespace, name)
	if err != nil {
		return result{}, err
	}
	st.downstreamObj = live
	inTheWay := live != nil && !isOurs(st)
	s.memories.update(key, func(m *memory) { m.inTheWay = inTheWay })
	switch {
	case live == nil:
		return result{}, errStale // it has just gone
	case inTheWay:
		return s.refuse(key, st), nil
	}
	if live.GetLabels()[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue {
		return result{}, errStale // ours, and on its way into the cache
	}
	// Ours, but somebody took the label off by which we watch.
	return s.apply(ctx, key, st, actUpdate)
}

// isRefusal tells whether the server understood and will not have it: trying
// again at once would be a loop.
func isRefusal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) ||
		apierrors.IsRequestEntityTooLargeError(err)
}

func applyProblem(err error) v1alpha1.Problem {
	reason := string(apierrors.ReasonForError(err))
	if reason == "" {
		reason = "ApplyFailed"
	}
	return v1alpha1.Problem{Reason: reason, Message: truncate(err.Error())}
}

// mostProblemBytes keeps the reports of many clusters within the limit of an
// object's annotations.
const mostProblemBytes = 512

func truncate(message string) string {
	if len(message) <= mostProblemBytes {
		return message
	}
	return message[:mostProblemBytes] + "…"
}

// statusDetails returns what an API server said of its error.
func statusDetails(err error) (metav1.StatusDetails, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return metav1.StatusDetails{}, false
	}
	return *status.Status().Details, true
}
