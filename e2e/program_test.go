package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// The programs under test.
const (
	syncerBinary     = "tmc-syncer"
	controllerBinary = "tmc-controller"
	pluginBinary     = "kubectl-tmc"
)

const (
	// endTimeout is how long a program may take to end after SIGTERM.
	endTimeout = 5 * time.Second
	// startTimeout bounds how long a program takes to have read kcp and its cluster. It tries with back-off, at most
	// 30 s apart.
	startTimeout = 2 * time.Minute
	// runTimeout bounds a program that ends by itself. Installing and binding wait for kcp.
	runTimeout = 3 * time.Minute
)

// program is one of tmc's programs as a process that can be stopped, killed and started again.
type program struct {
	config framework.ProcessConfig
	// address is that of its /healthz and /readyz, metricsAddress that of its /metrics.
	address, metricsAddress string
	process                 *framework.Process
}

// newProgram prepares a program, and does not start it. name is unique in the suite: the log is called so.
func newProgram(name, binary string, args ...string) (*program, error) {
	address, err := env.stack.FreeAddress()
	if err != nil {
		return nil, err
	}
	metricsAddress, err := env.stack.FreeAddress()
	if err != nil {
		return nil, err
	}
	return &program{
		address: address, metricsAddress: metricsAddress,
		config: framework.ProcessConfig{
			Name:      name,
			Path:      filepath.Join(env.binaries, binary),
			Args:      append([]string{"--bind-address=" + address, "--metrics-bind-address=" + metricsAddress, "-v=2"}, args...),
			StopGrace: endTimeout,
		},
	}, nil
}

// runWith has the next start use other arguments, besides those that the tests need.
func (p *program) runWith(args []string) { p.config.Args = append(p.config.Args[:3:3], args...) }

func (p *program) name() string { return p.config.Name }

// start runs the program, without waiting for anything.
func (p *program) start() error {
	var err error
	p.process, err = env.stack.StartProcess(p.config)
	return err
}

// startReady runs the program and waits until it is ready.
func (p *program) startReady(ctx context.Context) error {
	if err := p.start(); err != nil {
		return err
	}
	return p.waitReady(ctx)
}

// waitReady waits until the program is ready, and no longer than it runs.
func (p *program) waitReady(ctx context.Context) error {
	err := framework.Eventually(ctx, p.config.Name+" to be ready", startTimeout, func(ctx context.Context) (bool, string, error) {
		if code, exited := p.process.ExitCode(); exited {
			return true, "", fmt.Errorf("it has ended by itself with exit code %d", code)
		}
		status, err := p.status(ctx, "/readyz")
		return status == http.StatusOK, fmt.Sprintf("/readyz answers %d", status), err
	})
	if err != nil {
		return fmt.Errorf("%w\nend of its log:\n%s", err, p.process.LogTail(20))
	}
	return nil
}

func (p *program) url(path string) string { return "http://" + p.address + path }

// status returns the code that a path answers with.
func (p *program) status(ctx context.Context, path string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(path), nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// stop asks the program to end. It fails when the program does not do so within endTimeout, with exit code 0.
func (p *program) stop(ctx context.Context) error {
	if p.process == nil {
		return nil
	}
	if code, exited := p.process.ExitCode(); exited && code != -1 {
		return fmt.Errorf("%s has ended by itself with exit code %d; end of its log:\n%s", p.config.Name, code, p.process.LogTail(20))
	}
	process := p.process
	p.process = nil
	if err := process.Stop(ctx); err != nil {
		return err
	}
	// A program that a test has killed has no exit code.
	if code, _ := process.ExitCode(); code > 0 {
		return fmt.Errorf("%s ended with exit code %d after SIGTERM; end of its log:\n%s", p.config.Name, code, process.LogTail(20))
	}
	return nil
}

// kill ends the program as a crash would.
func (p *program) kill() error { return p.process.Kill9() }

// runsOn fails unless a program runs on that nothing has ended.
func (p *program) runsOn() error {
	if !p.process.Exited() {
		return nil
	}
	return fmt.Errorf("%s has ended by itself; end of its log:\n%s", p.config.Name, p.process.LogTail(5))
}

// log returns all that the program has logged, in all its starts.
func (p *program) log() string {
	content, err := os.ReadFile(filepath.Join(env.stack.LogDir(), p.config.Name+".log"))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return string(content)
}

// startProgram runs a program that a test has for itself.
func startProgram(t *testing.T, name, binary string, args ...string) *program {
	t.Helper()
	p, err := newProgram(unique(name), binary, args...)
	check(t, err)
	check(t, p.start())
	t.Cleanup(func() {
		if err := p.stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return p
}

// result is what a program that has ended leaves behind.
type result struct {
	code           int
	stdout, stderr string
}

// runProgram runs a program of which is expected that it ends by itself, and soon.
func runProgram(ctx context.Context, binary string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(env.binaries, binary), args...)
	var ended result
	var err error
	ended.stdout, ended.stderr, err = framework.Output(command)
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		ended.code, err = exit.ExitCode(), nil
	}
	return ended, err
}

// runPlugin runs kubectl-tmc for a workspace and fails when it does.
func runPlugin(ctx context.Context, workspace string, args ...string) (stdout string, err error) {
	kubeconfig, err := env.stack.KCP.Kubeconfig(workspace)
	if err != nil {
		return "", err
	}
	ended, err := runProgram(ctx, pluginBinary, append(args, "--kubeconfig="+kubeconfig)...)
	if err == nil && ended.code != 0 {
		err = fmt.Errorf("kubectl-tmc %s: exit code %d: %s", strings.Join(args, " "), ended.code, ended.stderr)
	}
	return ended.stdout, err
}

// checkRaces fails when the race detector has found something in any program.
func checkRaces(logDir string) error {
	logs, err := filepath.Glob(filepath.Join(logDir, "*.log"))
	if err != nil {
		return err
	}
	var errs []error
	for _, log := range logs {
		content, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if _, race, found := strings.Cut(string(content), "WARNING: DATA RACE"); found {
			const enough = 4000
			errs = append(errs, fmt.Errorf("data race in %s:%s", filepath.Base(log), race[:min(len(race), enough)]))
		}
	}
	return errors.Join(errs...)
}
