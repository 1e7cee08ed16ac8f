package main

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestNarrowShowsOneCluster(t *testing.T) {
	n := &narrowed{cluster: "c007", node: "node-3"}
	cases := map[string]struct {
		reason, target string
		want           url.Values
	}{
		"copies": {
			"other clusters' copies are elsewhere", "/apis/apps/v1/deployments?labelSelector=tmc.kcp.io%2Fmanaged-by%3Dtmc-syncer&watch=true",
			url.Values{"labelSelector": {"tmc.kcp.io/managed-by=tmc-syncer,scale.example.com/cluster=c007"}, "watch": {"true"}},
		},
		"pods": {
			"so are most pods", "/api/v1/pods?fieldSelector=status.phase%21%3DFailed",
			url.Values{"fieldSelector": {"status.phase!=Failed,spec.nodeName=node-3"}},
		},
		"nodes": {"and nodes", "/api/v1/nodes", url.Values{"fieldSelector": {"metadata.name=node-3"}}},
		"others": {
			"nothing else is changed", "/apis/autoscaling/v2/horizontalpodautoscalers", nil,
		},
	}
	for name, c := range cases {
		target, err := url.Parse("https://cluster" + c.target)
		if err != nil {
			t.Fatal(err)
		}
		got, changed := n.query(target)
		if changed != (c.want != nil) {
			t.Errorf("%s: %s: changed: %v", name, c.reason, changed)
		}
		if diff := cmp.Diff(c.want, got); changed && diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", name, c.reason, diff)
		}
	}
}

// workload is what is looked at of a Deployment.
func workload(generation, observed, available int64, synced string, clusters ...string) *unstructured.Unstructured {
	labels := map[string]any{"app": "web"}
	for _, cluster := range clusters {
		labels["cluster.tmc.kcp.io/"+cluster] = "sync"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "web", "namespace": "ns", "generation": generation, "labels": labels},
		"status": map[string]any{
			"observedGeneration": observed, "availableReplicas": available,
			"conditions": []any{map[string]any{"type": "Synced", "status": synced}},
		},
	}}
}

func TestWorkloadIsComplete(t *testing.T) {
	three := []string{"c000", "c001", "c002"}
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		want bool
	}{
		"settled":          {workload(1, 1, 3, "True", three...), true},
		"settled anew":     {workload(2, 2, 3, "True", three...), true},
		"a copy to come":   {workload(1, 1, 2, "True", three...), false},
		"not observed":     {workload(2, 1, 3, "True", three...), false},
		"not synced":       {workload(1, 1, 3, "False", three...), false},
		"on too many":      {workload(1, 1, 3, "True", append(three, "c003")...), false},
		"nothing is known": {&unstructured.Unstructured{Object: map[string]any{}}, false},
	}
	for name, c := range cases {
		if got := isSettled(c.obj); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if isOff("c001")(workload(1, 1, 3, "True", three...)) || !isOff("c004")(workload(1, 1, 3, "True", three...)) {
		t.Error("placed on c001, and not on c004: got something else")
	}
}

func TestClusterHasRoomForAllCopies(t *testing.T) {
	for o, want := range map[options]int{
		{syncers: 3, workloads: 1}: 3, {syncers: 3, workloads: 500}: 16, {syncers: 100, workloads: 500}: 100,
	} {
		if got := o.nodes(); got != want {
			t.Errorf("%d syncers, %d workloads: got %d nodes, want %d", o.syncers, o.workloads, got, want)
		}
	}
}
