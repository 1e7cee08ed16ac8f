package framework

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// localCluster is a cluster of the localProvider.
type localCluster struct {
	provider *localProvider
	name     string
	// home is kwokctl's working directory, of this cluster alone.
	home       string
	kubeconfig string
	logs       string
	audited    bool
	lease      *PortLease

	mu sync.Mutex
	// own holds the components that StartComponent has started; kwokctl starts the others.
	own map[string]*Process
}

// workdir is where kwokctl keeps the cluster.
func (c *localCluster) workdir() string { return filepath.Join(c.home, "clusters", c.name) }

// create makes the control plane, then the nodes, and waits for both.
func (c *localCluster) create(ctx context.Context, options ClusterOptions) error {
	config, err := kwokctlConfigFile(c.provider.tool, c.lease, options.AuditPolicy)
	if err != nil {
		return err
	}
	if err := c.prepare(config); err != nil {
		return err
	}
	// An empty --kubeconfig keeps kwokctl from adding the cluster to the user's own.
	if err := c.kwokctl(ctx, "create", "cluster", "--config", c.configFile(), "--kubeconfig", ""); err != nil {
		return err
	}
	kubeconfig, err := clusterKubeconfig(filepath.Join(c.workdir(), "kubeconfig.yaml"), c.name)
	if err != nil {
		return err
	}
	if err := writeKubeconfig(c.kubeconfig, kubeconfig); err != nil {
		return err
	}
	for _, component := range localComponents {
		if err := c.waitStarted(ctx, component); err != nil {
			return err
		}
	}
	if err := c.kwokctl(ctx, "scale", "node", "--replicas", strconv.Itoa(options.Nodes)); err != nil {
		return err
	}
	client, err := c.RESTConfig()
	if err != nil {
		return err
	}
	return waitUsable(ctx, client, c.name, options.Nodes)
}

func (c *localCluster) configFile() string { return filepath.Join(c.home, "config.yaml") }

// prepare makes the cluster's directories. The logs are kept out of kwokctl's, so that they survive it.
func (c *localCluster) prepare(config []byte) error {
	for _, dir := range []string{c.workdir(), c.logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(c.logs, filepath.Join(c.workdir(), "logs")); err != nil {
		return err
	}
	return WriteFile(c.configFile(), config)
}

// kwokctl runs kwokctl to its end.
func (c *localCluster) kwokctl(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, clusterStartTimeout)
	defer cancel()
	process, err := StartProcess(ProcessConfig{
		Name: "kwokctl " + args[0],
		Path: c.provider.tool("kwokctl"),
		Args: append([]string{"--name", c.name}, args...),
		// kwokctl prefers the kubectl that it finds on the path.
		Env: append(
			mark(c.provider.run, c.name+"/"),
			"KWOK_WORKDIR="+c.home,
			"GOGC="+gcPercent, // of the cluster's processes
			"PATH="+c.provider.tools+string(os.PathListSeparator)+os.Getenv("PATH"),
		),
		Dir:     c.home,
		LogFile: filepath.Join(c.logs, "kwokctl.log"),
	})
	if err != nil {
		return err
	}
	if err := process.Wait(ctx); err != nil {
		return errors.Join(err, process.Kill9())
	}
	if code, _ := process.ExitCode(); code != 0 {
		return withTail(fmt.Errorf("kwokctl %s: exit code %d", strings.Join(args, " "), code), process.LogFile())
	}
	return nil
}

// errEnded is that a component's process is gone.
var errEnded = errors.New("its process has ended")

// waitStarted is waitHealthy for the start of the cluster. A kube-controller-manager ends when its API server takes more than
// 10 s to start, as on a busy machine, and is started again.
func (c *localCluster) waitStarted(ctx context.Context, component string) error {
	err := c.waitHealthy(ctx, component)
	for tries := 0; errors.Is(err, errEnded) && tries < 3; tries++ {
		err = c.StartComponent(ctx, component)
	}
	return err
}

// waitHealthy waits for one component, and gives up when its process is gone.
func (c *localCluster) waitHealthy(ctx context.Context, component string) error {
	// These are certificates of the components' own making on the loopback address, and a health check
	// sends nothing secret.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	what := c.part(component) + " to be healthy"
	err := Eventually(ctx, what, componentTimeout, func(ctx context.Context) (bool, string, error) {
		ok, state, err := getOK(ctx, client, c.healthURL(component))
		if ok {
			return true, state, err
		}
		running, findErr := c.find(component)
		if findErr == nil && len(running) == 0 {
			return true, "", errEnded
		}
		return false, state, err
	})
	if err != nil {
		return withTail(err, filepath.Join(c.logs, component+".log"))
	}
	return nil
}

// Name implements Cluster.
func (c *localCluster) Name() string { return c.name }

// Kubeconfig implements Cluster.
func (c *localCluster) Kubeconfig() string { return c.kubeconfig }

