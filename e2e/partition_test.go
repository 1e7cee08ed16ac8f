package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// divisible is a StatefulSet, and a placement that divides its replicas.
const divisible = `
apiVersion: tmc.kcp.io/v1alpha1
kind: WorkloadPlacement
metadata: {name: db}
spec: {workloadSelector: {labelSelector: {matchLabels: {app: db}}}, clusterSelector: {clusterNames: [east, west]}, replicas: Divided}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, labels: {app: db}}
spec:
  serviceName: db
  replicas: 6
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: main, image: "registry.example.com/db:1"}]}
  updateStrategy: {rollingUpdate: {partition: 6}}
`

// TestCanaryOfDividedStatefulSet updates a StatefulSet whose replicas are divided over two clusters step by step, as its
// partition says, and moves its replicas on the way.
func TestCanaryOfDividedStatefulSet(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "canary")
	kcp := u.inKCP()
	kcp.apply(t, divisible)
	rollOut := func() {
		t.Helper()
		u.kubectl(t, "rollout", "status", "statefulset/db", "--timeout=60s")
	}
	// images are those of a cluster's pods, in their order.
	images := func(cluster, want string) {
		t.Helper()
		u.onCluster(cluster).eventually(t, "pods -l app=db", "{.items[*].spec.containers[0].image}",
			"registry.example.com/db:"+strings.ReplaceAll(want, " ", " registry.example.com/db:"))
	}
	partition := func(partition int) {
		t.Helper()
		u.kubectl(t, "patch", "statefulset", "db", "--type=merge", "--patch", fmt.Sprintf(`{"spec":{"updateStrategy":{"rollingUpdate":{"partition":%d}}}}`, partition))
		rollOut()
	}
	rollOut()
	u.kubectl(t, "patch", "statefulset", "db", "--type=json", `--patch=[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"registry.example.com/db:2"}]`)
	rollOut()
	for _, step := range []struct {
		partition           int
		east, west, updated string
	}{
		{6, "1 1 1", "1 1 1", ""},
		{5, "1 1 2", "1 1 1", "1"},
		{4, "1 1 2", "1 1 2", "2"},
		{2, "1 2 2", "1 2 2", "4"},
	} {
		partition(step.partition)
		images(east, step.east)
		images(west, step.west)
		kcp.eventually(t, "statefulset/db", "{.status.updatedReplicas}", step.updated)
	}
	kcp.eventually(t, "statefulset/db", "{.status.currentReplicas}", "2")

	// West leaves. What east has updated stays so, and its new pods are of the new template.
	u.kubectl(t, "patch", "workloadplacement", "db", "--type=merge", `--patch={"spec":{"clusterSelector":{"clusterNames":["east"]}}}`)
	u.onCluster(west).eventually(t, "pods -l app=db", "{.items[*].metadata.name}", "")
	rollOut()
	images(east, "1 2 2 2 2 2")
	partition(0)
	images(east, "2 2 2 2 2 2")
}
