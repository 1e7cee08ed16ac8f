package framework

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Kubectl runs kubectl from ToolsDir with a kubeconfig file, and gives what it wrote. See Output
// for its error.
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
	return Output(cmd)
}
