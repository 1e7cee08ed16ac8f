package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// The clusters of an installation whose programs get killed.
const (
	crashEast = "crash-east"
	crashWest = "crash-west"
)

// batch is how many Deployments are under way when a program dies, and middle how many of them are through then.
const (
	batch  = 20
	middle = 5
)

// TestCrashChangesNothingInTheEnd kills programs while they work, and starts them again.
//
//nolint:tparallel // one step follows the other
func TestCrashChangesNothingInTheEnd(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "crash", crashEast, crashWest)
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "crash")
	t.Run("a syncer that dies among creations, scalings and deletions", u.syncerDies)
	t.Run("a controller that dies while it places", u.controllerDies)
	t.Run("what changes while a syncer is down", u.changesWhileSyncerIsDown)
	t.Run("what is orphaned while nobody looks", u.orphansWhileNobodyLooks)
	t.Run("a syncer that dies while everything is deleted", u.syncerDiesDeleting)
}

func (u *tenant) syncerDies(t *testing.T) {
	syncer := u.installation.syncers[crashEast]
	all := names("first", batch)
	created := u.applyInBackground(t, all)
	u.eventuallyOn(t, crashEast, "some of the batch", func(copies []appsv1.Deployment) bool { return len(copies) >= middle })
	check(t, syncer.kill())
	check(t, <-created)

	u.kubectl(t, "scale", "deployment", "--all", "--replicas=2")
	u.kubectl(t, append([]string{"delete", "deployment", "--wait=false"}, all[:middle]...)...)
	check(t, syncer.start())
	u.eventuallyOn(t, crashEast, "some of the batch scaled", func(copies []appsv1.Deployment) bool {
		return count(copies, func(d appsv1.Deployment) bool { return *d.Spec.Replicas == 2 }) >= middle
	})
	check(t, syncer.kill())
	check(t, syncer.startReady(t.Context()))
	u.eventuallyConverged(t, all[middle:], 2)
}

func (u *tenant) controllerDies(t *testing.T) {
	controller := u.installation.controller
	created := u.applyInBackground(t, names("second", batch))
	eventually(t, "some of the batch to be placed", soon, func(ctx context.Context) (bool, string, error) {
		list, err := u.client.AppsV1().Deployments(u.namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.PlacementLabel(crashWest)})
		if err != nil {
			return false, "", err
		}
		placed := count(list.Items, func(d appsv1.Deployment) bool { return *d.Spec.Replicas == 1 })
		return placed >= middle, fmt.Sprintf("%d are placed", placed), nil
	})
	check(t, controller.kill())
	check(t, <-created)
	u.kubectl(t, "scale", "deployment", "--all", "--replicas=1")
	check(t, controller.startReady(t.Context()))
	u.eventuallyConverged(t, append(names("first", batch)[middle:], names("second", batch)...), 1)
}

// changesWhileSyncerIsDown deletes a Deployment and takes the cluster from another one.
func (u *tenant) changesWhileSyncerIsDown(t *testing.T) {
	syncer := u.installation.syncers[crashEast]
	check(t, syncer.stop(t.Context()))
	deleted, moved := "second-000", "second-001"
	u.kubectl(t, "delete", "deployment", deleted, "--wait=false")
	u.target(t, moved, crashWest)
	eventuallyGone(t, "the deleted one to leave west, whose syncer is up", u.copyOn(crashWest, deleted))
	eventuallyIs(t, "the moved one to be asked to leave east", u.upstream(moved), func(d *appsv1.Deployment) bool {
		return d.Annotations[v1alpha1.DeletionAnnotation(crashEast)] != ""
	})
	for _, name := range []string{deleted, moved} {
		if held := get(t, u.upstream(name)); !slices.Contains(held.Finalizers, v1alpha1.Finalizer(crashEast)) {
			t.Errorf("%s is not held for the syncer that is down: %s", name, describe(held))
		}
		get(t, u.copyOn(crashEast, name))
	}

	check(t, syncer.startReady(t.Context()))
	eventuallyGone(t, "the deleted one to leave kcp", u.upstream(deleted))
	isGone(t, "the deleted one's copy", u.copyOn(crashEast, deleted))
	u.eventuallyPlaced(t, moved, crashWest)
}

