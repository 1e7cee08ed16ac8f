package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

var logicalClusters = schema.GroupVersionResource{Group: "core.kcp.io", Version: "v1alpha1", Resource: "logicalclusters"}

// serial makes the names of what tests make unique.
var serial atomic.Int64

// tenant is a consumer workspace as its user sees it, and one namespace in it.
type tenant struct {
	// installation is the one that the workspace is bound to.
	installation *installation
	// workspace is its path, logicalCluster the name that kcp gave it.
	workspace, logicalCluster string
	namespace                 string
	kubeconfig                string
	client                    kubernetes.Interface
}

// unique makes a name that nothing else in the suite has.
func unique(name string) string { return fmt.Sprintf("%s-%d", name, serial.Add(1)) }

// newTenant makes a workspace and a namespace that only this tenant has, on the clusters too, and binds the
// workspace.
func newTenant(t *testing.T, in *installation, name string) *tenant {
	t.Helper()
	name = unique(name)
	return newTenantIn(t, in, name, name)
}

// newTenantIn is newTenant with the namespace given. A namespace of a cluster is that of one workspace, whatever the
// installation: who shares one with others says so in the cluster's rule (setMode), and of the tests that run side by
// side none uses default.
func newTenantIn(t *testing.T, in *installation, name, namespace string) *tenant {
	t.Helper()
	u := newUnboundTenant(t, in, name, namespace)
	u.bind(t)
	return u
}

// newUnboundTenant is newTenantIn without the binding.
func newUnboundTenant(t *testing.T, in *installation, name, namespace string) *tenant {
	t.Helper()
	check(t, env.stack.KCP.CreateWorkspace(t.Context(), "root", name))
	return newTenantOf(t, in, name, namespace)
}

// newTypedTenant makes a workspace of the installation's type for tenants, which kcp binds by itself.
func newTypedTenant(t *testing.T, in *installation, name string) *tenant {
	t.Helper()
	name = unique(name)
	check(t, env.stack.KCP.CreateWorkspaceOfType(t.Context(), "root", name, in.provider, v1alpha1.TenantWorkspaceType))
	return newTenantOf(t, in, name, name)
}

// newTenantOf is the tenant of a workspace below root that is there.
func newTenantOf(t *testing.T, in *installation, name, namespace string) *tenant {
	t.Helper()
	u := &tenant{installation: in, workspace: "root:" + name, namespace: namespace}
	in.mu.Lock()
	in.tenants = append(in.tenants, name)
	in.mu.Unlock()
	u.connect(t)
	t.Cleanup(func() {
		if t.Failed() {
			u.dump(t)
		}
	})
	if namespace != metav1.NamespaceDefault && namespace != metav1.NamespaceSystem { // which every workspace has
		u.kubectl(t, "create", "namespace", namespace)
	}
	return u
}

// connect makes the tenant's clients and learns the workspace's name.
func (u *tenant) connect(t *testing.T) {
	t.Helper()
	config, err := env.stack.KCP.RESTConfig(u.workspace)
	check(t, err)
	u.kubeconfig, err = env.stack.KCP.Kubeconfig(u.workspace)
	check(t, err)
	u.client, err = kubernetes.NewForConfig(config)
	check(t, err)
	objects, err := dynamic.NewForConfig(config)
	check(t, err)
	self, err := objects.Resource(logicalClusters).Get(t.Context(), "cluster", metav1.GetOptions{})
	check(t, err)
	u.logicalCluster = self.GetAnnotations()["kcp.io/cluster"]
}

// bind binds the workspace to its installation.
func (u *tenant) bind(t *testing.T) {
	t.Helper()
	check(t, u.installation.bind(t.Context(), u.workspace))
}

// kubectl does what a user does, in the tenant's namespace, and fails the test when it fails.
func (u *tenant) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	stdout, err := u.try(t, args...)
	check(t, err)
	return stdout
}

// try is kubectl for what may fail.
func (u *tenant) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	stdout, _, err := framework.Kubectl(t.Context(), u.kubeconfig, append([]string{"--namespace=" + u.namespace}, args...)...)
	return stdout, err
}

// apply lets kubectl apply manifests, on the server's side: what kubectl would do on its own side works with
// strategic merge patches, which not every kcp takes right.
func (u *tenant) apply(t *testing.T, manifests []*appsv1.Deployment, args ...string) {
	t.Helper()
	check(t, u.tryApply(t.Context(), manifests, args...))
}

// tryApply is apply for what may fail, or is done beside the test.
func (u *tenant) tryApply(ctx context.Context, manifests []*appsv1.Deployment, args ...string) error {
	var input bytes.Buffer
	for _, manifest := range manifests {
		data, err := json.Marshal(manifest)
		if err != nil {
			return err
		}
		fmt.Fprintf(&input, "---\n%s\n", data)
	}
	args = append([]string{"--namespace=" + u.namespace, "apply", "--server-side", "--filename=-"}, args...)
	_, _, err := framework.KubectlInput(ctx, &input, u.kubeconfig, args...)
	return err
}

// rollOut waits with kubectl for a rollout, as a user does, and looks at once whether it was told the truth:
// every given cluster's own Deployment is finished.
func (u *tenant) rollOut(t *testing.T, name string, clusterNames ...string) {
	t.Helper()
	u.kubectl(t, "rollout", "status", "deployment/"+name, "--timeout=120s")
	for _, clusterName := range clusterNames {
		if copied := get(t, u.copyOn(clusterName, name)); !isRolledOut(copied) {
			t.Errorf("kubectl says that the rollout of %s is done, but on cluster %s: %s", name, clusterName, describe(copied))
		}
	}
}

// rollOutWeb applies a Deployment web that is placed on a cluster, and returns its copy there when that cluster's controller
// is through with it.
func (u *tenant) rollOutWeb(t *testing.T, clusterName string) *appsv1.Deployment {
	t.Helper()
	u.apply(t, some(deployment("web", on(clusterName))))
	u.rollOut(t, "web", clusterName)
	eventuallyIs(t, "its controller to be through with it", u.copyOn(clusterName, "web"), isThrough)
	return get(t, u.copyOn(clusterName, "web"))
}

// deployment returns what kcp has under a name.
func (u *tenant) deployment(ctx context.Context, name string) (*appsv1.Deployment, error) {
	return u.client.AppsV1().Deployments(u.namespace).Get(ctx, name, metav1.GetOptions{})
}

// dump writes to the test's log what kcp and the clusters have, and what the programs said about it.
func (u *tenant) dump(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	show := func(side, kubeconfig string) {
		stdout, _, err := framework.Kubectl(ctx, kubeconfig, "--namespace="+u.namespace, "get", "deployments,events", "--output=yaml")
		t.Logf("=== %s, namespace %s (error: %v)\n%s", side, u.namespace, err, tail(stdout, 400))
	}
	show("kcp, workspace "+u.workspace, u.kubeconfig)
	for name, c := range u.installation.clusters {
		show("cluster "+name, c.kubeconfig)
	}
	for _, p := range u.installation.parts() {
		t.Logf("=== log of %s, workspace %s and errors\n%s", p.name(), u.workspace, tail(u.concerned(p.log()), 60))
	}
}

// concerned returns the lines of a log that are about the tenant's objects, and those about trouble.
func (u *tenant) concerned(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, u.logicalCluster) || !strings.HasPrefix(line, "I") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