// RESTConfig implements Cluster.
func (c *localCluster) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.LoadFromFile(c.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of cluster %s: %w", c.name, err)
	}
	return restConfig(config)
}

// AuditLog implements Cluster.
func (c *localCluster) AuditLog() string {
	if !c.audited {
		return ""
	}
	return filepath.Join(c.logs, "audit.log")
}

// StopComponent implements Cluster.
func (c *localCluster) StopComponent(ctx context.Context, component string) error {
	if err := c.checkComponent(component); err != nil {
		return err
	}
	return c.kill(ctx, func(name string) bool { return name == c.part(component) })
}

// StartComponent implements Cluster.
func (c *localCluster) StartComponent(ctx context.Context, component string) error {
	running, err := c.find(component)
	if err != nil {
		return err
	}
	if len(running) > 0 {
		return fmt.Errorf("start %s: it is running", c.part(component))
	}
	process, err := c.launch(component)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.own[component] = process
	c.mu.Unlock()
	return c.waitHealthy(ctx, component)
}

// FreezeComponent implements Cluster.
func (c *localCluster) FreezeComponent(_ context.Context, component string) error {
	return c.signal(component, syscall.SIGSTOP)
}

// ThawComponent implements Cluster.
func (c *localCluster) ThawComponent(_ context.Context, component string) error {
	return c.signal(component, syscall.SIGCONT)
}

func (c *localCluster) signal(component string, signal os.Signal) error {
	running, err := c.find(component)
	if err != nil {
		return err
	}
	if len(running) == 0 {
		return fmt.Errorf("signal %s: it is not running", c.part(component))
	}
	for _, process := range running {
		if err := signalMarked(process, signal); err != nil {
			return err
		}
	}
	return nil
}

// part returns the name that a component has among all processes of the stack.
func (c *localCluster) part(component string) string { return c.name + "/" + component }

// anyPart accepts the names of all processes of the cluster.
func (c *localCluster) anyPart(name string) bool { return strings.HasPrefix(name, c.name+"/") }

func (c *localCluster) checkComponent(component string) error {
	if !slices.Contains(localComponents, component) {
		return fmt.Errorf("cluster %s has no component %q: it has %s",
			c.name, component, strings.Join(localComponents, ", "))
	}
	return nil
}

// find returns the processes of a component: one, or none.
func (c *localCluster) find(component string) ([]markedProcess, error) {
	if err := c.checkComponent(component); err != nil {
		return nil, err
	}
	processes, err := markedProcesses(ofRun(c.provider.run))
	return slices.DeleteFunc(processes, func(p markedProcess) bool { return p.name != c.part(component) }), err
}

// kill ends the cluster's processes with accepted names, and waits for those that are children.
func (c *localCluster) kill(ctx context.Context, accept func(name string) bool) error {
	if err := sweep(ctx, ofRun(c.provider.run), accept); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for component, process := range c.own {
		if !accept(c.part(component)) {
			continue
		}
		if err := process.Wait(ctx); err != nil {
			return err
		}
		delete(c.own, component)
	}
	return nil
}

// launch runs a component as kwokctl did. kwokctl could only start all that are missing, and takes one that
// nobody has waited for yet as running.
func (c *localCluster) launch(component string) (*Process, error) {
	spec, err := readComponent(filepath.Join(c.workdir(), "kwok.yaml"), component)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.part(component), err)
	}
	return StartProcess(ProcessConfig{
		Name:    c.part(component),
		Path:    spec.Binary,
		Args:    spec.Args,
		Env:     mark(c.provider.run, c.part(component)),
		Dir:     spec.WorkDir,
		LogFile: filepath.Join(c.logs, component+".log"),
	})
}

// componentSpec is how kwokctl describes a component in kwok.yaml.
type componentSpec struct {
	Name    string   `json:"name"`
	Binary  string   `json:"binary"`
	Args    []string `json:"args"`
	WorkDir string   `json:"workDir"`
}

// readComponent finds a component in kwok.yaml, a file of several documents.
func readComponent(file, component string) (componentSpec, error) {
	reader, err := os.Open(file)
	if err != nil {
		return componentSpec{}, err
	}
	defer func() { _ = reader.Close() }()
	documents := yamlutil.NewYAMLReader(bufio.NewReader(reader))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return componentSpec{}, fmt.Errorf("%s does not describe %s", file, component)
		}
		if err != nil {
			return componentSpec{}, fmt.Errorf("read %s: %w", file, err)
		}
		var config struct {
			Components []componentSpec `json:"components"`
		}
		if err := yaml.Unmarshal(document, &config); err != nil {
			return componentSpec{}, fmt.Errorf("read %s: %w", file, err)
		}
		for _, spec := range config.Components {
			if spec.Name == component {
				return spec, nil
			}
		}
	}
}

// EtcdURL gives the address at which the cluster's etcd serves its clients.
func (c *localCluster) EtcdURL() string {
	return "http://" + net.JoinHostPort(loopback, strconv.Itoa(c.lease.Ports()[0]))
}
