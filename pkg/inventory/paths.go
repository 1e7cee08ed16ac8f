package inventory

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// pathAnnotation is where kcp notes the path of a workspace, on its LogicalCluster
// and, newer ones, on its APIBindings.
const pathAnnotation = "kcp.io/path"

var logicalClusters = schema.GroupVersionResource{Group: "core.kcp.io", Version: "v1alpha1", Resource: "logicalclusters"}

// Paths knows the paths of consumer workspaces: objects name only the logical cluster.
type Paths struct {
	ask     func(ctx context.Context, workspace logicalcluster.Name) (string, error)
	onKnown func(workspace logicalcluster.Name)
	loop    *controller.Controller[logicalcluster.Name]

	mu    sync.RWMutex
	known map[logicalcluster.Name]string
}

// NewPaths returns Paths that go by the bindings of workspaces, can ask the kcp of config
// where those do not say, and tell onKnown of each workspace whose path has become known.
func NewPaths(config *rest.Config, onKnown func(workspace logicalcluster.Name)) *Paths {
	return newPaths(func(ctx context.Context, workspace logicalcluster.Name) (string, error) {
		return askPath(ctx, config, workspace)
	}, onKnown)
}

func newPaths(ask func(context.Context, logicalcluster.Name) (string, error), onKnown func(logicalcluster.Name)) *Paths {
	p := &Paths{ask: ask, onKnown: onKnown, known: map[logicalcluster.Name]string{}}
	p.loop = controller.New("workspace", p.sync)
	return p
}

// Run asks until ctx ends.
func (p *Paths) Run(ctx context.Context) { p.loop.Run(ctx, 1) }

// OnUpstream takes note of bindings; it is a kcp.Handler.
func (p *Paths) OnUpstream(key kcp.ObjectKey, _, newObj *unstructured.Unstructured) {
	if newObj == nil || key.Resource.GroupResource() != v1alpha1.APIBindingsResource.GroupResource() {
		return
	}
	if path := newObj.GetAnnotations()[pathAnnotation]; path != "" {
		p.learn(key.Workspace, path)
	}
}

// Ask has kcp asked for the path of a workspace, unless it is known. It does not wait.
func (p *Paths) Ask(workspace logicalcluster.Name) {
	if _, known := p.Path(workspace); !known {
		p.loop.Enqueue(workspace)
	}
}

// Path returns the path of a workspace, and whether it is known. Of a workspace that
// kcp does not let us ask about, it is the name of the logical cluster.
func (p *Paths) Path(workspace logicalcluster.Name) (path string, known bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	path, known = p.known[workspace]
	return path, known
}

func (p *Paths) sync(ctx context.Context, workspace logicalcluster.Name) (time.Duration, error) {
	if _, known := p.Path(workspace); known {
		return 0, nil
	}
	path, err := p.ask(ctx, workspace)
	switch {
	case apierrors.IsForbidden(err), err == nil && path == "":
		klog.FromContext(ctx).Info("kcp does not tell the path of a workspace: it may use clusters that are for all workspaces, and those that name its logical cluster", "workspace", workspace)
		path = workspace.String()
	case apierrors.IsNotFound(err):
		return 0, nil // the workspace is gone
	case err != nil:
		return 0, err
	}
	p.learn(workspace, path)
	return 0, nil
}

func (p *Paths) learn(workspace logicalcluster.Name, path string) {
	p.mu.Lock()
	isNews := p.known[workspace] != path
	p.known[workspace] = path
	p.mu.Unlock()
	if isNews {
		p.onKnown(workspace)
	}
}

// askPath asks the workspace itself.
func askPath(ctx context.Context, config *rest.Config, workspace logicalcluster.Name) (string, error) {
	client, err := kcp.NewClient(config, workspace.Path(), dynamic.NewForConfig)
	if err != nil {
		return "", err
	}
	self, err := client.Resource(logicalClusters).Get(ctx, "cluster", metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("asking for the path of workspace %s: %w", workspace, err)
	}
	return self.GetAnnotations()[pathAnnotation], nil
}
