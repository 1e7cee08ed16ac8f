package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/hack/measure"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// east and west are the clusters.
	east, west = "east", "west"
	// consumer is the name of the user's workspace, below root, and namespace the one that all is in.
	consumer          = "bench"
	consumerWorkspace = "root:" + consumer
	namespace         = "bench"
	// nodes is how many simulated nodes each cluster has.
	nodes = 15
	// readyTimeout is how long a program may take to have read both sides.
	readyTimeout = time.Minute
)

func clusterNames() []string { return []string{east, west} }

// side is kcp's workspace or a cluster, as its user or its administrator sees it.
type side struct {
	name, kubeconfig string
	config           *rest.Config
	objects          dynamic.Interface
	client           kubernetes.Interface
	// deployments shows the Deployments there, of a cluster only the copies; pods those of a cluster
	// that get ready by hand, by the Deployment that they are of.
	deployments, pods *observer
}

// stage is a kcp and two clusters with tmc on them.
type stage struct {
	stack *framework.Stack
	out   io.Writer
	// root is a kubeconfig for kcp.
	root   string
	binDir string
	// user is the user's workspace.
	user *side
	// clusters are by name.
	clusters map[string]*side
	// programs are the controller and the syncers.
	programs []*program
	// giveUp ends the run for a reason.
	giveUp context.CancelCauseFunc
}

// newStage starts the stack.
func newStage(ctx context.Context, o options, out io.Writer, giveUp context.CancelCauseFunc) (*stage, error) {
	s := &stage{binDir: o.binDir, out: out, giveUp: giveUp, clusters: map[string]*side{}}
	policy, err := measure.WriteAuditPolicy(o.dir)
	if err != nil {
		return nil, err
	}
	if o.noAudit {
		policy = ""
	}
	s.stack, err = framework.Start(ctx, framework.Options{
		Dir: o.dir, Clusters: clusterNames(), Nodes: nodes, AuditPolicy: policy, Progress: out, KCPArgs: o.kcpFlags,
	})
	if err != nil {
		return nil, err
	}
	if s.root, err = s.stack.KCP.Kubeconfig("root"); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return nil, errors.Join(err, s.stack.Stop(stopCtx))
	}
	return s, nil
}

// install makes all ready: tmc in kcp, a workspace that is bound, and clusters that have joined.
func (s *stage) install(ctx context.Context) error {
	if _, err := s.plugin(ctx, s.root, "init"); err != nil {
		return err
	}
	if err := s.stack.KCP.CreateWorkspace(ctx, "root", consumer); err != nil {
		return err
	}
	if err := s.newController(); err != nil {
		return err
	}
	for _, name := range clusterNames() {
		if err := s.join(ctx, name); err != nil {
			return err
		}
	}
	if err := s.findSides(ctx); err != nil {
		return err
	}
	if _, err := s.plugin(ctx, s.user.kubeconfig, "bind"); err != nil {
		return err
	}
	if err := s.user.follow(ctx, ""); err != nil {
		return err
	}
	_, err := s.user.objects.Resource(namespacesResource).Create(ctx, newNamespace(namespace), metav1.CreateOptions{})
	return err
}

