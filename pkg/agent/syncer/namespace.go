package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

// Namespaces that tmc makes carry what the user chose for theirs (labels and
// annotations), and go when nothing at all is left in them. They have neither
// finalizer nor report in kcp: the objects in them have. See tenancy.go for whose they are.

// How often to look at a namespace that holds something yet: soon, for what is left
// is mostly pods that end, and ever less often, up to longestRecheck, for what others
// have put there may stay.
const namespaceRetry = time.Second

// looksBeforeKept is how many looks, 1, 2 and 4 s apart, have to find something in a
// namespace that tmc made before it counts as kept for what others have there.
const looksBeforeKept = 3

// namespaceAction is what one turn does with a namespace.
type namespaceAction string

const (
	namespaceStays   namespaceAction = "nothing"
	namespaceUpdates namespaceAction = "update"
	// namespaceNotes notes whose a namespace is that bears no mark of ours.
	namespaceNotes namespaceAction = "note"
	// namespaceHandsOver gives it to another workspace that has copies there.
	namespaceHandsOver namespaceAction = "hand over"
	// namespaceFrees takes our mark off one that tmc did not make.
	namespaceFrees namespaceAction = "free"
	namespaceGoes  namespaceAction = "remove if empty"
)

// namespaceState is what is known of a namespace of the cluster.
type namespaceState struct {
	// downstreamObj is the namespace, nil when it bears no mark of ours.
	downstreamObj *unstructured.Unstructured
	// owner is whose it is, without a workspace when it is nobody's, and desired how it
	// should be for the owner, nil when that is not known.
	owner   transform.Origin
	desired *unstructured.Unstructured
	// isUsed is whether copies are in it that count, or are to go there: the owner's, and
	// where workspaces share namespaces everybody's.
	isUsed bool
	// heir is the workspace, as an owner, that is to have the namespace when its owner does
	// not use it: of those that have copies there the first one. Nil when there is none, or
	// workspaces share namespaces.
	heir *transform.Origin
}

func decideNamespace(s namespaceState) namespaceAction {
	switch {
	case s.downstreamObj == nil && s.heir != nil:
		return namespaceNotes
	case s.downstreamObj == nil, isDeleting(s.downstreamObj):
		return namespaceStays
	case s.isUsed && (s.desired == nil || transform.Stands(s.desired, s.downstreamObj)):
		return namespaceStays
	case s.isUsed:
		return namespaceUpdates
	case s.heir != nil:
		return namespaceHandsOver
	case isMadeByUs(s.downstreamObj):
		return namespaceGoes
	default:
		return namespaceFrees
	}
}

// syncNamespace is a turn of the namespace loop.
func (s *Syncer) syncNamespace(ctx context.Context, name string) (time.Duration, error) {
	st, err := s.gatherNamespace(name)
	if err != nil {
		return 0, err
	}
	verdict := decideNamespace(st)
	switch verdict {
	case namespaceGoes, namespaceFrees:
		return s.leaveNamespace(ctx, name, st.downstreamObj.GetResourceVersion())
	default:
		s.lingering.Forget(name)
	}
	switch verdict {
	case namespaceNotes:
		return unlessRefused(ctx, name, s.noteHeir(ctx, name, *st.heir))
	case namespaceHandsOver:
		return 0, s.handOver(ctx, st)
	case namespaceUpdates:
		body := st.desired.DeepCopy()
		body.SetUID(st.downstreamObj.GetUID())
		if holder(st.downstreamObj) == st.owner.Workspace {
			setPath(body, st.downstreamObj.GetAnnotations()[v1alpha1.SourcePathAnnotation])
		}
		_, err := s.downstream.applyOnce(ctx, v1alpha1.NamespacesResource, body)
		return 0, err
	default:
		return 0, nil
	}
}

// unlessRefused is the result of a turn in which a cluster may have refused the note on a
// namespace, which it does by its own policy (pkg/bootstrap) where it does not list it. The
// copies there are kept up all the same. To try again soon would be a loop.
func unlessRefused(ctx context.Context, name string, err error) (time.Duration, error) {
	if err == nil || !isRefusal(err) {
		return 0, err
	}
	klog.FromContext(ctx).Info("The cluster refuses the note whose a namespace is", "namespace", name, "reason", err.Error(), "again", longestRecheck)
	return longestRecheck, nil
}

// gatherNamespace reads what is known of a namespace: nothing of one that is not ours to
// look after.
func (s *Syncer) gatherNamespace(name string) (namespaceState, error) {
	rule := s.rule.Load()
	st := namespaceState{downstreamObj: s.copies.namespace(name)}
	if s.isAnotherSyncers(st.downstreamObj) {
		return namespaceState{}, nil
	}
	if st.downstreamObj != nil {
		st.owner, _ = transform.OriginOf(st.downstreamObj)
		if err := s.gatherOwner(&st, name, *rule); err != nil {
			return namespaceState{}, err
		}
	}
	if !st.isUsed && rule.SeparatesWorkspaces() && s.denies(name) == "" {
		st.heir = s.heirOf(name)
	}
	if st.heir == nil && hasLostMark(st.downstreamObj) {
		return namespaceState{}, nil // it is not known whose it was to remove
	}
	return st, nil
}

