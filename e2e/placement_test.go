package e2e

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestPlacementByTargetClusters moves one Deployment around by its annotation.
//
//nolint:tparallel // one step follows the other
func TestPlacementByTargetClusters(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "placement")
	u.apply(t, some(deployment("web", on(east))))
	u.rollOut(t, "web", east)
	u.checkPlaced(t, "web", east)
	uid := get(t, u.copyOn(east, "web")).UID

	t.Run("grows", func(t *testing.T) {
		u.target(t, "web", "east, west")
		u.eventuallyPlaced(t, "web", east, west)
		u.rollOut(t, "web", east, west)
		if now := get(t, u.copyOn(east, "web")).UID; now != uid {
			t.Errorf("the copy on east was made anew: %s, was %s", now, uid)
		}
	})
	t.Run("shrinks", func(t *testing.T) {
		u.target(t, "web", west)
		u.eventuallyPlaced(t, "web", west)
		u.rollOut(t, "web", west)
	})
	t.Run("nowhere", func(t *testing.T) {
		u.target(t, "web", "")
		u.eventuallyPlaced(t, "web")
		// The status follows from the labels, in a write of its own.
		eventuallyIs(t, "condition Available to be False for NoClusters", u.upstream("web"), func(d *appsv1.Deployment) bool {
			available := condition(d, "Available")
			return available.Status == "False" && available.Reason == "NoClusters"
		})
	})
	t.Run("everywhere", func(t *testing.T) {
		u.target(t, "web", "*")
		u.eventuallyPlaced(t, "web", east, west)
		u.rollOut(t, "web", east, west)
	})
	t.Run("nowhere and back to the default, without an annotation", func(t *testing.T) {
		u.target(t, "web", "")
		u.eventuallyPlaced(t, "web")
		u.kubectl(t, "annotate", "deployment", "web", v1alpha1.TargetClustersAnnotation+"-")
		u.eventuallyPlaced(t, "web", east, west)
		u.rollOut(t, "web", east, west)
	})
}

// TestPlacementLabelIsRestored removes a placement label as a user. To the syncer it looks as if the Deployment were
// deleted, and it is not.
func TestPlacementLabelIsRestored(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "label")
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", east, west)
	uid := get(t, u.copyOn(east, "web")).UID

	u.kubectl(t, "label", "deployment", "web", v1alpha1.PlacementLabel(east)+"-")
	eventuallyIs(t, "kcp to have it on both again", u.upstream("web"), func(d *appsv1.Deployment) bool { return tracesOf(d, east, west) == "" })
	// The change goes the way that a deletion would have gone, after it. The status may say one cluster for a moment.
	u.kubectl(t, "scale", "deployment", "web", "--replicas=2")
	u.rollOut(t, "web", east, west)
	if now := get(t, u.copyOn(east, "web")).UID; now != uid {
		t.Errorf("the copy on east was made anew: %s, was %s", now, uid)
	}
}

// TestPlacementBadNamesInTargetClusters checks the words of the message: they are all that a user gets.
func TestPlacementBadNamesInTargetClusters(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "names")
	u.apply(t, some(deployment("web", on("east,nowhere,Not_A_Name"))))

	u.eventuallyEvent(t, "web", "InvalidTargetClusters", v1alpha1.TargetClustersAnnotation, `"nowhere"`, "there are: east, west")
	u.eventuallyEvent(t, "web", "InvalidTargetClusters", v1alpha1.TargetClustersAnnotation, `"Not_A_Name"`, "expected cluster names")
	u.eventuallyPlaced(t, "web", east)
	u.rollOut(t, "web", east)
	shown := u.kubectl(t, "get", "events", "--field-selector=involvedObject.name=web")
	if count := strings.Count(shown, "InvalidTargetClusters"); count != 2 {
		t.Errorf("kubectl get events shows %d lines about the annotation, want one for each bad name:\n%s", count, shown)
	}
}

// target sets the clusters that are to run a Deployment.
func (u *tenant) target(t *testing.T, name, targets string) {
	t.Helper()
	u.kubectl(t, "annotate", "--overwrite", "deployment", name, v1alpha1.TargetClustersAnnotation+"="+targets)
}

// eventuallyPlaced waits until a Deployment of one replica is on just these clusters.
func (u *tenant) eventuallyPlaced(t *testing.T, name string, clusterNames ...string) {
	t.Helper()
	eventuallyIs(t, "kcp to have it on "+strings.Join(clusterNames, ",")+" and nothing left of others", u.upstream(name), func(d *appsv1.Deployment) bool {
		return tracesOf(d, clusterNames...) == "" && d.Status.AvailableReplicas == int32(len(clusterNames))
	})
	u.checkPlaced(t, name, clusterNames...)
}

// checkPlaced checks both sides: on the clusters given there is a copy, on the others none, and kcp's object
// bears the traces of the former alone.
func (u *tenant) checkPlaced(t *testing.T, name string, clusterNames ...string) {
	t.Helper()
	upstream := get(t, u.upstream(name))
	if wrong := tracesOf(upstream, clusterNames...); wrong != "" {
		t.Errorf("%s: %s", wrong, describe(upstream))
	}
	if s, want := upstream.Status, int32(len(clusterNames)); s.Replicas != want || s.AvailableReplicas != want {
		t.Errorf("kcp does not count %d: %s", want, describe(upstream))
	}
	placed := map[string]bool{}
	for _, clusterName := range clusterNames {
		placed[clusterName] = true
		get(t, u.copyOn(clusterName, name))
	}
	for clusterName := range u.installation.clusters {
		if !placed[clusterName] {
			isGone(t, "the copy on "+clusterName, u.copyOn(clusterName, name))
		}
	}
}

// tracesOf returns what is wrong with the keys that name a cluster: the clusters given have a label, a finalizer
// and a report, and nobody has a request to leave. It returns nothing when all is as it should be.
func tracesOf(d *appsv1.Deployment, clusterNames ...string) string {
	wanted := map[string]bool{}
	for _, clusterName := range clusterNames {
		wanted[v1alpha1.PlacementLabel(clusterName)] = true
		wanted[v1alpha1.Finalizer(clusterName)] = true
		wanted[v1alpha1.StatusAnnotation(clusterName)] = true
	}
	var wrong []string
	for _, key := range clusterKeys(d) {
		if !wanted[key] {
			wrong = append(wrong, "has "+key)
		}
		delete(wanted, key)
	}
	for key := range wanted {
		wrong = append(wrong, "lacks "+key)
	}
	return strings.Join(wrong, ", ")
}

// clusterKeys returns all keys on a Deployment that name a cluster.
func clusterKeys(d *appsv1.Deployment) []string {
	var keys []string
	for key := range d.Labels {
		keys = append(keys, key)
	}
	for key := range d.Annotations {
		keys = append(keys, key)
	}
	keys = append(keys, d.Finalizers...)
	var naming []string
	for _, key := range keys {
		for _, prefix := range []string{
			v1alpha1.PlacementLabelPrefix, v1alpha1.DeletionAnnotationPrefix, v1alpha1.FinalizerPrefix, v1alpha1.StatusAnnotationPrefix,
		} {
			if strings.HasPrefix(key, prefix) {
				naming = append(naming, key)
			}
		}
	}
	return naming
}
