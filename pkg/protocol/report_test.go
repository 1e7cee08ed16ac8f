package protocol

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// mostTime is what a hostile report may take on a busy machine, with the race detector.
const mostTime = 250 * time.Millisecond

// ordinary is what a cluster says of a Deployment on which all is well.
func ordinary() Report {
	return Report{
		Version: ReportVersion, Cluster: "europe-west4-production-a", Generation: 12, Inputs: "0123456789abcdef",
		LocalGeneration: 14, LocalObservedGeneration: 14, Written: "2026-01-01T00:00:00.000Z",
		Replicas: new(int64(20)),
		Counters: map[string]int64{"replicas": 20, "updatedReplicas": 20, "readyReplicas": 20, "availableReplicas": 20},
		Conditions: []ReportCondition{
			{Type: "Available", Status: "True", Reason: "MinimumReplicasAvailable", Message: "Deployment has minimum availability."},
			{Type: "Progressing", Status: "True", Reason: "NewReplicaSetAvailable", Message: `ReplicaSet "checkout-frontend-7f8fbb96d" has successfully progressed.`},
		},
	}
}

func TestReportEncode(t *testing.T) {
	report := ordinary()
	report.Problems = []Problem{{Reason: "Conflict", Message: `"default/nginx" is in the way`}}
	encoded, err := report.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseReport(report.Cluster, encoded)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report, got); diff != "" {
		t.Errorf("report (-before +after):\n%s", diff)
	}
}

func TestReportEncodeIsShort(t *testing.T) {
	encoded, err := ordinary().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(encoded) >= 700 {
		t.Errorf("an ordinary report has %d bytes, want less than 700:\n%s", len(encoded), encoded)
	}
}

func FuzzParseReport(f *testing.F) {
	encoded, err := ordinary().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	for _, seed := range []string{"", "{}", `{"v":1,"cluster":"east"}`, `{"v":1e0,"cluster":"east","lb":[{}],"s":{"a":"b"}}`, `[[[[`, `{"v":9223372036854775808}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		report, err := ParseReport("east", value)
		if err != nil {
			if diff := cmp.Diff(Report{}, report); diff != "" {
				t.Fatalf("something of an unreadable report was kept:\n%s", diff)
			}
			return
		}
		if report.Version != ReportVersion || report.Cluster != "east" {
			t.Fatalf("believed version %d of cluster %q", report.Version, report.Cluster)
		}
		again, err := report.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if len(again) > MaxReportSize {
			return // it was written with less escapes than we do
		}
		reread, err := ParseReport("east", again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if twice, _ := reread.Encode(); twice != again {
			t.Fatalf("it changes each time it is written: %s, then %s", again, twice)
		}
	})
}

func TestReportBounded(t *testing.T) {
	short := Report{Version: ReportVersion, Cluster: "east", Conditions: []ReportCondition{{Type: "Available", Status: "True", Message: strings.Repeat("m", 3000)}}}
	if diff := cmp.Diff(short, short.Bounded()); diff != "" {
		t.Errorf("a report that fits is shortened (-as it is +bounded)\n%s", diff)
	}
	tests := map[string]Report{
		"a long problem":     {Problems: []Problem{{Reason: "Invalid", Message: strings.Repeat("é<", 20000)}}},
		"long conditions":    {Conditions: slices.Repeat([]ReportCondition{{Type: "Available", Status: "True", Message: strings.Repeat("€", 2000)}}, 30)},
		"many conditions":    {Conditions: slices.Repeat([]ReportCondition{{Type: "Available", Status: "True", Reason: "MinimumReplicasUnavailable", Message: strings.Repeat("m", 200)}}, 120)},
		"hundreds of places": {Addresses: slices.Repeat([]any{map[string]any{"ip": "192.0.2.1"}}, 1000)},
	}
	for name, report := range tests {
		t.Run(name, func(t *testing.T) {
			before := cmp.Diff(report, Report{})
			bounded := report.Bounded()
			if cmp.Diff(report, Report{}) != before {
				t.Error("the report was changed in place")
			}
			if diff := cmp.Diff(bounded, bounded.Bounded()); diff != "" {
				t.Errorf("it is shortened again (-once +twice)\n%s", diff)
			}
			checkSize(t, bounded)
			for _, problem := range bounded.Problems {
				if !strings.HasSuffix(problem.Message, "…") || len(problem.Message) < 100 {
					t.Errorf("of the problem there is only %q left", problem.Message)
				}
			}
		})
	}
}

// checkSize fails the test when a report, with a time in it, is longer than it may be, or a
// character was cut in two.
func checkSize(t *testing.T, report Report) {
	t.Helper()
	report.Written = WrittenLayout
	encoded, err := report.Encode()
	if err != nil || len(encoded) > MaxReportSize || !utf8.ValidString(encoded) || strings.Contains(encoded, "\ufffd") {
		t.Errorf("it takes %d bytes (error: %v): %.80s", len(encoded), err, encoded)
	}
}

func TestParseReport(t *testing.T) {
	for name, value := range map[string]string{
		"nothing":                "",
		"garbage":                "}{",
		"another type":           `"v1"`,
		"no version":             `{"cluster":"east"}`,
		"a newer version":        `{"v":2,"cluster":"east"}`,
		"another cluster":        `{"v":1,"cluster":"west"}`,
		"no cluster":             `{"v":1}`,
		"a counter that is none": `{"v":1,"cluster":"east","n":{"replicas":"many"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			report, err := ParseReport("east", value)
			if err == nil {
				t.Fatalf("believed %q", value)
			}
			if !strings.Contains(err.Error(), "east") {
				t.Errorf("%q does not name the cluster", err)
			}
			if diff := cmp.Diff(Report{}, report); diff != "" {
				t.Errorf("something of it was kept:\n%s", diff)
			}
			if errors.Is(err, ErrReportVersion) != strings.Contains(name, "version") {
				t.Errorf("%q: is about the version: %t", err, errors.Is(err, ErrReportVersion))
			}
		})
	}
}
