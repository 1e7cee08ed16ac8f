package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// nodes is how many nodes each cluster has.
	nodes = 3
	// consumer is the name of the user's workspace, below root.
	consumer = "demo"
	// readyTimeout is how long a program may take to have read kcp and its cluster.
	readyTimeout = 30 * time.Second
	// commandTimeout is how long any one command of kubectl may take.
	commandTimeout = time.Minute
	// stopTimeout bounds the stopping of it all.
	stopTimeout = time.Minute
)

// clusterNames are the clusters of the stack.
func clusterNames() []string { return []string{"east", "west"} }

// place is where a command is run: a workspace of kcp or a cluster.
type place struct {
	// name is what messages and tables call it, prompt what stands before its commands.
	name, prompt string
	kubeconfig   string
	client       kubernetes.Interface
}

// stage is a kcp and the clusters with tmc on them: what is shown, is shown on it.
type stage struct {
	options options
	out     *console
	stack   *framework.Stack
	// root is kcp's root workspace, of which only the kubeconfig is used, user the user's workspace.
	root, user place
	// clusters are in the order of clusterNames.
	clusters []place
	// repairAddress is where the controller repairs patches for kcp.
	repairAddress string

	// giveUp ends the use of the stage for a reason.
	giveUp   context.CancelCauseFunc
	watching sync.WaitGroup
}

// onStage sets everything up, calls use, and stops everything. A program that ends meanwhile is an error, and ends
// the context that use gets. After an error the logs are kept, and the error says where.
func onStage(ctx context.Context, o options, out io.Writer, use func(ctx context.Context, s *stage) error) error {
	if err := o.requireBinaries(); err != nil {
		return err
	}
	s := &stage{options: o, out: &console{w: out}}
	start := time.Now()
	s.out.sayf("Starting kcp and two Kubernetes clusters, %s, on this machine. Their control planes are real,\n"+
		"their nodes are simulated: pods become ready, but no image is pulled and no container runs.", and(clusterNames()))
	var err error
	s.stack, err = framework.Start(ctx, framework.Options{
		Dir:      o.dir,
		Clusters: clusterNames(),
		Nodes:    nodes,
		Progress: indented{out},
	})
	if err != nil {
		return explain(ctx, err, o)
	}
	s.out.sayf("  all of it: ready after %s", seconds(time.Since(start)))
	err = s.guard(ctx, func(ctx context.Context) error {
		if err := s.setUp(ctx); err != nil {
			return err
		}
		return use(ctx, s)
	})
	s.out.sayf("")
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(explain(ctx, err, o), s.stack.Stop(stopCtx))
}

// errInterrupted stands for whatever went wrong because somebody has had enough.
var errInterrupted = errors.New("interrupted: everything has been stopped")

// explain says of an error where to read more.
func explain(ctx context.Context, err error, o options) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errInterrupted
	default:
		return fmt.Errorf("%w\nThe logs are kept in %s", err, short(o.logDir()))
	}
}

// guard calls do, and ends its context when one of the processes that are watched ends.
func (s *stage) guard(ctx context.Context, do func(ctx context.Context) error) error {
	guarded, giveUp := context.WithCancelCause(ctx)
	s.giveUp = giveUp
	defer s.watching.Wait()
	defer giveUp(nil)
	s.watch(guarded, "kcp", s.stack.KCP.Process())
	err := do(guarded)
	if cause := context.Cause(guarded); errors.Is(cause, errEnded) && ctx.Err() == nil {
		return cause // what came of it is of no interest
	}
	return err
}

// errEnded is wrapped by the error about a process that is gone.
var errEnded = errors.New("has ended")

// watch gives up when the process ends, or ends itself with ctx.
func (s *stage) watch(ctx context.Context, name string, process *framework.Process) {
	s.watching.Go(func() {
		select {
		case <-ctx.Done():
		case <-process.Done():
			how := "killed by a signal"
			if code, _ := process.ExitCode(); code >= 0 {
				how = "exit code " + strconv.Itoa(code)
			}
			s.giveUp(fmt.Errorf("%s was expected to run until the end of the demo, but %w (%s); end of %s:\n%s",
				name, errEnded, how, short(process.LogFile()), process.LogTail(5)))
		}
	})
}

