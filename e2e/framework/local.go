package framework

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	clusterStartTimeout = 2 * time.Minute
	componentTimeout    = time.Minute
)

// The parts of a local cluster.
const (
	etcdComponent              = "etcd"
	apiServerComponent         = "kube-apiserver"
	controllerManagerComponent = "kube-controller-manager"
	schedulerComponent         = "kube-scheduler"
	kwokComponent              = "kwok-controller"
)

// ByHandAnnotation is on pods of local clusters, with the value true, that get the status which somebody gives them: no
// node simulates them. With terminationGracePeriodSeconds 0 they go when they are deleted.
const ByHandAnnotation = "stack.example.com/by-hand"

// localComponents are in the order in which they need each other.
var localComponents = []string{
	etcdComponent, apiServerComponent, controllerManagerComponent, schedulerComponent, kwokComponent,
}

// localProvider makes clusters on this machine with kwokctl's binary runtime: a real control plane whose
// nodes are simulated, so that pods become Ready without running.
type localProvider struct {
	dir   *directory
	run   string
	tools string

	mu       sync.Mutex
	clusters map[string]*localCluster
}

func newLocalProvider(dir *directory, run, tools string) *localProvider {
	return &localProvider{dir: dir, run: run, tools: tools, clusters: map[string]*localCluster{}}
}

// tool returns the path of a binary.
func (p *localProvider) tool(name string) string { return filepath.Join(p.tools, name) }

// requireTools fails when a binary is missing, which kwokctl would try to download.
func (p *localProvider) requireTools() error {
	return requireFiles(
		p.tool("kwokctl"), p.tool("kwok"), p.tool("etcd"), p.tool("kubectl"),
		p.tool("kube-apiserver"), p.tool("kube-controller-manager"), p.tool("kube-scheduler"),
	)
}

// Create implements Provider.
func (p *localProvider) Create(ctx context.Context, name string, options ClusterOptions) (Cluster, error) {
	if err := p.requireTools(); err != nil {
		return nil, fmt.Errorf("create cluster %s: %w", name, err)
	}
	c, err := p.add(name, options)
	if err != nil {
		return nil, fmt.Errorf("create cluster %s: %w", name, err)
	}
	if err := c.create(ctx, options); err != nil {
		err = fmt.Errorf("create cluster %s: %w", name, err)
		// The cleaning has to happen in particular when ctx has ended.
		return nil, errors.Join(err, p.Delete(context.WithoutCancel(ctx), name))
	}
	return c, nil
}

// add registers a cluster with its ports.
func (p *localProvider) add(name string, options ClusterOptions) (*localCluster, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clusters[name] != nil {
		return nil, errors.New("it is there already")
	}
	lease, err := ReservePorts(len(localComponents) + 1)
	if err != nil {
		return nil, err
	}
	c := &localCluster{
		provider:   p,
		name:       name,
		home:       p.dir.file(kwokName, name),
		kubeconfig: p.dir.file(kubeconfigsName, "cluster."+name+".kubeconfig"),
		logs:       p.dir.file(logsName, name),
		lease:      lease,
		audited:    options.AuditPolicy != "",
		own:        map[string]*Process{},
	}
	p.clusters[name] = c
	return c, nil
}

// Delete implements Provider.
func (p *localProvider) Delete(ctx context.Context, name string) error {
	p.mu.Lock()
	c := p.clusters[name]
	delete(p.clusters, name)
	p.mu.Unlock()
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, componentTimeout)
	defer cancel()
	// Nothing of a cluster is worth an orderly end: its data goes with it.
	if err := c.kill(ctx, c.anyPart); err != nil {
		return fmt.Errorf("delete cluster %s: %w", name, err)
	}
	err := errors.Join(os.RemoveAll(c.home), os.RemoveAll(c.kubeconfig), c.lease.Release())
	if err != nil {
		return fmt.Errorf("delete cluster %s: %w", name, err)
	}
	return nil
}