// isAnotherSyncers reports whether a namespace, nil for none, was made or noted under a
// cluster name that another syncer looks after.
func (s *Syncer) isAnotherSyncers(namespace *unstructured.Unstructured) bool {
	if namespace == nil {
		return false
	}
	origin, _ := transform.OriginOf(namespace)
	if origin.Cluster == "" || origin.Cluster == s.cluster {
		return false
	}
	_, isAdopted := s.adopted.Load(adopted{namespace.GetName(), origin})
	return !isAdopted
}

// hasLostMark reports whether tmc made a namespace, nil for none, that no longer says for
// which cluster name: somebody has taken its annotations off.
func hasLostMark(namespace *unstructured.Unstructured) bool {
	return namespace != nil && isMadeByUs(namespace) && namespace.GetAnnotations()[v1alpha1.TargetClusterAnnotation] == ""
}

// gatherOwner reads whether the owner of a namespace uses it, and how it should be.
func (s *Syncer) gatherOwner(st *namespaceState, name string, rule v1alpha1.TransformRule) error {
	sharesIt := !rule.SeparatesWorkspaces() && isMadeByUs(st.downstreamObj)
	s.copies.eachIn(name, func(_ schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		origin, ok := transform.OriginOf(downstreamObj)
		st.isUsed = sharesIt || !ok || origin.Workspace == st.owner.Workspace
		return !st.isUsed
	})
	workspace := logicalcluster.Name(st.owner.Workspace)
	if workspace == "" || transform.Namespace(rule, st.owner.Workspace, st.owner.Name) != name {
		return nil // it is nobody's; or the rule has changed, and nothing new goes there
	}
	s.upstream.EachIn(workspace, st.owner.Name, func(_ kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		// What is held may have a copy that the cache does not show yet.
		st.isUsed = st.isUsed || isPlaced(upstreamObj, s.cluster) || hasFinalizer(upstreamObj, s.cluster)
	})
	owner := st.owner
	owner.Cluster = s.cluster
	var err error
	if !isMadeByUs(st.downstreamObj) {
		st.desired, err = transform.NotedNamespace(name, owner)
		return err
	}
	upstreamNamespace := s.upstream.Cached(kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.NamespacesResource, Name: owner.Name})
	if upstreamNamespace != nil { // or it is gone, or nothing of it is placed here any more
		st.desired, err = transform.DesiredNamespace(upstreamNamespace, owner, rule)
	}
	return err
}

// heirOf returns the workspace, as the owner of the namespace, whose copy in it is the
// oldest, nil when there are none. Copies that were made under other cluster names do not
// count: their syncers look after them.
func (s *Syncer) heirOf(name string) *transform.Origin {
	var heir *transform.Origin
	var since time.Time
	s.copies.eachIn(name, func(_ schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		origin, ok := transform.OriginOf(downstreamObj)
		if !ok || origin.Cluster != s.cluster {
			return true
		}
		made := downstreamObj.GetCreationTimestamp().Time
		if heir == nil || made.Before(since) || made.Equal(since) && origin.Workspace < heir.Workspace {
			heir, since = &transform.Origin{Workspace: origin.Workspace, Name: origin.Namespace, Cluster: s.cluster}, made
		}
		return true
	})
	return heir
}

// namespaceFor returns what makes the namespace that an object's copy goes to, when that is
// missing. Where workspaces are separated it was there a moment ago: it is entered anew.
func (s *Syncer) namespaceFor(ctx context.Context, key kcp.ObjectKey, st state) func() (*unstructured.Unstructured, error) {
	return func() (*unstructured.Unstructured, error) {
		if st.separates {
			return nil, errStale
		}
		return s.desiredNamespace(ctx, key.Workspace, key.Namespace)
	}
}

// desiredNamespace returns the cluster's namespace for one of a workspace. What the user
// chose for it (pod security, a service mesh) has to be there before anything is in it, so
// kcp is asked when the cache does not have it.
func (s *Syncer) desiredNamespace(ctx context.Context, workspace logicalcluster.Name, name string) (*unstructured.Unstructured, error) {
	key := kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.NamespacesResource, Name: name}
	upstreamNamespace := s.upstream.Cached(key)
	if upstreamNamespace == nil {
		live, err := s.upstream.Live(ctx, key)
		if err != nil && !isNotClaimed(err) {
			return nil, err
		}
		upstreamNamespace = live
	}
	origin := transform.Origin{Workspace: workspace.String(), Name: name, Cluster: s.cluster}
	return transform.DesiredNamespace(upstreamNamespace, origin, *s.rule.Load())
}

