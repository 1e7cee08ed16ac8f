package framework

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startShell runs a shell script that says "up" once it does what is asked of it.
func startShell(t *testing.T, script string, grace time.Duration) *Process {
	t.Helper()
	process, err := StartProcess(ProcessConfig{
		Name: "shell", Path: "/bin/sh", Args: []string{"-c", script},
		Env: []string{"GREETING=hello"}, LogFile: filepath.Join(t.TempDir(), "logs", "shell.log"), StopGrace: grace,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Kill9(); err != nil {
			t.Error(err)
		}
	})
	return process
}

func waitForLog(t *testing.T, process *Process, want string) {
	t.Helper()
	err := Eventually(t.Context(), "log "+want, testTimeout, func(context.Context) (bool, string, error) {
		tail := process.LogTail(5)
		return strings.Contains(tail, want), tail, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProcessExitCodeAndLog(t *testing.T) {
	process := startShell(t, `echo out $GREETING; echo err >&2; exit 3`, 0)
	if err := process.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, exited := process.ExitCode(); code != 3 || !exited {
		t.Errorf("exit code %d, %v, want 3, true", code, exited)
	}
	if got, want := process.LogTail(10), "out hello\nerr"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	if err := errors.Join(process.Stop(t.Context()), process.Signal(syscall.SIGTERM), process.Kill9()); err != nil {
		t.Errorf("signals to a process that has ended: %v", err)
	}
}

func TestProcessStopLetsFrozenProcessTidyUp(t *testing.T) {
	process := startShell(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done`, testTimeout)
	waitForLog(t, process, "up")
	if err := process.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := process.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if code, exited := process.ExitCode(); code != 0 || !exited {
		t.Errorf("exit code %d, %v, want 0, true", code, exited)
	}
	if got := process.LogTail(1); got != "bye" {
		t.Errorf("log ends with %q, want bye", got)
	}
}

func TestProcessStopKillsProcessThatDoesNotEnd(t *testing.T) {
	process := startShell(t, `trap '' TERM; echo up; while :; do sleep 0.05; done`, 50*time.Millisecond)
	waitForLog(t, process, "up")
	if err := process.Stop(t.Context()); err == nil {
		t.Error("no error from a process that had to be killed")
	}
	if code, exited := process.ExitCode(); code != -1 || !exited {
		t.Errorf("exit code %d, %v, want -1, true", code, exited)
	}
}

func TestProcessWaitEndsWithContext(t *testing.T) {
	process := startShell(t, `exec sleep 60`, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := process.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	if _, exited := process.ExitCode(); exited {
		t.Error("the process has ended")
	}
}

func TestProcessMissingBinary(t *testing.T) {
	_, err := StartProcess(ProcessConfig{Name: "x", Path: "/nonexistent", LogFile: filepath.Join(t.TempDir(), "log")})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, os.ErrNotExist)
	}
}