// begin starts the programs and waits until the clusters are ready.
func (s *stage) begin(ctx context.Context) error {
	if err := s.startPrograms(ctx); err != nil {
		return err
	}
	if err := s.awaitClusters(ctx); err != nil {
		return err
	}
	const anchor = "anchor" // it keeps the namespace on the clusters
	complete := s.user.deployments.await(anchor, isComplete(1, int64(len(clusterNames()))))
	if _, err := s.user.objects.Resource(deploymentsResource).Namespace(namespace).Create(ctx, newDeployment(anchor, ""), metav1.CreateOptions{}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if _, err := complete.wait(ctx); err != nil {
		return fmt.Errorf("deployment %s to be complete: %w", anchor, err)
	}
	return nil
}

// isRunning reports whether the programs have been started.
func (s *stage) isRunning() bool { return s.programs[0].process != nil }

// findSides makes the clients of the user and of the clusters' administrators.
func (s *stage) findSides(ctx context.Context) error {
	kubeconfig, err := s.stack.KCP.Kubeconfig(consumerWorkspace)
	if err != nil {
		return err
	}
	config, err := s.stack.KCP.RESTConfig(consumerWorkspace)
	if err != nil {
		return err
	}
	if s.user, err = newSide("kcp", kubeconfig, config); err != nil {
		return err
	}
	for _, name := range clusterNames() {
		cluster, err := s.stack.Cluster(name)
		if err != nil {
			return err
		}
		if config, err = cluster.RESTConfig(); err != nil {
			return err
		}
		if s.clusters[name], err = newSide(name, cluster.Kubeconfig(), config); err != nil {
			return err
		}
		if err := s.clusters[name].follow(ctx, v1alpha1.ManagedByLabel); err != nil {
			return err
		}
		if err := s.clusters[name].followPods(ctx); err != nil {
			return err
		}
	}
	return nil
}

func newSide(name, kubeconfig string, config *rest.Config) (*side, error) {
	config.UserAgent = "tmc.bench"
	s := &side{name: name, kubeconfig: kubeconfig, config: config}
	var err error
	if s.objects, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("client for %s: %w", name, err)
	}
	if s.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("client for %s: %w", name, err)
	}
	return s, nil
}

// follow begins to watch the Deployments of the side that have a label, all if it is empty.
func (s *side) follow(ctx context.Context, label string) error {
	var err error
	s.deployments, err = observe(ctx, s.objects, selection{resource: deploymentsResource, labels: label})
	return err
}

// awaitClusters waits until the hub has heard of both clusters.
func (s *stage) awaitClusters(ctx context.Context) error {
	config, err := s.stack.KCP.RESTConfig(v1alpha1.DefaultProviderWorkspace)
	if err != nil {
		return err
	}
	provider, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for the provider workspace: %w", err)
	}
	registrations, err := observe(ctx, provider, selection{resource: v1alpha1.ClusterRegistrationsResource})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, name := range clusterNames() {
		if _, err := registrations.await(name, isTrue(v1alpha1.ConditionReady)).wait(ctx); err != nil {
			return fmt.Errorf("cluster %s to be ready: %w", name, err)
		}
	}
	return nil
}

// trail begins to note the requests that tmc's programs make to any server.
func (s *stage) trail() (*measure.Trail, error) {
	var logs []string
	for _, name := range clusterNames() {
		cluster, err := s.stack.Cluster(name)
		if err != nil {
			return nil, err
		}
		logs = append(logs, cluster.AuditLog())
	}
	return measure.NewTrail(s.stack.KCP.AuditLog(), logs...)
}

// plugin runs kubectl-tmc with a kubeconfig for kcp, and returns what it prints.
func (s *stage) plugin(ctx context.Context, kubeconfig string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(s.binDir, pluginBinary), append(args, "--kubeconfig="+kubeconfig)...)
	stdout, _, err := framework.Output(command)
	return stdout, err
}

// program is one of tmc's programs as a process.
type program struct {
	name, address string
	config        framework.ProcessConfig
	process       *framework.Process
}

// add prepares a program.
func (s *stage) add(name, binary string, args ...string) error {
	address, err := s.stack.FreeAddress()
	if err != nil {
		return err
	}
	s.programs = append(s.programs, &program{name: name, address: address, config: framework.ProcessConfig{
		Name: name,
		Path: filepath.Join(s.binDir, binary),
		Args: append([]string{"--bind-address=" + address, "--metrics-bind-address=", "-v=0"}, args...),
	}})
	return nil
}

func (s *stage) newController() error {
	return s.add(controllerBinary, controllerBinary, "--kcp-kubeconfig="+s.root)
}

// startPrograms starts the programs and waits until they are ready.
func (s *stage) startPrograms(ctx context.Context) error {
	for _, p := range s.programs {
		var err error
		if p.process, err = s.stack.StartProcess(p.config); err != nil {
			return err
		}
	}
	for _, p := range s.programs {
		if err := framework.WaitHTTP(ctx, nil, "http://"+p.address+"/readyz", readyTimeout); err != nil {
			return fmt.Errorf("%s was expected to become ready: %w; end of its log:\n%s", p.name, err, p.process.LogTail(5))
		}
	}
	return nil
}
