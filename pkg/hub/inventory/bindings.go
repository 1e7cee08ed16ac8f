package inventory

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// bindingsIndex finds the APIBindings of a workspace.
const bindingsIndex = "bindings"

func isBinding(upstreamObj *unstructured.Unstructured) bool {
	return upstreamObj.GroupVersionKind().GroupKind() == kcp.APIBindingKind.GroupKind()
}

// bound is what a workspace has bound of the provider's APIExports.
type bound struct {
	// isShown is whether it lets the hub see all its APIBindings.
	isShown bool
	// letsKeep is whether it lets the hub keep the policies that guard it.
	letsKeep bool
	// kinds are, for each bound APIExport of a cluster or a group, the resources of which its
	// virtual workspace shows the objects that are placed there.
	kinds map[string]sets.Set[schema.GroupResource]
	// letsHold is whether it lets the hub keep APIBindings that are used, and held are the APIExports of those that are kept.
	letsHold bool
	held     sets.Set[string]
}

func (b *bound) equal(other bound) bool {
	return b.isShown == other.isShown && b.letsKeep == other.letsKeep && b.letsHold == other.letsHold && b.held.Equal(other.held) && maps.EqualFunc(b.kinds, other.kinds, sets.Set[schema.GroupResource].Equal)
}

// bindingCaches is what Bindings need of kcp's caches.
type bindingCaches interface {
	EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	// Provider returns the name of the logical cluster that holds the APIExports.
	Provider() logicalcluster.Name
}

// Bindings know which of the provider's APIExports consumer workspaces have bound. They
// believe what kcp writes into the status of APIBindings.
type Bindings struct {
	caches   bindingCaches
	handlers []func(workspace logicalcluster.Name)
	loop     *controller.Controller[logicalcluster.Name]

	mu sync.Mutex
	// known is what was read from the caches after an APIBinding changed last.
	known map[logicalcluster.Name]bound
	// told is what was known when the handlers were called last.
	told map[logicalcluster.Name]bound
}

// NewBindings returns Bindings over caches that have Indexers.
func NewBindings(caches bindingCaches) *Bindings {
	b := &Bindings{caches: caches, known: map[logicalcluster.Name]bound{}, told: map[logicalcluster.Name]bound{}}
	b.loop = controller.New("binding", b.sync)
	return b
}

// Handle has the handlers told, in this order, of each workspace that has bound something
// else than before. It is called before Run.
func (b *Bindings) Handle(handlers ...func(workspace logicalcluster.Name)) {
	b.handlers = append(b.handlers, handlers...)
}

// Run tells the handlers of changes until ctx ends.
func (b *Bindings) Run(ctx context.Context) { b.loop.Run(ctx, 1) }

// OnUpstream takes note of APIBindings that have changed; it is an upstream.Handler.
func (b *Bindings) OnUpstream(key kcp.ObjectKey, _, _ *unstructured.Unstructured) {
	if key.Resource.GroupResource() != v1alpha1.APIBindingsResource.GroupResource() {
		return
	}
	b.mu.Lock()
	delete(b.known, key.Workspace)
	b.mu.Unlock()
	b.loop.Enqueue(key.Workspace)
}

// sync calls the handlers once for all changes of a workspace: when many clusters are bound
// at once, its objects are placed again a few times, and not for each cluster.
func (b *Bindings) sync(_ context.Context, workspace logicalcluster.Name) (time.Duration, error) {
	b.mu.Lock()
	now := b.of(workspace)
	before, told := b.told[workspace]
	if b.told[workspace] = now; !now.isShown && !now.letsKeep && len(now.kinds) == 0 {
		delete(b.told, workspace) // the workspace may be gone for good
		delete(b.known, workspace)
	}
	b.mu.Unlock()
	if !told || !before.equal(now) {
		for _, handler := range b.handlers {
			handler(workspace)
		}
	}
	return 0, nil
}

