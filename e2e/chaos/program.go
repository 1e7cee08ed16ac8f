package chaos

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/e2e/chaos/proxy"
	"github.com/kcp-tmc/tmc/e2e/framework"
)

// Role is what a program is for.
type Role string

// The roles.
const (
	RoleHub    Role = "hub"
	RoleSyncer Role = "syncer"
)

// revival is how soon a program is started again that has ended by itself.
const revival = time.Second

// Program is a replica of a hub or of a syncer. Its methods may be called from several goroutines.
type Program struct {
	// Name is unique: hub-1, syncer-east-2.
	Name string
	Role Role
	// Cluster is that of a syncer.
	Cluster string
	// MetricsURL is where it serves its metrics, and ReadyURL where it says whether it is ready.
	MetricsURL, ReadyURL string

	ground *Ground
	config framework.ProcessConfig
	proxy  *proxy.Proxy
	links  map[string]*proxy.Link
	clock  string

	mu       sync.Mutex
	process  *framework.Process
	restarts int
	// downs and stops count the faults for which it must not run, or is stopped.
	downs, stops int
	// isEnding is set when its end is expected.
	isEnding bool
}

// Death is the end of a program that nobody has brought about.
type Death struct {
	Program string
	At      time.Time
	// Code is its exit code, -1 when a signal ended it.
	Code int
	// Log is the end of its log.
	Log string
}

// PID returns its process id, and false while it does not run.
func (p *Program) PID() (pid int, isRunning bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil || p.process.Exited() {
		return 0, false
	}
	return p.process.PID(), true
}

// Restarts returns how often it has been started again.
func (p *Program) Restarts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts
}

// LogFile is its log, of all its starts.
func (p *Program) LogFile() string { return filepath.Join(p.ground.LogDir(), p.Name+".log") }

// newProgram prepares a program and its proxy.
func (g *Ground) newProgram(ctx context.Context, name, binary string, servers map[string]*rest.Config) (*Program, error) {
	p := &Program{Name: name, ground: g, links: map[string]*proxy.Link{}, clock: g.file(name + ".clock")}
	var err error
	if p.proxy, err = proxy.New(ctx, name, g.authority); err != nil {
		return nil, err
	}
	g.Programs = append(g.Programs, p) // from now on, Stop closes its proxy
	for host, config := range servers {
		if p.links[host], err = p.link(host, config); err != nil {
			return nil, err
		}
	}
	var addresses [2]string
	for i := range addresses {
		var err error
		if addresses[i], err = g.stack.FreeAddress(); err != nil {
			return nil, err
		}
	}
	p.ReadyURL, p.MetricsURL = "http://"+addresses[0]+"/readyz", "http://"+addresses[1]+"/metrics"
	p.config = framework.ProcessConfig{
		Name: name, Path: filepath.Join(g.binaries, binary),
		Args: []string{"--bind-address=" + addresses[0], "--metrics-bind-address=" + addresses[1], "-v=2"},
		Env:  append(p.proxy.Env(), "TMC_CHAOS_CLOCK="+p.clock),
	}
	return p, os.WriteFile(p.clock, []byte("0s"), 0o600)
}

// link adds a server to what the program reaches.
func (p *Program) link(host string, config *rest.Config) (*proxy.Link, error) {
	server, err := serverURL(config)
	if err != nil {
		return nil, err
	}
	trust, err := rest.TLSConfigFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CAData: config.CAData, CAFile: config.CAFile}})
	if err != nil {
		return nil, err
	}
	if trust == nil {
		trust = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return p.proxy.Link(proxy.Target{
		Host: host, Server: server, TLS: trust,
		// kcp publishes the URLs of its virtual workspaces here.
		Rewrite: []string{"apiexportendpointslices", "apiexports", "workspacetypes", "shards"},
	})
}

