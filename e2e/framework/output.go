package framework

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Output runs a program to its end, and gives what it wrote. When it fails the error holds the arguments and stderr, and
// wraps *exec.ExitError.
func Output(cmd *exec.Cmd) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("%s %s: %w: %s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), errOut.String(), err
}
