package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// The clusters of the installation of these tests.
const (
	lostEast  = "lost-" + east
	lostNorth = "lost-" + north
	lostWest  = "lost-" + west
)

// TestFailoverOfLostCluster has clusters fall silent, come back, and never come back.
func TestFailoverOfLostCluster(t *testing.T) {
	t.Parallel()
	in := newFleet(t, "lost")
	t.Run("frozen and thawed", func(t *testing.T) { frozenAndThawed(t, in) })
	t.Run("what may be elsewhere fails over", func(t *testing.T) { failsOver(t, in) })
	t.Run("a second cluster of the same name", func(t *testing.T) { claimsTheSameName(t, in) })
	t.Run("released, and back under its name", func(t *testing.T) { comesBackAfterItsRelease(t, in) })
	t.Run("gone for good", func(t *testing.T) { goneForGood(t, in) })
}

// frozenAndThawed stops a syncer for a while, with all that it has.
func frozenAndThawed(t *testing.T, in *installation) {
	u := newTenant(t, in, "frozen")
	u.apply(t, some(deployment("web", on(lostEast+","+lostWest), withReplicas(2))))
	u.rollOut(t, "web", lostEast, lostWest)
	eventuallyIs(t, "its controller to be through with it", u.copyOn(lostEast, "web"), isThrough)
	before := get(t, u.copyOn(lostEast, "web"))

	check(t, in.syncers[lostEast].process.Freeze())
	eventuallyIs(t, "its replicas to leave available, and Synced to name it", u.upstream("web"), func(d *appsv1.Deployment) bool {
		synced := condition(d, v1alpha1.ConditionSynced)
		return d.Status.AvailableReplicas == 2 && synced.Status == "False" && synced.Reason == "ClusterSilent" && hasWords(synced.Message, []string{lostEast + ": silent since"})
	})
	in.inProvider(t).eventuallyHas(t, "cr "+lostEast, `{.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].message}`, "Unknown", "silent since")
	check(t, in.syncers[lostEast].process.Thaw())
	eventuallyIs(t, "all to count again", u.upstream("web"), func(d *appsv1.Deployment) bool {
		return d.Status.AvailableReplicas == 4 && condition(d, v1alpha1.ConditionSynced).Status == "True"
	})
	if after := get(t, u.copyOn(lostEast, "web")); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the copy was written to: before %s; after %s", describe(before), describe(after))
	}
}

// failsOver silences a cluster for longer than it is tolerated.
func failsOver(t *testing.T, in *installation) {
	u := newTenant(t, in, "failover")
	u.place(t, "one", fmt.Sprintf("{numberOfClusters: 1, strategy: Affinity, preferences: [{clusterNames: [%s]}]}", lostEast))
	u.apply(t, some(deployment("web", withReplicas(2))))
	u.rollOut(t, "web", lostEast)
	stale := recordOf(t, env.clusters[east].client, u.namespace, "web")

	check(t, in.syncers[lostEast].process.Freeze())
	eventually(t, "it to be elsewhere", soon, func(ctx context.Context) (bool, string, error) {
		d, err := u.deployment(ctx, "web")
		if err != nil {
			return false, "", err
		}
		shares, err := u.shares(ctx, "web")
		return d.Status.AvailableReplicas == 2 && strings.Contains(shares, " lost-"), shares, err
	})
	get(t, u.copyOn(lostEast, "web")) // nobody could tell it
	check(t, in.syncers[lostEast].process.Thaw())
	eventuallyGone(t, "the stale copy", u.copyOn(lostEast, "web"))
	check(t, in.waitClusters(t.Context(), lostEast))
	u.inKCP().eventually(t, "deployment web", "{.metadata.finalizers} {.status.availableReplicas}", func() string {
		return fmt.Sprintf("[%q] 2", v1alpha1.Finalizer(u.onlyCluster(t, "web")))
	}())
	eventuallyGone(t, "the stale copy, for good", u.copyOn(lostEast, "web"))
	if uids := stale.uids(); len(uids) > 1 {
		t.Errorf("the copy on the cluster that came back was made anew: %v", uids)
	}
}

// onlyCluster returns the one cluster that a Deployment is placed on.
func (u *tenant) onlyCluster(t *testing.T, name string) string {
	t.Helper()
	var clusters []string
	eventually(t, name+" to be placed on one cluster", soon, func(ctx context.Context) (bool, string, error) {
		d, err := u.deployment(ctx, name)
		if err != nil {
			return false, "", err
		}
		clusters = protocol.Read(d).Labelled()
		return len(clusters) == 1, strings.Join(clusters, ","), nil
	})
	return clusters[0]
}

// claimsTheSameName starts a syncer of another cluster under a name that is taken.
func claimsTheSameName(t *testing.T, in *installation) {
	kubeconfig, err := env.stack.KCP.Kubeconfig("root")
	check(t, err)
	ended, err := runProgram(t.Context(), syncerBinary, "--kcp-kubeconfig="+kubeconfig, "--provider-workspace="+in.provider,
		"--cluster-name="+lostEast, "--kubeconfig="+env.clusters[west].kubeconfig)
	check(t, err)
	if ended.code != 1 || !hasWords(ended.stderr, []string{lostEast, in.uidOf(t, east), in.uidOf(t, west), "remove"}) {
		t.Errorf("exit code %d, want 1; message:\n%s\nwant both UIDs in it, and what to do", ended.code, ended.stderr)
	}
	in.inProvider(t).eventually(t, "cr "+lostEast, "{.status.clusterUID}", in.uidOf(t, east))
}

