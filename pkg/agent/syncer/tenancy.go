package syncer

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Where the rule of the cluster separates workspaces, a namespace is that of the workspace
// which its annotations name. The first copy that is to go there takes it: in the write
// that makes the namespace, or in one that notes it on a namespace that is there. Both have
// preconditions, so that of two workspaces one gets it. Nothing but the namespace itself
// remembers whose it is. What of that counts is what an apply of ours wrote there: see
// transform.KeepOwnMarks. Whether copies may come into one that tmc did not make is in
// allowed.go.

// reasonTaken is that of what is refused because the namespace is another workspace's. Its
// message does not say whose: that is for who may read the cluster's namespaces.
const reasonTaken = "NamespaceTaken"

// holder returns the workspace whose a namespace is, empty when it is nobody's.
func holder(namespace *unstructured.Unstructured) string {
	if namespace == nil {
		return ""
	}
	origin, _ := transform.OriginOf(namespace)
	return origin.Workspace
}

// namespaceKey is under what those wait who wait for news of a namespace of the cluster.
func namespaceKey(name string) kcp.ObjectKey {
	return kcp.ObjectKey{Resource: v1alpha1.NamespacesResource, Name: name}
}

// checkTenancy notes in the state when the namespace is another workspace's. What is there
// all the same came before workspaces were separated: it is kept up, and it is told.
func (s *Syncer) checkTenancy(key kcp.ObjectKey, st *state) {
	isThere := st.isThere()
	held := holder(s.copies.namespace(st.namespace))
	if !st.separates || st.tolerated != nil || held == st.origin.Workspace || held == "" && !isThere {
		return
	}
	// First the note, then the look: news that comes in between are not missed.
	s.waiters.note(namespaceKey(st.namespace), key)
	held = holder(s.copies.namespace(st.namespace))
	switch {
	case held == "", held == st.origin.Workspace:
	case isThere:
		st.tolerated = new(takenProblem(st.namespace, keptUp))
	default:
		st.broken = new(takenProblem(st.namespace, ""))
	}
}

func takenProblem(namespace, addition string) v1alpha1.Problem {
	return v1alpha1.Problem{Reason: reasonTaken, Message: fmt.Sprintf(
		"namespace %s of the cluster is another workspace's: use another namespace, or have the cluster's operator set namespaceMode: Isolated in its rule%s", namespace, addition)}
}

// enter makes sure that the workspace may put a copy into the namespace that is not there
// yet: that the namespace is tmc's, or listed, and where workspaces are separated the
// workspace's. It tells whether the copy may go; if not, done is the result of the turn.
func (s *Syncer) enter(ctx context.Context, st state) (done result, may bool, err error) {
	present := s.copies.namespace(st.namespace)
	switch {
	case s.claims.isLeaving(st.namespace), present != nil && isDeleting(present):
		return result{again: namespaceRetry}, false, nil
	case s.isIn(st, present):
		return result{}, true, nil
	case st.separates && s.holdsOthers(st.namespace, st.origin.Workspace):
		// It came to be nobody's while copies are there: the namespace's own turn says whose it is.
		s.namespaces.Enqueue(st.namespace)
		return result{again: namespaceRetry}, false, nil
	}
	// Many objects of a workspace come at once: one of them takes the namespace for all.
	entered, err, _ := s.entering.Do(st.namespace+"/"+st.origin.Workspace, func() (any, error) {
		return s.take(ctx, st)
	})
	if err != nil {
		return result{}, false, err
	}
	done = entered.(result)
	return done, done.again == 0, nil
}

// isIn reports whether it is known, without a question, that the workspace may put copies into
// a namespace, which is nil when the cache does not have it as one of ours.
func (s *Syncer) isIn(st state, present *unstructured.Unstructured) bool {
	switch {
	case st.separates:
		return holder(present) == st.origin.Workspace || s.claims.isTaken(st.namespace, st.origin.Workspace)
	case present != nil && isMadeByUs(present):
		return true
	default:
		return s.lists(st.namespace) || s.claims.isWritten(st.namespace)
	}
}

