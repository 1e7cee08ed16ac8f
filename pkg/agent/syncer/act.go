package syncer

import (
	"context"
	"errors"
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// longestRefusal is the longest time that a copy is left alone that the cluster has refused (it is invalid, a policy denies it). It is
// applied again in ever longer intervals, from evaluate.Recheck up to this, until it or the answer changes, and sooner on hints.
const longestRefusal = 2 * time.Minute

// longestRecheck is the longest time between two checks of a namespace that holds something yet: each lists all that is in it.
const longestRecheck = 16 * time.Minute

// longestLag is how long after an update the cache may show the copy as it was before, and is not believed.
const longestLag = 2 * time.Second

// viewFills is how long the view that a cluster, or its group, has of its own may take to fill.
const viewFills = 5 * time.Minute

// errStale is returned when a write has shown that a cache lags: the turn is taken again.
var errStale = errors.New("the cache lags behind")

// kcpServer is kcp, to ask and to write to: see upstream.Client.
type kcpServer interface {
	Live(ctx context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error)
	ToldPath(ctx context.Context, workspace logicalcluster.Name) (string, error)
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
}

// result is what a turn of the spec loop leaves behind.
type result struct {
	problems []protocol.Problem
	again    time.Duration
}

// act carries the decision out.
func (s *Syncer) act(ctx context.Context, t turn) (result, error) {
	s.refused.forget(t.key)
	if t.Action != evaluate.Nothing {
		klog.FromContext(ctx).V(2).Info("Acting", "action", t.Action)
	}
	switch t.Action {
	case evaluate.Hold:
		change := protocol.Read(t.Upstream).NewChange()
		change.Hold(s.cluster)
		return result{}, s.patchUpstream(ctx, t.key, change) // its event brings the next turn
	case evaluate.Create:
		return s.create(ctx, t)
	case evaluate.Update:
		return s.update(ctx, t)
	case evaluate.Delete:
		return s.leave(ctx, t)
	case evaluate.Clear:
		return result{}, s.removeAll(ctx, t, t.strays())
	case evaluate.Release:
		return s.release(ctx, t)
	case evaluate.Inquire:
		return s.inquire(ctx, t)
	case evaluate.BackOff:
		return s.backOff(ctx, t)
	case evaluate.Refuse:
		s.logObstacle(ctx, t)
	default:
		return s.seek(ctx, t)
	}
	return result{t.Problems, t.Again}, nil
}

// seek writes nothing, but for the copy of what has run, and so is not made anew, when that has left the cache: that it has gone, and
// that it has lost the label by which we watch, is the same event. So the cluster is asked for it once, and gets the label back.
func (s *Syncer) seek(ctx context.Context, t turn) (result, error) {
	done := result{t.Problems, t.Again}
	if t.Downstream != nil || !s.memories.get(t.key).isSought {
		return done, nil
	}
	live, err := s.downstream.live(ctx, t.key.Resource, t.Namespace, t.Name)
	if err != nil {
		return result{}, err
	}
	if live != nil && t.IsOurs(live) && live.GetLabels()[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue {
		found := t.Input
		found.Downstream = live
		if t.Evaluation, err = evaluate.Evaluate(found, nil); err != nil {
			return result{}, err
		}
		if done, err = s.update(ctx, t); err != nil {
			return result{}, err
		}
	}
	s.memories.update(t.key, func(m *memory) { m.isSought = false })
	return done, nil
}

// create makes the copy, unless something has its name.
func (s *Syncer) create(ctx context.Context, t turn) (result, error) {
	if s.memories.get(t.key).inTheWay {
		return s.inspect(ctx, t) // trying to create it would be a write for nothing
	}
	if err := s.checkUnseen(ctx, t); err != nil {
		return result{}, err
	}
	if done, may, err := s.admit(ctx, t); err != nil {
		return s.failed(t, err)
	} else if !may {
		s.waiters.note(t.key, namespaceKey(t.Namespace))
		return done, nil
	}
	body := t.Desired.DeepCopy()
	body.SetResourceVersion(createOnly)
	_, err := s.apply(ctx, t, body)
	switch {
	case err == nil:
		s.noteWrite(t, nil)
		return result{t.Problems, t.Again}, nil
	case apierrors.IsConflict(err):
		return s.inspect(ctx, t)
	default:
		return s.failed(t, err)
	}
}

// checkUnseen asks kcp for what the object names and the caches do not have, before the object first goes down: the watch of one
// resource may be behind that of another. It returns errStale when kcp has something that is placed here.
func (s *Syncer) checkUnseen(ctx context.Context, t turn) error {
	for _, reference := range s.references(t.key, t.Upstream) {
		if s.upstream.Cached(reference) != nil {
			continue
		}
		needed, err := s.upstream.Live(ctx, reference)
		if err != nil {
			return err
		}
		if needed != nil && evaluate.IsPlaced(needed, s.cluster) {
			return errStale
		}
	}
	return nil
}

// inspect asks the cluster what is under the name of a copy that could not be created.
func (s *Syncer) inspect(ctx context.Context, t turn) (result, error) {
	live, err := s.downstream.live(ctx, t.key.Resource, t.Namespace, t.Name)
	if err != nil {
		return result{}, err
	}
	inTheWay := live != nil && !t.IsOurs(live)
	s.memories.update(t.key, func(m *memory) { m.inTheWay = inTheWay })
	if live == nil {
		return result{}, errStale // it has just gone
	}
	inspected := *t.Evaluation
	inspected.Downstream, t.Evaluation = live, &inspected
	switch {
	case inTheWay:
		s.logObstacle(ctx, t)
		return result{[]protocol.Problem{t.Conflict()}, evaluate.RecheckConflict}, nil
	case live.GetLabels()[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue:
		return result{}, errStale // ours, and on its way into the cache
	default:
		return s.update(ctx, t) // ours, but somebody took the label off by which we watch
	}
}

// update applies the copy anew, never onto another object that has come under its name.
func (s *Syncer) update(ctx context.Context, t turn) (result, error) {
	if wait := s.memories.get(t.key).written.untilCached(t.Downstream, s.now()); wait > 0 {
		return result{t.Problems, wait}, nil // what is to be mended may be mended: the event of that write brings the next turn
	}
	if err := s.findRivals(ctx, t); err != nil {
		return result{}, err
	}
	body := t.Desired.DeepCopy()
	body.SetUID(t.Downstream.GetUID())
	applied, err := s.applyOver(ctx, t, body)
	if err == nil {
		s.memories.update(t.key, func(m *memory) { m.written = version{applied.GetUID(), applied.GetResourceVersion(), s.now()} })
	}
	switch {
	case err != nil && isUnchangeable(err) && protocol.Read(t.Upstream).Replaces() && t.Tolerated == nil:
		return s.replace(ctx, t, err)
	case err != nil:
		return s.failed(t, err)
	case applied.GetResourceVersion() == t.Downstream.GetResourceVersion():
		s.memories.update(t.key, func(m *memory) {
			m.ineffective = evaluate.Apply{Hash: hashOf(t.Desired), Onto: transform.Fingerprint(t.Downstream)}
		})
	default:
		s.noteWrite(t, t.Downstream)
	}
	return result{t.Problems, t.Again}, nil
}

// leave removes our copies of an object that is not placed here any more, or is another object by now.
func (s *Syncer) leave(ctx context.Context, t turn) (result, error) {
	t, err := s.asLive(ctx, t)
	if err != nil {
		return result{}, err
	}
	return result{}, s.removeAll(ctx, t, t.copies())
}

// asLive returns the turn with the copy as the cluster has it, if that counts for what becomes of what belongs to the copy: the caches
// do not have what the copy selects.
func (s *Syncer) asLive(ctx context.Context, t turn) (turn, error) {
	if !t.MayTakeOver() {
		return t, nil
	}
	live, err := s.downstream.live(ctx, t.key.Resource, t.Namespace, t.Name)
	if err != nil {
		return t, err
	}
	if live == nil || live.GetUID() != t.Downstream.GetUID() {
		return t, errStale
	}
	inspected := *t.Evaluation
	inspected.Downstream, t.Evaluation = live, &inspected
	return t, nil
}

// losesClaims says why a copy is not replaced although its user asks for it.
const losesClaims = "; it is not made anew, for with another selector the new copy would not take over the claims of volumes, which would be " +
	"deleted with the old one: delete it upstream with --cascade=orphan, or leave the selector as it is"

// replace removes a copy that its cluster refuses to change, as its user asks for. It is made anew when it is gone, and takes over
// what the one before has left behind. Claims of volumes are not deleted for that: refused is the error that the user is told then.
func (s *Syncer) replace(ctx context.Context, t turn, refused error) (result, error) {
	t, err := s.asLive(ctx, t)
	if err != nil {
		return result{}, err
	}
	if t.LosesClaims() {
		done, err := s.failed(t, refused)
		for i := range done.problems {
			done.problems[i].Message = text.Shorten(refused.Error(), evaluate.MaxProblemBytes/2) + losesClaims
		}
		return done, err
	}
	klog.FromContext(ctx).Info("Replacing a copy that cannot be changed, as its user asks for")
	s.memories.update(t.key, func(m *memory) { m.final = nil })
	return result{}, s.removeAll(ctx, t, []*unstructured.Unstructured{t.Downstream})
}

// apply makes the server-side apply of the copy, and its namespace when that is missing. It returns errStale when the namespace,
// where it has one owner, was there a moment ago, and when somebody else has made it in the meantime.
func (s *Syncer) apply(ctx context.Context, t turn, body *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	applied, err := s.downstream.apply(ctx, t.key.Resource, body)
	details, isStatus := statusDetails(err)
	if !isStatus || !kcp.IsMissingObject(err, t.Namespace) || details.Kind != v1alpha1.NamespacesResource.Resource {
		return applied, err
	}
	if t.Settings.Rule.SeparatesWorkspaces() {
		return nil, errStale
	}
	namespace, err := s.desiredNamespace(ctx, t.key.Workspace, t.key.Namespace)
	if err != nil {
		return nil, err
	}
	namespace.SetResourceVersion(createOnly)
	if err := s.writeNamespace(ctx, namespace); err != nil {
		return nil, err // errStale: it may be one that nothing is to come into
	}
	return s.downstream.apply(ctx, t.key.Resource, body)
}

// failed is the result of an apply that the cluster has not taken.
func (s *Syncer) failed(t turn, err error) (result, error) {
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return s.foundTerminating(t, nil), nil
	case !kcp.IsRefusal(err):
		return result{}, err
	}
	done, hash, spacing := result{problems: []protocol.Problem{applyProblem(err)}}, hashOf(t.Desired), time.Duration(0)
	s.memories.update(t.key, func(m *memory) {
		if m.refusedHash != hash {
			m.refusedHash, m.refusedFor = hash, evaluate.Recheck
		} else {
			m.refusedFor = min(2*m.refusedFor, longestRefusal)
		}
		done.again, spacing = m.refusedFor, m.refusedFor/hintsPerRefusal
	})
	s.refused.note(t.key, refusedCopy{t.Namespace, t.Upstream.GetKind() == "Service", s.now().Add(spacing), false})
	return done, nil
}

// hashOf returns the hash of what an apply of the copy applies.
func hashOf(desired *unstructured.Unstructured) string {
	return desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation]
}

// Clusters let go of one object at the same moment. Each waits releaseApart for each whose finalizer comes after its own, and for
// mostReleasesApart of them at most: so none moves that of another in the list.
const (
	releaseApart      = 25 * time.Millisecond
	mostReleasesApart = 10
)

// untilReleased returns how long to leave letting go of an object to others.
func (s *Syncer) untilReleased(t turn) time.Duration {
	said := protocol.Read(t.Upstream)
	first := 0
	for _, other := range said.HeldAfter(s.cluster) {
		if _, isLeaving := said.LeavingSince(other); isLeaving || said.IsEnding() {
			first++
		}
	}
	if first == 0 {
		return 0
	}
	since := s.now()
	s.memories.update(t.key, func(m *memory) { since = m.releasing.since(t.Upstream.GetUID(), since) })
	return time.Duration(min(first, mostReleasesApart))*releaseApart - s.now().Sub(since)
}

// release takes our finalizer and our report off the upstream object. That cannot be undone, so the cluster itself is asked
// first whether the copy is gone.
func (s *Syncer) release(ctx context.Context, t turn) (result, error) {
	if wait := s.untilReleased(t); wait > 0 {
		return result{again: wait}, nil
	}
	live, err := s.downstream.live(ctx, t.key.Resource, t.Namespace, t.Name)
	if err != nil {
		return result{}, err
	}
	if live == nil || !t.IsOurs(live) {
		if err = s.letGo(ctx, t); err == nil {
			s.memories.update(t.key, func(m *memory) { m.released = t.Upstream.GetResourceVersion() })
		}
		return result{}, err
	}
	err = s.removeAll(ctx, t, []*unstructured.Unstructured{live})
	if live.GetLabels()[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue {
		return result{}, errors.Join(err, errStale) // the cache lags
	}
	// Somebody took the label off by which we watch: no event tells when it is gone.
	return result{again: lostRetry}, err
}

// releaseTries is how often a syncer tries at once to let go of an object that others are letting go of.
const releaseTries = 5

// letGo writes what release has decided. Others do so at the same moment: where that has moved our finalizer in the list, which the
// cache may not show yet, the object is read at once, for users wait.
func (s *Syncer) letGo(ctx context.Context, t turn) error {
	upstreamObj := t.Upstream
	for range releaseTries {
		patch, err := protocol.Read(upstreamObj).ReleasePatch(s.cluster)
		if err != nil || patch == nil {
			return err
		}
		_, err = s.upstream.Patch(ctx, t.key, types.JSONPatchType, patch)
		switch {
		case kcp.IsMissingObject(err, t.key.Name):
			return nil // gone meanwhile: its event brings the next turn
		case !apierrors.IsConflict(err) && !kcp.IsTestFailed(err):
			return err
		}
		live, err := s.upstream.Live(ctx, t.key)
		switch {
		case err != nil || live == nil:
			return err
		case live.GetUID() != t.Upstream.GetUID() || evaluate.IsPlaced(live, s.cluster):
			return errStale // it is another one by now, or comes back
		}
		upstreamObj = live
	}
	return errStale
}

func (s *Syncer) patchUpstream(ctx context.Context, key kcp.ObjectKey, change *protocol.Change) error {
	_, err := s.upstream.Patch(ctx, key, types.MergePatchType, change.Patch())
	if kcp.IsMissingObject(err, key.Name) {
		return nil // gone meanwhile: its event brings the next turn
	}
	return err
}

// inquireRetry is how long to wait before kcp is asked again for an object that the hub is about to give its label back.
const inquireRetry = 5 * time.Second

// inquire asks kcp what became of an upstream object that the caches have lost while its copy is here. Losing the label looks
// like a deletion, and so does a shard that is out of reach. Only kcp's own word that the object is gone, or that the hub has
// taken this cluster off it, lets the copy go.
func (s *Syncer) inquire(ctx context.Context, t turn) (result, error) {
	live, err := s.upstream.Live(ctx, t.key)
	if err != nil {
		return result{}, err
	}
	if live != nil && !isReleased(live, s.cluster) {
		// The hub will restore its label, and the caches get it back. Or it goes meanwhile, of which no event tells.
		return result{again: inquireRetry}, nil
	}
	if wait := s.untilBelieved(t.key, live); wait > 0 {
		return result{again: wait}, nil
	}
	if live != nil {
		s.noteWish(t.key, live)
	}
	return result{}, s.removeAll(ctx, t, t.copies())
}

// isReleased reports whether the hub has taken the cluster off an object of kcp's for good: the object is neither placed there
// nor held for it. With either left, the hub still acts: it restores a lost label, or asks the syncer to leave.
func isReleased(upstreamObj *unstructured.Unstructured, cluster string) bool {
	said := protocol.Read(upstreamObj)
	return !said.IsLabelled(cluster) && !said.IsHeld(cluster)
}

// untilBelieved returns how long to wait before it is believed that an object is gone. The view that a cluster has of its own,
// or its group has, fills after the export was bound, as the hub and kcp label one object after the other for it: what is not in
// it may only not be in it yet. While the registration names another export, it empties just so. Whoever deletes an object waits
// for our finalizer, and does not wait here.
func (s *Syncer) untilBelieved(key kcp.ObjectKey, live *unstructured.Unstructured) time.Duration {
	if !s.hasOwnView || live != nil {
		return 0
	}
	if s.isAnothers.Load() {
		s.memories.update(key, func(m *memory) { m.missed = time.Time{} })
		return evaluate.Recheck
	}
	missed := s.memories.get(key).missed
	if missed.IsZero() {
		missed = s.now()
		s.memories.update(key, func(m *memory) { m.missed = missed })
	}
	return missed.Add(viewFills).Sub(s.now())
}

// removeAll removes those of the copies that are not being deleted, each with what belongs to it or without: see
// evaluate.Propagation.
func (s *Syncer) removeAll(ctx context.Context, t turn, copies []*unstructured.Unstructured) error {
	var errs []error
	for _, downstreamObj := range copies {
		if downstreamObj.GetDeletionTimestamp() == nil {
			wish := s.memories.get(t.key).wish.about(transform.SourceUID(downstreamObj))
			errs = append(errs, s.downstream.remove(ctx, t.key.Resource, downstreamObj, t.Propagation(downstreamObj, wish)))
		}
	}
	return errors.Join(errs...)
}

// logObstacle says in the log, once for each, what is in the way of a copy.
func (s *Syncer) logObstacle(ctx context.Context, t turn) {
	known, uid := false, t.Downstream.GetUID()
	s.memories.update(t.key, func(m *memory) { known, m.obstacle = m.obstacle == uid, uid })
	if known {
		return
	}
	origin, _ := transform.OriginOf(t.Downstream)
	klog.FromContext(ctx).Info("An object is in the way of a copy, and is left alone", "object", nameOf(t.Downstream), "uid", uid,
		"copyOfWorkspace", origin.Workspace, "copyOfNamespace", origin.Namespace, "copyOf", origin.Name, "forCluster", origin.Cluster)
}

// immutable is how API servers word that a field cannot be changed. There is no reason for it in the API: these are the words of
// apimachinery's api/validation (FieldImmutableErrorMsg), and of kubernetes' pkg/apis (apps: "updates to statefulset spec for
// fields other than …", core: "spec is immutable after creation …", "may not change once set").
var immutable = regexp.MustCompile(`(?i)immutable|updates to .+ are forbidden|may not change once set|may not be changed`)

// isImmutable reports whether the server refuses a change for nothing but that fields cannot be changed: made anew, the object
// would be taken.
func isImmutable(err error) bool {
	details, ok := statusDetails(err)
	if !ok || !apierrors.IsInvalid(err) || len(details.Causes) == 0 {
		return false
	}
	for _, cause := range details.Causes {
		isField := cause.Type == metav1.CauseTypeFieldValueInvalid || cause.Type == metav1.CauseTypeForbidden
		if !isField || !immutable.MatchString(cause.Message) {
			return false
		}
	}
	return true
}

// applyProblem tells of an apply that the cluster has refused.
func applyProblem(err error) protocol.Problem {
	if clash, ok := errors.AsType[*clashError](err); ok {
		return clash.problem()
	}
	if isImmutable(err) {
		return immutableProblem(err)
	}
	reason := string(apierrors.ReasonForError(err))
	if reason == "" {
		reason = "ApplyFailed"
	}
	return protocol.Problem{Reason: reason, Message: text.Shorten(err.Error(), evaluate.MaxProblemBytes)}
}

// isUnchangeable reports whether the copy would be taken if it were made anew, and nothing else that we can do helps.
func isUnchangeable(err error) bool {
	clash, ok := errors.AsType[*clashError](err)
	return ok && clash.isUnchangeable() || isImmutable(err)
}

func immutableProblem(err error) protocol.Problem {
	return protocol.Problem{Reason: "Immutable", Message: text.Shorten(err.Error(), evaluate.MaxProblemBytes) +
		"; the annotation " + v1alpha1.ReplaceAnnotation + `: "true" has the copy deleted and made anew`}
}

// statusDetails returns what an API server said of its error.
func statusDetails(err error) (metav1.StatusDetails, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return metav1.StatusDetails{}, false
	}
	return *status.Status().Details, true
}
