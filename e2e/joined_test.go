package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// syncerDeployment is what a manifest of `kubectl tmc join` calls a syncer.
const syncerDeployment = "deployment/" + bootstrap.Name

// joined is the syncer of a cluster that has nothing but the manifest of `kubectl tmc join`: pods in the cluster, with
// the credentials and the permissions that the manifest gives them.
type joined struct {
	// logName is that of the file which its pods' logs are kept in.
	logName string
	on      *cluster
	// namespace is the syncer's in the cluster.
	namespace string
	manifest  string
}

// listedNamespaces are those of every cluster that tenants come into although tmc does not make them.
const listedNamespaces = "default,listed-*"

// laterListed are those that a case has a registration list while a syncer runs. The policies of the clusters list them
// from the beginning.
const laterListed = "monitoring-*"

// join lets a cluster into an installation, and prepares its syncer, without starting it.
func (in *installation) join(ctx context.Context, clusterName string, on *cluster, namespace string, args ...string) (*joined, error) {
	manifest, err := runPlugin(ctx, "root", append([]string{"join", clusterName,
		"--provider-workspace=" + in.provider, "--namespace=" + namespace, "--image=" + env.image, "--image-pull-policy=Never",
		"--allow-namespaces=" + listedNamespaces, "--policy-namespaces=" + cmp.Or(in.policyNamespaces, listedNamespaces+","+laterListed)}, args...)...)
	return &joined{logName: in.logName("syncer-" + clusterName), on: on, namespace: namespace, manifest: manifest}, err
}

// inCluster is the cluster as its administrator sees it, in the syncer's namespace.
func (j *joined) inCluster() side { return side{j.on.name, j.on.kubeconfig, j.namespace} }

// start applies the manifest.
func (j *joined) start(ctx context.Context) error {
	_, _, err := framework.KubectlInput(ctx, strings.NewReader(j.manifest), j.on.kubeconfig, "apply", "--filename=-")
	return err
}

func (j *joined) name() string { return j.logName }

// waitReady waits until all the pods are ready.
func (j *joined) waitReady(ctx context.Context) error {
	_, err := j.inCluster().try(ctx, "rollout", "status", syncerDeployment, "--timeout="+startTimeout.String())
	if err != nil {
		pods, _ := j.inCluster().try(ctx, "describe", "pods")
		return fmt.Errorf("%w\nits pods:\n%s\nend of their logs:\n%s", err, pods, tail(j.log(), 20))
	}
	return nil
}

// log returns what the pods that there are have logged since their last start, one after the other.
func (j *joined) log() string {
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	log, err := j.inCluster().try(ctx, "logs", syncerDeployment, "--all-pods", "--prefix=false", "--tail=-1")
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return log
}

// stop keeps the log and removes what the manifest made. It fails when a container has ended by itself.
func (j *joined) stop(ctx context.Context) error {
	restarts, err := j.inCluster().try(ctx, "get", "pods", "--output=jsonpath={.items[*].status.containerStatuses[*].restartCount}")
	if strings.Trim(restarts, "0 ") != "" {
		err = fmt.Errorf("the containers of %s on %s have ended by themselves, times: %s", j.logName, j.on.name, restarts)
	}
	file := filepath.Join(env.stack.LogDir(), j.logName+".log")
	err = errors.Join(err, os.WriteFile(file, []byte(j.log()+"\n"), 0o600))
	_, _, deleteErr := framework.KubectlInput(ctx, strings.NewReader(j.manifest), j.on.kubeconfig, "delete", "--ignore-not-found", "--filename=-")
	return errors.Join(err, deleteErr)
}
