package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestPercentileIsOneOfValues(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	cases := map[string]struct {
		durations []time.Duration
		percent   int
		want      time.Duration
	}{
		"of none":           {nil, 50, 0},
		"of one":            {[]time.Duration{7}, 99, 7},
		"median of two":     {[]time.Duration{9, 1}, 50, 1},
		"median of three":   {[]time.Duration{9, 1, 5}, 50, 5},
		"p99 of a hundred":  {hundred, 99, 99},
		"most of a hundred": {hundred, 100, 100},
		"p90 of a hundred":  {hundred, 90, 90},
	}
	for name, c := range cases {
		if got := percentile(c.durations, c.percent); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

// entry is a line of an audit log.
func entry(agent, verb, resource, more string) string {
	return fmt.Sprintf(`{"verb":%q,"userAgent":%q,"objectRef":{"resource":%q}%s,"requestReceivedTimestamp":"2025-01-01T00:00:00.000000Z","stageTimestamp":"2025-01-01T00:00:00.020000Z"}`+"\n",
		verb, agent, resource, more)
}

func metadata(content string) string { return `,"requestObject":{"metadata":{` + content + `}}` }

func TestAuditCountsByWriterAndPurpose(t *testing.T) {
	const controller, syncer = "tmc-controller/v1", "tmc-syncer/v1 (cluster c000)"
	log := entry(controller, "patch", "deployments", metadata(`"labels":{"cluster.tmc.kcp.io/c000":"sync"},"annotations":{"tmc.kcp.io/placement":"{}"}`)) +
		entry(syncer, "patch", "deployments", metadata(`"finalizers":["syncer.tmc.kcp.io/c000"]`)) +
		entry(syncer, "patch", "deployments", metadata(`"finalizers":["syncer.tmc.kcp.io/c001"]`)+`,"responseStatus":{"code":409}`) +
		entry(syncer, "patch", "deployments", metadata(`"annotations":{"status.tmc.kcp.io/c000":"{}"}`)) +
		entry(syncer, "patch", "leases", "") +
		entry(syncer, "watch", "deployments", "") +
		entry("kubectl/v1", "patch", "deployments", "") +
		`{"verb":"patch"` // more of it is to come
	requests, length, err := parseAudit(inKCP, strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(strings.LastIndex(log, "\n") + 1); length != want {
		t.Errorf("read %d bytes, want %d: what is incomplete is for later", length, want)
	}
	applied, _, err := parseAudit(inCluster, strings.NewReader(entry(syncer, "patch", "deployments", metadata(""))))
	if err != nil {
		t.Fatal(err)
	}
	trail := &trail{requests: append(requests, applied...)}
	got := trail.count(1)[1:]
	want := [][]string{
		{"tmc-controller", "patch deployments: placement labels", "kcp", "1", "1.00 a workload", "0", "0", "20 ms", "20 ms"},
		{"tmc-syncer", "patch deployments: finalizer", "kcp", "2", "2.00 a workload", "1", "0", "20 ms", "20 ms"},
		{"tmc-syncer", "patch deployments: report", "kcp", "1", "1.00 a workload", "0", "0", "20 ms", "20 ms"},
		{"tmc-syncer", "patch leases", "kcp", "1", "1.00 a workload", "0", "0", "20 ms", "20 ms"},
		{"tmc-syncer", "apply deployments", "cluster", "1", "0.33 a copy", "0", "0", "20 ms", "20 ms"},
		{"all", "without leases, lists and watches", "kcp", "4", "4.00 a workload", "", "", "", ""},
		{"all", "without leases, lists and watches", "cluster", "1", "0.33 a copy", "", "", "", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if heartbeats, others := trail.split(); heartbeats != 1 || len(others) != 5 {
		t.Errorf("got %d heartbeats and %d others, want 1 and 5", heartbeats, len(others))
	}
}

func TestAuditInvalidLog(t *testing.T) {
	if _, _, err := parseAudit(inKCP, strings.NewReader("panic\n")); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("got %v, want an error that shows the line", err)
	}
}

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

func TestUsageIsReadFromKernelFiles(t *testing.T) {
	status := []byte("Name:\tkcp\nVmHWM:\t  2048 kB\nVmRSS:\t    1024 kB\n")
	stat := []byte("42 (a b) c) S" + strings.Repeat(" 1", 10) + " 250 50 9 9\n")
	got, err := parseUsage(status, stat)
	want := usage{peak: 2 * mib, resident: mib, cpu: 3 * time.Second}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range [][2]string{{"", string(stat)}, {string(status), "42 (a) S 1"}, {"VmHWM: much kB\n", string(stat)}} {
		if _, err := parseUsage([]byte(bad[0]), []byte(bad[1])); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

func TestLedgerShowsSteps(t *testing.T) {
	l := ledger{
		names: []string{"kcp"}, steps: []string{"", "START", "", "IDLE"},
		notes: [][]usage{{{cpu: time.Second}}, {{cpu: 3 * time.Second}}, {{cpu: 9 * time.Second}}, {{peak: 5 * mib, resident: 4 * mib, cpu: 10 * time.Second}}},
	}
	want := [][]string{{"PROCESS", "PEAK MiB", "NOW MiB", "START", "IDLE"}, {"kcp", "5", "4", "2.0 s", "1.0 s"}}
	if diff := cmp.Diff(want, l.table()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// workload is what is looked at of a Deployment.
func workload(name string, generation, observed, available int64, synced string, clusters ...string) *unstructured.Unstructured {
	labels := map[string]any{"app": name}
	for _, cluster := range clusters {
		labels["cluster.tmc.kcp.io/"+cluster] = "sync"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": name, "namespace": "ns", "generation": generation, "labels": labels},
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
		"settled":          {workload("web", 1, 1, 3, "True", three...), true},
		"settled anew":     {workload("web", 2, 2, 3, "True", three...), true},
		"a copy to come":   {workload("web", 1, 1, 2, "True", three...), false},
		"not observed":     {workload("web", 2, 1, 3, "True", three...), false},
		"not synced":       {workload("web", 1, 1, 3, "False", three...), false},
		"on too many":      {workload("web", 1, 1, 3, "True", append(three, "c003")...), false},
		"nothing is known": {&unstructured.Unstructured{Object: map[string]any{}}, false},
	}
	for name, c := range cases {
		if got := isSettled(c.obj); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if isOff("c001")(workload("web", 1, 1, 3, "True", three...)) || !isOff("c004")(workload("web", 1, 1, 3, "True", three...)) {
		t.Error("placed on c001, and not on c004: got something else")
	}
}

func TestTallyCountsAndTimes(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	tally := newTally(isAvailable)
	tally.see(workload("a", 1, 1, 3, "True"), at(10))
	tally.see(workload("b", 1, 1, 1, "True"), at(11))
	tally.see(workload("a", 1, 1, 3, "True"), at(12)) // it was already
	tally.see(workload("c", 1, 1, 3, "True"), at(13))
	tally.forget("ns/c")
	last, err := tally.wait(t.Context(), &console{}, "are available", time.Minute, 1)
	if err != nil || !last.Equal(at(10)) {
		t.Errorf("got %v, %v, want %v", last, err, at(10))
	}
	took := tally.since(map[string]time.Time{"ns/a": at(4), "ns/b": at(5)})
	if diff := cmp.Diff([]time.Duration{6 * time.Second}, took); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = tally.wait(t.Context(), &console{}, "are available", time.Millisecond, 2)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "only 1 of 2 are available") {
		t.Errorf("got %v, want that only 1 of 2 are available", err)
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
