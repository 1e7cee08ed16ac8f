package e2e

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// secondLook is how long it takes at most until something in the way that has gone is noticed: no event tells
// of it, so that the syncer looks every 30 s (recheck in pkg/agent/syncer).
const secondLook = 45 * time.Second

// TestTenancyOfTwoWorkspaces has the same name in two workspaces, in different namespaces.
func TestTenancyOfTwoWorkspaces(t *testing.T) {
	t.Parallel()
	blue, green := newTenant(t, env.shared, "blue"), newTenant(t, env.shared, "green")
	blue.apply(t, some(deployment("web", withReplicas(1))))
	green.apply(t, some(deployment("web", withReplicas(2), withNewImage)))
	blue.rollOut(t, "web", east, west)
	green.rollOut(t, "web", east, west)

	blue.checkCopies(t, "web", "the one of blue", func(d *appsv1.Deployment) bool {
		return imageOf(d) == image && d.Annotations[v1alpha1.SourceWorkspaceAnnotation] == blue.logicalCluster
	})
	green.checkCopies(t, "web", "the one of green", func(d *appsv1.Deployment) bool {
		return imageOf(d) == newImage && d.Annotations[v1alpha1.SourceWorkspaceAnnotation] == green.logicalCluster
	})
	if got := get(t, blue.upstream("web")).Status.AvailableReplicas; got != 2 {
		t.Errorf("blue counts %d available replicas, want 2", got)
	}
	if got := get(t, green.upstream("web")).Status.AvailableReplicas; got != 4 {
		t.Errorf("green counts %d available replicas, want 4", got)
	}

	green.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	blue.rollOut(t, "web", east, west)
}

// TestTenancyConflictInSharedNamespace has the same namespace and name in two workspaces that share namespaces.
func TestTenancyConflictInSharedNamespace(t *testing.T) {
	t.Parallel()
	env.shared.setMode(t, east, v1alpha1.NamespaceModeShared)
	namespace := unique("contested")
	first := newTenantIn(t, env.shared, unique("first"), namespace)
	second := newTenantIn(t, env.shared, unique("second"), namespace)
	before := first.rollOutWeb(t, east)

	second.apply(t, some(deployment("web", on(east), withNewImage)))
	second.eventuallyRefused(t, "web", "Conflict", east, "web is in the way", "the copy of another object")
	if _, err := second.try(t, "rollout", "status", "deployment/web", "--timeout=2s"); err == nil {
		t.Error("kubectl says that the second Deployment is rolled out")
	}
	if after := get(t, first.copyOn(east, "web")); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the first one's copy was written to: before %s; after %s", describe(before), describe(after))
	}

	first.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	eventually(t, "the second Deployment to get in", secondLook, is(second.copyOn(east, "web"), func(d *appsv1.Deployment) bool {
		return transform.SourceUID(d) == get(t, second.upstream("web")).UID
	}))
	second.rollOut(t, "web", east)
	second.eventuallySynced(t, "web")
}

// eventuallyRefused waits until the user has been told what a cluster does not take, by the condition Synced and
// by an event, with the reason and the words.
func (u *tenant) eventuallyRefused(t *testing.T, name, reason, clusterName string, words ...string) {
	t.Helper()
	words = append(words, clusterName+": ")
	eventuallyIs(t, "condition Synced to say "+reason+" and name "+clusterName, u.upstream(name), func(d *appsv1.Deployment) bool {
		synced := condition(d, v1alpha1.ConditionSynced)
		return synced.Status == "False" && synced.Reason == reason && hasWords(synced.Message, words)
	})
	u.eventuallyEvent(t, name, reason, words...)
}

// eventuallySynced waits until no cluster has a problem any more.
func (u *tenant) eventuallySynced(t *testing.T, name string) {
	t.Helper()
	eventuallyIs(t, "condition Synced to be true again", u.upstream(name), func(d *appsv1.Deployment) bool {
		return condition(d, v1alpha1.ConditionSynced).Status == "True"
	})
}
