package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

// Namespaces that tmc makes carry what the user chose for theirs (labels and annotations), and go when nothing at all is left in
// them. They have neither finalizer nor report in kcp: the objects in them have.
//
// Where the rule of the cluster separates workspaces, a namespace has one workspace that owns it: its annotations name that one.
// The workspace of the first copy that is to go there becomes the owner, in the write that makes the namespace, or in one that
// notes it on a namespace that is there. Both have preconditions, so that of two workspaces one gets it. Nothing but the
// namespace itself remembers its owner. What of that counts is what an apply of ours wrote there: see transform.KeepOwnMarks.

// namespaceRetry is how soon to check again a namespace that holds something yet. What is left is mostly pods that end. It is
// checked ever less often, up to longestRecheck: what others have put there may stay.
const namespaceRetry = time.Second

// keptAfter is how long something has to be found in a namespace that tmc made before it counts as kept for what others have there.
const keptAfter = 7 * time.Second

// namespaceKey is the key that those wait for who wait for news of a namespace of the cluster.
func namespaceKey(name string) kcp.ObjectKey {
	return kcp.ObjectKey{Resource: v1alpha1.NamespacesResource, Name: name}
}

// syncNamespace is a turn of the namespace loop.
func (s *Syncer) syncNamespace(ctx context.Context, name string) (time.Duration, error) {
	if s.news.waitsFor(name) != "" {
		if again, err := s.checkTerminating(ctx, name); again > 0 || err != nil {
			return again, err
		}
	}
	in := s.gatherNamespace(name)
	e, err := evaluate.Namespace(in)
	if err != nil {
		return 0, err
	}
	switch {
	case e.Action == evaluate.Remove, e.Action == evaluate.Unassign, s.isOverdue(in, e):
		return s.leaveNamespace(ctx, name, in.Namespace.GetResourceVersion())
	case e.OnlyHeld && e.Action == evaluate.Keep:
		return s.keepVacated(in), nil
	default:
		s.lingering.forget(name)
		s.vacated.forget(name)
	}
	switch e.Action {
	case evaluate.Assign:
		return s.assign(ctx, name, *e.Next)
	case evaluate.Reassign:
		return 0, s.reassign(ctx, in, e)
	case evaluate.Adjust:
		body := e.Desired.DeepCopy()
		body.SetUID(in.Namespace.GetUID())
		setPath(body, in.Namespace.GetAnnotations()[v1alpha1.SourcePathAnnotation])
		_, err := s.downstream.apply(ctx, v1alpha1.NamespacesResource, body)
		return 0, err
	default:
		return 0, nil
	}
}

// assign notes the owner of a namespace that bears no mark of ours. A cluster may refuse that by its own policy
// (pkg/bootstrap), where it does not allow the namespace: the copies there are kept up all the same, and to try again soon
// would be a loop.
func (s *Syncer) assign(ctx context.Context, name string, owner transform.Origin) (time.Duration, error) {
	live, err := s.downstream.liveNamespace(ctx, name)
	if err != nil || live == nil || live.GetDeletionTimestamp() != nil || live.GetLabels()[v1alpha1.ManagedByLabel] != "" {
		return 0, err // what is marked comes into the cache
	}
	err = s.writeOwner(ctx, owner, name, live)
	if err != nil && kcp.IsRefusal(err) {
		klog.FromContext(ctx).Info("The cluster refuses the note whose a namespace is", "namespace", name, "reason", err.Error(), "again", longestRefusal)
		return longestRefusal, nil
	}
	return 0, err
}

// reassign makes the workspace that has copies in a namespace its owner, the former owner having none any more.
func (s *Syncer) reassign(ctx context.Context, in evaluate.NamespaceInput, e evaluate.NamespaceEvaluation) error {
	if transform.Namespace(s.settings.Load().Rule, e.Next.Workspace, e.Next.Name) != in.Name {
		return nil // the copies are on their way to where the rule has them now
	}
	klog.FromContext(ctx).Info("A namespace gets another workspace as its owner, which has copies there", "namespace", in.Name, "workspace", e.Next.Workspace, "former", e.Owner.Workspace)
	return s.writeOwner(ctx, *e.Next, in.Name, in.Namespace)
}

