package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFlagsThatCannotBeAreRefused(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown flag":       {[]string{"up", "--colour"}, "--colour"},
		"unknown command":    {[]string{"upp"}, "upp"},
		"an argument":        {[]string{"down", "now"}, "now"},
		"bad cluster name":   {[]string{"up", "--clusters", "east,West"}, "West"},
		"cluster name twice": {[]string{"up", "--clusters", "east,east"}, "twice"},
		"no nodes":           {[]string{"up", "--nodes", "0"}, "--nodes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := newCommand()
			cmd.SetArgs(append(test.args, "--dir", t.TempDir()))
			cmd.SetOut(io.Discard)
			err := cmd.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestAReportIsCopiedUpToItsMark(t *testing.T) {
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

func TestTheErrorOfADetachedStackIsTheLastOfItsLog(t *testing.T) {
	tests := map[string]struct{ log, want string }{
		"after progress":  {"kcp: starting\nerror: no\nend of log:\nx\n", "no\nend of log:\nx"},
		"of the last run": {"error: old\nkcp: starting\nerror: new\n", "new"},
		"killed":          {"kcp: starting\n", "kcp: starting"},
	}
	for name, test := range tests {
		if got := lastError(test.log); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
