package e2e

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// repairTime is how long drift may last.
const repairTime = 2 * time.Second

// TestDriftIsRepaired measures how long repairs take, so it does not run beside others.
func TestDriftIsRepaired(t *testing.T) {
	u := newTenant(t, env.shared, "drift")
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", east, west)
	u.eventuallySynced(t, "web")
	copies := env.clusters[east].client.AppsV1().Deployments(u.namespace)

	patches := map[string]string{
		"an image that was changed":           `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"other"}]}}}}`,
		"replicas that were changed":          `{"spec":{"replicas":5}}`,
		"a label that was removed":            `{"metadata":{"labels":{"app":null}}}`,
		"an annotation that was removed":      `{"metadata":{"annotations":{"` + v1alpha1.SourceUIDAnnotation + `":null}}}`,
		"the label by which the syncer looks": `{"metadata":{"labels":{"` + v1alpha1.ManagedByLabel + `":null}}}`,
	}
	for name, patch := range patches {
		t.Run(name, func(t *testing.T) {
			want := get(t, u.copyOn(east, "web"))
			drifted, err := copies.Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "somebody"})
			check(t, err)
			u.checkRepaired(t, east, want, drifted.UID)
			u.eventuallyRests(t)
		})
	}
	t.Run("a copy that was deleted", func(t *testing.T) {
		want := get(t, u.copyOn(east, "web"))
		check(t, copies.Delete(t.Context(), "web", metav1.DeleteOptions{}))
		u.checkRepaired(t, east, want, "")
		u.eventuallyRests(t)
	})
}

// eventuallyRests waits until both sides are through with a repair. kubectl has no part in it: in kcp nothing is new, and
// pods that are too many for a moment are none that a rollout waits for.
func (u *tenant) eventuallyRests(t *testing.T) {
	t.Helper()
	eventuallyIs(t, "east to run as many pods as before", u.copyOn(east, "web"), isRolledOut)
	eventuallyIs(t, "kcp to say so", u.upstream("web"), isRolledOutOn(2))
}

// checkRepaired waits until the copy is as it was: the very same object or, without a UID, another one.
func (u *tenant) checkRepaired(t *testing.T, clusterName string, want *appsv1.Deployment, uid types.UID) {
	t.Helper()
	start := time.Now()
	eventually(t, "the copy to be repaired", repairTime, func(ctx context.Context) (bool, string, error) {
		now, err := u.copyOn(clusterName, want.Name)(ctx)
		if apierrors.IsNotFound(err) {
			return false, "there is none", nil
		}
		if err != nil {
			return false, "", err
		}
		sameObject := uid == "" && now.UID != want.UID || now.UID == uid
		return sameObject && hasApplied(now, want), describe(now), nil
	})
	t.Logf("repaired after %s", time.Since(start).Round(time.Millisecond))
}

// hasApplied compares the part of a copy that the syncer answers for.
func hasApplied(now, want *appsv1.Deployment) bool {
	same := apiequality.Semantic.DeepEqual(now.Spec, want.Spec)
	for _, key := range []string{"app", v1alpha1.ManagedByLabel, v1alpha1.SourceHashLabel} {
		same = same && now.Labels[key] == want.Labels[key]
	}
	for _, key := range []string{v1alpha1.SourceUIDAnnotation, v1alpha1.AppliedHashAnnotation, v1alpha1.TargetClusterAnnotation} {
		same = same && now.Annotations[key] == want.Annotations[key]
	}
	return same
}
