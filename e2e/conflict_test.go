package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestConflictWithObjectOfOthers has an object of somebody else in the place of the copy, on one of two clusters.
func TestConflictWithObjectOfOthers(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "listed-foreign")
	foreign := u.createForeign(t, east, "web")

	u.apply(t, some(deployment("web", withNewImage)))
	u.eventuallyRefused(t, "web", "Conflict", east, u.namespace+"/web is in the way", "was not made by tmc")
	eventuallyIs(t, "west to have it all the same", u.copyOn(west, "web"), isRolledOut)
	if _, err := u.try(t, "rollout", "status", "deployment/web", "--timeout=2s"); err == nil {
		t.Error("kubectl says that the Deployment is rolled out on both clusters")
	}
	u.checkUntouched(t, east, foreign)

	u.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	isGone(t, "the copy on west", u.copyOn(west, "web"))
	u.checkUntouched(t, east, foreign)

	u.apply(t, some(deployment("web", withNewImage)))
	u.eventuallyRefused(t, "web", "Conflict", east, "is in the way")
	check(t, env.clusters[east].kubectl(t, "--namespace="+u.namespace, "delete", "deployment", "web"))
	eventually(t, "ours to get in", secondLook, is(u.copyOn(east, "web"), func(d *appsv1.Deployment) bool {
		return d.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue
	}))
	u.rollOut(t, "web", east, west)
	u.eventuallySynced(t, "web")
}

// createForeign makes a Deployment on a cluster as somebody would who does not know of tmc, and returns it as it
// is once its own controller is through with it.
func (u *tenant) createForeign(t *testing.T, clusterName, name string) *appsv1.Deployment {
	t.Helper()
	c := u.installation.clusters[clusterName]
	check(t, c.kubectl(t, "create", "namespace", u.namespace))
	check(t, c.kubectl(t, "--namespace="+u.namespace, "create", "deployment", name, "--image="+image))
	check(t, c.kubectl(t, "--namespace="+u.namespace, "rollout", "status", "deployment/"+name, "--timeout=120s"))
	eventuallyIs(t, "its controller to be through with it", u.copyOn(clusterName, name), isThrough)
	return get(t, u.copyOn(clusterName, name))
}

// checkUntouched compares all of an object with what it was: its resourceVersion tells of any write.
func (u *tenant) checkUntouched(t *testing.T, clusterName string, before *appsv1.Deployment) {
	t.Helper()
	if diff := cmp.Diff(before, get(t, u.copyOn(clusterName, before.Name))); diff != "" {
		t.Errorf("the object in the way was changed (-before +after):\n%s", diff)
	}
}
