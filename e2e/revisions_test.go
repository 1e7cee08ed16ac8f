package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// atRest is how long revisions are listened to when nothing happens. There is no condition to wait for.
const atRest = 11 * time.Second

// revised is a Deployment that keeps two revisions beside the present one.
func revised(image string, replicas int32) *appsv1.Deployment {
	return deployment("web", withReplicas(replicas), func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = image
		d.Spec.RevisionHistoryLimit = ptr.To[int32](2)
	})
}

// TestRevisionsOfWorkloads changes workloads, and reads what the hub keeps of them.
func TestRevisionsOfWorkloads(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "revisions")
	t.Run("of a Deployment", func(t *testing.T) { t.Parallel(); keepsReplicaSets(t, u) })
	t.Run("of a StatefulSet and a DaemonSet", func(t *testing.T) { t.Parallel(); keepsControllerRevisions(t, u) })
	t.Run("of what is deleted", func(t *testing.T) { t.Parallel(); letsRevisionsGo(t, newTenant(t, env.shared, "revisions-deleted")) })
}

// keepsReplicaSets takes a Deployment through its life.
func keepsReplicaSets(t *testing.T, u *tenant) {
	u.apply(t, some(revised("example.com/web:1", 2)))
	u.rollOut(t, "web", east, west)
	u.kubectl(t, "annotate", "deployment", "web", "kubernetes.io/change-cause=first")
	u.eventuallyRevisions(t, "web", "1 first 4/4/4")

	changes := u.watchReplicaSets(t)
	u.apply(t, some(revised("example.com/web:2", 2)))
	u.rollOut(t, "web", east, west)
	u.eventuallyRevisions(t, "web", "1 first 0/0/0", "2 first 4/4/4")
	// The new one, the numbers of both, and that of the Deployment.
	if got := arrived(changes); got != 3 {
		t.Errorf("a roll-out has written ReplicaSets %d times, want 3", got)
	}
	u.kubectl(t, "annotate", "deployment", "web", "kubernetes.io/change-cause=second", "--overwrite")
	u.eventuallyRevisions(t, "web", "1 first 0/0/0", "2 second 4/4/4")
	if got, want := strings.Fields(u.kubectl(t, "rollout", "history", "deployment/web")), strings.Fields("deployment.apps/web REVISION CHANGE-CAUSE 1 first 2 second"); !slices.Equal(got, want) {
		t.Errorf("kubectl says %q, want %q", got, want)
	}
	if said := u.kubectl(t, "rollout", "history", "deployment/web", "--revision=1"); !strings.Contains(said, "example.com/web:1") {
		t.Errorf("kubectl says of revision 1: %s", said)
	}
	if said := u.kubectl(t, "describe", "deployment", "web"); !strings.Contains(said, "(4/4 replicas created)") {
		t.Errorf("kubectl describes no new ReplicaSet: %s", said)
	}
	u.checkReplicaSet(t)

	t.Run("an older template again", func(t *testing.T) {
		u.apply(t, some(revised("example.com/web:1", 2)))
		u.rollOut(t, "web", east, west)
		u.eventuallyRevisions(t, "web", "2 second 0/0/0", "3 second 4/4/4")
	})
	t.Run("scaled", func(t *testing.T) {
		changes := u.watchReplicaSets(t)
		u.kubectl(t, "scale", "deployment", "web", "--replicas=3")
		u.eventuallyRevisions(t, "web", "2 second 0/0/0", "3 second 6/6/6")
		u.kubectl(t, "scale", "deployment", "web", "--replicas=1")
		u.eventuallyRevisions(t, "web", "2 second 0/0/0", "3 second 2/2/2")
		if got := arrived(changes); got > 3 {
			t.Errorf("to scale twice has written ReplicaSets %d times, want 3 at most", got)
		}
	})
	t.Run("paused", func(t *testing.T) {
		u.kubectl(t, "rollout", "pause", "deployment/web")
		u.apply(t, some(revised("example.com/web:3", 1)))
		u.eventuallySynced(t, "web")
		u.eventuallyRevisions(t, "web", "2 second 0/0/0", "3 second 2/2/2")
		u.kubectl(t, "rollout", "resume", "deployment/web")
		u.rollOut(t, "web", east, west)
		u.eventuallyRevisions(t, "web", "2 second 0/0/0", "3 second 0/0/0", "4 second 2/2/2")
	})
	t.Run("beyond the limit", func(t *testing.T) {
		u.apply(t, some(revised("example.com/web:4", 1)))
		u.rollOut(t, "web", east, west)
		u.eventuallyRevisions(t, "web", "3 second 0/0/0", "4 second 0/0/0", "5 second 2/2/2")
	})
	t.Run("at rest", func(t *testing.T) {
		changes := u.watchReplicaSets(t)
		before := get(t, u.upstream("web"))
		time.Sleep(atRest) // see atRest
		if after := get(t, u.upstream("web")); arrived(changes) > 0 || before.ResourceVersion != after.ResourceVersion {
			t.Errorf("with nothing to do, ReplicaSets were written; the Deployment was %s and is %s", describe(before), describe(after))
		}
	})
	t.Run("left behind", func(t *testing.T) {
		u.kubectl(t, "delete", "deployment", "web", "--cascade=orphan", "--timeout=60s")
		u.apply(t, some(revised("example.com/web:4", 1)))
		u.rollOut(t, "web", east, west)
		u.eventuallyRevisions(t, "web", "3 second 0/0/0", "4 second 0/0/0", "5 second 2/2/2")
	})
	t.Run("deleted in the foreground", func(t *testing.T) {
		u.kubectl(t, "delete", "deployment", "web", "--cascade=foreground", "--timeout=60s")
		u.eventuallyRevisions(t, "web")
	})
}

