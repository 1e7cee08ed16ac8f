package e2e

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// soloWest is the cluster of a syncer without a controller.
const soloWest = "solo-west"

// TestSyncerOfSingleWorkspace writes the controller's keys by hand: the keys on the object are all that a syncer
// knows of it.
func TestSyncerOfSingleWorkspace(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "solo", soloWest)
	u, other := newTenant(t, in, "solo"), newTenant(t, in, "other")
	syncer := startProgram(t, "solo-syncer", syncerBinary,
		"--kcp-kubeconfig="+u.kubeconfig, "--single-workspace", "--provider-workspace="+in.provider,
		"--cluster-name="+soloWest, "--kubeconfig="+env.clusters[west].kubeconfig)
	check(t, syncer.waitReady(t.Context()))
	for _, workspace := range []*tenant{other, u} {
		workspace.apply(t, some(deployment("web")))
		workspace.kubectl(t, "label", "deployment", "web", v1alpha1.PlacementLabel(soloWest)+"=sync")
	}

	eventuallyIs(t, "the copy to roll out", u.copyOn(soloWest, "web"), isRolledOut)
	eventuallyIs(t, "the syncer to report it", u.upstream("web"), func(d *appsv1.Deployment) bool {
		report, err := protocol.ParseReport(soloWest, d.Annotations[v1alpha1.StatusAnnotation(soloWest)])
		return err == nil && report.Generation == d.Generation && report.Counters["availableReplicas"] == 1
	})
	u.kubectl(t, "scale", "deployment", "web", "--replicas=2")
	eventuallyIs(t, "the copy to be scaled", u.copyOn(soloWest, "web"), func(d *appsv1.Deployment) bool {
		return *d.Spec.Replicas == 2 && isRolledOut(d)
	})
	isGone(t, "the copy of another workspace's", other.copyOn(soloWest, "web"))
	if keys := clusterKeys(get(t, other.upstream("web"))); len(keys) != 1 {
		t.Errorf("the other workspace's Deployment has %v, want only the label that was set by hand", keys)
	}

	u.kubectl(t, "annotate", "deployment", "web", v1alpha1.DeletionAnnotation(soloWest)+"=2026-01-01T00:00:00Z")
	eventuallyGone(t, "the copy to leave", u.copyOn(soloWest, "web"))
	eventuallyIs(t, "the syncer to let go", u.upstream("web"), func(d *appsv1.Deployment) bool {
		return len(d.Finalizers) == 0 && d.Annotations[v1alpha1.StatusAnnotation(soloWest)] == ""
	})
	u.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
}

// TestSyncerOfSingleWorkspaceWaitsForBinding starts a syncer before its workspace is bound. The syncer says what is
// missing.
func TestSyncerOfSingleWorkspaceWaitsForBinding(t *testing.T) {
	t.Parallel()
	name := unique("unbound")
	in := newInstallation(t, name)
	u := newUnboundTenant(t, in, name, name)
	syncer := startProgram(t, "unbound-syncer", syncerBinary,
		"--kcp-kubeconfig="+u.kubeconfig, "--single-workspace", "--provider-workspace="+in.provider,
		"--cluster-name=solo", "--kubeconfig="+env.clusters[west].kubeconfig)
	syncer.eventuallyLogs(t, "kubectl tmc bind", u.workspace, "will try again")
	syncer.checkAnswers(t, "/healthz", 200)
	syncer.checkAnswers(t, "/readyz", 503)

	u.bind(t)
	check(t, syncer.waitReady(t.Context()))
}
