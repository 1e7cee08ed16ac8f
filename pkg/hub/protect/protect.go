package protect

import (
	"context"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const (
	// lookInterval is how often a workspace is looked at of which not all has been read, or
	// where a binding that is being deleted is used yet, and how often one is written to.
	lookInterval = time.Second
	// workers are how many workspaces are looked after at a time.
	workers = 4
)

// upstream is what a Protector needs of kcp.
type upstream interface {
	HasReadWorkspace(workspace logicalcluster.Name) bool
	// Provider returns the name of the logical cluster that holds the APIExports.
	Provider() logicalcluster.Name
	EachInWorkspace(workspace logicalcluster.Name, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	Live(ctx context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error)
	Update(ctx context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error)
}

// Protector keeps the APIBindings of workspaces while they are used.
type Protector struct {
	upstream upstream
	// exportsOf returns the APIExports through which a cluster's syncer sees its objects, or
	// is about to; none of a cluster that is not registered.
	exportsOf func(cluster string) []string
	loop      *controller.Controller[logicalcluster.Name]
	// now is the clock; tests replace it.
	now func() time.Time

	mu sync.Mutex
	// seen are the clusters that were found to use a workspace when it was looked at last.
	seen map[logicalcluster.Name]sets.Set[string]
	// written says when bindings of a workspace were last held.
	written map[logicalcluster.Name]time.Time
}

// New returns a Protector over caches of all objects. exportsOf names the APIExports through
// which a cluster's syncer sees its objects.
func New(upstream upstream, exportsOf func(cluster string) []string) *Protector {
	p := &Protector{
		upstream: upstream, exportsOf: exportsOf, now: time.Now,
		seen: map[logicalcluster.Name]sets.Set[string]{}, written: map[logicalcluster.Name]time.Time{},
	}
	p.loop = controller.New("protector", p.sync)
	return p
}

// Run keeps bindings until ctx ends.
func (p *Protector) Run(ctx context.Context) { p.loop.Run(ctx, workers) }

// OnUpstream takes note of APIBindings that have changed, and of the first object of a
// workspace that a cluster gets; it is a upstream.Handler.
func (p *Protector) OnUpstream(key kcp.ObjectKey, _, newObj *unstructured.Unstructured) {
	if key.Resource.GroupResource() == v1alpha1.APIBindingsResource.GroupResource() || p.isNews(key, newObj) {
		p.loop.Enqueue(key.Workspace)
	}
}

// OnCluster has the workspaces looked at again that a cluster uses: it may see them through
// another APIExport from now on.
func (p *Protector) OnCluster(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for workspace, clusters := range p.seen {
		if clusters.Has(cluster) {
			p.loop.Enqueue(workspace)
		}
	}
}

// isNews reports whether an object, nil for none, is on a cluster that did not use its
// workspace.
func (p *Protector) isNews(key kcp.ObjectKey, obj *unstructured.Unstructured) bool {
	if obj == nil || !counts(key) {
		return false
	}
	clusters := clustersOn(obj)
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.seen[key.Workspace].HasAll(clusters...)
}

// counts reports whether objects of a key's resource are held by syncers. Namespaces are only
// labelled, and go last.
func counts(key kcp.ObjectKey) bool {
	return v1alpha1.IsSynced(key.Resource.GroupResource(), key.Namespace != "")
}

func (p *Protector) sync(ctx context.Context, workspace logicalcluster.Name) (time.Duration, error) {
	if !p.upstream.HasReadWorkspace(workspace) {
		return lookInterval, nil // what is not seen yet may be used
	}
	bindings, clusters := p.gather(workspace)
	p.note(workspace, clusters, len(bindings) > 0)
	inUse := sets.New[string]()
	for cluster := range clusters {
		inUse.Insert(p.exportsOf(cluster)...)
	}
	do := decide(bindings, inUse)
	for _, b := range do.release {
		klog.FromContext(ctx).Info("Letting an APIBinding go: no cluster sees anything through it any more", "name", b.key.Name, "export", b.export)
		if err := p.write(ctx, b, false); err != nil {
			return 0, err
		}
	}
	if len(do.hold) > 0 {
		return p.hold(ctx, workspace, do.hold)
	}
	if do.isWaiting {
		return lookInterval, nil
	}
	return 0, nil
}

// gather reads from the caches what a workspace has bound, and which clusters use it.
func (p *Protector) gather(workspace logicalcluster.Name) ([]binding, sets.Set[string]) {
	var bindings []binding
	clusters := sets.New[string]()
	provider := p.upstream.Provider()
	p.upstream.EachInWorkspace(workspace, func(key kcp.ObjectKey, obj *unstructured.Unstructured) {
		switch {
		case key.Resource.GroupResource() == v1alpha1.APIBindingsResource.GroupResource():
			if b, isOurs := bindingOf(key, obj, provider); isOurs {
				bindings = append(bindings, b)
			}
		case counts(key):
			clusters.Insert(clustersOn(obj)...)
		}
	})
	return bindings, clusters
}

// note remembers which clusters use a workspace, and forgets one that has bound nothing: it may
// be gone for good.
func (p *Protector) note(workspace logicalcluster.Name, clusters sets.Set[string], isBound bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[workspace] = clusters; !isBound {
		delete(p.seen, workspace)
		delete(p.written, workspace)
	}
}

// hold sets our finalizer on bindings. Whoever takes it off again and again does not have us
// write all the time.
func (p *Protector) hold(ctx context.Context, workspace logicalcluster.Name, bindings []binding) (time.Duration, error) {
	p.mu.Lock()
	wait := p.written[workspace].Add(lookInterval).Sub(p.now())
	p.mu.Unlock()
	if wait > 0 {
		return wait, nil
	}
	for _, b := range bindings {
		klog.FromContext(ctx).V(2).Info("Holding an APIBinding: a cluster sees objects through it", "name", b.key.Name, "export", b.export)
		if err := p.write(ctx, b, true); err != nil {
			return 0, err
		}
	}
	p.mu.Lock()
	p.written[workspace] = p.now()
	p.mu.Unlock()
	return 0, nil // the events of what has been written bring the next turn
}

func without(finalizers []string) []string {
	return slices.DeleteFunc(slices.Clone(finalizers), func(finalizer string) bool { return finalizer == v1alpha1.InUseFinalizer })
}

// write has a binding be held, or not, unless it is gone, or being deleted and to be held. The
// caches keep part of it, and nobody may patch it: see the claim.
func (p *Protector) write(ctx context.Context, b binding, isHeld bool) error {
	live, err := p.upstream.Live(ctx, b.key)
	if err != nil || live == nil || live.GetUID() != b.obj.GetUID() {
		return err // an event tells of another one
	}
	finalizers := without(live.GetFinalizers())
	if isHeld {
		finalizers = append(finalizers, v1alpha1.InUseFinalizer)
	}
	if len(finalizers) == len(live.GetFinalizers()) || isHeld && live.GetDeletionTimestamp() != nil {
		return nil // the caches lag
	}
	live = live.DeepCopy()
	live.SetFinalizers(finalizers)
	_, err = p.upstream.Update(ctx, b.key, live)
	if apierrors.IsNotFound(err) {
		return nil // gone meanwhile
	}
	return err
}
