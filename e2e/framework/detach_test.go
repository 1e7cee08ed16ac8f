package framework

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestDetachCopiesReportUpToMark(t *testing.T) {
	tests := map[string]struct {
		report io.Reader
		want   string
		ready  bool
	}{
		"ready":     {strings.NewReader("a\nb\n" + readyMark), "a\nb\n", true},
		"in pieces": {iotest.OneByteReader(strings.NewReader("a\nb\n" + readyMark)), "a\nb\n", true},
		"failed":    {strings.NewReader("a\n"), "a\n", false},
		"empty":     {strings.NewReader(""), "", false},
	}
	for name, test := range tests {
		var out strings.Builder
		ready, err := copyReport(&out, test.report)
		if err != nil || ready != test.ready || out.String() != test.want {
			t.Errorf("%s: got %q, %v, %v, want %q, %v", name, out.String(), ready, err, test.want, test.ready)
		}
	}
	broken := errors.New("broken")
	if _, err := copyReport(io.Discard, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got error %v, want %v", err, broken)
	}
}

func TestDetachErrorIsEndOfLog(t *testing.T) {
	tests := map[string]struct{ log, want string }{
		"after progress": {"kcp: starting\nerror: no\nend of log:\nx\n", "no\nend of log:\nx"},
		"at once":        {"error: no\n", "no"},
		"with a log":     {"error: no\nend of log:\nerror: x\n", "no\nend of log:\nerror: x"},
		"killed":         {"kcp: starting\n", "kcp: starting"},
	}
	for name, test := range tests {
		if got := lastError(test.log); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