// orphansWhileNobodyLooks deletes an object whose pods are to stay. kcp's garbage collector, which always looks, would take the
// finalizer off that says so.
func (u *tenant) orphansWhileNobodyLooks(t *testing.T) {
	syncer, controller, kcp := u.installation.syncers[crashEast], u.installation.controller, u.inKCP()
	clusters := []side{u.onCluster(crashEast), u.onCluster(crashWest)}
	kcp.apply(t, database("db", "1Gi"))
	var before []string
	for _, on := range clusters {
		before = append(before, on.eventuallyOwned(t, "db", ""))
	}
	check(t, syncer.stop(t.Context()))
	check(t, controller.stop(t.Context()))
	kcp.kubectl(t, "delete", "statefulset/db", "--cascade=orphan", "--wait=false")
	clusters[1].eventuallyGone(t, "statefulset/db")
	check(t, controller.startReady(t.Context()))
	kcp.eventually(t, "statefulset/db", "{.metadata.annotations.tmc\\.kcp\\.io/propagation}", "Orphan")
	kcp.eventuallyIs(t, "statefulset/db", "{.metadata.finalizers}", "to be held by the syncer that is down alone", func(got string) bool {
		return got == `["`+v1alpha1.Finalizer(crashEast)+`"]`
	})
	check(t, syncer.startReady(t.Context()))
	kcp.eventuallyGone(t, "statefulset/db")
	for i, on := range clusters {
		if now, err := on.belongings(t.Context(), "db"); err != nil || now != before[i] {
			t.Errorf("%s: had\n%s and has\n%s, %v", on.name, before[i], now, err)
		}
		on.kubectl(t, "delete", "pods,persistentvolumeclaims", "--selector=app=db", "--wait=false")
	}
}

func (u *tenant) syncerDiesDeleting(t *testing.T) {
	syncer := u.installation.syncers[crashEast]
	u.kubectl(t, "delete", "deployment", "--all", "--wait=false")
	u.eventuallyOn(t, crashEast, "less than all", func(copies []appsv1.Deployment) bool { return len(copies) <= batch })
	check(t, syncer.kill())
	check(t, syncer.startReady(t.Context()))
	u.eventuallyConverged(t, nil, 0)
}

// applyInBackground has kubectl create Deployments while the test goes on; the channel gives its error.
func (u *tenant) applyInBackground(t *testing.T, all []string) <-chan error {
	t.Helper()
	var manifests []*appsv1.Deployment
	for _, name := range all {
		manifests = append(manifests, deployment(name))
	}
	done := make(chan error, 1)
	go func() { done <- u.tryApply(t.Context(), manifests) }()
	return done
}

// copies returns the copies of all the tenant's Deployments on a cluster.
func (u *tenant) copies(ctx context.Context, clusterName string) ([]appsv1.Deployment, error) {
	list, err := u.installation.clusters[clusterName].client.AppsV1().Deployments(u.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// eventuallyOn waits until a cluster's copies pass a test.
func (u *tenant) eventuallyOn(t *testing.T, clusterName, what string, test func([]appsv1.Deployment) bool) {
	t.Helper()
	eventually(t, clusterName+" to have "+what, soon, func(ctx context.Context) (bool, string, error) {
		copies, err := u.copies(ctx, clusterName)
		return err == nil && test(copies), fmt.Sprintf("it has %d copies", len(copies)), err
	})
}

func count(all []appsv1.Deployment, test func(appsv1.Deployment) bool) int {
	passed := 0
	for _, d := range all {
		if test(d) {
			passed++
		}
	}
	return passed
}

// eventuallyConverged waits until kcp and every cluster have just these Deployments, each with its replicas.
func (u *tenant) eventuallyConverged(t *testing.T, want []string, replicas int32) {
	t.Helper()
	eventually(t, "kcp to have all of it, and all of it rolled out", 2*soon, func(ctx context.Context) (bool, string, error) {
		list, err := u.client.AppsV1().Deployments(u.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		all := replicas * int32(len(u.installation.clusters))
		wrong := differences(list.Items, want, func(d *appsv1.Deployment) bool {
			return d.Status.ObservedGeneration == d.Generation && d.Status.AvailableReplicas == all && d.Status.Replicas == all && isCalm(d)
		})
		return wrong == "", wrong, nil
	})
	// From here on nothing has to be waited for: kcp says that it is done.
	for clusterName := range u.installation.clusters {
		copies, err := u.copies(t.Context(), clusterName)
		check(t, err)
		if wrong := differences(copies, want, func(d *appsv1.Deployment) bool { return *d.Spec.Replicas == replicas && isRolledOut(d) }); wrong != "" {
			t.Errorf("kcp says that it is done, but cluster %s: %s", clusterName, wrong)
		}
	}
}

// differences returns which of the wanted Deployments are missing or do not pass the test, and which are too many.
func differences(have []appsv1.Deployment, want []string, test func(*appsv1.Deployment) bool) string {
	missing := map[string]bool{}
	for _, name := range want {
		missing[name] = true
	}
	var text string
	for _, d := range have {
		switch {
		case !missing[d.Name]:
			text += fmt.Sprintf("%s should not be there: %s\n", d.Name, describe(&d))
		case !test(&d):
			text += fmt.Sprintf("%s is not done: %s\n", d.Name, describe(&d))
		}
		delete(missing, d.Name)
	}
	for name := range missing {
		text += name + " is missing\n"
	}
	return text
}
