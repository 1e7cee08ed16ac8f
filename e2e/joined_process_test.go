package e2e

import (
	"context"
	"path/filepath"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// Local clusters run no containers: there, the syncer of a cluster that has joined is a process that has just what
// the manifest would give a pod: its command line, its credentials for kcp and its account in the cluster.

// newJoinedSyncer has a cluster join and prepares its syncer as a process. Several syncers, of as many installations,
// may be in one cluster: each has a namespace of its own.
func (in *installation) newJoinedSyncer(ctx context.Context, name string, on *cluster) (*program, error) {
	j, err := in.join(ctx, name, on, namespaceOfSyncer(name))
	if err != nil {
		return nil, err
	}
	if err := j.start(ctx); err != nil {
		return nil, err
	}
	args, err := j.arguments(ctx)
	if err != nil {
		return nil, err
	}
	return newProgram(j.logName, syncerBinary, args...)
}

// namespaceOfSyncer is that of a syncer that is a process.
func namespaceOfSyncer(clusterName string) string { return "tmc-" + clusterName }

// syncerNamespace is where the manifest of a cluster of the installation puts its syncer.
func (in *installation) syncerNamespace(clusterName string) string {
	if j, ok := in.joined[clusterName]; ok {
		return j.namespace
	}
	return namespaceOfSyncer(clusterName)
}

// arguments returns the manifest's command line as that of a process, and writes the files that it names. The process
// is alone, and shares the host's ports.
func (j *joined) arguments(ctx context.Context) ([]string, error) {
	dir := filepath.Join(filepath.Dir(env.stack.LogDir()), "joined", j.logName)
	pod, err := framework.ReadPod(j.manifest)
	if err != nil {
		return nil, err
	}
	if err := pod.Write(dir); err != nil {
		return nil, err
	}
	kubeconfig, err := j.accountsKubeconfig(ctx, dir)
	if err != nil {
		return nil, err
	}
	return append(pod.ProcessArgs(dir, "--leader-elect", "--bind-address", "--metrics-bind-address"), "--kubeconfig="+kubeconfig), nil
}

// accountsKubeconfig writes a kubeconfig for the cluster with the account that the manifest has made.
func (j *joined) accountsKubeconfig(ctx context.Context, dir string) (string, error) {
	const day = 24 * time.Hour
	kubeconfig, err := framework.AccountKubeconfig(ctx, j.on.kubeconfig, j.namespace, bootstrap.Name, day)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "cluster.kubeconfig")
	return file, framework.WriteFile(file, kubeconfig)
}
