package framework

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// testTimeout bounds what takes milliseconds.
const testTimeout = 20 * time.Second

// startMarked runs a shell script as a process with a mark.
func startMarked(t *testing.T, run, name, script string) *Process {
	t.Helper()
	process, err := StartProcess(ProcessConfig{
		Name: name, Path: "/bin/sh", Args: []string{"-c", script},
		Env: mark(run, name), LogFile: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sweep(context.WithoutCancel(t.Context()), ofRun(run), anyName); err != nil {
			t.Error(err)
		}
		<-process.Done()
	})
	return process
}

func TestSweepKillsMarkedProcessAndChildren(t *testing.T) {
	run, other := newRun(t.TempDir()), newRun(t.TempDir())
	marked := startMarked(t, run, "one", "sleep 60 & sleep 60")
	unmarked := startMarked(t, other, "other", "sleep 60")
	if err := sweep(t.Context(), ofRun(run), anyName); err != nil {
		t.Fatal(err)
	}
	if err := marked.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	left, err := markedProcesses(ofRun(run))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left after the sweep: %s", names(left))
	}
	if unmarked.Exited() {
		t.Error("the sweep killed a process with another mark")
	}
}

func TestSweepSparesOtherNames(t *testing.T) {
	run := newRun(t.TempDir())
	east := startMarked(t, run, "east/etcd", "sleep 60")
	west := startMarked(t, run, "west/etcd", "sleep 60")
	if err := sweep(t.Context(), ofRun(run), (&localCluster{name: "east"}).anyPart); err != nil {
		t.Fatal(err)
	}
	if err := east.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if west.Exited() {
		t.Error("the sweep of east killed a process of west")
	}
}

func TestSignalGoesToSameProcessOnly(t *testing.T) {
	run := newRun(t.TempDir())
	process := startMarked(t, run, "one", "sleep 60")
	t.Run("by mark", func(t *testing.T) {
		stranger := markedProcess{pid: process.PID(), run: newRun("/elsewhere"), name: "stranger"}
		if err := signalMarked(stranger, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	t.Run("by start time", func(t *testing.T) {
		before, err := identify(process.PID())
		if err != nil {
			t.Fatal(err)
		}
		before.start--
		if err := before.signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	// A signal that was sent after all would have come before this one.
	if err := process.Freeze(); err != nil {
		t.Fatal(err)
	}
	err := Eventually(t.Context(), "the process to be frozen", testTimeout, func(context.Context) (bool, string, error) {
		current, ok := readMarked(process.PID())
		return ok && current.frozen, "it runs", nil
	})
	if err != nil {
		t.Error(err)
	}
	if process.Exited() {
		t.Fatal("a signal meant for another process killed this one")
	}
	self, err := identify(process.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := process.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMarkNamesDirectoryAndRun(t *testing.T) {
	run := newRun("/stacks/a@b")
	tests := map[string]struct {
		match func(string) bool
		want  bool
	}{
		"its directory":       {ofDir("/stacks/a@b"), true},
		"a directory above":   {ofDir("/stacks"), false},
		"a directory before":  {ofDir("/stacks/a"), false},
		"its run":             {ofRun(run), true},
		"another run in it":   {ofRun(newRun("/stacks/a@b")), false},
		"a name without sign": {func(string) bool { return ofDir("")("nothing") }, false},
	}
	for name, test := range tests {
		if got := test.match(run); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestProcessNameEndsWithCommand(t *testing.T) {
	cmdline := []byte("/x/bin/kube-apiserver\x00--v=2\x00")
	if got, want := processName("east/", cmdline), "east/kube-apiserver"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := processName("kcp", cmdline), "kcp"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEnvironValueTakesWholeKeys(t *testing.T) {
	environ := []byte("XTMC_STACK_RUN=no\x00TMC_STACK_RUN=/d@1=2\x00TMC_STACK_RUN_X=no\x00")
	if got, ok := environValue(environ, runEnv); !ok || got != "/d@1=2" {
		t.Errorf("got %q, %v", got, ok)
	}
	if got, ok := environValue(environ, nameEnv); ok {
		t.Errorf("found %q for a key that is not there", got)
	}
}

func TestIdentityOfThisProcess(t *testing.T) {
	self, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseIdentity(self.String())
	if err != nil {
		t.Fatal(err)
	}
	if got != self {
		t.Errorf("got %+v, want %+v", got, self)
	}
	if _, err := parseIdentity("x"); err == nil {
		t.Error("no error for a text without numbers")
	}
}
