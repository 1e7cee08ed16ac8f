package syncer

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// create makes the copy, unless something has its name.
func (s *Syncer) create(ctx context.Context, key kcp.ObjectKey, st state) (result, error) {
	if s.memories.get(key).inTheWay {
		return s.inspect(ctx, key, st) // trying to create it would be a write for nothing
	}
	if err := s.checkUnseen(ctx, key, st); err != nil {
		return result{}, err
	}
	if done, may, err := s.enter(ctx, st); err != nil {
		return s.failed(key, st, err)
	} else if !may {
		s.waiters.note(namespaceKey(st.namespace), key)
		return done, nil
	}
	body := st.desired.DeepCopy()
	body.SetResourceVersion(createOnly)
	_, err := s.downstream.apply(ctx, key.Resource, body, s.namespaceFor(ctx, key, st))
	switch {
	case err == nil:
		return result{}, nil
	case apierrors.IsConflict(err):
		return s.inspect(ctx, key, st)
	default:
		return s.failed(key, st, err)
	}
}

// update applies the copy anew, never onto another object that has come under its
// name.
func (s *Syncer) update(ctx context.Context, key kcp.ObjectKey, st state) (result, error) {
	body := st.desired.DeepCopy()
	body.SetUID(st.downstreamObj.GetUID())
	applied, err := s.downstream.apply(ctx, key.Resource, body, s.namespaceFor(ctx, key, st))
	switch {
	case err != nil && isImmutable(err) && mayReplace(st.upstreamObj) && st.tolerated == nil:
		return result{}, s.replace(ctx, key, st)
	case err != nil:
		return s.failed(key, st, err)
	case applied.GetResourceVersion() == st.downstreamObj.GetResourceVersion():
		s.settle(key, st)
	}
	return result{}, nil
}

// failed is the result of an apply that was not taken.
func (s *Syncer) failed(key kcp.ObjectKey, st state, err error) (result, error) {
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return result{again: namespaceRetry}, nil
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
	live, err := s.downstream.live(ctx, key.Resource, st.namespace, st.name)
	if err != nil {
		return result{}, err
	}
	st.downstreamObj = live
	inTheWay := live != nil && !isOurs(st, live)
	s.memories.update(key, func(m *memory) { m.inTheWay = inTheWay })
	switch {
	case live == nil:
		return result{}, errStale // it has just gone
	case inTheWay:
		return s.refuse(ctx, key, st), nil
	}
	if live.GetLabels()[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue {
		return result{}, errStale // ours, and on its way into the cache
	}
	// Ours, but somebody took the label off by which we watch.
	return s.update(ctx, key, st)
}

// isRefusal reports whether the server understood and will not have it: trying
// again at once would be a loop.
func isRefusal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) ||
		apierrors.IsRequestEntityTooLargeError(err)
}

func applyProblem(err error) v1alpha1.Problem {
	if isImmutable(err) {
		return v1alpha1.Problem{Reason: reasonImmutable, Message: truncate(err.Error()) +
			"; the annotation " + v1alpha1.ReplaceAnnotation + `: "true" has the copy deleted and made anew`}
	}
	reason := string(apierrors.ReasonForError(err))
	if reason == "" {
		reason = "ApplyFailed"
	}
	return v1alpha1.Problem{Reason: reason, Message: truncate(err.Error())}
}

// mostProblemBytes keeps the reports of many clusters within the limit of an
// object's annotations.
const mostProblemBytes = 512

func truncate(message string) string { return text.Shorten(message, mostProblemBytes) }

// statusDetails returns what an API server said of its error.
func statusDetails(err error) (metav1.StatusDetails, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return metav1.StatusDetails{}, false
	}
	return *status.Status().Details, true
}
