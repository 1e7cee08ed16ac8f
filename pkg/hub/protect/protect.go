package protect

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const (
	// retryInterval is when a workspace is checked again that has not been read as a whole, or where a binding that is
	// being deleted is still used. It is also the least time between two writes to keep one.
	retryInterval = time.Second
	// askAfter is how long a binding that is being deleted is kept before kcp itself is asked whether it is used, and how often.
	askAfter = 10 * time.Second
	// workers are how many workspaces are processed side by side.
	workers = 4
)

// upstream is the part of kcp that a Protector uses.
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
	// exportsOf returns the APIExports through which a cluster's syncer sees its objects, or is about to; none for a
	// cluster that is not registered.
	exportsOf func(cluster string) []string
	kept      kept
	loop      *controller.Controller[logicalcluster.Name]
	// now is the clock; tests replace it.
	now func() time.Time

	mu sync.Mutex
	// workspaces are those that have bound anything of tmc's, or are about to be placed in.
	workspaces map[logicalcluster.Name]*remembered
}

// remembered is what is remembered of one workspace.
type remembered struct {
	// seen are the clusters that used it when it was checked last.
	seen sets.Set[string]
	// written says when our finalizer was last added to its bindings, by their names.
	written map[string]time.Time
	// wanted says since when APIExports are to be kept for what is about to be placed, and placing what is.
	wanted  map[string]time.Time
	placing map[string]*placing
	// ask is when kcp is asked about it, zero unless a binding is kept that is being deleted.
	ask time.Time
}

// remember returns what is remembered of a workspace, from now on if it was nothing. The caller holds mu.
func (p *Protector) remember(workspace logicalcluster.Name) *remembered {
	r := p.workspaces[workspace]
	if r == nil {
		r = &remembered{written: map[string]time.Time{}, wanted: map[string]time.Time{}, placing: map[string]*placing{}}
		p.workspaces[workspace] = r
	}
	return r
}

// New returns a Protector over caches of all objects. exportsOf names the APIExports through which a cluster's syncer
// sees its objects.
func New(upstream upstream, kept kept, exportsOf func(cluster string) []string) *Protector {
	p := &Protector{
		upstream: upstream, exportsOf: exportsOf, kept: kept, now: time.Now, workspaces: map[logicalcluster.Name]*remembered{},
	}
	p.loop = controller.New("protector", p.sync)
	return p
}

// Run keeps bindings until ctx ends.
func (p *Protector) Run(ctx context.Context) { p.loop.Run(ctx, workers) }

// OnUpstream takes note of changed APIBindings, and of the first object of a workspace on a cluster. It is an
// upstream.Handler.
func (p *Protector) OnUpstream(key kcp.ObjectKey, _, newObj *unstructured.Unstructured) {
	if isBinding(key) || p.isNews(key, newObj) {
		p.loop.Enqueue(key.Workspace)
	}
}

// OnCluster has the workspaces checked that a cluster uses: it may see them through another APIExport from now on.
func (p *Protector) OnCluster(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for workspace, r := range p.workspaces {
		if r.seen.Has(cluster) {
			p.loop.Enqueue(workspace)
		}
	}
}

// isNews reports whether an object, nil for none, is on a cluster that did not use its workspace before.
func (p *Protector) isNews(key kcp.ObjectKey, obj *unstructured.Unstructured) bool {
	if obj == nil || !isHeldKind(key) {
		return false
	}
	clusters := clustersOn(obj)
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.workspaces[key.Workspace]
	return r == nil || !r.seen.HasAll(clusters...)
}

func isBinding(key kcp.ObjectKey) bool {
	return key.Resource.GroupResource() == kcp.APIBindingsResource.GroupResource()
}

// isHeldKind reports whether syncers hold objects of a key's resource. Namespaces only get labels, and go last.
func isHeldKind(key kcp.ObjectKey) bool {
	return v1alpha1.IsSynced(key.Resource.GroupResource(), key.Namespace != "")
}

func (p *Protector) sync(ctx context.Context, workspace logicalcluster.Name) (time.Duration, error) {
	if !p.upstream.HasReadWorkspace(workspace) {
		return retryInterval, nil // what has not been read may be used
	}
	bindings, clusters := p.gather(workspace)
	wanted, underWay := p.wantedIn(workspace)
	do := decide(bindings, p.exports(clusters).Union(underWay), wanted)
	if p.asks(workspace, do.isWaiting) {
		do = decide(bindings, p.exports(p.confirmed(ctx, workspace, clusters)).Union(underWay), wanted)
	}
	for _, b := range do.release {
		klog.FromContext(ctx).Info("Letting an APIBinding go: no cluster sees anything through it any more", "name", b.key.Name, "export", b.export)
		if err := p.write(ctx, b, false); err != nil {
			return 0, err
		}
	}
	switch {
	case len(do.keep) > 0:
		return p.keep(ctx, workspace, do.keep)
	case do.isWaiting:
		return retryInterval, nil
	default:
		return 0, nil
	}
}