// LeftOut returns why a syncer that sees its objects through the APIExport does not see objects of the
// resource that are placed on its cluster, empty when it does. The APIExport of all
// clusters shows everything.
func (b *Bindings) LeftOut(workspace logicalcluster.Name, export string, resource schema.GroupResource) v1alpha1.LeftOut {
	if export == v1alpha1.APIExportName {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.of(workspace)
	kinds, isBound := now.kinds[export]
	switch {
	case !now.isShown:
		return v1alpha1.LeftOutBindingsHidden // what we saw before may have changed since
	case !isBound:
		return v1alpha1.LeftOutNotBound
	case !kinds.Has(resource):
		return v1alpha1.LeftOutKindNotAccepted
	default:
		return ""
	}
}

// IsKept reports whether what is placed through a workspace's binding of an APIExport is safe: it stays until its finalizer is taken
// off. It is so where the workspace does not let the hub keep its bindings, too: nothing better can be had there. What is placed through
// the APIExport of all clusters keeps that binding by itself.
func (b *Bindings) IsKept(workspace logicalcluster.Name, export string) bool {
	if export == v1alpha1.APIExportName {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.of(workspace)
	if now.isShown && !now.letsHold {
		return true
	}
	return now.held.Has(export)
}

// LetsKeepPolicies reports whether a workspace lets the hub keep the policies that guard it: its
// APIBinding of tmc accepts the claims on them.
func (b *Bindings) LetsKeepPolicies(workspace logicalcluster.Name) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(workspace).letsKeep
}

// of returns what a workspace has bound. The caller holds mu.
func (b *Bindings) of(workspace logicalcluster.Name) bound {
	if now, known := b.known[workspace]; known {
		return now
	}
	now := bound{kinds: map[string]sets.Set[schema.GroupResource]{}, held: sets.New[string]()}
	provider := b.caches.Provider()
	b.caches.EachBy(bindingsIndex, workspace.String(), func(_ kcp.ObjectKey, obj *unstructured.Unstructured) {
		binding := &apisv1alpha2.APIBinding{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, binding); err != nil {
			return // its schema does not let that be
		}
		now.add(binding, provider)
	})
	b.known[workspace] = now
	return now
}

// add adds what kcp has written into the status of a binding. Its spec does not prove
// anything: the consumer can name an APIExport of the same name in another workspace.
func (b *bound) add(binding *apisv1alpha2.APIBinding, provider logicalcluster.Name) {
	reference, status := binding.Spec.Reference.Export, binding.Status
	isOurs := reference != nil && provider != "" && status.APIExportClusterName == provider.String()
	if !isOurs || binding.DeletionTimestamp != nil || status.Phase != apisv1alpha2.APIBindingPhaseBound {
		return
	}
	if reference.Name == v1alpha1.APIExportName {
		b.addMain(status.AppliedPermissionClaims)
		return
	}
	if slices.Contains(binding.Finalizers, v1alpha1.InUseFinalizer) {
		b.held.Insert(reference.Name)
	}
	// kcp binds first, and then has all claims come into force at once.
	if len(status.AppliedPermissionClaims) > 0 {
		b.kinds[reference.Name] = b.kinds[reference.Name].Union(shownBy(reference.Name, status.AppliedPermissionClaims))
	}
}

// addMain adds what the claims of tmc's own binding that are in force let the hub do.
func (b *bound) addMain(claims []apisv1alpha2.ScopedPermissionClaim) {
	b.isShown = b.isShown || kcp.IsClaimed(claims, v1alpha1.APIBindingsResource)
	b.letsKeep = b.letsKeep || letsKeepPolicies(claims)
	b.letsHold = b.letsHold || kcp.IsClaimed(claims, kcp.APIBindingsResource, "update")
}

// shownBy returns the resources of which claims that are in force show an APIExport's virtual
// workspace what is placed there.
func shownBy(export string, claims []apisv1alpha2.ScopedPermissionClaim) sets.Set[schema.GroupResource] {
	kinds := sets.New[schema.GroupResource]()
	selected := selectedBy(export)
	for _, claim := range claims {
		if selects(claim.Selector, selected) {
			kinds.Insert(schema.GroupResource{Group: claim.Group, Resource: claim.Resource})
		}
	}
	return kinds
}

// letsKeepPolicies reports whether claims that are in force let the hub see, create and
// update all policies and their bindings.
func letsKeepPolicies(claims []apisv1alpha2.ScopedPermissionClaim) bool {
	return kcp.IsClaimed(claims, v1alpha1.PoliciesResource, "create", "update") && kcp.IsClaimed(claims, v1alpha1.PolicyBindingsResource, "create", "update")
}

// selectedBy returns the label that the views of an APIExport are made of.
func selectedBy(export string) labels.Set {
	if cluster, ok := v1alpha1.ClusterOfExport(export); ok {
		return labels.Set{v1alpha1.PlacementLabel(cluster): v1alpha1.PlacementLabelValue}
	}
	if group, ok := v1alpha1.GroupOfExport(export); ok {
		return labels.Set{v1alpha1.GroupLabel(group): v1alpha1.PlacementLabelValue}
	}
	return labels.Set{}
}

// selects reports whether a claim is accepted for all objects that have the label.
func selects(selector apisv1alpha2.PermissionClaimSelector, label labels.Set) bool {
	if selector.MatchAll {
		return true
	}
	byLabels, err := metav1.LabelSelectorAsSelector(&selector.LabelSelector)
	return err == nil && byLabels.Matches(label)
}

// SlimBinding drops from an APIBinding, in place, what nobody reads: a consumer has one for
// each cluster, with all that its APIExport claims. It does not change other objects.
func SlimBinding(obj *unstructured.Unstructured) {
	if !isBinding(obj) {
		return
	}
	unstructured.RemoveNestedField(obj.Object, "spec", "permissionClaims")
	for _, field := range []string{"boundResources", "conditions", "exportPermissionClaims"} {
		unstructured.RemoveNestedField(obj.Object, "status", field)
	}
}