// leaveNamespace removes a namespace that its owner uses no more, or takes the owner off it. Before it checks that for a last
// time it has nothing new go there, and so nothing comes in between.
func (s *Syncer) leaveNamespace(ctx context.Context, name, resourceVersion string) (again time.Duration, err error) {
	s.news.close(name, resourceVersion)
	defer func() {
		if err != nil || again != 0 {
			s.news.reopen(name)
		}
	}()
	in := s.gatherNamespace(name)
	e, err := evaluate.Namespace(in)
	if err != nil {
		return 0, err
	}
	switch {
	case e.Action == evaluate.Remove, s.isOverdue(in, e):
		return s.removeNamespace(ctx, in.Namespace, e)
	case e.Action == evaluate.Unassign:
		return s.unassign(ctx, in.Namespace, e.Owner)
	default:
		return namespaceRetry, nil
	}
}

// isOverdue reports whether a namespace that tmc made has been kept for long enough for objects that are to leave and have no copies.
// Their copies should have shown by now, and nobody wants those. What the caches have of a workspace that has ended may stay there
// until the process ends: kcp's views lose events.
func (s *Syncer) isOverdue(in evaluate.NamespaceInput, e evaluate.NamespaceEvaluation) bool {
	return e.OnlyHeld && e.Action == evaluate.Keep && evaluate.IsMade(in.Namespace) && in.Namespace.GetDeletionTimestamp() == nil &&
		s.vacated.atLeast(in.Name, keptAfter, s.now())
}

// keepVacated keeps a namespace for objects that are to leave and have no copies there, and returns when to look again. After a while
// the objects have turns: kcp says in them what has become of the objects, where its views have lost the event.
func (s *Syncer) keepVacated(in evaluate.NamespaceInput) time.Duration {
	again := s.vacated.note(in.Name, s.now())
	if !s.vacated.atLeast(in.Name, keptAfter, s.now()) {
		return again
	}
	owner, _ := transform.OriginOf(in.Namespace)
	s.upstream.EachIn(logicalcluster.Name(owner.Workspace), owner.Name, func(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		if s.holds(key, upstreamObj) {
			s.specs.Enqueue(key)
		}
	})
	return again
}

// removeNamespace removes a namespace that tmc made, unless anything at all is left in it. If so, and it is kept for what others
// have there, other workspaces may have it, unless a copy of its owner may be there.
func (s *Syncer) removeNamespace(ctx context.Context, namespace *unstructured.Unstructured, e evaluate.NamespaceEvaluation) (time.Duration, error) {
	name, owner := namespace.GetName(), e.Owner
	left, err := s.downstream.anythingIn(ctx, name)
	switch {
	case err != nil:
		return 0, fmt.Errorf("looking whether namespace %s is empty: %w", name, err)
	case left == "":
		klog.FromContext(ctx).Info("Removing an empty namespace that tmc made", "namespace", name)
		return 0, s.downstream.remove(ctx, v1alpha1.NamespacesResource, namespace, metav1.DeletePropagationBackground)
	}
	// What goes together with the copies takes a moment: the owner would be taken off a namespace that is then removed.
	isKept := s.lingering.atLeast(name, keptAfter, s.now()) && !e.OnlyHeld
	if isKept && owner.Workspace != "" && s.settings.Load().Rule.SeparatesWorkspaces() {
		return s.unassign(ctx, namespace, owner)
	}
	again := s.lingering.note(name, s.now())
	klog.FromContext(ctx).V(2).Info("The namespace is kept for what is in it", "namespace", name, "holds", left, "again", again)
	return again, nil
}

// unassign takes the owner off a namespace that he uses no more, for whoever is next. On a namespace that tmc did not make
// nothing of ours remains. While something of the owner is left there, beside his copies, it stays his.
func (s *Syncer) unassign(ctx context.Context, namespace *unstructured.Unstructured, owner transform.Origin) (time.Duration, error) {
	name := namespace.GetName()
	left, err := s.downstream.leftBehind(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("looking for what is left in namespace %s: %w", name, err)
	}
	if left != "" {
		again := s.lingering.note(name, s.now())
		klog.FromContext(ctx).V(2).Info("The namespace stays its workspace's for what is left of it there", "namespace", name, "left", left, "again", again)
		return again, nil
	}
	body := transform.BareNamespace(name)
	if evaluate.IsMade(namespace) {
		if body, err = transform.FreeNamespace(name, s.cluster, s.settings.Load().Rule); err != nil {
			return 0, err
		}
	}
	asRead(body, namespace)
	klog.FromContext(ctx).Info("A namespace has no owner any more", "namespace", name, "workspace", owner.Workspace)
	return 0, s.writeNamespace(ctx, body)
}

