package e2e

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestDeploymentRefusedByClusterDelaysNoOther creates many Deployments that kcp accepts and a cluster refuses, and a
// good one after them. It measures, so it does not run beside others.
func TestDeploymentRefusedByClusterDelaysNoOther(t *testing.T) {
	u := newTenant(t, env.shared, "broken")
	// kcp's schema does not look across fields: a mount of a volume that is not there gets in.
	mounts := func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "nowhere", MountPath: "/data"}}
	}
	var broken []*appsv1.Deployment
	for _, name := range names("broken", 15) {
		broken = append(broken, deployment(name, mounts))
	}
	u.apply(t, broken)

	start := time.Now()
	u.apply(t, some(deployment("sound")))
	u.rollOut(t, "sound", east, west)
	took := time.Since(start)
	t.Logf("the sound Deployment took %s", took.Round(time.Millisecond))
	// A refused one is looked at again after 30 s: whoever waited for it would take longer than that.
	if most := 15 * time.Second; took > most {
		t.Errorf("the sound Deployment took %s, want at most %s", took, most)
	}

	const refusal = `spec.template.spec.containers[0].volumeMounts[0].name: Not found: "nowhere"`
	u.eventuallyRefused(t, broken[0].Name, "Invalid", east, refusal)
	u.eventuallyRefused(t, broken[0].Name, "Invalid", west, refusal)

	// Put right, it gets in, whatever it was before.
	u.apply(t, some(deployment(broken[0].Name)))
	u.rollOut(t, broken[0].Name, east, west)
	u.eventuallySynced(t, broken[0].Name)
	isGone(t, "a copy of another broken one", u.copyOn(east, broken[1].Name))
	if synced := condition(get(t, u.upstream("sound")), v1alpha1.ConditionSynced); synced.Status != "True" {
		t.Errorf("condition Synced of the sound one is %+v, want True", synced)
	}
	// What is refused is applied again now and then: tests that listen for writes come after this one.
	u.kubectl(t, "delete", "deployments", "--all", "--timeout=120s")
}
