package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		if got := Percentile(c.durations, c.percent); got != c.want {
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
	requests, length, err := parseAudit(InKCP, strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(strings.LastIndex(log, "\n") + 1); length != want {
		t.Errorf("read %d bytes, want %d: what is incomplete is for later", length, want)
	}
	applied, _, err := parseAudit(InCluster, strings.NewReader(entry(syncer, "patch", "deployments", metadata(""))))
	if err != nil {
		t.Fatal(err)
	}
	trail := &Trail{Requests: append(requests, applied...)}
	got := trail.Count(1, 3)[1:]
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
	if heartbeats, others := trail.Split(); heartbeats != 1 || len(others) != 5 {
		t.Errorf("got %d heartbeats and %d others, want 1 and 5", heartbeats, len(others))
	}
}

func TestAuditInvalidLog(t *testing.T) {
	if _, _, err := parseAudit(InKCP, strings.NewReader("panic\n")); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("got %v, want an error that shows the line", err)
	}
}

func TestUsageIsReadFromKernelFiles(t *testing.T) {
	status := []byte("Name:\tkcp\nVmHWM:\t  2048 kB\nVmRSS:\t    1024 kB\n")
	stat := []byte("42 (a b) c) S" + strings.Repeat(" 1", 10) + " 250 50 9 9\n")
	got, err := parseUsage(status, stat)
	want := Usage{Peak: 2 * MiB, Resident: MiB, CPU: 3 * time.Second}
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
	l := Ledger{
		names: []string{"kcp"}, steps: []string{"", "START", "", "IDLE"},
		notes: [][]Usage{{{CPU: time.Second}}, {{CPU: 3 * time.Second}}, {{CPU: 9 * time.Second}}, {{Peak: 5 * MiB, Resident: 4 * MiB, CPU: 10 * time.Second}}},
	}
	want := [][]string{{"PROCESS", "PEAK MiB", "NOW MiB", "START", "IDLE"}, {"kcp", "5", "4", "2.0 s", "1.0 s"}}
	if diff := cmp.Diff(want, l.Table()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTallyCountsAndTimes(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	tally := NewTally(isAvailable)
	tally.See(workload("a", 3), at(10))
	tally.See(workload("b", 1), at(11))
	tally.See(workload("a", 3), at(12)) // it was already
	tally.See(workload("c", 3), at(13))
	tally.Forget("ns/c")
	last, err := tally.Wait(t.Context(), &Console{}, "are available", time.Minute, 1)
	if err != nil || !last.Equal(at(10)) {
		t.Errorf("got %v, %v, want %v", last, err, at(10))
	}
	took := tally.Since(map[string]time.Time{"ns/a": at(4), "ns/b": at(5)})
	if diff := cmp.Diff([]time.Duration{6 * time.Second}, took); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = tally.Wait(t.Context(), &Console{}, "are available", time.Millisecond, 2)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "only 1 of 2 are available") {
		t.Errorf("got %v, want that only 1 of 2 are available", err)
	}
}

// workload is what is looked at of a Deployment.
func workload(name string, available int64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": name, "namespace": "ns"}, "status": map[string]any{"availableReplicas": available},
	}}
}

func isAvailable(obj *unstructured.Unstructured) bool {
	available, _, _ := unstructured.NestedInt64(obj.Object, "status", "availableReplicas")
	return available == 3
}

func TestMeaningOfPatches(t *testing.T) {
	for body, want := range map[string]string{
		`{"status":{"replicas":1}}`:                                     "status",
		`{"metadata":{"annotations":{"deletion.tmc.kcp.io/c000":"x"}}}`: "deletion annotation",
		`{"metadata":{"annotations":{"a":"b"}}}`:                        "other metadata",
		`{`:                                                             "unknown",
		`[{"op":"test","path":"/metadata/labels"},{"op":"add","path":"/status"}]`: "status",
		`[{"op":"add","path":"/metadata/finalizers/-"}]`:                          "finalizer",
		`[{"op":"add","path":"/metadata/labels/cluster.tmc.kcp.io~1east"}]`:       "placement labels",
		`[{"op":"add","path":"/metadata/annotations/status.tmc.kcp.io~1east"}]`:   "report",
		`[{"op":"add","path":"/spec"}]`:                                           "other metadata",
		`[1]`:                                                                     "unknown",
	} {
		if got := meaning([]byte(body)); got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

func TestStepSaysWhatFailed(t *testing.T) {
	var out strings.Builder
	console := &Console{W: &out}
	failure := errors.New("no luck")
	if err := console.Step("Wait", func() error { return failure }); !errors.Is(err, failure) || err.Error() != "Wait: no luck" {
		t.Errorf("got %v", err)
	}
	if err := console.Step("Try", func() error { return nil }); err != nil || out.String() != "== Wait\n== Try\n   done after 0.0 s\n" {
		t.Errorf("got %v and %q", err, out.String())
	}
}

func TestAuditPolicyIsInADirectoryOfItsOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep")
	file, err := WriteAuditPolicy(dir)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); err != nil || filepath.Dir(file) != dir || string(content) != auditPolicy {
		t.Errorf("%s has %q, %v", file, content, err)
	}
	if _, err := WriteAuditPolicy(file); err == nil {
		t.Error("got no error for a directory that is a file")
	}
}