// exports returns the APIExports through which the syncers of clusters see objects.
func (p *Protector) exports(clusters sets.Set[string]) sets.Set[string] {
	exports := sets.New[string]()
	for cluster := range clusters {
		exports.Insert(p.exportsOf(cluster)...)
	}
	return exports
}

// asks reports whether it is time to ask kcp what uses a workspace, of which a binding is kept that is being deleted, or is not.
func (p *Protector) asks(workspace logicalcluster.Name, isWaiting bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.workspaces[workspace]
	switch {
	case r == nil:
		return false
	case !isWaiting:
		r.ask = time.Time{}
		return false
	}
	isFirst, isDue := r.ask.IsZero(), !p.now().Before(r.ask)
	if isFirst || isDue {
		r.ask = p.now().Add(askAfter)
	}
	return isDue && !isFirst
}

// confirmed returns those of the clusters that kcp itself says use a workspace. While a workspace ends, kcp may not tell of all that
// goes: what is left in the caches then would keep the binding, and so the workspace, for ever. Where kcp does not say, all clusters
// use it. It asks until it has found all: most often one object of each.
func (p *Protector) confirmed(ctx context.Context, workspace logicalcluster.Name, clusters sets.Set[string]) sets.Set[string] {
	var keys []kcp.ObjectKey
	p.upstream.EachInWorkspace(workspace, func(key kcp.ObjectKey, obj *unstructured.Unstructured) {
		if isHeldKind(key) && len(clustersOn(obj)) > 0 {
			keys = append(keys, key)
		}
	})
	found := sets.New[string]()
	for _, key := range keys {
		live, err := p.upstream.Live(ctx, key)
		if err != nil {
			klog.FromContext(ctx).V(2).Info("kcp does not say whether an object is there that keeps an APIBinding", "object", key, "reason", err.Error())
			return clusters
		}
		if live != nil {
			found.Insert(clustersOn(live)...)
		}
		if found.IsSuperset(clusters) {
			break
		}
	}
	return found
}

// gather reads from the caches what a workspace has bound, and which clusters use it. It remembers the clusters, and
// forgets a workspace that has bound nothing: that may be gone for good.
func (p *Protector) gather(workspace logicalcluster.Name) ([]binding, sets.Set[string]) {
	var bindings []binding
	clusters := sets.New[string]()
	provider := p.upstream.Provider()
	p.upstream.EachInWorkspace(workspace, func(key kcp.ObjectKey, obj *unstructured.Unstructured) {
		switch {
		case isBinding(key):
			if b, isOurs := bindingOf(key, obj, provider); isOurs {
				bindings = append(bindings, b)
			}
		case isHeldKind(key):
			clusters.Insert(clustersOn(obj)...)
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.remember(workspace).seen = clusters; len(bindings) == 0 {
		delete(p.workspaces, workspace)
	}
	return bindings, clusters
}

// keep adds our finalizer to bindings, to each at most once in retryInterval: somebody may remove it again and again.
func (p *Protector) keep(ctx context.Context, workspace logicalcluster.Name, bindings []binding) (time.Duration, error) {
	var again time.Duration
	for _, b := range bindings {
		p.mu.Lock()
		wait := p.remember(workspace).written[b.key.Name].Add(retryInterval).Sub(p.now())
		p.mu.Unlock()
		if wait > 0 {
			again = controller.Sooner(again, wait)
			continue
		}
		klog.FromContext(ctx).V(2).Info("Holding an APIBinding: a cluster sees objects through it", "name", b.key.Name, "export", b.export)
		if err := p.write(ctx, b, true); err != nil {
			return 0, err
		}
		p.mu.Lock()
		p.remember(workspace).written[b.key.Name] = p.now()
		p.mu.Unlock()
	}
	return again, nil // the events of the writes bring the next call
}

// write adds our finalizer to a binding, or removes it. It adds none to a binding that is being deleted. It updates the
// live object: the caches keep only a part, and nobody may patch APIBindings (see the claim).
func (p *Protector) write(ctx context.Context, b binding, isKept bool) error {
	live, err := p.upstream.Live(ctx, b.key)
	if err != nil || live == nil || live.GetUID() != b.obj.GetUID() {
		return err // an event tells of another binding
	}
	finalizers := protocol.WithoutInUse(live.GetFinalizers())
	if isKept {
		finalizers = append(finalizers, v1alpha1.InUseFinalizer)
	}
	if len(finalizers) == len(live.GetFinalizers()) || isKept && live.GetDeletionTimestamp() != nil {
		return nil // the caches lag
	}
	live = live.DeepCopy()
	live.SetFinalizers(finalizers)
	_, err = p.upstream.Update(ctx, b.key, live)
	if kcp.IsMissingObject(err, b.key.Name) {
		return nil // it is gone meanwhile
	}
	return err
}
