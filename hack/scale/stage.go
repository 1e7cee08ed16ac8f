package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/hack/measure"
)

// tmc's programs.
const (
	controllerBinary = "tmc-controller"
	pluginBinary     = "kubectl-tmc"
)

const (
	// physical is the name of the one cluster in the stack.
	physical = "all"
	// consumer is the name of the user's workspace, below root.
	consumer          = "scale"
	consumerWorkspace = "root:" + consumer
	// readyTimeout is how long the controller may take to have read kcp.
	readyTimeout = time.Minute
)

// stage is a kcp and a cluster with tmc on them.
type stage struct {
	stack   *framework.Stack
	cluster framework.Cluster
	// root is a kubeconfig for kcp.
	root   string
	binDir string
	// controller is the process that runs now, restarts how often one has ended by itself.
	controller atomic.Pointer[framework.Process]
	restarts   atomic.Int64
	out        io.Writer
	// giveUp ends the measurement for a reason.
	giveUp context.CancelCauseFunc
}

// setUp starts the stack. What the syncers log goes to a file beside its logs.
func (s *stage) setUp(ctx context.Context, o options, out io.Writer, giveUp context.CancelCauseFunc) error {
	s.binDir, s.out, s.giveUp = o.binDir, out, giveUp
	policy, err := measure.WriteAuditPolicy(o.dir)
	if err != nil {
		return err
	}
	s.stack, err = framework.Start(ctx, framework.Options{
		Dir:         o.dir,
		Clusters:    []string{physical},
		Nodes:       o.nodes(),
		AuditPolicy: policy,
		Progress:    out,
	})
	if err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return errors.Join(err, s.stack.Stop(stopCtx))
	}
	s.watch(ctx, "kcp", s.stack.KCP.Process())
	return nil
}

func (s *stage) prepare() error {
	var err error
	if s.cluster, err = s.stack.Cluster(physical); err != nil {
		return err
	}
	if s.root, err = s.stack.KCP.Kubeconfig("root"); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.stack.LogDir(), "syncers.log"))
	if err != nil {
		return fmt.Errorf("make the syncers' log: %w", err)
	}
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log), textlogger.Verbosity(0)))
	klog.SetLoggerWithOptions(logger, klog.ContextualLogger(true))
	return nil
}

// watch gives up when the process ends, or ends itself with ctx.
func (s *stage) watch(ctx context.Context, name string, process *framework.Process) {
	go func() {
		select {
		case <-ctx.Done():
		case <-process.Done():
			s.giveUp(fmt.Errorf("%s has ended by itself; end of its log:\n%s", name, process.LogTail(10)))
		}
	}()
}

// install makes all ready for syncers. The workspace is bound before they come, for only then is there anything
// that they could read: what they take to start is that of a kcp in use.
func (m *measurement) install(ctx context.Context) error {
	if err := m.plugin(ctx, "init"); err != nil {
		return err
	}
	if err := m.stack.KCP.CreateWorkspace(ctx, "root", consumer); err != nil {
		return err
	}
	kubeconfig, err := m.stack.KCP.Kubeconfig(consumerWorkspace)
	if err != nil {
		return err
	}
	if err := m.pluginAt(ctx, kubeconfig, "bind"); err != nil {
		return err
	}
	if err := m.startController(ctx); err != nil {
		return err
	}
	m.ledger.Follow("kcp", m.stack.KCP.Process().PID)
	m.ledger.Follow(controllerBinary, func() int { return m.controller.Load().PID() })
	m.ledger.Follow(fmt.Sprintf("%d syncers (one process)", m.syncers), os.Getpid)
	return nil
}

func (s *stage) startController(ctx context.Context) error {
	address, err := s.stack.FreeAddress()
	if err != nil {
		return err
	}
	start := func() (*framework.Process, error) {
		process, err := s.stack.StartProcess(framework.ProcessConfig{
			Name: controllerBinary,
			Path: filepath.Join(s.binDir, controllerBinary),
			// A kcp that has all it can take answers a lease late.
			Args: []string{
				"--bind-address=" + address, "--metrics-bind-address=", "--kcp-kubeconfig=" + s.root, "-v=0",
				"--leader-elect-lease-duration=60s", "--leader-elect-renew-deadline=45s",
			},
		})
		if err == nil {
			s.controller.Store(process)
		}
		return process, err
	}
	process, err := start()
	if err != nil {
		return err
	}
	go s.keepRunning(ctx, process, start)
	return framework.WaitHTTP(ctx, nil, "http://"+address+"/readyz", readyTimeout)
}

// keepRunning starts the controller again when it ends, as whatever runs it would.
func (s *stage) keepRunning(ctx context.Context, process *framework.Process, start func() (*framework.Process, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-process.Done():
		}
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintf(s.out, "   %s has ended by itself and is started again; end of its log:\n%s\n", controllerBinary, process.LogTail(2))
		s.restarts.Add(1)
		var err error
		if process, err = start(); err != nil {
			s.giveUp(err)
			return
		}
	}
}

// plugin runs kubectl-tmc as kcp's administrator.
func (s *stage) plugin(ctx context.Context, args ...string) error {
	return s.pluginAt(ctx, s.root, args...)
}

func (s *stage) pluginAt(ctx context.Context, kubeconfig string, args ...string) error {
	_, _, err := framework.Output(exec.CommandContext(ctx, filepath.Join(s.binDir, pluginBinary), append(args, "--kubeconfig="+kubeconfig)...))
	return err
}

// auditFromNow begins to note the requests that tmc makes to any server.
func (s *stage) auditFromNow() (*measure.Trail, error) {
	return measure.NewTrail(s.stack.KCP.AuditLog(), s.cluster.AuditLog())
}