// checkReplicaSet compares the present ReplicaSet of web with what Kubernetes makes, and with those on a cluster.
func (u *tenant) checkReplicaSet(t *testing.T) {
	t.Helper()
	owner := get(t, u.upstream("web"))
	sets := u.replicaSets(t, "web")
	newest := sets[len(sets)-1]
	hash := newest.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	if newest.Name != "web-"+hash || newest.Spec.Selector.MatchLabels[appsv1.DefaultDeploymentUniqueLabelKey] != hash ||
		newest.Spec.Template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] != hash {
		t.Errorf("the hash %q is not in the name %s, the selector and the template", hash, newest.Name)
	}
	if !metav1.IsControlledBy(&newest, owner) || !ptr.Deref(newest.OwnerReferences[0].BlockOwnerDeletion, false) || newest.Status.ObservedGeneration != newest.Generation {
		t.Errorf("owners %v, generation %d, observed %d", newest.OwnerReferences, newest.Generation, newest.Status.ObservedGeneration)
	}
	if got := owner.Annotations["deployment.kubernetes.io/revision"]; got != "2" {
		t.Errorf("the Deployment is at revision %q, want 2", got)
	}
	for _, clusterName := range []string{east, west} {
		onCluster, err := env.clusters[clusterName].client.AppsV1().ReplicaSets(u.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
		check(t, err)
		copied := get(t, u.copyOn(clusterName, "web"))
		for _, one := range onCluster.Items {
			if one.Labels[v1alpha1.ManagedByLabel] != "" || !metav1.IsControlledBy(&one, copied) {
				t.Errorf("%s has a ReplicaSet %s that its own controller has not made", clusterName, one.Name)
			}
		}
	}
}

// replicaSets returns those of a Deployment in kcp, by their revision.
func (u *tenant) replicaSets(t *testing.T, name string) []appsv1.ReplicaSet {
	t.Helper()
	list, err := u.client.AppsV1().ReplicaSets(u.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	check(t, err)
	slices.SortFunc(list.Items, func(a, b appsv1.ReplicaSet) int {
		return cmp.Compare(a.Annotations["deployment.kubernetes.io/revision"], b.Annotations["deployment.kubernetes.io/revision"])
	})
	return list.Items
}

// eventuallyRevisions waits until a Deployment has these revisions, each with its number, the cause of the change, and how many pods
// it is to have, has, and has ready. All of them are its own.
func (u *tenant) eventuallyRevisions(t *testing.T, name string, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the revisions %q", want), soon, func(ctx context.Context) (bool, string, error) {
		var owner types.UID
		deployment, err := u.deployment(ctx, name)
		if err == nil {
			owner = deployment.UID
		} else if !apierrors.IsNotFound(err) {
			return false, "", err
		}
		var got []string
		for _, set := range u.replicaSets(t, name) {
			says := fmt.Sprintf("%s %s %d/%d/%d", set.Annotations["deployment.kubernetes.io/revision"], set.Annotations["kubernetes.io/change-cause"],
				*set.Spec.Replicas, set.Status.Replicas, set.Status.ReadyReplicas)
			if controller := metav1.GetControllerOf(&set); controller == nil || controller.UID != owner {
				says += " of another"
			}
			got = append(got, says)
		}
		return slices.Equal(got, want), fmt.Sprintf("%q", got), nil
	})
}

