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

// upstream is what a Guard needs of kcp.
type upstream interface {
	HasReadWorkspace(workspace logicalcluster.Name) bool
	// Provider returns the name of the logical cluster that holds the APIExports.
	Provider() logicalcluster.Name
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Live(ctx context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error)
	Create(ctx context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error)
	Update(ctx context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error)
}

// bindings say what workspaces have bound.
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
	// provider is that of which wanted is.
	provider logicalcluster.Name
	wanted   []wanted
	// known says where the policies stand, as was read of the caches since one changed last.
	known map[logicalcluster.Name]bool
	// told is what was so when the handlers were called last.
	told map[logicalcluster.Name]bool
	// paces say how often the policies of workspaces may be put back.
	paces map[logicalcluster.Name]*rate.Limiter
}

// New returns a Guard over caches of what Slim has slimmed.
func New(upstream upstream, bindings bindings) *Guard {
	g := &Guard{
		upstream: upstream, bindings: bindings, now: time.Now,
		known: map[logicalcluster.Name]bool{}, told: map[logicalcluster.Name]bool{}, paces: map[logicalcluster.Name]*rate.Limiter{},
	}
	g.loop = controller.New("guard", g.sync)
	return g
}

// Handle has the handlers told, in this order, of each workspace where the policies have come
// to stand, or stand no more. It is called before Run.
func (g *Guard) Handle(handlers ...func(workspace logicalcluster.Name)) {
	g.handlers = append(g.handlers, handlers...)
}

// workers are how many workspaces are looked after at a time: a write takes some 10 ms.
const workers = 4

// Run keeps the policies until ctx ends.
func (g *Guard) Run(ctx context.Context) { g.loop.Run(ctx, workers) }

// OnUpstream takes note of policies that have changed, and of APIBindings, which say whether
// they may be kept; it is a upstream.Handler, and comes after that of the bindings.
func (g *Guard) OnUpstream(key kcp.ObjectKey, _, _ *unstructured.Unstructured) {
	isPolicy := v1alpha1.IsPolicy(key.Resource.GroupResource())
	switch {
	case isPolicy && !names.Has(key.Name), !isPolicy && key.Resource.GroupResource() != v1alpha1.APIBindingsResource.GroupResource():
		return
	case isPolicy:
		g.mu.Lock()
		delete(g.known, key.Workspace)
		g.mu.Unlock()
	}
	g.loop.Enqueue(key.Workspace)
}

// LeftOut returns why what is placed in a workspace would not be seen through an APIExport, or
// why nothing may be placed there, for kcp would not check who writes what is tmc's; empty when
// neither is so.
func (g *Guard) LeftOut(workspace logicalcluster.Name, export string, resource schema.GroupResource) v1alpha1.LeftOut {
	why := g.bindings.LeftOut(workspace, export, resource)
	switch {
	case why != "":
		return why
	case !g.bindings.LetsKeepPolicies(workspace):
		return v1alpha1.LeftOutPoliciesNotAccepted // what was seen once may be gone since
	case !g.Stand(workspace):
		return v1alpha1.LeftOutPoliciesMissing
	default:
		return ""
	}
}

// Stand reports whether tmc's policies stand in a workspace as they are to be. What has been
// seen where they may be kept no more is not known to stand.
func (g *Guard) Stand(workspace logicalcluster.Name) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stand(workspace)
}

// stand is Stand. The caller holds mu.
func (g *Guard) stand(workspace logicalcluster.Name) bool {
	all := g.all()
	if stand, known := g.known[workspace]; known {
		return stand
	}
	stand := len(all) > 0
	for _, w := range all {
		stand = stand && w.judge(g.upstream.Cached(w.in(workspace)), cachedDigest) == standing
	}
	g.known[workspace] = stand
	return stand
}

// all returns what each workspace is to have; nothing while it is not known whose the
// APIExports are. The caller holds mu.
func (g *Guard) all() []wanted {
	provider := g.upstream.Provider()
	if provider == g.provider {
		return g.wanted
	}
	g.provider, g.wanted, g.known = provider, nil, map[logicalcluster.Name]bool{}
	if provider != "" {
		g.wanted, _ = wantedOf(provider) // it has been read before: see names
	}
	return g.wanted
}

// readRetry is how often a workspace is looked at of which not all has been read.
const readRetry = time.Second

func (g *Guard) sync(ctx context.Context, workspace logicalcluster.Name) (time.Duration, error) {
	if !g.upstream.HasReadWorkspace(workspace) {
		return readRetry, nil
	}
	if !g.bindings.LetsKeepPolicies(workspace) {
		g.forget(workspace)
		return 0, nil
	}
	broken := g.look(workspace)
	if len(broken) == 0 {
		return 0, nil
	}
	pace := g.pace(workspace)
	if wait := untilAllowed(pace, g.now()); wait > 0 {
		return wait, nil
	}
	for _, w := range broken {
		if err := g.put(ctx, w.in(workspace), w); err != nil {
			return 0, err
		}
	}
	pace.AllowN(g.now(), 1)
	// The event of what has been written brings the next turn. Where the caches do not come to
	// show it, that is looked into again.
	return readRetry, nil
}

// look tells of a change of whether the policies stand, and returns which of them have to be
// put in or back.
func (g *Guard) look(workspace logicalcluster.Name) (broken []wanted) {
	g.mu.Lock()
	stand := g.stand(workspace)
	before, told := g.told[workspace]
	g.told[workspace] = stand
	for _, w := range g.all() {
		if stand {
			break
		}
		if is := w.judge(g.upstream.Cached(w.in(workspace)), cachedDigest); is == missing || is == changed {
			broken = append(broken, w)
		}
	}
	g.mu.Unlock()
	if !told || before != stand {
		for _, handler := range g.handlers {
			handler(workspace)
		}
	}
	return broken
}

// pace returns the limit of a workspace.
func (g *Guard) pace(workspace logicalcluster.Name) *rate.Limiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paces[workspace] == nil {
		g.paces[workspace] = newPace()
	}
	return g.paces[workspace]
}

// forget drops what is known of a workspace that does not let the policies be kept: it may be
// gone for good.
func (g *Guard) forget(workspace logicalcluster.Name) {
	g.mu.Lock()
	_, told := g.told[workspace]
	delete(g.known, workspace)
	delete(g.told, workspace)
	delete(g.paces, workspace)
	g.mu.Unlock()
	if told {
		for _, handler := range g.handlers {
			handler(workspace)
		}
	}
}

// put makes a policy, or has it be as it is to be. Nobody may patch it: an account that may
// patch what is in the virtual workspace must not be able to change policies.
func (g *Guard) put(ctx context.Context, key kcp.ObjectKey, w wanted) error {
	live, err := g.upstream.Live(ctx, key)
	if err != nil {
		return err
	}
	switch w.judge(live, digestOf) {
	case missing:
		klog.FromContext(ctx).Info("Putting a policy in", "resource", key.Resource.Resource, "name", key.Name)
		_, err = g.upstream.Create(ctx, key, w.object)
	case changed:
		klog.FromContext(ctx).Info("Putting a policy right that somebody has changed", "resource", key.Resource.Resource, "name", key.Name)
		_, err = g.upstream.Update(ctx, key, w.onto(live))
	case going, standing: // an event tells when it is gone, or that it is there
	}
	return err
}
