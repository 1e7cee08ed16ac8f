package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// pathEast and pathWest are the clusters of TestPathAnnotationOfTenantIsNotBelieved: the one is for some workspaces, the other for all.
const (
	pathEast = "path-" + east
	pathWest = "path-" + west
)

// TestPathAnnotationOfTenantIsNotBelieved says, as the administrator of a workspace, that it is one which may use a
// cluster. The hub runs once with an administrator's credentials, which read Workspaces, and once with its own
// account, which does not.
func TestPathAnnotationOfTenantIsNotBelieved(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "path", pathEast, pathWest)
	check(t, in.start(t.Context()))
	may := newTenant(t, in, "payments")
	mayNot := newTenant(t, in, "evil")
	in.inProvider(t).kubectl(t, "patch", "clusterregistration", pathEast, "--type=merge", `--patch={"spec":{"allowedWorkspaces":["`+may.workspace+`"]}}`)

	attacker := mayNot.asConsumer(t)
	attacker.kubectl(t, "annotate", "logicalcluster", "cluster", "kcp.io/path="+may.workspace, "--overwrite")
	attacker.kubectl(t, "annotate", "apibinding", "tmc.kcp.io", "any=write", "--overwrite")
	if got := attacker.kubectl(t, "get", "apibinding", "tmc.kcp.io", `--output=jsonpath={.metadata.annotations.kcp\.io/path}`); got != may.workspace {
		t.Fatalf("the binding says the path %q, want it to lie for this test to say anything", got)
	}
	t.Run("as an administrator", func(t *testing.T) { entersNothing(t, may, mayNot, "one") })

	check(t, in.controller.stop(t.Context()))
	in.controller.config.Args = append(in.controller.config.Args, "--kcp-kubeconfig="+in.hubsKubeconfig(t))
	check(t, in.controller.startReady(t.Context()))
	t.Run("as the hub's account", func(t *testing.T) { entersNothing(t, may, mayNot, "two") })
	in.controller.eventuallyLogs(t, "says a path at which kcp has another workspace", mayNot.logicalCluster)
}

// entersNothing has both tenants create a Deployment that goes everywhere.
func entersNothing(t *testing.T, may, mayNot *tenant, name string) {
	t.Helper()
	mayNot.apply(t, some(deployment(name)))
	mayNot.rollOut(t, name, pathWest)
	may.apply(t, some(deployment(name)))
	may.rollOut(t, name, pathEast, pathWest)
	d := get(t, mayNot.upstream(name))
	if _, isThere := d.Labels[v1alpha1.PlacementLabel(pathEast)]; isThere {
		t.Errorf("%s is for another workspace, and the Deployment is there: %s", pathEast, describe(d))
	}
	isGone(t, "a copy on "+pathEast, mayNot.copyOn(pathEast, name))
}

// hubsKubeconfig writes a kubeconfig for the account that `kubectl tmc init` makes for the hub.
func (in *installation) hubsKubeconfig(t *testing.T) string {
	t.Helper()
	provider := in.inProvider(t)
	config, err := clientcmd.LoadFromFile(provider.kubeconfig)
	check(t, err)
	token := strings.TrimSpace(provider.in("default").kubectl(t, "create", "token", "tmc-controller", "--duration=2h"))
	config.AuthInfos = map[string]*api.AuthInfo{config.Contexts[config.CurrentContext].AuthInfo: {Token: token}}
	file := filepath.Join(t.TempDir(), "hub.kubeconfig")
	check(t, clientcmd.WriteToFile(*config, file))
	return file
}

// TestPathBelongsToCurrentWorkspace deletes a workspace that may use a cluster, and makes another one under its path.
func TestPathBelongsToCurrentWorkspace(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "again", againEast)
	check(t, in.start(t.Context()))
	first := newTenant(t, in, "reborn")
	in.inProvider(t).kubectl(t, "patch", "clusterregistration", againEast, "--type=merge", `--patch={"spec":{"allowedWorkspaces":["`+first.workspace+`"]}}`)
	first.apply(t, some(deployment("web")))
	first.rollOut(t, "web", againEast)

	root := side{"kcp root", mustKubeconfig(t, "root"), ""}
	_, name, _ := strings.Cut(first.workspace, ":")
	root.kubectl(t, "delete", "workspace", name, "--timeout=120s")
	eventually(t, "the name to be free", soon, func(ctx context.Context) (bool, string, error) {
		got, err := root.try(ctx, "get", "workspace", name, "--ignore-not-found", "--output=name")
		return got == "", got, err
	})
	second := newTenantIn(t, in, name, name)
	if second.logicalCluster == first.logicalCluster {
		t.Fatalf("the workspace was not made anew: %s", second.logicalCluster)
	}
	second.apply(t, some(deployment("web")))
	second.rollOut(t, "web", againEast)
}

// againEast is the cluster of TestPathBelongsToCurrentWorkspace.
const againEast = "again-" + east

// mustKubeconfig returns an administrator's kubeconfig for a workspace.
func mustKubeconfig(t *testing.T, workspace string) string {
	t.Helper()
	file, err := env.stack.KCP.Kubeconfig(workspace)
	check(t, err)
	return file
}