// take takes the namespace for the workspace unless it has it, another one has it, or nothing
// may come in that is not there: then the result says when to look again. Where workspaces
// share namespaces it makes one that is missing.
func (s *Syncer) take(ctx context.Context, st state) (result, error) {
	live, err := s.downstream.liveNamespace(ctx, st.namespace)
	if err != nil {
		return result{}, err
	}
	if barred := s.barred(st, live); barred.again != 0 {
		return barred, nil
	}
	if live == nil || st.separates && holder(live) == "" {
		if err := s.claim(ctx, st, live); err != nil {
			return result{}, err
		}
	}
	s.claims.take(st.namespace, st.origin.Workspace)
	return result{}, nil
}

// barred is the result of a turn that may put nothing into a namespace as the cluster has it,
// nil for one that it does not have. Its again is 0 where the turn may.
func (s *Syncer) barred(st state, live *unstructured.Unstructured) result {
	held := holder(live)
	switch {
	case live == nil:
		return result{}
	case isDeleting(live):
		return result{again: namespaceRetry}
	case !isMadeByUs(live) && !s.lists(st.namespace):
		s.claims.noteForeign(st.namespace, s.now())
		return result{problems: []v1alpha1.Problem{s.foreignProblem(st.namespace, "")}, again: recheck}
	case st.separates && held != "" && held != st.origin.Workspace:
		return result{problems: []v1alpha1.Problem{takenProblem(st.namespace, "")}, again: recheck}
	default:
		return result{}
	}
}

// holdsOthers reports whether copies of another workspace are in a namespace.
func (s *Syncer) holdsOthers(namespace, workspace string) bool {
	found := false
	s.copies.eachIn(namespace, func(_ schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		origin, ok := transform.OriginOf(downstreamObj)
		found = ok && origin.Workspace != workspace
		return !found
	})
	return found
}

// claim makes the namespace for the workspace, or notes on it, as it was looked at, that it
// is the workspace's. It returns errStale when somebody else was faster.
func (s *Syncer) claim(ctx context.Context, st state, live *unstructured.Unstructured) error {
	origin := transform.Origin{Workspace: st.origin.Workspace, Name: st.origin.Namespace, Cluster: s.cluster}
	body, err := s.namespaceOf(ctx, origin, st.namespace, live)
	if err != nil {
		return err
	}
	if live == nil {
		body.SetResourceVersion(createOnly)
	}
	klog.FromContext(ctx).Info("Taking a namespace for a workspace", "namespace", st.namespace, "workspace", origin.Workspace, "exists", live != nil)
	return s.writeNamespace(ctx, body)
}

// namespaceOf returns the body of the write that makes a namespace the workspace's: one that
// tmc makes, or has made, whole, and of others just the note.
func (s *Syncer) namespaceOf(ctx context.Context, origin transform.Origin, name string, present *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	var body *unstructured.Unstructured
	var err error
	if present == nil || isMadeByUs(present) {
		body, err = s.desiredNamespace(ctx, logicalcluster.Name(origin.Workspace), origin.Name)
	} else {
		body, err = transform.NotedNamespace(name, origin)
	}
	if err != nil {
		return nil, err
	}
	if body.GetName() != name {
		return nil, errStale // the rule has changed meanwhile
	}
	path, err := s.upstream.ToldPath(ctx, logicalcluster.Name(origin.Workspace))
	if err != nil {
		klog.FromContext(ctx).V(2).Info("kcp does not tell the path of a workspace; its namespace goes without", "workspace", origin.Workspace, "reason", err.Error())
	}
	setPath(body, path)
	asLookedAt(body, present)
	return body, nil
}

// asLookedAt has a write go to the namespace as it was looked at, or fail.
func asLookedAt(body, present *unstructured.Unstructured) {
	if present != nil {
		body.SetUID(present.GetUID())
		body.SetResourceVersion(present.GetResourceVersion())
	}
}