// uidOf returns by what a physical cluster is known.
func (in *installation) uidOf(t *testing.T, physical string) string {
	t.Helper()
	uid, err := side{physical, env.clusters[physical].kubeconfig, "default"}.get(t.Context(), "namespace kube-system", uidPath)
	check(t, err)
	return uid
}

// comesBackAfterItsRelease gives up a cluster that then comes back.
func comesBackAfterItsRelease(t *testing.T, in *installation) {
	u := newTenant(t, in, "released")
	u.place(t, "one", fmt.Sprintf("{numberOfClusters: 1, strategy: Affinity, preferences: [{clusterNames: [%s]}]}", lostWest))
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", lostWest)
	syncer := in.syncers[lostWest]
	check(t, syncer.kill())

	if _, err := runPlugin(t.Context(), "root", "remove", lostWest, "--force", "--provider-workspace="+in.provider); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("a cluster that was heard of just now was given up: %v", err)
	}
	in.plugin(t, "remove", lostWest, "--force", "--yes", "--timeout=120s")
	u.rollOut(t, "web")
	elsewhere := u.onlyCluster(t, "web")
	if elsewhere == lostWest {
		t.Error("it is still placed on the cluster that was released")
	}
	get(t, u.copyOn(lostWest, "web"))

	check(t, syncer.startReady(t.Context()))
	eventuallyGone(t, "the copy that nobody wants any more", u.copyOn(lostWest, "web"))
	check(t, in.waitClusters(t.Context(), lostWest))
	if now := u.onlyCluster(t, "web"); now != elsewhere {
		t.Errorf("it moved to %s when the cluster came back, it was on %s", now, elsewhere)
	}
}

// goneForGood kills a syncer for good, while things are deleted that are on its cluster.
func goneForGood(t *testing.T, in *installation) {
	namespaced, whole := newTenant(t, in, "dead-namespace"), newTenant(t, in, "dead-workspace")
	for _, u := range []*tenant{namespaced, whole} {
		u.inKCP().apply(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: b}}")
		u.inKCP().apply(t, deploymentNaming("web", "settings", false))
		eventuallyIs(t, "it to be everywhere", u.upstream("web"), isRolledOutOn(3))
	}
	north := in.syncers[lostNorth]
	check(t, north.kill())
	north.process = nil

	namespaced.kubectl(t, "delete", "namespace", namespaced.namespace, "--wait=false")
	root := side{"root", "", "default"}
	var err error
	root.kubeconfig, err = env.stack.KCP.Kubeconfig("root")
	check(t, err)
	_, workspaceName, _ := strings.Cut(whole.workspace, ":")
	root.kubectl(t, "delete", "workspace", workspaceName, "--wait=false")
	// The living let go, and the dead one alone is waited for.
	eventually(t, "the dead cluster alone to hold the Deployment", soon, reads(namespaced.inKCP(), "deployment web", "{.metadata.finalizers}", fmt.Sprintf("[%q]", v1alpha1.Finalizer(lostNorth))))
	for _, clusterName := range []string{lostEast, lostWest} {
		whole.onCluster(clusterName).eventuallyGone(t, "deployment/web")
	}

	in.inProvider(t).eventuallyHas(t, "cr "+lostNorth, `{.status.conditions[?(@.type=="Ready")].status}`, "Unknown")
	released := in.plugin(t, "remove", lostNorth, "--force", "--timeout=120s")
	if !hasWords(released, []string{lostNorth, whole.namespace, "web", "settings"}) {
		t.Errorf("kubectl tmc remove does not say what may still be running there:\n%s", released)
	}
	eventually(t, "the namespace to go", soon, reads(namespaced.inKCP(), "namespace "+namespaced.namespace, "{.metadata.name}", ""))
	eventually(t, "the workspace to go", soon, reads(root, "workspace "+workspaceName, "{.metadata.name}", ""))
	in.inProvider(t).eventuallyGone(t, "cr/"+lostNorth)

	t.Run("and it comes back under a new name", func(t *testing.T) { comesBackUnderANewName(t, in, namespaced) })
}

// comesBackUnderANewName starts a syncer on the cluster that was released.
func comesBackUnderANewName(t *testing.T, in *installation, gone *tenant) {
	physical := env.clusters[north]
	onNorth := side{north, physical.kubeconfig, gone.namespace}
	onNorth.kubectl(t, "get", "deployment", "web") // nobody has removed it yet
	_, _, err := framework.Kubectl(t.Context(), physical.kubeconfig, "--namespace="+gone.namespace, "create", "configmap", "mine")
	check(t, err)
	const renamed = "lost-new-" + north
	syncer, err := in.newSyncer(in.logName("syncer-"+renamed), renamed, physical)
	check(t, err)
	in.syncers[renamed], in.clusters[renamed] = syncer, physical
	delete(in.syncers, lostNorth)
	delete(in.clusters, lostNorth)
	check(t, syncer.startReady(t.Context()))
	onNorth.eventuallyGone(t, "deployment/web")
	onNorth.eventuallyGone(t, "configmap/settings")
	onNorth.kubectl(t, "delete", "configmap", "mine") // which nobody else has touched
	onNorth.eventuallyGone(t, "namespace/"+gone.namespace)
}
