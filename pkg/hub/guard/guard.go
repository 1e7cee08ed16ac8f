package guard

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// upstream is the part of kcp that a Guard uses.
type upstream interface {
	HasReadWorkspace(workspace logicalcluster.Name) bool
	// Provider returns the name of the logical cluster that holds the APIExports.
	Provider() logicalcluster.Name
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Live(ctx context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error)
	Create(ctx context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error)
	Update(ctx context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error)
}

// bindings say which exports and claims workspaces have accepted.
type bindings interface {
	LeftOut(workspace logicalcluster.Name, export string, resource schema.GroupResource) v1alpha1.LeftOut
	LetsKeepPolicies(workspace logicalcluster.Name) bool
}

// Guard keeps tmc's policies in the workspaces that have bound tmc.
type Guard struct {
	upstream upstream
	bindings bindings
	handlers []func(workspace logicalcluster.Name)
	loop     *controller.Controller[logicalcluster.Name]
	// now is the clock; tests replace it.
	now func() time.Time

	mu sync.Mutex
	// provider is the provider of the wanted policies.
	provider logicalcluster.Name
	wanted   []wanted
	// known says in which workspaces the policies are in force. An entry is dropped when a policy changes.
	known map[logicalcluster.Name]bool
	// told is what the handlers were called for last.
	told map[logicalcluster.Name]bool
	// limits bound how often the policies of workspaces are restored.
	limits map[logicalcluster.Name]*rate.Limiter
}

const (
	// workers are how many workspaces are processed side by side: a write takes some 10 ms.
	workers = 4
	// readRetry is when a workspace is checked again that has not been read as a whole, or was written to.
	readRetry = time.Second
	// burst and refill bound how often the policies of one workspace are restored: that many times at once, and then
	// once per refill. Somebody who deletes them again and again, or another version of tmc with other policies, must
	// not cost more.
	burst  = 20
	refill = 30 * time.Second
)

// New returns a Guard over caches of objects that Slim has slimmed.
func New(upstream upstream, bindings bindings) *Guard {
	g := &Guard{
		upstream: upstream, bindings: bindings, now: time.Now,
		known: map[logicalcluster.Name]bool{}, told: map[logicalcluster.Name]bool{}, limits: map[logicalcluster.Name]*rate.Limiter{},
	}
	g.loop = controller.New("guard", g.sync)
	return g
}

// Handle adds handlers, which are called in this order for each workspace where the policies come into force, or are no
// longer in force. It is called before Run.
func (g *Guard) Handle(handlers ...func(workspace logicalcluster.Name)) {
	g.handlers = append(g.handlers, handlers...)
}

// Run keeps the policies until ctx ends.
func (g *Guard) Run(ctx context.Context) { g.loop.Run(ctx, workers) }

// OnUpstream takes note of changed policies, and of changed APIBindings, which say whether the policies may be kept. It
// is an upstream.Handler, and comes after that of the bindings.
func (g *Guard) OnUpstream(key kcp.ObjectKey, _, _ *unstructured.Unstructured) {
	isPolicy := v1alpha1.IsPolicy(key.Resource.GroupResource())
	switch {
	case isPolicy && !names.Has(key.Name), !isPolicy && key.Resource.GroupResource() != kcp.APIBindingsResource.GroupResource():
		return
	case isPolicy:
		g.mu.Lock()
		delete(g.known, key.Workspace)
		g.mu.Unlock()
	}
	g.loop.Enqueue(key.Workspace)
}

// LeftOut returns why an APIExport would not show what is placed in a workspace, or why nothing may be placed there
// because kcp would not check who writes what is tmc's. It returns the empty value when neither is so.
func (g *Guard) LeftOut(workspace logicalcluster.Name, export string, resource schema.GroupResource) v1alpha1.LeftOut {
	why := g.bindings.LeftOut(workspace, export, resource)
	switch {
	case why != "":
		return why
	case !g.bindings.LetsKeepPolicies(workspace):
		return v1alpha1.LeftOutPoliciesNotAccepted // policies that were seen before may be gone since
	case !g.InForce(workspace):
		return v1alpha1.LeftOutPoliciesMissing
	default:
		return ""
	}
}

