package framework

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kubectl runs kubectl from ToolsDir with a kubeconfig file, and gives what it wrote. When it fails the
// error holds the arguments and stderr, and wraps *exec.ExitError.
func Kubectl(ctx context.Context, kubeconfig string, args ...string) (stdout, stderr string, err error) {
	return KubectlInput(ctx, nil, kubeconfig, args...)
}

// KubectlInput is Kubectl with something on stdin, as for "apply -f -".
func KubectlInput(
	ctx context.Context, stdin io.Reader, kubeconfig string, args ...string,
) (stdout, stderr string, err error) {
	tools, err := ToolsDir()
	if err != nil {
		return "", "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(tools, "kubectl"), args...)
	// kubectl caches what a server offers by host and port, and ports are used again by other stacks:
	// the cache belongs beside the kubeconfig.
	cache := filepath.Join(filepath.Dir(kubeconfig), "cache")
	// Applysets are an alpha feature of kubectl: without the variable it has no such flag.
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "KUBECACHEDIR="+cache, "KUBECTL_APPLYSET=true")
	cmd.Stdin = stdin
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
		return out.String(), errOut.String(), err
	}
	return out.String(), errOut.String(), nil
}
