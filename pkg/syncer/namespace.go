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
)

// Namespaces that tmc makes carry what the user chose for theirs (labels and
// annotations), and go when nothing at all is left in them. They have neither
// finalizer nor report in kcp: the objects in them have.

// How often to look at a namespace that holds something yet: soon, for what is left
// is mostly pods that end, and ever less often, up to longestRecheck, for what others
// have put there may stay.
const namespaceRetry = time.Second

// namespaceAction is what one turn does with a namespace of ours.
type namespaceAction string

const (
	namespaceStays   namespaceAction = "nothing"
	namespaceUpdates namespaceAction = "update"
	namespaceGoes    namespaceAction = "remove if empty"
)

// namespaceState is what is known of a namespace that tmc made.
type namespaceState struct {
	// downstreamObj and desired are the namespace as it is and as it should be.
	downstreamObj, desired *unstructured.Unstructured
	// isUsed is whether copies of ours are in it, or are to go there.
	isUsed bool
}

func decideNamespace(s namespaceState) namespaceAction {
	switch {
	case s.downstreamObj == nil, isDeleting(s.downstreamObj):
		return namespaceStays
	case !s.isUsed:
		return namespaceGoes
	case s.desired == nil, transform.Stands(s.desired, s.downstreamObj):
		return namespaceStays
	default:
		return namespaceUpdates
	}
}

// syncNamespace is a turn of the namespace loop.
func (s *Syncer) syncNamespace(ctx context.Context, name string) (time.Duration, error) {
	st, err := s.gatherNamespace(name)
	if err != nil {
		return 0, err
	}
	verdict := decideNamespace(st)
	if verdict != namespaceGoes {
		s.lingering.Forget(name)
	}
	switch verdict {
	case namespaceUpdates:
		body := st.desired.DeepCopy()
		body.SetUID(st.downstreamObj.GetUID())
		_, err := s.downstream.applyOnce(ctx, v1alpha1.NamespacesResource, body)
		return 0, err
	case namespaceGoes:
		return s.removeNamespace(ctx, st.downstreamObj)
	default:
		return 0, nil
	}
}

// gatherNamespace reads what is known of a namespace. One that was made under
// another cluster name, or by nobody of us, is none of ours.
func (s *Syncer) gatherNamespace(name string) (namespaceState, error) {
	st := namespaceState{downstreamObj: s.copies.namespace(name)}
	if st.downstreamObj == nil {
		return st, nil
	}
	origin, ok := transform.OriginOf(st.downstreamObj)
	if !ok || origin.Cluster != s.cluster {
		return namespaceState{}, nil
	}
	s.copies.eachIn(name, func(schema.GroupVersionResource, *unstructured.Unstructured) bool {
		st.isUsed = true
		return false
	})
	workspace := logicalcluster.Name(origin.Workspace)
	if transform.Namespace(*s.rule.Load(), origin.Workspace, origin.Name) != name {
		return st, nil // the rule has changed: nothing new goes there
	}
	upstreamNamespace := s.upstream.Cached(kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.NamespacesResource, Name: origin.Name})
	if upstreamNamespace == nil {
		return st, nil // it is gone, or nothing of it is placed here any more
	}
	s.upstream.EachIn(workspace, origin.Name, func(_ kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		st.isUsed = st.isUsed || isPlaced(upstreamObj, s.cluster)
	})
	var err error
	st.desired, err = transform.DesiredNamespace(upstreamNamespace, origin, *s.rule.Load())
	return st, err
}

// namespaceFor returns what makes the namespace that an object's copy goes to. What
// the user chose for it (pod security, a service mesh) has to be there before
// anything is in it, so kcp is asked when the cache does not have it.
func (s *Syncer) namespaceFor(ctx context.Context, key kcp.ObjectKey) func() (*unstructured.Unstructured, error) {
	return func() (*unstructured.Unstructured, error) {
		namespaceKey := kcp.ObjectKey{Workspace: key.Workspace, Resource: v1alpha1.NamespacesResource, Name: key.Namespace}
		upstreamNamespace := s.upstream.Cached(namespaceKey)
		if upstreamNamespace == nil {
			live, err := s.upstream.Live(ctx, namespaceKey)
			if err != nil && !isNotClaimed(err) {
				return nil, err
			}
			upstreamNamespace = live
		}
		origin := transform.Origin{Workspace: key.Workspace.String(), Name: key.Namespace, Cluster: s.cluster}
		return transform.DesiredNamespace(upstreamNamespace, origin, *s.rule.Load())
	}
}

// removeNamespace removes a namespace that tmc made, unless anything at all is left
// in it.
func (s *Syncer) removeNamespace(ctx context.Context, namespace *unstructured.Unstructured) (time.Duration, error) {
	name := namespace.GetName()
	left, err := s.downstream.anythingIn(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("looking whether namespace %s is empty: %w", name, err)
	}
	if left != "" {
		again := s.lingering.When(name)
		klog.FromContext(ctx).V(2).Info("The namespace is kept for what is in it", "namespace", name, "holds", left, "again", again)
		return again, nil
	}
	klog.FromContext(ctx).Info("Removing an empty namespace that tmc made", "namespace", name)
	return 0, s.downstream.remove(ctx, v1alpha1.NamespacesResource, namespace)
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

// comesByItself tells whether an object says nothing about a namespace being in use:
// what controllers put into every namespace, and what is not stored and therefore has
// no UID.
func comesByItself(resource schema.GroupResource, obj *metav1.PartialObjectMetadata) bool {
	return obj.UID == "" || slices.Contains(byThemselves[resource], obj.Name)
}

// isNotClaimed tells whether a workspace has not let tmc see its namespaces: it was
// bound before tmc asked for that.
func isNotClaimed(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || errors.Is(err, kcp.ErrUnknownWorkspace)
}