// setUp installs tmc, gives the user a workspace, and starts tmc's programs.
func (s *stage) setUp(ctx context.Context) error {
	if err := s.findPlaces(); err != nil {
		return err
	}
	s.legend()
	var err error
	if s.repairAddress, err = s.stack.FreeAddress(); err != nil {
		return err
	}
	s.out.title("Install tmc in kcp")
	if err := s.plugin(ctx, s.root, "init", "--repair-url=https://"+s.repairAddress); err != nil {
		return err
	}
	s.out.title("Give a user a workspace, and bind it to tmc")
	start := time.Now()
	if err := s.stack.KCP.CreateWorkspace(ctx, "root", consumer); err != nil {
		return err
	}
	s.out.sayf("workspace root:%s: ready after %s", consumer, seconds(time.Since(start)))
	if err := s.plugin(ctx, s.user, "bind"); err != nil {
		return err
	}
	s.out.title("Start tmc: the controller next to kcp, a syncer for each cluster")
	if err := s.startPrograms(ctx); err != nil {
		return err
	}
	return s.showClusters(ctx)
}

// showClusters waits until the controller has heard of all clusters, and shows them.
func (s *stage) showClusters(ctx context.Context) error {
	kubeconfig, err := s.stack.KCP.Kubeconfig(v1alpha1.DefaultProviderWorkspace)
	if err != nil {
		return err
	}
	provider := place{name: s.root.name, prompt: "kcp " + v1alpha1.DefaultProviderWorkspace, kubeconfig: kubeconfig}
	s.out.sayf("Each syncer has registered its cluster, and sends heartbeats.\n")
	if err := s.kubectl(ctx, provider, "wait", "clusterregistration", "--all", "--for=condition=Ready", "--timeout=30s"); err != nil {
		return err
	}
	return s.plugin(ctx, s.root, "get", "clusters")
}

// findPlaces makes kubeconfigs and clients for where the user and the clusters' administrators work.
func (s *stage) findPlaces() error {
	root, err := s.stack.KCP.Kubeconfig("root")
	if err != nil {
		return err
	}
	s.root = place{name: "kcp", prompt: "kcp root", kubeconfig: root}
	workspace := "root:" + consumer
	kubeconfig, err := s.stack.KCP.Kubeconfig(workspace)
	if err != nil {
		return err
	}
	config, err := s.stack.KCP.RESTConfig(workspace)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for kcp: %w", err)
	}
	s.user = place{name: "kcp", prompt: "kcp " + workspace, kubeconfig: kubeconfig, client: client}
	for _, name := range clusterNames() {
		cluster, err := s.stack.Cluster(name)
		if err != nil {
			return err
		}
		config, err := cluster.RESTConfig()
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return fmt.Errorf("client for cluster %s: %w", name, err)
		}
		s.clusters = append(s.clusters, place{name: name, prompt: name, kubeconfig: cluster.Kubeconfig(), client: client})
	}
	return nil
}

// legend explains the prompts.
func (s *stage) legend() {
	s.out.sayf("\nBelow, each command stands behind a prompt that says where it is typed:")
	var rows [][]string
	for _, at := range append([]place{s.root, s.user}, s.clusters...) {
		rows = append(rows, []string{at.prompt + " $", "KUBECONFIG=" + short(at.kubeconfig)})
	}
	s.out.table(rows)
}

// plugin runs kubectl-tmc as a user would, and shows it.
func (s *stage) plugin(ctx context.Context, at place, args ...string) error {
	s.out.command(at.prompt, append([]string{kubectl, "tmc"}, args...)...)
	start := time.Now()
	cmd := exec.CommandContext(ctx, s.options.binary(pluginBinary), append(args, "--kubeconfig="+at.kubeconfig)...)
	// It tells of its progress as it goes.
	cmd.Stdout, cmd.Stderr = s.out.w, s.out.w
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kubectl tmc %s: %w", strings.Join(args, " "), err)
	}
	s.out.sayf("(%s)", seconds(time.Since(start)))
	return nil
}

// kubectl runs a command as a user would, and shows it and what it says.
func (s *stage) kubectl(ctx context.Context, at place, args ...string) error {
	s.out.command(at.prompt, append([]string{kubectl}, args...)...)
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	stdout, stderr, err := framework.Kubectl(ctx, at.kubeconfig, args...)
	s.out.answer(stdout)
	s.out.answer(stderr)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: expected it to be done within %s, and it was not", kubectl, strings.Join(args, " "), commandTimeout)
	}
	return err
}
