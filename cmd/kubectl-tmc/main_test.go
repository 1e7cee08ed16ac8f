package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// execute runs the plugin and returns what it printed on stdout, and its error.
func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, progress bytes.Buffer
	command := newCommand()
	command.SetArgs(args)
	command.SetOut(&out)
	command.SetErr(&progress)
	err := command.ExecuteContext(context.Background())
	return out.String(), err
}

func TestVersion(t *testing.T) {
	out, err := execute(t, "--version")
	if err != nil || !strings.HasPrefix(out, "kubectl tmc version v") {
		t.Errorf("got %q and %v", out, err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"init", "--help"}, {"bind", "--help"}, {"join", "--help"}, {"unjoin", "--help"}, {"render", "--help"},
		{"get"}, {"get", "clusters", "--help"}, {"get", "workloads", "--help"}, {"describe", "--help"},
		{"cordon", "--help"}, {"uncordon", "--help"}, {"drain", "--help"}, {"remove", "--help"}} {
		out, err := execute(t, args...)
		if err != nil || !strings.Contains(out, "kubectl tmc") || strings.Contains(out, "kubectl-tmc") {
			t.Errorf("%v: got %q and %v, want help for `kubectl tmc`", args, out, err)
		}
	}
}

func TestCommandErrors(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	noWorkspace := filepath.Join(t.TempDir(), "kubeconfig")
	kubeconfig := `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}],
		clusters: [{name: c, cluster: {server: "https://kcp.example.com"}}]}`
	if err := os.WriteFile(noWorkspace, []byte(strings.ReplaceAll(kubeconfig, "\t", " ")), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		want string
	}{
		"an unknown command":           {[]string{"frobnicate"}, `unknown command "frobnicate" for "kubectl tmc"`},
		"an unknown flag":              {[]string{"init", "--frob"}, "See 'kubectl tmc init --help'"},
		"an argument too many":         {[]string{"bind", "root:team-a"}, "root:team-a"},
		"a timeout of nothing":         {[]string{"bind", "--timeout", "0s"}, "--timeout"},
		"a URL that is not safe":       {[]string{"init", "--repair-url", "http://x"}, "--repair-url"},
		"no kubeconfig":                {[]string{"init"}, "there is no kubeconfig"},
		"a kubeconfig that is missing": {[]string{"init", "--kubeconfig", "/does/not/exist"}, "/does/not/exist"},
		"a context that is missing":    {[]string{"init", "--kubeconfig", noWorkspace, "--context", "other"}, "other"},
		"no workspace to bind":         {[]string{"bind", "--kubeconfig", noWorkspace}, "points to no workspace"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := execute(t, tc.args...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error that says %q", err, tc.want)
			}
		})
	}
}