// admit makes sure that the workspace may put a copy into the namespace that is not there yet: that the namespace is tmc's, or
// allowed, and where workspaces are separated the workspace's. It reports whether the copy may go; if not, done is the result of
// the turn.
func (s *Syncer) admit(ctx context.Context, t turn) (done result, may bool, err error) {
	present := s.caches.namespace(t.Namespace)
	switch {
	case s.news.isClosed(t.Namespace), present != nil && present.GetDeletionTimestamp() != nil:
		return result{again: namespaceRetry}, false, nil
	case s.isAdmitted(t, present):
		return result{}, true, nil
	case t.Settings.Rule.SeparatesWorkspaces() && s.hasOthers(t.Namespace, t.Origin.Workspace):
		// It has no owner while copies are there: the namespace's own turn says who that is.
		s.namespaces.Enqueue(t.Namespace)
		return result{again: namespaceRetry}, false, nil
	}
	// Many objects of a workspace come at once: one of them asks for all.
	asked, err, _ := s.admitting.Do(t.Namespace+"/"+t.Origin.Workspace, func() (any, error) { return s.askAdmission(ctx, t) })
	if err != nil {
		return result{}, false, err
	}
	done = asked.(result)
	return done, done.again == 0, nil
}

// isAdmitted reports whether it is known, without a question, that the workspace may put copies into a namespace, which is nil
// when the cache does not have it as one of ours.
func (s *Syncer) isAdmitted(t turn, present *unstructured.Unstructured) bool {
	owner, isWritten := s.news.owner(t.Namespace)
	switch {
	case t.Settings.Rule.SeparatesWorkspaces():
		return evaluate.Owner(present) == t.Origin.Workspace || isWritten && owner == t.Origin.Workspace
	case present != nil && evaluate.IsMade(present):
		return true
	default:
		return isWritten || t.Settings.Allows(t.Namespace)
	}
}

// hasOthers reports whether copies of another workspace are in a namespace.
func (s *Syncer) hasOthers(namespace, workspace string) bool {
	found := false
	s.caches.eachIn(namespace, func(_ schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		origin, ok := transform.OriginOf(downstreamObj)
		found = ok && origin.Workspace != workspace
		return !found
	})
	return found
}

// askAdmission asks the cluster for the namespace. It makes the workspace the owner of one that has none, and where workspaces
// share namespaces it makes one that is missing. The again of the result is 0 where the copy may go.
func (s *Syncer) askAdmission(ctx context.Context, t turn) (result, error) {
	live, err := s.downstream.liveNamespace(ctx, t.Namespace)
	if err != nil {
		return result{}, err
	}
	if barred := s.barred(t, live); barred.again != 0 {
		return barred, nil
	}
	if live == nil || t.Settings.Rule.SeparatesWorkspaces() && evaluate.Owner(live) == "" {
		klog.FromContext(ctx).Info("A namespace gets a workspace as its owner", "namespace", t.Namespace, "workspace", t.Origin.Workspace, "exists", live != nil)
		origin := transform.Origin{Workspace: t.Origin.Workspace, Name: t.Origin.Namespace, Cluster: s.cluster}
		if err := s.writeOwner(ctx, origin, t.Namespace, live); err != nil {
			return result{}, err
		}
	}
	s.news.setOwner(t.Namespace, t.Origin.Workspace)
	return result{}, nil
}

