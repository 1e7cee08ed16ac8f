package protocol

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBoundedCauses(t *testing.T) {
	short := []Cause{{Reason: "ImagePullBackOff", Count: 2, Message: "not found"}, {Reason: "FailedCreate", Message: "exceeded quota"}}
	if diff := cmp.Diff(short, BoundedCauses(short)); diff != "" {
		t.Errorf("what fits is changed (-as it is +bounded):\n%s", diff)
	}
	long := []Cause{{Reason: "CrashLoopBackOff", Count: 1, Message: strings.Repeat("é<", 300)}, {Reason: "Unschedulable", Count: 1, Message: "0 nodes"}}
	bounded := BoundedCauses(long)
	if size := causesSize(bounded); size > MaxReportCauseSize || size < MaxReportCauseSize-40 {
		t.Errorf("they take %d bytes, expected nearly all of %d", size, MaxReportCauseSize)
	}
	if !strings.HasSuffix(bounded[0].Message, "…") || bounded[1] != long[1] {
		t.Errorf("not the longest message was shortened: %+v", bounded)
	}
	if diff := cmp.Diff(bounded, BoundedCauses(bounded)); diff != "" {
		t.Errorf("they are shortened again (-once +twice):\n%s", diff)
	}
	reason := "R" + strings.Repeat("r", 127)
	if left := BoundedCauses([]Cause{{Reason: reason}, {Reason: reason}, {Reason: reason}, {Reason: reason}}); len(left) != 3 {
		t.Errorf("%d causes are left whose reasons alone are too long for four, expected 3", len(left))
	}
}

func TestCauseOf(t *testing.T) {
	cases := map[string]struct {
		cause Cause
		pods  int64
		want  string
	}{
		"some pods":             {Cause{Reason: "OOMKilled", Count: 2, Message: "container app"}, 3, "2 of 3 pods: OOMKilled: container app"},
		"all pods":              {Cause{Reason: "OOMKilled", Count: 3}, 3, "3 of 3 pods: OOMKilled"},
		"the only one":          {Cause{Reason: "Evicted", Count: 1}, 1, "1 of 1 pod: Evicted"},
		"a surplus of pods":     {Cause{Reason: "Evicted", Count: 4}, 3, "4 pods: Evicted"},
		"one of unknown number": {Cause{Reason: "Evicted", Count: 1}, 0, "1 pod: Evicted"},
		"not about pods":        {Cause{Reason: "FailedCreate", Message: "exceeded quota"}, 3, "FailedCreate: exceeded quota"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.cause.Of(tc.pods); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
