package e2e

import (
	"strconv"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"

	"github.com/kcp-tmc/tmc/pkg/transform"
)

// TestDeploymentChangesReachEveryCluster changes one Deployment in the ways in which users do.
//
//nolint:tparallel // one step follows the other
func TestDeploymentChangesReachEveryCluster(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "changes")
	u.apply(t, some(deployment("web")), "--server-side=false")
	u.rollOut(t, "web", east, west)

	t.Run("a new image", func(t *testing.T) {
		u.kubectl(t, "set", "image", "deployment/web", "web="+newImage)
		u.rollOut(t, "web", east, west)
		u.checkCopies(t, "web", "image "+newImage, func(d *appsv1.Deployment) bool { return imageOf(d) == newImage })
	})
	t.Run("a merge patch", func(t *testing.T) {
		u.kubectl(t, "patch", "deployment", "web", "--type=merge", "--patch", `{"spec":{"minReadySeconds":1,"template":{"metadata":{"annotations":{"note":"kept"}}}}}`)
		u.rollOut(t, "web", east, west)
		u.checkCopies(t, "web", "what was patched", func(d *appsv1.Deployment) bool {
			return d.Spec.MinReadySeconds == 1 && d.Spec.Template.Annotations["note"] == "kept"
		})
	})
	t.Run("a label on the Deployment itself, which rolls nothing out", func(t *testing.T) {
		before := revision(get(t, u.copyOn(east, "web")))
		u.kubectl(t, "label", "deployment", "web", "team=blue")
		u.eventuallyCopies(t, "web", "the label", func(d *appsv1.Deployment) bool { return d.Labels["team"] == "blue" })
		u.kubectl(t, "label", "deployment", "web", "team-")
		u.eventuallyCopies(t, "web", "no such label", func(d *appsv1.Deployment) bool { _, there := d.Labels["team"]; return !there })
		u.rollOut(t, "web", east, west)
		if after := revision(get(t, u.copyOn(east, "web"))); after != before {
			t.Errorf("the copy went from revision %s to %s for a label", before, after)
		}
	})
	for _, replicas := range []int32{3, 0, 1} {
		u.scales(t, "web", replicas)
	}
	t.Run("nothing of kubectl apply goes down", func(t *testing.T) {
		u.checkCopies(t, "web", "no last-applied annotation", func(d *appsv1.Deployment) bool {
			_, there := d.Annotations["kubectl.kubernetes.io/last-applied-configuration"]
			return !there
		})
	})
}

// revision returns which of its pod templates a cluster's own Deployment is at.
func revision(d *appsv1.Deployment) string { return d.Annotations["deployment.kubernetes.io/revision"] }

// scales is a step of a test: kubectl scale, and everything that counts replicas.
func (u *tenant) scales(t *testing.T, name string, replicas int32) {
	t.Helper()
	number := strconv.Itoa(int(replicas))
	t.Run("scaled to "+number, func(t *testing.T) {
		u.kubectl(t, "scale", "deployment", name, "--replicas="+number)
		u.rollOut(t, name, east, west)
		u.checkCopies(t, name, "the replicas", func(d *appsv1.Deployment) bool { return ptr.Deref(d.Spec.Replicas, 1) == replicas })
		sum := 2 * replicas
		if upstream := get(t, u.upstream(name)); upstream.Status.AvailableReplicas < sum {
			t.Errorf("kcp counts fewer than %d available: %s", sum, describe(upstream))
		}
		// kubectl does not wait for the pods to go that a Deployment has too many of, with any server.
		eventuallyIs(t, "kcp to count "+strconv.Itoa(int(sum))+" of each", u.upstream(name), func(d *appsv1.Deployment) bool {
			s := d.Status
			return s.Replicas == sum && s.UpdatedReplicas == sum && s.ReadyReplicas == sum && s.AvailableReplicas == sum
		})
	})
}

// TestDeploymentServerSideApplyReachesEveryCluster applies on the server's side, which merges lists by their keys:
// the second apply changes one container of two.
func TestDeploymentServerSideApplyReachesEveryCluster(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "ssa")
	web := deployment("web", withReplicas(2))
	u.apply(t, some(web), "--field-manager=team")
	u.rollOut(t, "web", east, west)

	withNewImage(web)
	u.apply(t, some(web), "--field-manager=team")
	sidecar := deployment("web")
	sidecar.Spec.Template.Spec.Containers[0].Name = "sidecar"
	sidecar.Spec.Replicas = nil
	u.apply(t, some(sidecar), "--field-manager=mesh")
	u.rollOut(t, "web", east, west)

	u.checkCopies(t, "web", "both containers", func(d *appsv1.Deployment) bool {
		containers := d.Spec.Template.Spec.Containers
		return len(containers) == 2 && containers[0].Image == newImage && containers[1].Name == "sidecar" &&
			ptr.Deref(d.Spec.Replicas, 1) == 2
	})
}

// TestDeploymentDeletedEverywhere deletes a Deployment and at once creates another one of the same name, which must
// not be taken for the first.
func TestDeploymentDeletedEverywhere(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "delete")
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", east, west)
	first := get(t, u.upstream("web"))

	// kubectl returns when kcp has let the object go, and that is after every cluster has.
	u.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	isGone(t, "the Deployment in kcp", u.upstream("web"))
	isGone(t, "the copy on east", u.copyOn(east, "web"))
	isGone(t, "the copy on west", u.copyOn(west, "web"))

	u.apply(t, some(deployment("web", withNewImage)))
	u.rollOut(t, "web", east, west)
	second := get(t, u.upstream("web"))
	if second.UID == first.UID {
		t.Fatal("the namesake has the UID of the deleted Deployment")
	}
	u.checkCopies(t, "web", "a copy of the namesake", func(d *appsv1.Deployment) bool {
		return transform.SourceUID(d) == second.UID && imageOf(d) == newImage
	})
}

// checkCopies fails the test unless the copy on every cluster passes now.
func (u *tenant) checkCopies(t *testing.T, name, what string, test func(*appsv1.Deployment) bool) {
	t.Helper()
	for clusterName := range u.installation.clusters {
		if copied := get(t, u.copyOn(clusterName, name)); !test(copied) {
			t.Errorf("cluster %s does not have %s: %s", clusterName, what, describe(copied))
		}
	}
}

// eventuallyCopies waits until the copy on every cluster passes.
func (u *tenant) eventuallyCopies(t *testing.T, name, what string, test func(*appsv1.Deployment) bool) {
	t.Helper()
	for clusterName := range u.installation.clusters {
		eventuallyIs(t, "cluster "+clusterName+" to have "+what, u.copyOn(clusterName, name), test)
	}
}
