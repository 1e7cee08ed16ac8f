package inventory

import (
	"context"
	"slices"
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

// How often kcp is asked, and by how many at a time: whose path is claimed may have a slow
// server answer.
const (
	// checkInterval is how often a path that kcp has confirmed is asked for again, and the
	// longest that is waited after kcp did not tell. A logical cluster lives and dies at one
	// path, so that there is no hurry.
	checkInterval = 10 * time.Minute
	// doubtInterval lies between the two answers by which a confirmed path is given up: a
	// shard that starts answers that what it has not read is not there.
	doubtInterval = time.Minute
	// claimInterval is how often the claims of one workspace are looked into at most.
	claimInterval = 10 * time.Second
	pathWorkers   = 4
)

// Answer is what kcp says about a workspace and a path.
type Answer string

const (
	// AnswerIsThere is that this is the workspace at the path.
	AnswerIsThere Answer = "IsThere"
	// AnswerIsNotThere is that there is none at the path, or another one.
	AnswerIsNotThere Answer = "IsNotThere"
	// AnswerDenied is that the hub may not know.
	AnswerDenied Answer = "Denied"
)

// Paths knows the paths of consumer workspaces: objects name only the logical cluster. What
// a workspace says of its path counts when kcp, asked for what is at that path, has found
// this workspace.
type Paths struct {
	ask      func(ctx context.Context, workspace logicalcluster.Name, path logicalcluster.Path) (Answer, error)
	handlers []func(workspace logicalcluster.Name)
	loop     *controller.Controller[logicalcluster.Name]
	now      func() time.Time

	mu sync.RWMutex
	// claims are what the bindings of workspaces say.
	claims map[logicalcluster.Name]string
	known  map[logicalcluster.Name]standing
	// wanted are those that somebody has asked for, and that are not known yet.
	wanted sets.Set[logicalcluster.Name]
}

// standing is what is known of a workspace.
type standing struct {
	// path is confirmed, empty when none is.
	path string
	// claim is what was last asked for beside that, and answer what kcp said.
	claim  string
	answer Answer
	// asked is when.
	asked time.Time
	// denials are how often kcp did not tell in a row; doubtedAt is when it first said that
	// the workspace is not at its confirmed path, zero when it has not.
	denials   int
	doubtedAt time.Time
}

// NewPaths returns Paths that check what the bindings of workspaces say by asking the kcp of
// config. provider is the workspace with the account of PathReader.
func NewPaths(config *rest.Config, provider logicalcluster.Path) *Paths {
	return newPaths((&finder{config: config, provider: provider}).isAt)
}

func newPaths(ask func(context.Context, logicalcluster.Name, logicalcluster.Path) (Answer, error)) *Paths {
	p := &Paths{ask: ask, now: time.Now, claims: map[logicalcluster.Name]string{}, known: map[logicalcluster.Name]standing{}, wanted: sets.New[logicalcluster.Name]()}
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

// OnUpstream takes note of bindings; it is a upstream.Handler. Of those of a workspace, which may
// say different paths, that which brings tmc's kinds counts.
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

// claim takes note of the path that a workspace says. kcp copies it onto bindings from the
// LogicalCluster, on which whoever administers the workspace may write any (kcp v0.31,
// pkg/admission/pathannotation).
func (p *Paths) claim(workspace logicalcluster.Name, path string) {
	if !strings.HasPrefix(path, rootWorkspace+":") {
		path = "" // none of a workspace below root
	}
	p.mu.Lock()
	isNews := p.claims[workspace] != path
	p.claims[workspace] = path
	_, known := p.known[workspace]
	isAsked := known || p.wanted.Has(workspace) // by a turn that may not have seen the claim
	p.mu.Unlock()
	if isNews && isAsked {
		p.loop.Enqueue(workspace)
	}
}

// forget drops what is known of a workspace that is gone, or is a consumer no more.
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

// Path returns the path of a workspace, and whether it is known. Of a workspace that is not
// where it says, or of which kcp does not tell, it is the name of the logical cluster.
func (p *Paths) Path(workspace logicalcluster.Name) (path string, known bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.pathOf(workspace)
}

// pathOf is Path for who holds mu.
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
	is, err := p.look(ctx, workspace, was, claim)
	if err != nil {
		return 0, err
	}
	p.learn(workspace, is)
	is.tell(ctx, workspace, was)
	return is.again(), nil
}

// look asks kcp for the path that was confirmed, and when it is not, or no more, for the one
// that is claimed.
func (p *Paths) look(ctx context.Context, workspace logicalcluster.Name, was standing, claim string) (standing, error) {
	is := standing{path: was.path, claim: claim, asked: p.now(), doubtedAt: was.doubtedAt}
	if was.path != "" {
		answer, err := p.ask(ctx, workspace, logicalcluster.NewPath(was.path))
		if err != nil {
			return standing{}, err
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
		return standing{}, err
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

// confirm takes in what kcp says of the confirmed path. That it does not tell any more says
// nothing; that the workspace is not there counts when it is said again a while later.
func (s *standing) confirm(answer Answer) {
	s.answer = answer
	switch {
	case answer != AnswerIsNotThere:
		s.doubtedAt = time.Time{}
	case s.doubtedAt.IsZero():
		s.doubtedAt = s.asked
	case s.asked.Sub(s.doubtedAt) >= doubtInterval:
		s.path, s.doubtedAt = "", time.Time{}
	}
}

// again is after how long kcp is asked again, 0 for not before the workspace claims another
// path.
func (s *standing) again() time.Duration {
	switch {
	case !s.doubtedAt.IsZero():
		return doubtInterval
	case s.path != "":
		return checkInterval
	case s.answer == AnswerDenied:
		return min(claimInterval<<min(s.denials, 10), checkInterval)
	default:
		return 0
	}
}

// tell logs what keeps a workspace from what is for its path, once.
func (s *standing) tell(ctx context.Context, workspace logicalcluster.Name, was standing) {
	if s.path != "" || s.answer == was.answer && s.claim == was.claim {
		return
	}
	logger := klog.FromContext(ctx).WithValues("workspace", workspace, "saidPath", s.claim)
	switch {
	case s.answer == AnswerDenied:
		logger.Info("kcp does not let the hub see whether a workspace is at the path that it says: it may use clusters that are for all workspaces, and those that name its logical cluster; " +
			"to have clusters for its path, run `kubectl tmc bind` in it, as somebody who may make ClusterRoles there")
	case s.claim != "":
		logger.Info("A workspace says a path at which kcp has another workspace, or none: it may use clusters that are for all workspaces, and those that name its logical cluster")
	}
}

func (p *Paths) learn(workspace logicalcluster.Name, is standing) {
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

// elements returns those of a path below root, none when it is no such path.
func elements(path logicalcluster.Path) []string {
	parts := strings.Split(path.String(), ":")
	if parts[0] != rootWorkspace || slices.Contains(parts, "") {
		return nil
	}
	return parts[1:]
}