// kwokctlConfig is the part of kwokctl's configuration file that a stack sets. Every binary is named, so
// that there is nothing to download, and every port, for kwokctl's own search races with others.
type kwokctlConfig struct {
	APIVersion        string             `json:"apiVersion"`
	Kind              string             `json:"kind"`
	Options           kwokctlOptions     `json:"options"`
	ComponentsPatches []componentPatches `json:"componentsPatches"`
}

type kwokctlOptions struct {
	Runtime                     string `json:"runtime"`
	BindAddress                 string `json:"bindAddress"`
	DisableQPSLimits            bool   `json:"disableQPSLimits"`
	EtcdBinary                  string `json:"etcdBinary"`
	KubeApiserverBinary         string `json:"kubeApiserverBinary"`
	KubeControllerManagerBinary string `json:"kubeControllerManagerBinary"`
	KubeSchedulerBinary         string `json:"kubeSchedulerBinary"`
	KwokControllerBinary        string `json:"kwokControllerBinary"`
	KubectlBinary               string `json:"kubectlBinary"`
	EtcdPort                    int    `json:"etcdPort"`
	EtcdPeerPort                int    `json:"etcdPeerPort"`
	KubeApiserverPort           int    `json:"kubeApiserverPort"`
	KubeControllerManagerPort   int    `json:"kubeControllerManagerPort"`
	KubeSchedulerPort           int    `json:"kubeSchedulerPort"`
	KwokControllerPort          int    `json:"kwokControllerPort"`
	KubeAuditPolicy             string `json:"kubeAuditPolicy,omitempty"`
}

type componentPatches struct {
	Name      string     `json:"name"`
	ExtraArgs []extraArg `json:"extraArgs"`
}

type extraArg struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// kwokctlConfigFile returns the content of a cluster's configuration file.
func kwokctlConfigFile(tool func(name string) string, lease *PortLease, auditPolicy string) ([]byte, error) {
	ports := lease.Ports()
	config := kwokctlConfig{
		APIVersion: "config.kwok.x-k8s.io/v1alpha1",
		Kind:       "KwokctlConfiguration",
		Options: kwokctlOptions{
			Runtime:                     "binary",
			BindAddress:                 loopback,
			DisableQPSLimits:            true,
			EtcdBinary:                  tool("etcd"),
			KubeApiserverBinary:         tool("kube-apiserver"),
			KubeControllerManagerBinary: tool("kube-controller-manager"),
			KubeSchedulerBinary:         tool("kube-scheduler"),
			KwokControllerBinary:        tool("kwok"),
			KubectlBinary:               tool("kubectl"),
			EtcdPort:                    ports[0],
			KubeApiserverPort:           ports[1],
			KubeControllerManagerPort:   ports[2],
			KubeSchedulerPort:           ports[3],
			KwokControllerPort:          ports[4],
			EtcdPeerPort:                ports[5],
			KubeAuditPolicy:             auditPolicy,
		},
		ComponentsPatches: []componentPatches{
			// The data need not survive the machine.
			{Name: etcdComponent, ExtraArgs: []extraArg{{Key: "unsafe-no-fsync", Value: "true"}}},
			// One started again would wait for the lease of the one before.
			{Name: controllerManagerComponent, ExtraArgs: []extraArg{{Key: "leader-elect", Value: "false"}}},
			{Name: schedulerComponent, ExtraArgs: []extraArg{{Key: "leader-elect", Value: "false"}}},
			{Name: kwokComponent, ExtraArgs: []extraArg{{Key: "disregard-status-with-annotation-selector", Value: ByHandAnnotation + "=true"}}},
		},
	}
	return json.MarshalIndent(config, "", "  ")
}

// healthURL returns where a component says whether it is healthy.
func (c *localCluster) healthURL(component string) string {
	ports := c.lease.Ports()
	at := func(scheme string, port int, path string) string {
		return scheme + "://" + loopback + ":" + strconv.Itoa(port) + path
	}
	switch component {
	case etcdComponent:
		return at("http", ports[0], "/health")
	case apiServerComponent:
		return at("https", ports[1], "/readyz")
	case controllerManagerComponent:
		return at("https", ports[2], "/healthz")
	case schedulerComponent:
		return at("https", ports[3], "/readyz")
	default:
		return at("http", ports[4], "/healthz")
	}
}
