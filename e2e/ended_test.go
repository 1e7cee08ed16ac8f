package e2e

import (
	"context"
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
		for run := range 2 {
			kcp.apply(t, nightly)
			kcp.eventually(t, "job/nightly", `{.status.conditions[?(@.type=="Complete")].status}`, "True")
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
}
