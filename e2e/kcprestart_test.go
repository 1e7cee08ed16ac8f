package e2e

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// reconnect is how long it may take until the programs have found kcp again: they try every two seconds or so, and kcp answers as if
// it served nothing for a while.
const reconnect = 60 * time.Second

// TestKCPRestartLosesNothing kills kcp, so it does not run beside others.
func TestKCPRestartLosesNothing(t *testing.T) {
	u := newTenant(t, env.shared, "away")
	all := names("web", 5)
	var manifests []*appsv1.Deployment
	for _, name := range all {
		manifests = append(manifests, deployment(name))
	}
	u.apply(t, manifests)
	for _, name := range all {
		u.rollOut(t, name, east, west)
	}
	before := u.copyUIDs(t, east, all)

	// A crash: whatever is true after it, is true after an orderly end.
	check(t, env.stack.KCP.Kill())
	// What is known of kcp goes on to hold: a copy that is deleted meanwhile comes back.
	copies := env.clusters[west].client.AppsV1().Deployments(u.namespace)
	check(t, copies.Delete(t.Context(), all[0], metav1.DeleteOptions{}))
	eventuallyIs(t, "the deleted copy to come back without kcp", u.copyOn(west, all[0]), isRolledOut)
	start := time.Now()
	check(t, env.stack.KCP.Start(t.Context()))
	t.Logf("kcp was back after %s", time.Since(start).Round(time.Millisecond))

	check(t, env.shared.controller.runsOn()) // it waits, and leads on when it has renewed its lease
	start = time.Now()
	u.kubectl(t, "scale", "deployment", all[1], "--replicas=2")
	eventually(t, "a change to go down and the status to come up again", reconnect, is(u.upstream(all[1]), func(d *appsv1.Deployment) bool {
		return d.Status.ObservedGeneration == d.Generation && d.Status.AvailableReplicas == 4
	}))
	t.Logf("a change had gone down and up again %s after that", time.Since(start).Round(time.Millisecond))
	for _, name := range all {
		u.rollOut(t, name, east, west)
	}
	if diff := cmp.Diff(before, u.copyUIDs(t, east, all)); diff != "" {
		t.Errorf("copies on east were made anew (-before +after):\n%s", diff)
	}
	u.kubectl(t, "delete", "deployments", "--all", "--timeout=120s")
	for _, name := range all {
		isGone(t, "the copy of "+name, u.copyOn(east, name))
	}
	for _, p := range env.shared.programs() {
		check(t, p.runsOn())
	}
}

// copyUIDs returns which objects the copies are.
func (u *tenant) copyUIDs(t *testing.T, clusterName string, all []string) map[string]types.UID {
	t.Helper()
	uids := map[string]types.UID{}
	for _, name := range all {
		uids[name] = get(t, u.copyOn(clusterName, name)).UID
	}
	return uids
}