func setPath(namespace *unstructured.Unstructured, path string) {
	if path == "" {
		return
	}
	annotations := namespace.GetAnnotations()
	annotations[v1alpha1.SourcePathAnnotation] = path
	namespace.SetAnnotations(annotations)
}

// writeNamespace applies a namespace with the preconditions that the body carries, and
// returns errStale when they do not hold.
func (s *Syncer) writeNamespace(ctx context.Context, body *unstructured.Unstructured) error {
	_, err := s.downstream.applyOnce(ctx, v1alpha1.NamespacesResource, body)
	if apierrors.IsConflict(err) {
		return errStale
	}
	return err
}

func isMadeByUs(namespace *unstructured.Unstructured) bool {
	return namespace.GetLabels()[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue
}

// onNamespace takes note of a change of a namespace that bears a mark of ours.
func (s *Syncer) onNamespace(name string) {
	resourceVersion := ""
	if namespace := s.copies.namespace(name); namespace != nil {
		resourceVersion = namespace.GetResourceVersion()
	}
	s.claims.observe(name, resourceVersion)
	s.wakeWaiters(namespaceKey(name))
	s.namespaces.Enqueue(name)
}

// liveNamespace asks the cluster for a namespace; nil without an error when there is none. Of
// its marks it has only those that are ours.
// It lists: that is among a syncer's rights, to get any namespace is not.
func (d *downstream) liveNamespace(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	list, err := d.client.Resource(v1alpha1.NamespacesResource).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("asking the cluster for namespace %s: %w", name, err)
	}
	for i := range list.Items {
		if list.Items[i].GetName() == name {
			transform.KeepOwnMarks(&list.Items[i])
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// giveAway frees a namespace that its workspace uses no more, for whoever is next: of one
// that tmc made the owner is taken off, and on another nothing of ours remains. While
// something of the owner is left there, beside his copies, it stays his.
func (s *Syncer) giveAway(ctx context.Context, st namespaceState) (time.Duration, error) {
	name := st.downstreamObj.GetName()
	left, err := s.downstream.leftBehind(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("looking for what is left in namespace %s: %w", name, err)
	}
	if left != "" {
		again := s.lingering.When(name)
		klog.FromContext(ctx).V(2).Info("The namespace stays its workspace's for what is left of it there", "namespace", name, "left", left, "again", again)
		return again, nil
	}
	body := transform.BareNamespace(name)
	if isMadeByUs(st.downstreamObj) {
		if body, err = transform.FreeNamespace(name, s.cluster, *s.rule.Load()); err != nil {
			return 0, err
		}
	}
	asLookedAt(body, st.downstreamObj)
	klog.FromContext(ctx).Info("A namespace is free again", "namespace", name, "workspace", st.owner.Workspace)
	return 0, s.writeNamespace(ctx, body)
}

// handOver gives a namespace to the workspace that has copies there, its former one having
// none any more.
func (s *Syncer) handOver(ctx context.Context, st namespaceState) error {
	if transform.Namespace(*s.rule.Load(), st.heir.Workspace, st.heir.Name) != st.downstreamObj.GetName() {
		return nil // they are on their way to where the rule has them now
	}
	body, err := s.namespaceOf(ctx, *st.heir, st.downstreamObj.GetName(), st.downstreamObj)
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Handing a namespace over to another workspace that is there", "namespace", body.GetName(), "workspace", st.heir.Workspace, "former", st.owner.Workspace)
	return s.writeNamespace(ctx, body)
}

// noteHeir notes whose a namespace is that bears no mark of ours, though copies are there:
// they came when workspaces were not separated, or somebody took the mark off.
func (s *Syncer) noteHeir(ctx context.Context, name string, heir transform.Origin) error {
	live, err := s.downstream.liveNamespace(ctx, name)
	if err != nil || live == nil || isDeleting(live) || live.GetLabels()[v1alpha1.ManagedByLabel] != "" {
		return err // what is marked comes into the cache
	}
	body, err := s.namespaceOf(ctx, heir, name, live)
	if err != nil {
		return err
	}
	return s.writeNamespace(ctx, body)
}
