package inventory

import (
	"context"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// rootWorkspace is the first element of every path that is believed.
const rootWorkspace = "root"

// How often kcp is asked, and by how many workers: a server that a tenant has named may answer
// slowly.
const (
	// checkInterval is how often a path that kcp has confirmed is checked again, and the longest
	// wait after kcp did not tell. A logical cluster keeps its path for life, so that there is
	// no hurry.
	checkInterval = 10 * time.Minute
	// doubtInterval lies between the two answers after which a confirmed path is given up: a
	// shard that starts answers that everything which it has not read is not there.
	doubtInterval = time.Minute
	// claimInterval is how often the claims of one workspace are checked at most.
	claimInterval = 10 * time.Second
	pathWorkers   = 4
)

// Answer is what kcp says about a workspace and a path.
type Answer string

const (
	// AnswerIsThere is that the workspace is at the path.
	AnswerIsThere Answer = "IsThere"
	// AnswerIsNotThere is that no workspace is at the path, or another one.
	AnswerIsNotThere Answer = "IsNotThere"
	// AnswerDenied is that the hub may not know.
	AnswerDenied Answer = "Denied"
)

// Paths knows the paths of consumer workspaces: objects name only the logical cluster. A
// workspace claims a path; it counts when kcp, asked what is at that path, has found this
// workspace.
type Paths struct {
	ask      func(ctx context.Context, workspace logicalcluster.Name, path logicalcluster.Path) (Answer, error)
	handlers []func(workspace logicalcluster.Name)
	loop     *controller.Controller[logicalcluster.Name]
	now      func() time.Time

	mu sync.RWMutex
	// claims are what the bindings of workspaces say.
	claims map[logicalcluster.Name]string
	known  map[logicalcluster.Name]checked
	// wanted are the workspaces that somebody has asked for, and whose paths are not known yet.
	wanted sets.Set[logicalcluster.Name]
}

// checked is what kcp has said of the path of a workspace.
type checked struct {
	// path is confirmed, empty when none is.
	path string
	// claim is the other path that kcp was asked about last, answer what it said, and asked when.
	claim  string
	answer Answer
	asked  time.Time
	// denials are how often in a row kcp did not tell.
	denials int
	// doubtedAt is when kcp first said that the workspace is not at its confirmed path, zero
	// when it has not said so.
	doubtedAt time.Time
}

// NewPaths returns Paths that check what the bindings of workspaces say by asking the kcp of
// config. provider is the workspace with the account of PathReader.
func NewPaths(config *rest.Config, provider logicalcluster.Path) *Paths {
	return newPaths((&finder{config: config, provider: provider}).isAt)
}

func newPaths(ask func(context.Context, logicalcluster.Name, logicalcluster.Path) (Answer, error)) *Paths {
	p := &Paths{ask: ask, now: time.Now, claims: map[logicalcluster.Name]string{}, known: map[logicalcluster.Name]checked{}, wanted: sets.New[logicalcluster.Name]()}
	p.loop = controller.New("workspace", p.sync)
	return p
}

// Handle has the handlers told, in this order, of each workspace whose path has become known,
// or is another one than before. It is called before Run.
func (p *Paths) Handle(handlers ...func(workspace logicalcluster.Name)) {
	p.handlers = append(p.handlers, handlers...)
}

// Run asks until ctx ends.
func (p *Paths) Run(ctx context.Context) { p.loop.Run(ctx, pathWorkers) }

// OnUpstream takes note of bindings; it is an upstream.Handler. The bindings of a workspace may
// say different paths: the one that brings tmc's kinds counts.
func (p *Paths) OnUpstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if key.Resource.GroupResource() != v1alpha1.APIBindingsResource.GroupResource() {
		return
	}
	switch {
	case newObj != nil && bringsKinds(newObj):
		p.claim(key.Workspace, kcp.SaidPath(newObj))
	case newObj == nil && bringsKinds(oldObj):
		p.forget(key.Workspace)
	}
}

// bringsKinds reports whether a binding is the one that brings tmc's kinds.
func bringsKinds(binding *unstructured.Unstructured) bool {
	// An error means another type, which kcp does not serve.
	export, _, _ := unstructured.NestedString(binding.Object, "spec", "reference", "export", "name")
	return export == v1alpha1.APIExportName
}

// claim takes note of the path that a workspace claims: see kcp.SaidPath for who may write
// it.
func (p *Paths) claim(workspace logicalcluster.Name, path string) {
	if !strings.HasPrefix(path, rootWorkspace+":") {
		path = "" // none of a workspace below root
	}
	p.mu.Lock()
	isNews := p.claims[workspace] != path
	p.claims[workspace] = path
	_, known := p.known[workspace]
	isAsked := known || p.wanted.Has(workspace) // a turn under way may not have seen the claim
	p.mu.Unlock()
	if isNews && isAsked {
		p.loop.Enqueue(workspace)
	}
}

// forget drops what is known of a workspace that is gone, or is no consumer any more.
func (p *Paths) forget(workspace logicalcluster.Name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.claims, workspace)
	delete(p.known, workspace)
	p.wanted.Delete(workspace)
}

