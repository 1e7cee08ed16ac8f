package syncer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// applyOver applies the copy onto the one that is there. Where something of that is in the way which is not in the copy (the
// cluster has filled it in, or somebody has written it), the same apply takes it away: see transform.Clashes.
func (s *Syncer) applyOver(ctx context.Context, t turn, body *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	var taken *unstructured.Unstructured
	if t.Difference == evaluate.Drifted && transform.MayBeChanged(t.Desired, t.Downstream) {
		var err error
		if taken, err = s.takeChanged(ctx, t); err != nil {
			return nil, err
		}
	}
	applied, err := s.apply(ctx, t, body)
	if causes := clashingCauses(err); len(causes) > 0 {
		return s.applyWithout(ctx, t, body, refusal{err, causes})
	}
	if err == nil {
		s.passOver(t, taken)
	}
	return applied, err
}

// takeChanged takes over what somebody has made of our entries of lists: the apply that follows puts ours in their place. It returns
// the copy as it is then, nil where nothing was taken over.
func (s *Syncer) takeChanged(ctx context.Context, t turn) (*unstructured.Unstructured, error) {
	live, err := s.liveCopy(ctx, t)
	if err != nil {
		return nil, err
	}
	clashes := transform.Changed(t.Desired, live)
	if len(clashes) == 0 {
		return nil, nil
	}
	return s.takeOver(ctx, t, live, clashes)
}

// passOver has the state of the copy between what was taken over and the apply that was made since count as in place: the cache is
// about to show it, and then what the apply has made of it.
func (s *Syncer) passOver(t turn, taken *unstructured.Unstructured) {
	if taken != nil {
		s.memories.update(t.key, func(m *memory) {
			m.ineffective = evaluate.Apply{Hash: hashOf(t.Desired), Onto: transform.Fingerprint(taken)}
		})
	}
}

// liveCopy asks the cluster for the copy with all who own fields of it. It returns errStale when it is not the one that was read.
func (s *Syncer) liveCopy(ctx context.Context, t turn) (*unstructured.Unstructured, error) {
	live, err := s.downstream.live(ctx, t.key.Resource, t.Namespace, t.Name)
	if err == nil && (live == nil || live.GetUID() != t.Downstream.GetUID()) {
		err = errStale
	}
	return live, err
}

// refusal is an apply that the cluster has refused, and the causes that may come of what was there before.
type refusal struct {
	err    error
	causes []metav1.StatusCause
}

// attempt is one to take away what is in the way of an apply.
type attempt struct {
	// apply is what was applied, and onto what.
	apply   evaluate.Apply
	verdict verdict
	// at is when it was made.
	at time.Time
}

// attemptAgain is how long nothing is taken away again from the same state of a copy, when that has not helped: what refuses it may
// have gone (a webhook), and no event tells.
const attemptAgain = 100 * time.Second

// verdict is what has come of an attempt.
type verdict string

const (
	// ownFault is that the cluster refuses the copy for the same causes if there is none yet: nothing that is there is to blame.
	ownFault verdict = "own fault"
	// hopeless is that taking away what seemed to be in the way has not helped, or is not to be done.
	hopeless verdict = "hopeless"
	// renewable is the same of a copy that the cluster would take if it were made anew.
	renewable verdict = "renewable"
)

// applyWithout finds out what is in the way of an apply that was refused, and applies again without it. Where that does not help,
// it is not tried again for a while, unless the copy has changed there or here.
func (s *Syncer) applyWithout(ctx context.Context, t turn, body *unstructured.Unstructured, refused refusal) (*unstructured.Unstructured, error) {
	live, err := s.liveCopy(ctx, t)
	if err != nil {
		return nil, err
	}
	steps, beyond := transform.Clashes(t.Desired, live, refused.causes)
	if len(steps) == 0 && len(beyond) == 0 {
		return nil, refused.err
	}
	tried := s.memories.get(t.key).attempted
	if tried.apply != applyOnto(t, live) || s.now().Sub(tried.at) >= attemptAgain {
		var applied *unstructured.Unstructured
		if applied, tried, err = s.attempt(ctx, t, body, live, steps, &refused); tried == (attempt{}) {
			return applied, err
		}
		s.memories.update(t.key, func(m *memory) { m.attempted = tried })
	}
	if tried.verdict == ownFault || isImmutable(refused.err) {
		return nil, refused.err
	}
	clashes := beyond
	if len(steps) > 0 {
		clashes = steps[0]
	}
	return nil, &clashError{refused.err, clashes, tried.verdict == renewable}
}

// attempt takes away what is in the way and applies again, unless the copy itself is at fault. It returns what has come of the attempt
// when that did not help, with the last refusal in refused.
func (s *Syncer) attempt(ctx context.Context, t turn, body, live *unstructured.Unstructured, steps [][]transform.Clash, refused *refusal) (*unstructured.Unstructured, attempt, error) {
	tried := attempt{applyOnto(t, live), s.judge(ctx, t, *refused), s.now()}
	if tried.verdict == ownFault || len(steps) == 0 {
		return nil, tried, nil
	}
	applied, given, err := s.applyBySteps(ctx, t, body, live, steps)
	if given == nil {
		return applied, attempt{}, err
	}
	tried.apply, refused.err = applyOnto(t, given), err
	return nil, tried, nil
}

