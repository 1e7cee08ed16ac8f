package evaluate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// running gives a copy a spec and a status, as its cluster would.
func running(obj *unstructured.Unstructured) {
	obj.SetGeneration(4)
	obj.Object["spec"] = map[string]any{"replicas": int64(3)}
	obj.Object["status"] = map[string]any{
		"observedGeneration": int64(4), "replicas": int64(3), "readyReplicas": int64(2), "collisionCount": int64(0),
		"updateRevision": "web-1", "completedIndexes": string(make([]byte, 300)),
		"loadBalancer": map[string]any{"ingress": []any{map[string]any{"ip": "10.0.0.1"}}},
		"conditions": []any{"none", map[string]any{
			"type": "Available", "status": "True", "reason": "R", "message": "m",
			"lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z",
		}},
	}
}

func TestReport(t *testing.T) {
	here := upstreamDeployment(placed, held)
	problem := protocol.Problem{Reason: "Conflict", Message: "in the way"}
	full := protocol.Report{
		Version: protocol.ReportVersion, Cluster: "east", Generation: 1, Inputs: protocol.Read(here).Inputs("east"),
		LocalGeneration: 4, LocalObservedGeneration: 4, Replicas: new(int64(3)),
		Counters: map[string]int64{"replicas": 3, "readyReplicas": 2}, Texts: map[string]string{"updateRevision": "web-1"},
		Addresses:  []any{map[string]any{"ip": "10.0.0.1"}},
		Conditions: []protocol.ReportCondition{{Type: "Available", Status: "True", Reason: "R", Message: "m"}},
	}
	ofNothing := full
	ofNothing.Generation, ofNothing.Inputs = 0, ""
	empty := protocol.Report{Version: protocol.ReportVersion, Cluster: "east", Problems: []protocol.Problem{problem}}
	cases := map[string]struct {
		downstream *unstructured.Unstructured
		problems   []protocol.Problem
		want       protocol.Report
	}{
		"numbers, short texts, addresses and conditions, without times": {copyOf(t, here, running), nil, full},
		"what a drifted copy's controller observed is something else":   {copyOf(t, here, running, drifted), nil, ofNothing},
		"without a copy there is nothing but the problem":               {nil, []protocol.Problem{problem}, empty},
		"a foreign object's numbers are not ours":                       {upstreamDeployment(running), []protocol.Problem{problem}, empty},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, evaluated(t, inputOf(here, c.downstream), nil).Report(c.problems)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestReportOfClaimSaysWhatMayBeAlike(t *testing.T) {
	asClaim := func(obj *unstructured.Unstructured) {
		obj.SetAPIVersion("v1")
		obj.SetKind("PersistentVolumeClaim")
	}
	here := upstreamDeployment(placed, held, asClaim)
	bound := func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"volumeName": "pv-1"}
		obj.Object["status"] = map[string]any{"phase": "Bound", "accessModes": []any{"ReadWriteOnce"}, "capacity": map[string]any{"storage": "1Gi"}}
	}
	got := evaluated(t, inputOf(here, copyOf(t, here, bound)), nil).Report(nil)
	want := map[string]string{"phase": "Bound", "accessModes": `["ReadWriteOnce"]`, "capacity": `{"storage":"1Gi"}`, "boundTo": "pv-1"}
	if diff := cmp.Diff(want, got.Texts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIsReported(t *testing.T) {
	job := upstreamDeployment(asJob, placed, held, reported("Complete", 1))
	cases := map[string]struct {
		in   Input
		want bool
	}{
		"a placed and held object":                        {inputOf(upstreamDeployment(placed, held), nil), true},
		"an object that is not held yet":                  {inputOf(upstreamDeployment(placed), nil), false},
		"an object that leaves keeps its last report":     {inputOf(upstreamDeployment(held), nil), false},
		"an object that is not seen":                      {inputOf(nil, nil), false},
		"a Job that has run and is gone keeps its report": {inputOf(job, nil), false},
		"a Job that was seen to end is reported":          {func() Input { in := inputOf(job, nil); in.Final = copyOf(t, job, ended); return in }(), true},
		"a Job that has run and is there is reported":     {inputOf(job, copyOf(t, job, ended)), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := evaluated(t, c.in, nil)
			if got := e.IsReported(); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
			if c.in.Final != nil && (e.Reported() != c.in.Final || e.Report(nil).Generation != 1) {
				t.Errorf("reported: %v", e.Report(nil))
			}
		})
	}
}

func TestReportOfAnOperatorsKind(t *testing.T) {
	own, err := kinds.Parse("kinds.yaml", []byte("[{group: apps, kind: Deployment, available: ready, replicas: spec.server.size}]"))
	if err != nil {
		t.Fatal(err)
	}
	here := upstreamDeployment(placed, held)
	in := inputOf(here, copyOf(t, here, func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"replicas": int64(1), "server": map[string]any{"size": int64(3)}}
	}))
	in.Settings = &Settings{Kinds: own}
	if got := evaluated(t, in, nil).Report(nil).Replicas; got == nil || *got != 3 {
		t.Errorf("it reports %v replicas, want 3", got)
	}
}