// InForce reports whether a workspace has tmc's policies unchanged, as far as the caches show.
func (g *Guard) InForce(workspace logicalcluster.Name) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inForce(workspace)
}

// inForce is InForce. The caller holds mu.
func (g *Guard) inForce(workspace logicalcluster.Name) bool {
	all := g.all()
	if inForce, known := g.known[workspace]; known {
		return inForce
	}
	inForce := len(all) > 0
	for _, w := range all {
		inForce = inForce && w.compare(g.upstream.Cached(w.in(workspace)), cachedDigest) == equal
	}
	g.known[workspace] = inForce
	return inForce
}

// all returns the policies that each workspace should have; none while the provider is not known. The caller holds mu.
func (g *Guard) all() []wanted {
	provider := g.upstream.Provider()
	if provider == g.provider {
		return g.wanted
	}
	g.provider, g.wanted, g.known = provider, nil, map[logicalcluster.Name]bool{}
	if provider != "" {
		g.wanted, _ = wantedOf(provider) // it does not fail with a name: see names
	}
	return g.wanted
}

func (g *Guard) sync(ctx context.Context, workspace logicalcluster.Name) (time.Duration, error) {
	if !g.upstream.HasReadWorkspace(workspace) {
		return readRetry, nil
	}
	if !g.bindings.LetsKeepPolicies(workspace) {
		g.forget(workspace)
		return 0, nil
	}
	broken, limit := g.check(workspace)
	if len(broken) == 0 {
		return 0, nil
	}
	now := g.now()
	if wait := time.Duration(max(0, 1-limit.TokensAt(now)) * float64(refill)); wait > 0 {
		return wait, nil
	}
	for _, w := range broken {
		if err := g.restore(ctx, w.in(workspace), w); err != nil {
			return 0, err
		}
	}
	limit.AllowN(now, 1)
	// The event of the write brings the next call. If the caches never show the write, this does.
	return readRetry, nil
}

// check returns the policies that have to be made or restored in a workspace, and the limit for that. It calls the
// handlers when the policies have come into force, or are no longer in force.
func (g *Guard) check(workspace logicalcluster.Name) (broken []wanted, limit *rate.Limiter) {
	g.mu.Lock()
	inForce := g.inForce(workspace)
	before, told := g.told[workspace]
	g.told[workspace] = inForce
	if !inForce {
		if g.limits[workspace] == nil {
			g.limits[workspace] = rate.NewLimiter(rate.Every(refill), burst)
		}
		for _, w := range g.all() {
			if is := w.compare(g.upstream.Cached(w.in(workspace)), cachedDigest); is == missing || is == changed {
				broken = append(broken, w)
			}
		}
	}
	limit = g.limits[workspace]
	g.mu.Unlock()
	if !told || before != inForce {
		g.tell(workspace)
	}
	return broken, limit
}

// forget drops what is known of a workspace that does not let the policies be kept: it may be gone for good.
func (g *Guard) forget(workspace logicalcluster.Name) {
	g.mu.Lock()
	_, told := g.told[workspace]
	delete(g.known, workspace)
	delete(g.told, workspace)
	delete(g.limits, workspace)
	g.mu.Unlock()
	if told {
		g.tell(workspace)
	}
}

// tell calls the handlers.
func (g *Guard) tell(workspace logicalcluster.Name) {
	for _, handler := range g.handlers {
		handler(workspace)
	}
}

// restore makes a policy, or replaces its spec. It never patches: nobody may patch policies, or syncers, which may
// patch what is in the virtual workspace, could change them.
func (g *Guard) restore(ctx context.Context, key kcp.ObjectKey, w wanted) error {
	live, err := g.upstream.Live(ctx, key)
	if err != nil {
		return err
	}
	switch w.compare(live, digestOf) {
	case missing:
		klog.FromContext(ctx).Info("Putting a policy in", "resource", key.Resource.Resource, "name", key.Name)
		_, err = g.upstream.Create(ctx, key, w.object)
	case changed:
		klog.FromContext(ctx).Info("Putting a policy right that somebody has changed", "resource", key.Resource.Resource, "name", key.Name)
		_, err = g.upstream.Update(ctx, key, w.onto(live))
	case going, equal: // an event tells when it is gone, or that it exists
	}
	return err
}