// Ask has kcp asked about a workspace, unless its path is known. It does not wait.
func (p *Paths) Ask(workspace logicalcluster.Name) {
	p.mu.Lock()
	_, known := p.known[workspace]
	if !known {
		p.wanted.Insert(workspace)
	}
	p.mu.Unlock()
	if !known {
		p.loop.Enqueue(workspace)
	}
}

// Path returns the path of a workspace, and reports whether it is known. For a workspace
// whose claim kcp has not confirmed, it is the name of the logical cluster.
func (p *Paths) Path(workspace logicalcluster.Name) (path string, known bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.pathOf(workspace)
}

// pathOf is Path. The caller holds mu.
func (p *Paths) pathOf(workspace logicalcluster.Name) (path string, known bool) {
	is, known := p.known[workspace]
	switch {
	case !known:
		return "", false
	case is.path != "":
		return is.path, true
	default:
		return workspace.String(), true
	}
}

func (p *Paths) sync(ctx context.Context, workspace logicalcluster.Name) (time.Duration, error) {
	p.mu.RLock()
	was, known := p.known[workspace]
	claim, isWanted := p.claims[workspace], p.wanted.Has(workspace)
	p.mu.RUnlock()
	if !known && !isWanted {
		return 0, nil // forgotten meanwhile
	}
	if wait := claimInterval - p.now().Sub(was.asked); known && wait > 0 {
		return wait, nil
	}
	is, err := p.check(ctx, workspace, was, claim)
	if err != nil {
		return 0, err
	}
	p.remember(workspace, is)
	is.log(ctx, workspace, was)
	return is.again(), nil
}

// check asks kcp about the path that was confirmed and, when there is none or kcp no longer
// confirms it, about the one that is claimed.
func (p *Paths) check(ctx context.Context, workspace logicalcluster.Name, was checked, claim string) (checked, error) {
	is := checked{path: was.path, claim: claim, asked: p.now(), doubtedAt: was.doubtedAt}
	if was.path != "" {
		answer, err := p.ask(ctx, workspace, logicalcluster.NewPath(was.path))
		if err != nil {
			return checked{}, err
		}
		if is.confirm(answer); is.path != "" {
			return is, nil
		}
	}
	if claim == "" {
		is.answer = AnswerIsNotThere
		return is, nil
	}
	answer, err := p.ask(ctx, workspace, logicalcluster.NewPath(claim))
	if err != nil {
		return checked{}, err
	}
	switch is.answer = answer; answer {
	case AnswerIsThere:
		is.path = claim
	case AnswerDenied:
		is.denials = was.denials + 1
	case AnswerIsNotThere:
	}
	return is, nil
}

// confirm takes note of what kcp says of the confirmed path. When kcp no longer tells, the path
// stays; when it says that the workspace is not there, the path is given up if it says so again
// a while later.
func (c *checked) confirm(answer Answer) {
	c.answer = answer
	switch {
	case answer != AnswerIsNotThere:
		c.doubtedAt = time.Time{}
	case c.doubtedAt.IsZero():
		c.doubtedAt = c.asked
	case c.asked.Sub(c.doubtedAt) >= doubtInterval:
		c.path, c.doubtedAt = "", time.Time{}
	}
}

// again returns after how long to ask kcp again, 0 for not before the workspace claims another
// path.
func (c *checked) again() time.Duration {
	switch {
	case !c.doubtedAt.IsZero():
		return doubtInterval
	case c.path != "":
		return checkInterval
	case c.answer == AnswerDenied:
		return min(claimInterval<<min(c.denials, 10), checkInterval)
	default:
		return 0
	}
}

// log logs, once, why a workspace may not use the clusters that are for its path.
func (c *checked) log(ctx context.Context, workspace logicalcluster.Name, was checked) {
	if c.path != "" || c.answer == was.answer && c.claim == was.claim {
		return
	}
	logger := klog.FromContext(ctx).WithValues("workspace", workspace, "saidPath", c.claim)
	switch {
	case c.answer == AnswerDenied:
		logger.Info("kcp does not let the hub see whether a workspace is at the path that it says: it may use clusters that are for all workspaces, and those that name its logical cluster; " +
			"to have clusters for its path, run `kubectl tmc bind` in it, as somebody who may make ClusterRoles there")
	case c.claim != "":
		logger.Info("A workspace says a path at which kcp has another workspace, or none: it may use clusters that are for all workspaces, and those that name its logical cluster")
	}
}

// remember takes note of what kcp has said, and calls the handlers when the path is another one.
func (p *Paths) remember(workspace logicalcluster.Name, is checked) {
	p.mu.Lock()
	before, known := p.pathOf(workspace)
	p.known[workspace] = is
	p.wanted.Delete(workspace)
	after, _ := p.pathOf(workspace)
	p.mu.Unlock()
	if !known || before != after {
		for _, handler := range p.handlers {
			handler(workspace)
		}
	}
}