// barred is the result of a turn that may put nothing into a namespace as the cluster has it, nil for one that it does not have.
// Its again is 0 where the turn may.
func (s *Syncer) barred(t turn, live *unstructured.Unstructured) result {
	owner := evaluate.Owner(live)
	switch {
	case live == nil:
		return result{}
	case live.GetDeletionTimestamp() != nil:
		return s.foundTerminating(t, live)
	case !evaluate.IsMade(live) && !t.Settings.Allows(t.Namespace):
		s.news.setForeign(t.Namespace, s.now())
		return result{[]protocol.Problem{evaluate.NotAllowed(t.Namespace, s.cluster, "")}, evaluate.Recheck}
	case t.Settings.Rule.SeparatesWorkspaces() && owner != "" && owner != t.Origin.Workspace:
		return result{[]protocol.Problem{evaluate.Taken(t.Namespace, "")}, evaluate.Recheck}
	default:
		return result{}
	}
}

// writeOwner makes a workspace the owner of a namespace as it was read, nil for none, or fails with errStale. What tmc makes, or
// has made, is written whole, and to another namespace just the owner is added.
func (s *Syncer) writeOwner(ctx context.Context, owner transform.Origin, name string, present *unstructured.Unstructured) (err error) {
	workspace := logicalcluster.Name(owner.Workspace)
	var body *unstructured.Unstructured
	if present == nil || evaluate.IsMade(present) {
		body, err = s.desiredNamespace(ctx, workspace, owner.Name)
	} else {
		body, err = transform.NotedNamespace(name, owner)
	}
	if err != nil {
		return err
	}
	if body.GetName() != name {
		return errStale // the rule has changed meanwhile
	}
	path, err := s.upstream.ToldPath(ctx, workspace)
	if err != nil {
		klog.FromContext(ctx).V(2).Info("kcp does not tell the path of a workspace; its namespace goes without", "workspace", owner.Workspace, "reason", err.Error())
	}
	setPath(body, path)
	asRead(body, present)
	return s.writeNamespace(ctx, body)
}

// setPath notes the path of the workspace on its namespace, if there is one.
func setPath(namespace *unstructured.Unstructured, path string) {
	if path != "" {
		annotations := namespace.GetAnnotations()
		annotations[v1alpha1.SourcePathAnnotation] = path
		namespace.SetAnnotations(annotations)
	}
}

// asRead has a write go to the namespace as it was read, or fail. Where none was read, it makes one.
func asRead(body, present *unstructured.Unstructured) {
	if present == nil {
		body.SetResourceVersion(createOnly)
		return
	}
	body.SetUID(present.GetUID())
	body.SetResourceVersion(present.GetResourceVersion())
}

// writeNamespace applies a namespace with the preconditions that the body carries, and returns errStale when they do not hold.
func (s *Syncer) writeNamespace(ctx context.Context, body *unstructured.Unstructured) error {
	_, err := s.downstream.apply(ctx, v1alpha1.NamespacesResource, body)
	if apierrors.IsConflict(err) {
		return errStale
	}
	return err
}

// desiredNamespace returns the cluster's namespace for one of a workspace. What the user chose for it (pod security, a service
// mesh) has to be there before anything is in it, so kcp is asked when the cache does not have it.
func (s *Syncer) desiredNamespace(ctx context.Context, workspace logicalcluster.Name, name string) (*unstructured.Unstructured, error) {
	key := kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.NamespacesResource, Name: name}
	upstreamNamespace := s.upstream.Cached(key)
	if upstreamNamespace == nil {
		live, err := s.upstream.Live(ctx, key)
		if err != nil && !s.hidesNamespaces(ctx, workspace, err) {
			return nil, err
		}
		upstreamNamespace = live
	}
	origin := transform.Origin{Workspace: workspace.String(), Name: name, Cluster: s.cluster}
	return transform.DesiredNamespace(upstreamNamespace, origin, s.settings.Load().Rule)
}

// hidesNamespaces reports whether kcp says by the error of a read that a workspace does not let the syncer see its namespaces: one
// that was bound before tmc asked for them. A kcp that has only just started says the same of everything, so it has to answer for the
// workspace otherwise: what the user chose for the namespace would be missing.
func (s *Syncer) hidesNamespaces(ctx context.Context, workspace logicalcluster.Name, err error) bool {
	if !apierrors.IsForbidden(err) && !kcp.Is404(err) && !errors.Is(err, upstream.ErrUnknownWorkspace) {
		return false
	}
	_, err = s.upstream.ToldPath(ctx, workspace)
	return err == nil
}
