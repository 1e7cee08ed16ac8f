package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// syncerNamespace is where the syncer is in each cluster.
const syncerNamespace = "tmc-system"

// join has a cluster join as a person would, and prepares its syncer: a process that has just what the manifest would
// give a pod, its command line, its credentials for kcp and its account in the cluster.
func (s *stage) join(ctx context.Context, name string) error {
	cluster, err := s.stack.Cluster(name)
	if err != nil {
		return err
	}
	manifest, err := s.plugin(ctx, s.root, "join", name, "--image=example.com/tmc:v0.0.0", "--image-pull-policy=Never", "--namespace="+syncerNamespace)
	if err != nil {
		return err
	}
	if _, _, err := framework.KubectlInput(ctx, strings.NewReader(manifest), cluster.Kubeconfig(), "apply", "--filename=-"); err != nil {
		return err
	}
	// The process takes the place of the pods.
	if _, _, err := framework.Kubectl(ctx, cluster.Kubeconfig(), "scale", "--namespace="+syncerNamespace, "deployment/"+bootstrap.Name, "--replicas=0"); err != nil {
		return err
	}
	dir := filepath.Join(s.stack.Dir(), "joined", name)
	args, err := arguments(manifest, dir)
	if err != nil {
		return fmt.Errorf("manifest of %s: %w", name, err)
	}
	const day = 24 * time.Hour
	kubeconfig, err := framework.AccountKubeconfig(ctx, cluster.Kubeconfig(), syncerNamespace, bootstrap.Name, day)
	if err != nil {
		return fmt.Errorf("account of the syncer in %s: %w", name, err)
	}
	file := filepath.Join(dir, "cluster.kubeconfig")
	if err := framework.WriteFile(file, kubeconfig); err != nil {
		return err
	}
	return s.add(syncerBinary+"-"+name, syncerBinary, append(args, "--kubeconfig="+file)...)
}

// arguments returns a manifest's command line as that of a process, and writes the files that it names.
func arguments(manifest, dir string) ([]string, error) {
	pod, err := framework.ReadPod(manifest)
	if err != nil {
		return nil, err
	}
	return pod.ProcessArgs(dir, "--bind-address", "--metrics-bind-address"), pod.Write(dir)
}
