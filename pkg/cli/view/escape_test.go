package view

import (
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestWhatATerminalWouldObeyIsWrittenOut(t *testing.T) {
	cases := map[string]struct{ text, escaped, line string }{
		"plain":      {"3/3 … ä Ω €", "3/3 … ä Ω €", "3/3 … ä Ω €"},
		"colours":    {"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`, `\x1b[31mred\x1b[0m`},
		"title":      {"\x1b]0;owned\x07", `\x1b]0;owned\x07`, `\x1b]0;owned\x07`},
		"c1":         {"\u009b31m", `\x9b31m`, `\x9b31m`},
		"raw c1":     {"a\x9b31m", `a\x9b31m`, `a\x9b31m`},
		"rewriting":  {"bad\rgood", `bad\rgood`, `bad\rgood`},
		"backspaces": {"bad\b\b\bgood", `bad\x08\x08\x08good`, `bad\x08\x08\x08good`},
		"lines":      {"a\n\tb", "a\n\tb", `a\n\tb`},
		"directions": {"admin\u202etxt.exe\u2066", `admin\u202etxt.exe\u2066`, `admin\u202etxt.exe\u2066`},
		"invisible":  {"a\u200bb\ufeff\U000e0041", `a\u200bb\ufeff\U000e0041`, `a\u200bb\ufeff\U000e0041`},
		"separators": {"a\u2028b\u2029", `a\u2028b\u2029`, `a\u2028b\u2029`},
		"null":       {"a\x00b\x7f", `a\x00b\x7f`, `a\x00b\x7f`},
		"broken":     {"\xef\xbf a\xff\ufffd", `\xef\xbf a\xff` + "\ufffd", `\xef\xbf a\xff` + "\ufffd"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Escape(tc.text); got != tc.escaped {
				t.Errorf("got %q, want %q", got, tc.escaped)
			}
			if got := Line(tc.text); got != tc.line {
				t.Errorf("in its line: got %q, want %q", got, tc.line)
			}
		})
	}
}

// TestDescribeEscapesReports: whoever has a cluster's credential writes what is described.
func TestDescribeEscapesReports(t *testing.T) {
	const hostile = "fine\nWhat is wrong:   nothing\n\x1b[2J\u202e"
	obj := deployment(reported("east", 1, func(r *protocol.Report) {
		r.Problems = []protocol.Problem{{Reason: "Forbidden", Message: hostile}}
		r.Conditions = []protocol.ReportCondition{{Type: "Available", Status: "False", Reason: "No", Message: hostile}}
	}), isFalse("Synced", "Forbidden", hostile))
	text := Describe(Of(obj, kinds.Kinds{}, nil), []Event{{Type: "Warning", Reason: hostile, From: hostile, Message: hostile, Last: now, Count: 1}}, tenantType, now.Add(time.Minute))
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "What is wrong:   nothing") || line != Line(line) {
			t.Errorf("there is the line %q", line)
		}
	}
}

func TestClusterTableBoundsNumbers(t *testing.T) {
	huge := resource.MustParse("1e20000000")
	registration := &v1alpha1.ClusterRegistration{}
	registration.Status.Allocatable = corev1.ResourceList{"cpu": huge, "memory": huge, "pods": huge}
	registration.Status.Requested = registration.Status.Allocatable
	shortest := time.Hour
	for range 5 {
		start := time.Now()
		ClusterTable([]Cluster{ClusterOf(registration, Known{})}, now)
		shortest = min(shortest, time.Since(start))
	}
	if shortest > mostTime {
		t.Errorf("a table of clusters takes %s", shortest)
	}
	most := int64(math.MaxInt64)
	if got := sum(&most, &most); *got != most {
		t.Errorf("the sum of the largest is %d", *got)
	}
}

// mostTime is what a hostile value may take on a busy machine, with the race detector: what it is for takes seconds to
// hours. Alone, all of them are below 10 ms.
const mostTime = 250 * time.Millisecond
