package main

import (
	"io"
	"strings"
	"testing"
)

func TestFlagsInvalid(t *testing.T) {
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
