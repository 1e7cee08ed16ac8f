package framework

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// e2eEnv asks for the test that runs a real stack; it takes about two minutes and wants bin/tools.
const e2eEnv = "TMC_E2E"

// stackTest is the state of TestStack.
type stackTest struct {
	*testing.T

	stack *Stack
	east  Cluster
}

// TestStack goes once through all that a stack can do. It is one test with steps, for each start of kcp
// takes half a minute.
func TestStack(t *testing.T) {
	if os.Getenv(e2eEnv) == "" {
		t.Skipf("runs a real stack: set %s=1", e2eEnv)
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	const rules = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  verbs: [create]\n"
	if err := os.WriteFile(policy, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &stackTest{T: t}
	ctx := t.Context()
	var err error
	s.stack, err = Start(ctx, Options{
		Dir: t.TempDir(), Clusters: []string{"east"}, Nodes: 2, AuditPolicy: policy, Progress: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stopAndLookAround)
	if s.east, err = s.stack.Cluster("east"); err != nil {
		t.Fatal(err)
	}
	s.step("a deployment becomes available", s.deploymentBecomesAvailable)
	s.step("a workspace serves", s.workspaceServes)
	s.step("kcp keeps workspaces and users over a restart", s.kcpRestarts)
	s.step("kcp comes back after a crash", s.kcpCrashes)
	s.step("a component can be stopped, started and frozen", s.componentStops)
	s.step("clusters come and go", s.clustersComeAndGo)
	s.step("a binary runs as part of the stack", s.binaryRuns)
	s.step("both sides audit", s.audits)
}

func (s *stackTest) step(name string, run func(ctx context.Context) error) {
	start := time.Now()
	if err := run(s.Context()); err != nil {
		s.Errorf("%s: %v", name, err)
		return
	}
	s.Logf("%s: %s", name, time.Since(start).Round(10*time.Millisecond))
}

func (s *stackTest) stopAndLookAround() {
	if err := s.stack.Stop(context.WithoutCancel(s.Context())); err != nil {
		s.Errorf("stop: %v", err)
	}
	left, err := Status(s.stack.Dir())
	if err != nil || len(left) > 0 {
		s.Errorf("left behind: %v, %v", left, err)
	}
}

func (s *stackTest) kubectl(ctx context.Context, kubeconfig string, args ...string) (string, error) {
	stdout, _, err := Kubectl(ctx, kubeconfig, args...)
	return strings.TrimSpace(stdout), err
}

func (s *stackTest) deploymentBecomesAvailable(ctx context.Context) error {
	kubeconfig := s.east.Kubeconfig()
	if _, err := s.kubectl(ctx, kubeconfig, "create", "deployment", "web", "--image=web:1", "--replicas=3"); err != nil {
		return err
	}
	_, err := s.kubectl(ctx, kubeconfig, "wait", "--for=condition=Available", "--timeout=30s", "deployment/web")
	return err
}

func (s *stackTest) workspaceServes(ctx context.Context) error {
	for _, parent := range []string{"root", "root:team"} {
		name := "team"
		if err := s.stack.KCP.CreateWorkspace(ctx, parent, name); err != nil {
			return err
		}
	}
	kubeconfig, err := s.stack.KCP.Kubeconfig("root:team")
	if err != nil {
		return err
	}
	_, err = s.kubectl(ctx, kubeconfig, "create", "configmap", "kept", "--from-literal=a=b")
	return err
}

func (s *stackTest) kcpRestarts(ctx context.Context) error {
	kubeconfig, err := s.stack.KCP.Kubeconfig("root:team")
	if err != nil {
		return err
	}
	if err := s.stack.KCP.Restart(ctx); err != nil {
		return err
	}
	// The file from before, not a new one.
	_, err = s.kubectl(ctx, kubeconfig, "get", "configmap", "kept")
	return err
}

func (s *stackTest) kcpCrashes(ctx context.Context) error {
	if err := s.stack.KCP.Kill(); err != nil {
		return err
	}
	if err := s.stack.KCP.Start(ctx); err != nil {
		return err
	}
	return s.stack.KCP.CreateWorkspace(ctx, "root", "after-crash")
}

func (s *stackTest) componentStops(ctx context.Context) error {
	if err := s.east.StopComponent(ctx, controllerManagerComponent); err != nil {
		return err
	}
	status, err := Status(s.stack.Dir())
	if err != nil {
		return err
	}
	for _, line := range status {
		if stopped := line.State == "stopped"; stopped != (line.Name == "east/kube-controller-manager") {
			s.Errorf("status of %s with a stopped controller manager is %s", line.Name, line.State)
		}
	}
	for _, component := range []string{controllerManagerComponent, etcdComponent, apiServerComponent} {
		if err := s.east.StopComponent(ctx, component); err != nil {
			return err
		}
		if err := s.east.StartComponent(ctx, component); err != nil {
			return err
		}
	}
	if err := s.east.FreezeComponent(ctx, apiServerComponent); err != nil {
		return err
	}
	if out, err := s.kubectl(ctx, s.east.Kubeconfig(), "get", "nodes", "--request-timeout=500ms"); err == nil {
		s.Errorf("a frozen API server answered %q", out)
	}
	if err := s.east.ThawComponent(ctx, apiServerComponent); err != nil {
		return err
	}
	_, err = s.kubectl(ctx, s.east.Kubeconfig(), "rollout", "restart", "deployment/web")
	if err != nil {
		return err
	}
	_, err = s.kubectl(ctx, s.east.Kubeconfig(), "rollout", "status", "deployment/web", "--timeout=30s")
	return err
}

func (s *stackTest) clustersComeAndGo(ctx context.Context) error {
	west, err := s.stack.AddCluster(ctx, "west")
	if err != nil {
		return err
	}
	out, err := s.kubectl(ctx, west.Kubeconfig(), "get", "nodes", "--output=name")
	if err != nil {
		return err
	}
	if got := len(strings.Fields(out)); got != 2 {
		s.Errorf("west has %d nodes, want 2", got)
	}
	if _, err := s.stack.AddCluster(ctx, "west"); err == nil {
		s.Error("a second west was made")
	}
	if err := s.stack.RemoveCluster(ctx, "west"); err != nil {
		return err
	}
	if _, err := s.stack.Cluster("west"); err == nil {
		s.Error("west is still there")
	}
	_, err = s.kubectl(ctx, s.east.Kubeconfig(), "get", "nodes")
	return err
}

func (s *stackTest) binaryRuns(context.Context) error {
	process, err := s.stack.StartProcess(ProcessConfig{Name: "sleeper", Path: "/bin/sleep", Args: []string{"600"}})
	if err != nil {
		return err
	}
	if got, want := process.LogFile(), filepath.Join(s.stack.LogDir(), "sleeper.log"); got != want {
		s.Errorf("log file is %s, want %s", got, want)
	}
	_, err = s.stack.FreeAddress()
	return err
}

func (s *stackTest) audits(context.Context) error {
	for _, file := range []string{s.stack.KCP.AuditLog(), s.east.AuditLog()} {
		tail, err := readTail(file, 1)
		if err != nil {
			return err
		}
		var event struct{ Verb string }
		if err := json.Unmarshal([]byte(tail), &event); err != nil {
			return err
		}
		if event.Verb != "create" {
			s.Errorf("%s ends with the verb %q, want create", file, event.Verb)
		}
	}
	return nil
}