// leaveNamespace removes or frees a namespace that its owner uses no more. Before it looks
// at that for a last time it has nothing new go there, and so nothing comes in between.
func (s *Syncer) leaveNamespace(ctx context.Context, name, resourceVersion string) (time.Duration, error) {
	s.claims.leave(name, resourceVersion)
	st, err := s.gatherNamespace(name)
	again := time.Duration(0)
	if err == nil {
		switch decideNamespace(st) {
		case namespaceGoes:
			again, err = s.removeNamespace(ctx, st)
		case namespaceFrees:
			again, err = s.giveAway(ctx, st)
		default:
			again = namespaceRetry
		}
	}
	if err != nil || again != 0 {
		s.claims.stay(name)
	}
	return again, err
}

// removeNamespace removes a namespace that tmc made, unless anything at all is left in it.
// If so, and it stays for what others have there, it is free for other workspaces.
func (s *Syncer) removeNamespace(ctx context.Context, st namespaceState) (time.Duration, error) {
	name := st.downstreamObj.GetName()
	left, err := s.downstream.anythingIn(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("looking whether namespace %s is empty: %w", name, err)
	}
	if left != "" {
		// What goes together with the copies takes a moment: the namespace would be marked
		// only to be removed then.
		isKept := s.lingering.NumRequeues(name) >= looksBeforeKept
		if isKept && st.owner.Workspace != "" && s.rule.Load().SeparatesWorkspaces() {
			return s.giveAway(ctx, st)
		}
		again := s.lingering.When(name)
		klog.FromContext(ctx).V(2).Info("The namespace is kept for what is in it", "namespace", name, "holds", left, "again", again)
		return again, nil
	}
	klog.FromContext(ctx).Info("Removing an empty namespace that tmc made", "namespace", name)
	return 0, s.downstream.remove(ctx, v1alpha1.NamespacesResource, st.downstreamObj)
}

// anythingIn returns what is in a namespace, the first thing found, "" when it is
// empty. What every namespace has by itself does not count, nor does what is only seen
// there and cannot be made (metrics of pods); what the syncer may not look at does. It
// fails when it cannot look everywhere for another reason.
func (d *downstream) anythingIn(ctx context.Context, namespace string) (string, error) {
	lists, err := d.discovery.ServerPreferredNamespacedResources()
	if err != nil {
		return "", err
	}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "create"}}, lists) {
		groupVersion, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return "", err
		}
		for _, resource := range list.APIResources {
			if resource.Name == eventsResource {
				continue
			}
			found, err := d.anyOf(ctx, groupVersion.WithResource(resource.Name), namespace)
			if err != nil || found != "" {
				return found, err
			}
		}
	}
	return "", nil
}

// pageSize is how many objects to look at in one request: what does not count are a
// handful at most.
const pageSize = 20

func (d *downstream) anyOf(ctx context.Context, resource schema.GroupVersionResource, namespace string) (string, error) {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := d.metadata.Resource(resource).Namespace(namespace).List(ctx, options)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
			return "", nil // it is served no more, or cannot be listed
		case apierrors.IsForbidden(err):
			return fmt.Sprintf("%s, perhaps: the syncer's account may not list them", resource.GroupResource()), nil
		case err != nil:
			return "", err
		}
		for i := range list.Items {
			if !comesByItself(resource.GroupResource(), &list.Items[i]) {
				return resource.GroupResource().String() + " " + list.Items[i].Name, nil
			}
		}
		if list.Continue == "" {
			return "", nil
		}
		options.Continue = list.Continue
	}
}

// byThemselves are the objects that controllers put into every namespace, by
// resource: Kubernetes' own (root CA publisher, service account controller), OpenShift's
// and Istio's.
var byThemselves = map[schema.GroupResource][]string{
	{Resource: "configmaps"}:      {"kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"},
	{Resource: "serviceaccounts"}: {"default", "builder", "deployer"},
}

// eventsResource is what events are called in every API group that has them. They say
// nothing about a namespace being in use.
const eventsResource = "events"

// comesByItself reports whether an object says nothing about a namespace being in use:
// what controllers put into every namespace, and what is not stored and therefore has
// no UID.
func comesByItself(resource schema.GroupResource, obj *metav1.PartialObjectMetadata) bool {
	return obj.UID == "" || slices.Contains(byThemselves[resource], obj.Name)
}

// isNotClaimed reports whether a workspace has not let tmc see its namespaces: it was
// bound before tmc asked for that.
func isNotClaimed(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || errors.Is(err, upstream.ErrUnknownWorkspace)
}
