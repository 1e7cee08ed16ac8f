package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// cluster is a physical cluster as its administrator sees it.
type cluster struct {
	framework.Cluster

	name       string
	kubeconfig string
	client     kubernetes.Interface
}

func newCluster(name string) (*cluster, error) {
	physical, err := env.stack.Cluster(name)
	if err != nil {
		return nil, err
	}
	config, err := physical.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for cluster %s: %w", name, err)
	}
	return &cluster{Cluster: physical, name: name, kubeconfig: physical.Kubeconfig(), client: client}, nil
}

// deployment returns what the cluster has under a name.
func (c *cluster) deployment(ctx context.Context, namespace, name string) (*appsv1.Deployment, error) {
	return c.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
}

// createOn makes what a manifest says on a cluster, and removes it with the test.
func (u *tenant) createOn(t *testing.T, c *cluster, manifest string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	_, _, err := framework.KubectlInput(ctx, strings.NewReader(manifest), c.kubeconfig, "create", "--filename=-")
	check(t, err)
	t.Cleanup(func() {
		_, _, err := framework.KubectlInput(ctx, strings.NewReader(manifest), c.kubeconfig, "delete", "--filename=-")
		if err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
}
