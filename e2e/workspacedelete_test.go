package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// goneWithin is how long kcp may take to delete a workspace. What tmc has to do with it takes some two seconds; then kcp
// looks at ever longer intervals whether the logical cluster is gone, which came to 40 s on a busy machine.
const goneWithin = 2 * time.Minute

// fill runs an application on the clusters: a Deployment with its Secret and its Service.
func (u *tenant) fill(t *testing.T, clusterNames ...string) {
	t.Helper()
	u.kubectl(t, "create", "secret", "generic", "password", "--from-literal=password=confidential")
	u.apply(t, some(deployment("web", withSecret("password"))))
	u.kubectl(t, "create", "service", "clusterip", "web", "--tcp=80:80")
	u.rollOut(t, "web", clusterNames...)
	for _, clusterName := range clusterNames {
		u.eventuallyThere(t, clusterName, "secret/password", "service/web")
	}
}

// eventuallyThere waits for copies on a cluster.
func (u *tenant) eventuallyThere(t *testing.T, clusterName string, objects ...string) {
	t.Helper()
	eventually(t, strings.Join(objects, " and ")+" to be on "+clusterName, soon, func(ctx context.Context) (bool, string, error) {
		got, err := u.onCluster(clusterName).try(ctx, append([]string{"get", "--ignore-not-found", "--output=name"}, objects...)...)
		return len(strings.Fields(got)) == len(objects), got, err
	})
}

// areHeld waits until the hub holds the workspace's bindings of the APIExports.
func (u *tenant) areHeld(t *testing.T, exports ...string) {
	t.Helper()
	eventually(t, strings.Join(exports, " and ")+" to be held", soon, func(ctx context.Context) (bool, string, error) {
		got, err := u.inKCP().try(ctx, "get", "apibindings", `--output=jsonpath={range .items[*]}{.spec.reference.export.name}={.metadata.finalizers}{"\n"}{end}`)
		held := slices.DeleteFunc(strings.Split(got, "\n"), func(line string) bool { return !strings.Contains(line, v1alpha1.InUseFinalizer) })
		return !slices.ContainsFunc(exports, func(export string) bool {
			return !slices.ContainsFunc(held, func(line string) bool { return strings.HasPrefix(line, export+"=") })
		}), got, err
	})
}

// hasNothingOn waits until the tenant's namespace, and with it all that was in it, is gone from a cluster.
func (u *tenant) hasNothingOn(t *testing.T, clusterName string) {
	t.Helper()
	eventually(t, "nothing to be left on "+clusterName, soon, func(ctx context.Context) (bool, string, error) {
		got, err := u.onCluster(clusterName).try(ctx, "get", "namespace", u.namespace, "--ignore-not-found", "--output=name")
		return got == "", got, err
	})
}

// deleteWorkspace deletes the tenant's workspace as its administrator does, and waits until kcp has.
func (u *tenant) deleteWorkspace(t *testing.T) {
	t.Helper()
	root := side{"kcp root", mustKubeconfig(t, "root"), ""}
	_, name, _ := strings.Cut(u.workspace, ":")
	begin := time.Now()
	root.kubectl(t, "delete", "workspace", name, "--timeout="+goneWithin.String())
	t.Logf("the workspace was gone after %s", time.Since(begin).Round(100*time.Millisecond))
}

// TestWorkspaceDeletionWithIsolatedClusters deletes workspaces with an application on two isolated clusters, whose
// views kcp unbinds first. All of the application goes, and nothing else does.
func TestWorkspaceDeletionWithIsolatedClusters(t *testing.T) {
	t.Parallel()
	const first, second = "ending-" + east, "ending-" + west
	in := newInstallation(t, "ending", first, second)
	check(t, in.start(t.Context()))
	ends, stays := newTenant(t, in, "ending"), newTenant(t, in, "staying")
	for _, u := range []*tenant{ends, stays} {
		u.fill(t, first, second)
		u.areHeld(t, v1alpha1.APIExportName, v1alpha1.ClusterExport(first), v1alpha1.ClusterExport(second))
	}
	before := get(t, stays.copyOn(first, "web"))
	ends.deleteWorkspace(t)
	for _, clusterName := range []string{first, second} {
		ends.hasNothingOn(t, clusterName)
	}
	stays.checkUntouched(t, first, before)

	// Whose view alone is unbound keeps what is there, can have it bound anew, and can delete what is there.
	name := v1alpha1.ClusterExport(first)
	unbind := func() {
		stays.kubectl(t, "delete", "apibinding", name, "--wait=false")
		stays.inKCP().eventually(t, "deployment/web", `{.status.conditions[?(@.type=="Synced")].reason}`, string(v1alpha1.LeftOutNotBound))
		stays.eventuallyThere(t, first, "secret/password", "service/web", "deployment/web")
		stays.checkUntouched(t, first, before)
	}
	unbind()
	stays.bind(t)
	stays.inKCP().eventually(t, "deployment/web", `{.status.conditions[?(@.type=="Synced")].status}`, "True")
	stays.checkUntouched(t, first, before)
	stays.areHeld(t, name)
	unbind()
	stays.kubectl(t, "delete", "deployment/web", "service/web", "secret/password", "--timeout=60s")
	for _, clusterName := range []string{first, second} {
		stays.hasNothingOn(t, clusterName)
	}
	eventually(t, "the view's binding to be gone", soon, func(ctx context.Context) (bool, string, error) {
		got, err := stays.inKCP().try(ctx, "get", "apibindings", "--output=name")
		return !strings.Contains(got, name), got, err
	})
	stays.deleteWorkspace(t)
}

// TestWorkspaceUnbind unbinds tmc alone. What the workspace has on an isolated cluster goes, and no binding stays
// held.
func TestWorkspaceUnbind(t *testing.T) {
	t.Parallel()
	const name = "unbinding-" + east
	in := newInstallation(t, "unbinding", name)
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "unbinding")
	u.fill(t, name)
	u.areHeld(t, v1alpha1.APIExportName, v1alpha1.ClusterExport(name))
	u.kubectl(t, "delete", "apibinding", v1alpha1.APIExportName, "--timeout=60s")
	u.hasNothingOn(t, name)
	held := u.inKCP().kubectl(t, "get", "apibindings", "--output=jsonpath={.items[*].metadata.finalizers}")
	if strings.Contains(held, v1alpha1.InUseFinalizer) {
		t.Errorf("bindings are held that nobody can let go of: %s", held)
	}
	if kept := u.inKCP().kubectl(t, "get", "secret", "password", "--output=jsonpath={.metadata.finalizers}"); kept != "" {
		t.Errorf("the Secret has the finalizers %s", kept)
	}
	u.deleteWorkspace(t)
}
