package kcp

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"
)

func TestAServerURLTellsKcpAndWorkspaceApart(t *testing.T) {
	cases := map[string]struct {
		host      string
		base      string
		workspace string
		fails     bool
	}{
		"AWorkspace":        {host: "https://kcp:6443/clusters/root:team-a", base: "https://kcp:6443", workspace: "root:team-a"},
		"ALogicalCluster":   {host: "https://kcp:6443/clusters/1j88s7y0wm1zsd3v", base: "https://kcp:6443", workspace: "1j88s7y0wm1zsd3v"},
		"NoWorkspace":       {host: "https://kcp:6443", base: "https://kcp:6443"},
		"ATrailingSlash":    {host: "https://kcp:6443/", base: "https://kcp:6443"},
		"APathBefore":       {host: "https://front/proxy/clusters/root", base: "https://front/proxy", workspace: "root"},
		"APathBehind":       {host: "https://kcp/clusters/root:a/", base: "https://kcp", workspace: "root:a"},
		"NotAWorkspacePath": {host: "https://kcp/clusters/Root:A", fails: true},
		"NotAURL":           {host: "https://kcp:port:/", fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			base, workspace, err := SplitHost(tc.host)
			if (err != nil) != tc.fails {
				t.Fatalf("error is %v, want one: %t", err, tc.fails)
			}
			if base != tc.base || workspace.String() != tc.workspace {
				t.Errorf("got %q and %q, want %q and %q", base, workspace, tc.base, tc.workspace)
			}
		})
	}
}

func TestAConfigIsPointedAtAnotherWorkspace(t *testing.T) {
	original := &rest.Config{Host: "https://kcp:6443/clusters/root:team-a"}
	got, err := ForWorkspace(original, logicalcluster.NewPath("root:tmc"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Host != "https://kcp:6443/clusters/root:tmc" {
		t.Errorf("host is %s", got.Host)
	}
	if original.Host != "https://kcp:6443/clusters/root:team-a" {
		t.Errorf("the argument was changed to %s", original.Host)
	}
}

func TestAClientIsForItsWorkspace(t *testing.T) {
	original := &rest.Config{Host: "https://kcp:6443/clusters/root:team-a"}
	host, err := NewClient(original, logicalcluster.NewPath("root:tmc"), func(config *rest.Config) (string, error) { return config.Host, nil })
	if err != nil || host != "https://kcp:6443/clusters/root:tmc" {
		t.Errorf("got a client for %s, and %v", host, err)
	}
	cause := errors.New("no such authority")
	_, err = NewClient(original, logicalcluster.NewPath("root:tmc"), func(*rest.Config) (string, error) { return "", cause })
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "root:tmc") {
		t.Errorf("got %v, want the cause and the workspace", err)
	}
}

func TestTLSIsAlwaysVerified(t *testing.T) {
	cases := map[string]struct {
		reason  string
		cluster string
		want    error
	}{
		"NotVerified":   {"whoever answers would get the credentials", "{server: https://kcp:6443, insecure-skip-tls-verify: true}", ErrInsecure},
		"SaidToBe":      {"that is what it is anyway", "{server: https://kcp:6443, insecure-skip-tls-verify: false}", nil},
		"NothingSaid":   {"the system's authorities count", "{server: https://kcp:6443}", nil},
		"AnotherOfThem": {"only the current context's cluster is used", "{server: https://kcp:6443}}\n- {name: test, cluster: {server: https://test, insecure-skip-tls-verify: true}", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "kubeconfig")
			content := "clusters:\n- {name: kcp, cluster: " + tc.cluster + "}\n" +
				"contexts:\n- {name: kcp, context: {cluster: kcp}}\ncurrent-context: kcp\n"
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			config, err := LoadConfig(file, "test")
			if !errors.Is(err, tc.want) || (config != nil) != (tc.want == nil) {
				t.Fatalf("%s: got %v and %v, want %v", tc.reason, config, err, tc.want)
			}
			if err != nil && !strings.Contains(err.Error(), file) {
				t.Errorf("%q does not name the file", err)
			}
		})
	}
}
