// Package e2e tests tmc from the outside: its programs run as processes against a real kcp and real clusters, users act
// through kubectl, and the tests check what kcp and the clusters then have.
//
// TestMain starts the stack and one installation of tmc that the tests share. Every test has consumer workspaces of its
// own. Tests that measure, or that stop what others share, run one after the other and first. The others run side by side;
// those that kill programs or need other flags have an installation of their own, under other cluster names on the same
// clusters, in a provider workspace that an earlier test may have left.
//
// With TMC_E2E_PROVIDER=kind some of the cases, and some more, run on kind clusters: real nodes, and syncers that are pods
// there, from nothing but the manifests that `kubectl tmc join` prints.
package e2e

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// The clusters of the stack. The shared installation knows east and west under the same
// names; north is for those that need a third.
const (
	east  = "east"
	west  = "west"
	north = "north"
)

const (
	// binariesEnv names the variable that says where the programs under test are. Without it they are built,
	// with the race detector.
	binariesEnv = "TMC_BIN_DIR"
	// sideBySide is how many tests run at a time: they wait most of the time, whatever the number of cores.
	sideBySide = "5"
	// nodes is how many nodes each cluster has; each takes 110 pods.
	nodes = 8
	// stopTimeout bounds the end of the suite.
	stopTimeout = 2 * time.Minute
)

// environment is what all tests share.
type environment struct {
	stack *framework.Stack
	// binaries is the directory of the programs under test.
	binaries string
	// clusters are the stack's, by name.
	clusters map[string]*cluster
	// shared serves the tests that do not bring an installation of their own.
	shared *installation
	// kind makes the clusters, nil unless they are kind clusters.
	kind *framework.KindProvider
	// image is the tmc that kind clusters run, and local ones would.
	image string
	// leaving are the installations of tests that have ended, and faults what has gone wrong with their ends.
	leaving sync.WaitGroup
	mu      sync.Mutex
	faults  []error
}

// note adds a fault, which fails the suite.
func (e *environment) note(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = append(e.faults, err)
}

// env is set by TestMain, before any test runs.
var env environment

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run runs the tests within the environment and returns their exit code. An error is about what surrounds them.
func run(m *testing.M) (code int, err error) {
	provider, err := provider()
	if err != nil {
		return 0, err
	}
	if err := errors.Join(setFlag("test.parallel", sideBySide), selectCases(provider)); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "tmc-e2e-")
	if err != nil {
		return 0, fmt.Errorf("making a directory: %w", err)
	}
	err = setUp(context.Background(), provider, dir)
	if err == nil {
		code = m.Run()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err = errors.Join(err, tearDown(ctx))
	if code != 0 || err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the logs are kept in", filepath.Join(dir, "stack", "logs"))
		return code, err
	}
	return 0, os.RemoveAll(dir)
}

// setFlag sets a flag of the tests, unless the command line does.
func setFlag(name, value string) error {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given {
		return nil
	}
	return flag.Set(name, value)
}

// setUp builds the programs, starts the stack and installs tmc on it.
func setUp(ctx context.Context, provider, dir string) error {
	if err := requireTools(); err != nil {
		return err
	}
	var err error
	if env.binaries, err = binaries(ctx, filepath.Join(dir, "bin")); err != nil {
		return err
	}
	env.image = cmp.Or(os.Getenv(imageEnv), "tmc:e2e")
	if err := startStack(ctx, provider, dir); err != nil {
		return err
	}
	return step("tmc", func() error {
		shared := map[string]*cluster{east: env.clusters[east], west: env.clusters[west]}
		env.shared = &installation{name: "tmc", provider: v1alpha1.DefaultProviderWorkspace, clusters: shared}
		if err := env.shared.install(ctx); err != nil {
			return err
		}
		return env.shared.start(ctx)
	})
}

// startStack starts kcp and the clusters.
func startStack(ctx context.Context, provider, dir string) error {
	describe := localOptions
	if provider == kindProvider {
		describe = kindOptions
	}
	options, err := describe(ctx, dir)
	if err != nil {
		return err
	}
	options.Dir, options.Progress = filepath.Join(dir, "stack"), os.Stderr
	if env.stack, err = framework.Start(ctx, options); err != nil {
		return err
	}
	env.clusters = map[string]*cluster{}
	for _, name := range options.Clusters {
		if env.clusters[name], err = newCluster(name); err != nil {
			return err
		}
	}
	if env.kind == nil {
		return nil
	}
	return step("images in the clusters", func() error { return loadImages(ctx) })
}

// localOptions are those of a stack of kcp and three local clusters, all audited.
func localOptions(_ context.Context, dir string) (framework.Options, error) {
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return framework.Options{}, fmt.Errorf("writing the audit policy: %w", err)
	}
	return framework.Options{Clusters: []string{east, west, north}, Nodes: nodes, AuditPolicy: policy}, nil
}

// tearDown stops everything and says what was wrong with the end: a program that did not end by itself, a data
// race in any of them, a process that is left.
func tearDown(ctx context.Context) (err error) {
	var errs []error
	if env.kind != nil {
		// The last of all: the clusters are in what it removes.
		defer func() { err = errors.Join(err, env.kind.Close(ctx)) }()
	}
	if env.stack == nil {
		return nil
	}
	env.leaving.Wait()
	errs = append(errs, env.faults...)
	if env.shared != nil {
		errs = append(errs, env.shared.stop(ctx))
	}
	dir := env.stack.Dir()
	errs = append(errs, env.stack.Stop(ctx), checkRaces(env.stack.LogDir()))
	left, err := framework.Status(dir)
	if len(left) > 0 {
		errs = append(errs, fmt.Errorf("processes are left behind: %v", left))
	}
	return errors.Join(append(errs, err)...)
}

// requireTools returns an error that names a missing tool and how to get it.
func requireTools() error {
	dir, err := framework.ToolsDir()
	if err != nil {
		return err
	}
	for _, name := range []string{
		"kcp", "kwokctl", "kwok", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl",
	} {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%s is missing: run `make tools` first: %w", file, err)
		}
	}
	return nil
}

// binaries returns the directory of the programs under test; it builds them into dir unless there are some.
func binaries(ctx context.Context, dir string) (string, error) {
	if given := os.Getenv(binariesEnv); given != "" {
		return filepath.Abs(given)
	}
	return dir, step("tmc's programs, with the race detector", func() error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		build := exec.CommandContext(ctx, "go", "build", "-race", "-o", dir, "../cmd/...")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
		return nil
	})
}

// step says on stderr what is being made and how long it took.
func step(what string, run func() error) error {
	fmt.Fprintf(os.Stderr, "%s: making\n", what)
	start := time.Now()
	if err := run(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Fprintf(os.Stderr, "%s: ready after %s\n", what, time.Since(start).Round(100*time.Millisecond))
	return nil
}
