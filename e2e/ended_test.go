package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// nightly is a Job as a pipeline applies it each night.
const nightly = `{apiVersion: batch/v1, kind: Job, metadata: {name: nightly}, spec: {ttlSecondsAfterFinished: 5,
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: registry.example.com/nightly}]}}}}`

// TestLifeOfJobsAndClaims has Jobs and claims fare in kcp as they do on one cluster.
func TestLifeOfJobsAndClaims(t *testing.T) {
	t.Parallel()
	t.Run("a Job is gone after its time to live, and runs again when it is applied again", func(t *testing.T) {
		t.Parallel()
		u := newTenant(t, env.shared, "ttl")
		kcp := u.inKCP()
		// It keeps the namespace, and with it the events.
		kcp.apply(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: keep, annotations: {tmc.kcp.io/target-clusters: "*"}}}`)
		for run := range 2 {
			kcp.apply(t, nightly)
			u.kubectl(t, "wait", "--for=condition=Complete", "job/nightly", "--timeout=60s")
			u.kubectl(t, "wait", "--for=delete", "job/nightly", "--timeout=60s")
			for _, cluster := range []string{east, west} {
				eventually(t, "it to have run on "+cluster, soon, func(ctx context.Context) (bool, string, error) {
					runs, err := u.onCluster(cluster).get(ctx, "events --field-selector=reason=SuccessfulCreate", "{.items[*].involvedObject.uid}")
					uids := strings.Fields(runs)
					slices.Sort(uids)
					return len(slices.Compact(uids)) == run+1, runs, err
				})
			}
		}
	})
	t.Run("a claim shows what its clusters have bound it to", func(t *testing.T) {
		t.Parallel()
		u := newTenant(t, env.shared, "claims")
		kcp := u.inKCP()
		// volumes has the clusters provide volumes of a class.
		volumes := func(class, size string, names map[string]string) {
			for cluster, name := range names {
				u.createOn(t, env.clusters[cluster], fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolume, metadata: {name: %s-%s}, spec: {storageClassName: %s-%s,
					capacity: {storage: %s}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, hostPath: {path: /tmp}}}`, u.namespace, name, u.namespace, class, size))
			}
		}
		claim := func(name string) {
			kcp.apply(t, fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: %[1]s, annotations: {tmc.kcp.io/target-clusters: "*"}},
				spec: {storageClassName: %[2]s-%[1]s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`, name, u.namespace))
		}
		const shown = `{.status.phase} {.status.capacity.storage} {.status.accessModes[*]} {.status.conditions[?(@.type=="tmc.kcp.io/BoundTo")].message}`
		claim("alike")
		claim("others")
		kcp.eventually(t, "pvc/alike", "{.status.phase}", "Pending")
		volumes("alike", "2Gi", map[string]string{east: "vol", west: "vol"})
		volumes("others", "3Gi", map[string]string{east: "a"})
		kcp.eventually(t, "pvc/alike", shown, "Bound 2Gi ReadWriteOnce "+u.namespace+"-vol")
		u.onCluster(east).eventually(t, "pvc/others", "{.status.phase}", "Bound")
		kcp.eventually(t, "pvc/others", shown, "Pending")
		volumes("others", "2Gi", map[string]string{west: "b"})
		kcp.eventually(t, "pvc/others", shown, "Bound 2Gi ReadWriteOnce")
		u.kubectl(t, "delete", "pvc", "--all") // which hold the volumes
	})
}
