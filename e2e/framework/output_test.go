package framework

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestOutputOfAProgramThatFails(t *testing.T) {
	stdout, stderr, err := Output(exec.Command("/bin/sh", "-c", "echo said; echo why >&2; exit 3"))
	if stdout != "said\n" || stderr != "why\n" {
		t.Errorf("got %q and %q", stdout, stderr)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.HasPrefix(err.Error(), "sh -c echo said") || !strings.HasSuffix(err.Error(), ": why") {
		t.Errorf("got %v, want exit code 3, the command and what it said", err)
	}
	if stdout, _, err := Output(exec.Command("/bin/echo", "all well")); err != nil || stdout != "all well\n" {
		t.Errorf("got %q, %v", stdout, err)
	}
}
