package framework

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ownerEnv makes TestReaperOwner play the owner of a stack; it holds the run.
const ownerEnv = "TMC_TEST_REAPER_OWNER"

// TestReaperOwner is not a test: TestReaperEndsLeftoversOfKilledOwner runs it as a process of its own.
func TestReaperOwner(t *testing.T) {
	run := os.Getenv(ownerEnv)
	if run == "" {
		return // for another test
	}
	if _, err := startReaper(run, filepath.Join(t.TempDir(), "log")); err != nil {
		t.Fatal(err)
	}
	// The sleeper is nobody's child, as kwokctl leaves its components.
	sleeper := exec.Command("/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 &")
	sleeper.Env = append(os.Environ(), mark(run, "sleeper")...)
	if err := sleeper.Run(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	select {} // until it is killed
}

func TestReaperEndsLeftoversOfKilledOwner(t *testing.T) {
	run := newRun(t.TempDir())
	owner := exec.Command(selfExecutable, "-test.run=^TestReaperOwner$")
	owner.Env = append(os.Environ(), ownerEnv+"="+run)
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Errorf("owner said %q: %v", line, err)
	}
	left, err := markedProcesses(ofRun(run))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("before the owner's death there run %q, want one process", names(left))
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // it was killed
	err = Eventually(t.Context(), "the sleeper to be gone", testTimeout, func(context.Context) (bool, string, error) {
		left, err := markedProcesses(ofRun(run))
		return err == nil && len(left) == 0, names(left), err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestReaperEndsWithOwner(t *testing.T) {
	run := newRun(t.TempDir())
	reaper, err := startReaper(run, filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	process := startMarked(t, run, "one", "sleep 60")
	if err := reaper.stop(); err != nil {
		t.Error(err)
	}
	if err := process.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
