package e2e

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// TestRolloutStatusWaitsForSlowestCluster keeps all pods of one cluster from being scheduled. It does not run beside
// others, which would wait for that cluster too.
func TestRolloutStatusWaitsForSlowestCluster(t *testing.T) {
	u := newTenant(t, env.shared, "slow")
	env.clusters[west].cordon(t)

	u.apply(t, some(deployment("web")))
	eventuallyIs(t, "kcp to count east", u.upstream("web"), func(d *appsv1.Deployment) bool { return d.Status.AvailableReplicas == 1 })
	if stdout, err := u.try(t, "rollout", "status", "deployment/web", "--timeout=3s"); err == nil {
		t.Errorf("kubectl says %q while west has no pod: %s", stdout, describe(get(t, u.copyOn(west, "web"))))
	}
	if available := condition(get(t, u.upstream("web")), "Available"); available.Status != "False" || !strings.Contains(available.Message, west) {
		t.Errorf("condition Available is %+v, want False and the name of west in it", available)
	}

	env.clusters[west].uncordon(t)
	u.rollOut(t, "web", east, west)
}

// TestRolloutStatusFailsWithCluster has one cluster exceed the progress deadline.
func TestRolloutStatusFailsWithCluster(t *testing.T) {
	u := newTenant(t, env.shared, "deadline")
	env.clusters[west].cordon(t)

	u.apply(t, some(deployment("web", func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = ptr.To[int32](2) })))
	_, err := u.try(t, "rollout", "status", "deployment/web", "--timeout=120s")
	if err == nil || !strings.Contains(err.Error(), "exceeded its progress deadline") {
		t.Errorf("kubectl rollout status ended with %v, want that the deadline was exceeded", err)
	}
	progressing := condition(get(t, u.upstream("web")), "Progressing")
	if progressing.Status != "False" || !strings.Contains(progressing.Message, west) || strings.Contains(progressing.Message, east) {
		t.Errorf("condition Progressing is %+v, want False, with west in its message and not east", progressing)
	}
}

// cordon keeps pods off all nodes of the cluster until the test has ended.
func (c *cluster) cordon(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { c.uncordon(t) })
	check(t, c.kubectl(t, append([]string{"cordon"}, c.nodes(t)...)...))
}

// uncordon lets pods onto the nodes.
func (c *cluster) uncordon(t *testing.T) {
	t.Helper()
	check(t, c.kubectl(t, append([]string{"uncordon"}, c.nodes(t)...)...))
}

func (c *cluster) nodes(t *testing.T) []string {
	t.Helper()
	list, err := c.client.CoreV1().Nodes().List(context.WithoutCancel(t.Context()), metav1.ListOptions{})
	check(t, err)
	var names []string
	for _, node := range list.Items {
		names = append(names, node.Name)
	}
	return names
}

// kubectl does what the cluster's administrator does, also while a test is being cleaned up.
func (c *cluster) kubectl(t *testing.T, args ...string) error {
	t.Helper()
	_, _, err := framework.Kubectl(context.WithoutCancel(t.Context()), c.kubeconfig, args...)
	return err
}