// startPrograms starts all hubs and syncers, and waits until they work.
func (g *Ground) startPrograms(ctx context.Context) error {
	if err := g.prepareHubs(ctx); err != nil {
		return err
	}
	for _, name := range ClusterNames {
		if err := g.prepareSyncers(ctx, name); err != nil {
			return err
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, p := range g.Programs {
		if err := p.run(); err != nil {
			return err
		}
		group.Go(func() error { return p.waitReady(groupCtx) })
	}
	group.Go(func() error { return g.waitClusters(groupCtx) })
	return group.Wait()
}

func (g *Ground) prepareHubs(ctx context.Context) error {
	kubeconfig, err := g.hubKubeconfig(ctx)
	if err != nil {
		return err
	}
	for i := range replicas {
		p, err := g.newProgram(ctx, fmt.Sprintf("hub-%d", i+1), hubBinary, map[string]*rest.Config{kcpHost: g.KCP})
		if err != nil {
			return err
		}
		p.Role = RoleHub
		p.config.Args = append(p.config.Args, "--kcp-kubeconfig="+kubeconfig, "--provider-workspace="+providerWorkspace)
	}
	return nil
}

func (g *Ground) prepareSyncers(ctx context.Context, name string) error {
	for i := range replicas {
		p, err := g.newProgram(ctx, fmt.Sprintf("syncer-%s-%d", name, i+1), syncerBinary,
			map[string]*rest.Config{kcpHost: g.KCP, clusterHost(name): g.Clusters[name]})
		if err != nil {
			return err
		}
		p.Role, p.Cluster = RoleSyncer, name
		p.config.Args = append(p.config.Args, g.joined[name].args...)
	}
	return nil
}

// run starts the program, and watches over it.
func (p *Program) run() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isEnding || p.downs > 0 || (p.process != nil && !p.process.Exited()) {
		return nil
	}
	process, err := p.ground.stack.StartProcess(p.config)
	if err != nil {
		return err
	}
	if p.process != nil {
		p.restarts++
	}
	p.process = process
	p.ground.ends.Go(func() { p.watch(process) })
	return nil
}

// watch waits for the end of a process, and notes and mends one that nobody has brought about.
func (p *Program) watch(process *framework.Process) {
	<-process.Done()
	p.mu.Lock()
	isExpected := p.isEnding || p.downs > 0
	p.mu.Unlock()
	if isExpected {
		return
	}
	code, _ := process.ExitCode()
	p.ground.die(Death{Program: p.Name, At: time.Now(), Code: code, Log: process.LogTail(30)})
	select {
	case <-time.After(revival):
	case <-p.ground.ending:
		return
	}
	if err := p.run(); err != nil {
		p.ground.die(Death{Program: p.Name, At: time.Now(), Code: code, Log: err.Error()})
	}
}

// die notes the end of a program.
func (g *Ground) die(death Death) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deaths = append(g.deaths, death)
	_, _ = fmt.Fprintf(g.options.Progress, "%s has ended by itself with exit code %d:\n%s\n", death.Program, death.Code, death.Log)
}

// Deaths returns the programs that have ended by themselves. There should be none.
func (g *Ground) Deaths() []Death {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Death(nil), g.deaths...)
}

// expectEnd has nobody wonder when it ends.
func (p *Program) expectEnd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isEnding = true
}

// takeDown kills the program, which does not run until bringUp has been called as often.
func (p *Program) takeDown(context.Context) error {
	p.mu.Lock()
	p.downs++
	process := p.process
	p.mu.Unlock()
	return process.Kill9()
}

// bringUp starts the program that takeDown has killed.
func (p *Program) bringUp(context.Context) error {
	p.mu.Lock()
	p.downs--
	p.mu.Unlock()
	return p.run()
}

// stop stops the program in its tracks, until resume has been called as often.
func (p *Program) stop(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stops++
	return p.process.Signal(syscall.SIGSTOP)
}

// resume lets the program run on.
func (p *Program) resume(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stops--; p.stops > 0 {
		return nil
	}
	return p.process.Signal(syscall.SIGCONT)
}

// setClock lets the program's clock be wrong by so much.
func (p *Program) setClock(wrong time.Duration) error {
	if err := os.WriteFile(p.clock+".new", []byte(wrong.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(p.clock+".new", p.clock)
}

// waitReady waits until the program says that it is ready.
func (p *Program) waitReady(ctx context.Context) error {
	return framework.Eventually(ctx, p.Name+" to be ready", 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		isReady, err := p.IsReady(ctx)
		return isReady, "/readyz", err
	})
}

// IsReady reports whether the program says that it is ready.
func (p *Program) IsReady(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ReadyURL, nil)
	if err != nil {
		return false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	return response.StatusCode == http.StatusOK, response.Body.Close()
}

var registrationGVR = schema.GroupVersionResource{Group: "tmc.kcp.io", Version: "v1alpha1", Resource: "clusterregistrations"}

// waitClusters waits until the hub has heard of all clusters.
func (g *Ground) waitClusters(ctx context.Context) error {
	client, err := dynamic.NewForConfig(g.Workspace(providerWorkspace))
	if err != nil {
		return err
	}
	return framework.Eventually(ctx, "all clusters to be ready in kcp", 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		registrations, err := client.Resource(registrationGVR).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		ready := 0
		for i := range registrations.Items {
			if isReady(&registrations.Items[i]) {
				ready++
			}
		}
		return ready == len(ClusterNames), fmt.Sprintf("%d are", ready), nil
	})
}

// isReady reports whether the object's condition Ready is true.
func isReady(object *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		if fields, ok := condition.(map[string]any); ok && fields["type"] == "Ready" {
			return fields["status"] == "True"
		}
	}
	return false
}
