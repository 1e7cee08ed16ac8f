package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/e2e/chaos/proxy"
	"github.com/kcp-tmc/tmc/e2e/framework"
)

// What the ground consists of.
const (
	// providerWorkspace holds tmc.
	providerWorkspace = "root:tmc"
	// nodes is how many nodes each cluster has; each takes 110 pods.
	nodes = 4
	// replicas is how many there are of each program.
	replicas = 2
	// kcpHost is the name by which programs know kcp.
	kcpHost = "kcp.test"
)

// Options says how the ground is to be. The zero value is one in a temporary directory that builds its programs.
type Options struct {
	// Dir is where everything is kept; empty for a temporary directory, of which the logs stay after a fault of the run.
	Dir string
	// Binaries is the directory of the programs, empty to have them built. Clocks jump only in those that Build makes.
	Binaries string
	// Longest is how long a fault lasts at most, 0 for 10 s.
	Longest time.Duration
	// Progress gets a line for each step of the start; nil for none.
	Progress io.Writer
}

// Ground is what faults happen on, and operations. Its methods may be called from several goroutines.
type Ground struct {
	// KCP leads to kcp as its administrator, without a workspace: Workspace adds one. It goes past the proxies, like Clusters.
	KCP *rest.Config
	// Clusters lead to the clusters as their administrators, by name.
	Clusters map[string]*rest.Config
	// Workspaces are the paths of the consumer workspaces, which are bound to tmc.
	Workspaces []string
	// Programs are the hubs and the syncers. They stay the same over restarts.
	Programs []*Program

	options   Options
	stack     *framework.Stack
	authority *proxy.Authority
	binaries  string
	joined    map[string]*joined
	servers   map[string]*server
	// ends are those who watch over programs, until ending is closed by end.
	ending <-chan struct{}
	end    func()
	ends   sync.WaitGroup

	// reviving is held by who starts what has ended.
	reviving sync.Mutex
	mu       sync.Mutex
	deaths   []Death
	open     map[*opened]bool
}

// ClusterNames are those of the clusters.
var ClusterNames = []string{"east", "north", "west"}

// Start brings the ground up, which takes less than a minute besides building. It returns when all programs are ready and
// kcp has heard of all clusters.
func Start(ctx context.Context, options Options) (*Ground, error) {
	if options.Longest == 0 {
		options.Longest = 10 * time.Second
	}
	if options.Dir == "" {
		dir, err := os.MkdirTemp("", "tmc-chaos-")
		if err != nil {
			return nil, err
		}
		options.Dir = dir
	}
	if options.Progress == nil {
		options.Progress = io.Discard
	}
	g := &Ground{
		options: options, Clusters: map[string]*rest.Config{}, Workspaces: []string{"root:team-a", "root:team-b"},
		joined: map[string]*joined{}, servers: map[string]*server{}, open: map[*opened]bool{},
	}
	ending := make(chan struct{})
	g.ending, g.end = ending, sync.OnceFunc(func() { close(ending) })
	if err := g.start(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, errors.Join(err, g.Stop(stopCtx))
	}
	return g, nil
}

func (g *Ground) start(ctx context.Context) error {
	var err error
	if g.authority, err = proxy.NewAuthority(); err != nil {
		return err
	}
	if err := os.MkdirAll(g.options.Dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(g.file("ca.pem"), g.authority.PEM(), 0o600); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		g.binaries, err = g.programsDir(groupCtx)
		return err
	})
	group.Go(func() error { return g.startStack(groupCtx) })
	if err := group.Wait(); err != nil {
		return err
	}
	if err := g.install(ctx); err != nil {
		return err
	}
	if err := g.step("programs", func() error { return g.startPrograms(ctx) }); err != nil {
		return err
	}
	g.ends.Go(g.tend)
	return nil
}

// startStack starts kcp, its etcd and the clusters.
func (g *Ground) startStack(ctx context.Context) error {
	stack, err := framework.Start(ctx, framework.Options{
		Dir: g.file("stack"), Clusters: ClusterNames, Nodes: nodes, SeparateEtcd: true, Progress: g.options.Progress,
	})
	if err != nil {
		return err
	}
	g.stack = stack
	if g.KCP, err = stack.KCP.RESTConfig(""); err != nil {
		return err
	}
	for _, name := range ClusterNames {
		cluster, err := stack.Cluster(name)
		if err != nil {
			return err
		}
		if g.Clusters[name], err = cluster.RESTConfig(); err != nil {
			return err
		}
	}
	return g.addServers()
}

// Workspace leads to a workspace of kcp as its administrator, past the proxies.
func (g *Ground) Workspace(path string) *rest.Config {
	config := rest.CopyConfig(g.KCP)
	config.Host += "/clusters/" + path
	return config
}

// LogDir is the directory of all logs.
func (g *Ground) LogDir() string { return g.stack.LogDir() }

// Stop ends all that is open and everything that runs. It removes the directory unless keep was called.
func (g *Ground) Stop(ctx context.Context) error {
	g.end()
	for _, program := range g.Programs {
		program.expectEnd()
	}
	var errs []error
	if g.stack != nil {
		errs = append(errs, g.stack.Stop(ctx))
	}
	g.ends.Wait()
	for _, program := range g.Programs {
		errs = append(errs, program.proxy.Close())
	}
	return errors.Join(errs...)
}

func (g *Ground) file(elements ...string) string {
	return filepath.Join(append([]string{g.options.Dir}, elements...)...)
}

// step says what is done and how long it took.
func (g *Ground) step(what string, do func() error) error {
	began := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_, _ = fmt.Fprintf(g.options.Progress, "  %s: after %s\n", what, time.Since(began).Round(100*time.Millisecond))
	return nil
}
