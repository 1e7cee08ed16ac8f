package framework

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// commandEnv makes TestCommandProcess run a command; it holds what that does.
const commandEnv = "TMC_TEST_COMMAND"

// TestCommandProcess is not a test: the ones below run it as a process of its own.
func TestCommandProcess(*testing.T) {
	does := os.Getenv(commandEnv)
	if does == "" {
		return // for another test
	}
	cmd := &cobra.Command{Use: "test", RunE: func(cmd *cobra.Command, _ []string) error {
		if does == "fail" {
			return errors.New("no luck")
		}
		fmt.Println("ready")
		<-cmd.Context().Done()
		if does == "hang" {
			time.Sleep(testTimeout)
		}
		return nil
	}}
	cmd.SetArgs(nil)
	RunCommand(cmd)
	os.Exit(0) // without the words of the test
}

// commandProcess returns the process of a command that does as it is told.
func commandProcess(t *testing.T, does string) *exec.Cmd {
	t.Helper()
	process := exec.CommandContext(t.Context(), selfExecutable, "-test.run=^TestCommandProcess$")
	process.Env = append(os.Environ(), commandEnv+"="+does)
	return process
}

func TestCommandSaysItsErrorOnce(t *testing.T) {
	var exit *exec.ExitError
	output, err := commandProcess(t, "fail").CombinedOutput()
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || string(output) != ErrorPrefix+"no luck\n" {
		t.Errorf("got %v and %q, want exit code 1 and the error alone", err, output)
	}
}

func TestSignalEndsContext(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		process := startCommand(t, "wait")
		if err := process.Process.Signal(signal); err != nil {
			t.Error(err)
		}
		if err := process.Wait(); err != nil {
			t.Errorf("%s: got %v, want an end without an error", signal, err)
		}
	}
}

func TestSecondSignalEndsProcess(t *testing.T) {
	process := startCommand(t, "hang")
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	for { // the second one counts when the first has been handled
		if err := process.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		select {
		case err := <-ended:
			if err == nil || err.Error() != "signal: interrupt" {
				t.Errorf("got %v, want the end by the signal", err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startCommand starts the process of a command, and returns when that runs.
func startCommand(t *testing.T, does string) *exec.Cmd {
	t.Helper()
	process := commandProcess(t, does)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	process.Stdout = write
	if err := errors.Join(process.Start(), write.Close()); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(read).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the command said %q, %v", line, err)
	}
	return process
}