// applyOnto stands for applying the copy onto just this state of it. One that has no generation changes with every write.
func applyOnto(t turn, live *unstructured.Unstructured) evaluate.Apply {
	apply := evaluate.Apply{Hash: hashOf(t.Desired), Onto: transform.Fingerprint(live)}
	if live.GetGeneration() == 0 {
		apply.Onto += "/" + live.GetResourceVersion()
	}
	return apply
}

// judge asks the cluster what it would say to the copy if there were none yet.
func (s *Syncer) judge(ctx context.Context, t turn, refused refusal) verdict {
	err := s.downstream.tryCreate(ctx, t.key.Resource, t.Desired)
	if err == nil {
		return renewable
	}
	alone := clashingCauses(err)
	for _, cause := range refused.causes {
		isSame := func(other metav1.StatusCause) bool {
			return cause.Type == other.Type && index.ReplaceAllString(cause.Field, "[]") == index.ReplaceAllString(other.Field, "[]")
		}
		if slices.ContainsFunc(alone, isSame) {
			return ownFault
		}
	}
	return hopeless // unless taking away helps: the cluster cannot tell
}

// index is that of an entry in the path of a field. It differs with what others have put into the list.
var index = regexp.MustCompile(`\[[0-9]+\]`)

// applyBySteps applies without what clashes, with ever more of it taken away. When nothing helps, it gives all back, and returns the
// object as it is then with the last refusal.
func (s *Syncer) applyBySteps(ctx context.Context, t turn, body, live *unstructured.Unstructured, steps [][]transform.Clash) (applied, given *unstructured.Unstructured, err error) {
	now, refused := live, error(nil)
	for _, step := range steps {
		if now, err = s.takeOver(ctx, t, now, step); err != nil {
			return nil, nil, err
		}
		if applied, refused = s.apply(ctx, t, body); !apierrors.IsInvalid(refused) {
			if refused == nil {
				s.passOver(t, now)
			}
			return applied, nil, refused
		}
	}
	given, err = s.downstream.setManagedFields(ctx, t.key.Resource, now, live.GetManagedFields())
	if err != nil {
		return nil, nil, staleIfOvertaken(err)
	}
	return nil, given, refused
}

// takeOver has our applies own what clashes, and nobody else. That changes nothing but who owns what: the next apply takes it away.
func (s *Syncer) takeOver(ctx context.Context, t turn, live *unstructured.Unstructured, clashes []transform.Clash) (*unstructured.Unstructured, error) {
	managedFields, err := transform.Owned(live, clashes)
	if err != nil {
		return nil, fmt.Errorf("who owns what of %s: %w", nameOf(live), err)
	}
	klog.FromContext(ctx).Info("Taking away what is in the way of a copy", "object", nameOf(live), "fields", describe(clashes))
	taken, err := s.downstream.setManagedFields(ctx, t.key.Resource, live, managedFields)
	return taken, staleIfOvertaken(err)
}

// staleIfOvertaken returns errStale when the object was changed since it was read.
func staleIfOvertaken(err error) error {
	if isOvertaken(err) {
		return errStale
	}
	return err
}

// clashError is a refusal that comes of what is on the cluster beside what we apply, and that could not be helped.
type clashError struct {
	err     error
	clashes []transform.Clash
	// isRenewable is set when the cluster would take the copy if it were made anew.
	isRenewable bool
}

// Error returns what the server said.
func (e *clashError) Error() string { return e.err.Error() }

// Unwrap returns the server's refusal.
func (e *clashError) Unwrap() error { return e.err }

// isUnchangeable reports whether the copy has to be made anew: nobody has written what is in the way, so that it is the cluster's own.
func (e *clashError) isUnchangeable() bool {
	return e.isRenewable && !slices.ContainsFunc(e.clashes, func(clash transform.Clash) bool { return len(clash.Writers) > 0 })
}

// problem says who has changed what, and what to do about it.
func (e *clashError) problem() protocol.Problem {
	if e.isUnchangeable() {
		return immutableProblem(e.err)
	}
	message := "somebody on the cluster has changed the object, and that is in the way: " + describe(e.clashes) +
		"; remove it there, or change the object in kcp so that both agree; the cluster says: " + e.Error()
	return protocol.Problem{Reason: evaluate.ReasonChangedThere, Message: text.Shorten(message, evaluate.MaxProblemBytes)}
}

// maxDescribed is how many clashes are described.
const maxDescribed = 3

// describe names clashes, who wrote them, and when.
func describe(clashes []transform.Clash) string {
	var parts []string
	for _, clash := range clashes[:min(len(clashes), maxDescribed)] {
		writers := []string{}
		for _, writer := range clash.Writers {
			said := writer.Manager
			if !writer.Time.IsZero() {
				said += " at " + writer.Time.UTC().Format(time.RFC3339)
			}
			writers = append(writers, said)
		}
		if len(writers) == 0 {
			writers = []string{"filled in by the cluster"}
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", strings.TrimPrefix(clash.Path.String(), "."), strings.Join(writers, ", ")))
	}
	if more := len(clashes) - maxDescribed; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}

// clashingCauses returns why an object is invalid, without that fields cannot be changed, nil when it is not refused for anything
// else.
func clashingCauses(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(status.Status().Details.Causes), func(cause metav1.StatusCause) bool {
		return cause.Field == "" || immutable.MatchString(cause.Message)
	})
}