// watchReplicaSets watches what is written of those of web in kcp from now on.
func (u *tenant) watchReplicaSets(t *testing.T) <-chan watch.Event {
	t.Helper()
	list, err := u.client.AppsV1().ReplicaSets(u.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	check(t, err)
	changes, err := u.client.AppsV1().ReplicaSets(u.namespace).Watch(t.Context(), metav1.ListOptions{LabelSelector: "app=web", ResourceVersion: list.ResourceVersion})
	check(t, err)
	t.Cleanup(changes.Stop)
	return changes.ResultChan()
}

// arrived returns how many events have come so far.
func arrived(events <-chan watch.Event) int {
	for n := 0; ; n++ {
		select {
		case <-events:
		case <-time.After(time.Second): // one that was just sent
			return n
		}
	}
}

// controlled are workloads with ControllerRevisions.
const controlled = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  revisionHistoryLimit: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: "example.com/db:IMAGE"}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: log}
spec:
  revisionHistoryLimit: 1
  selector: {matchLabels: {app: log}}
  template: {metadata: {labels: {app: log}}, spec: {containers: [{name: log, image: "example.com/log:IMAGE"}]}}
`

// keepsControllerRevisions changes workloads twice, and takes one change back.
func keepsControllerRevisions(t *testing.T, u *tenant) {
	for image, want := range []string{"1", "1 2", "2 3"} {
		u.applyControlled(t, image)
		for _, name := range []string{"statefulset/db", "daemonset/log"} {
			u.kubectl(t, "rollout", "status", name, "--timeout=120s")
			u.eventuallyHistory(t, name, want)
		}
	}
	for _, name := range []string{"statefulset/db", "daemonset/log"} {
		if said := u.kubectl(t, "rollout", "history", name, "--revision=2"); !strings.Contains(said, ":1") {
			t.Errorf("kubectl says of revision 2 of %s: %s", name, said)
		}
		// kubectl compares byte by byte what the template would be with what it is.
		if said := u.kubectl(t, "rollout", "undo", name, "--to-revision=3"); !strings.Contains(said, "skipped rollback") {
			t.Errorf("kubectl says of a return to the present revision: %s", said)
		}
	}
	u.applyControlled(t, 1)
	for _, name := range []string{"statefulset/db", "daemonset/log"} {
		u.eventuallyHistory(t, name, "3 4")
	}
}

// applyControlled applies the workloads with an image of that number.
func (u *tenant) applyControlled(t *testing.T, image int) {
	t.Helper()
	_, _, err := framework.KubectlInput(t.Context(), strings.NewReader(strings.ReplaceAll(controlled, "IMAGE", strconv.Itoa(image))), u.kubeconfig,
		"--namespace="+u.namespace, "apply", "--server-side", "--filename=-")
	check(t, err)
}

// eventuallyHistory waits until kubectl tells of these revisions.
func (u *tenant) eventuallyHistory(t *testing.T, name, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to have the revisions %s", name, want), soon, func(context.Context) (bool, string, error) {
		said, err := u.try(t, "rollout", "history", name)
		var got []string
		for _, line := range strings.Split(said, "\n")[1:] {
			if number, _, _ := strings.Cut(line, " "); number != "" && number != "REVISION" {
				got = append(got, number)
			}
		}
		return strings.Join(got, " ") == want, said, err
	})
}

// letsRevisionsGo deletes a Deployment, and the namespace of another one. The revisions keep neither.
func letsRevisionsGo(t *testing.T, u *tenant) {
	u.apply(t, some(deployment("one"), deployment("two")))
	u.rollOut(t, "one", east, west)
	u.rollOut(t, "two", east, west)
	u.eventuallyRevisions(t, "one", "1  2/2/2")
	u.kubectl(t, "delete", "deployment", "one", "--timeout=60s")
	u.eventuallyRevisions(t, "one")
	u.kubectl(t, "delete", "namespace", u.namespace, "--timeout=120s")
	list, err := u.client.AppsV1().ReplicaSets(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{LabelSelector: labels.Everything().String()})
	check(t, err)
	if len(list.Items) > 0 {
		t.Errorf("the namespace is gone, and %d ReplicaSets are there", len(list.Items))
	}
}
