package install

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitHost(t *testing.T) {
	type parts struct{ Base, Workspace string }
	tests := map[string]struct {
		host string
		want parts
	}{
		"no workspace":             {"https://kcp:6443", parts{"https://kcp:6443", ""}},
		"no workspace, with slash": {"https://kcp:6443/", parts{"https://kcp:6443", ""}},
		"a workspace":              {"https://kcp:6443/clusters/root:team-a", parts{"https://kcp:6443", "root:team-a"}},
		"a workspace, with slash":  {"https://kcp:6443/clusters/root:team-a/", parts{"https://kcp:6443", "root:team-a"}},
		"a path before":            {"https://proxy/kcp/clusters/root", parts{"https://proxy/kcp", "root"}},
		"a path before only":       {"https://proxy/kcp/", parts{"https://proxy/kcp", ""}},
		"host and port alone":      {"127.0.0.1:6443", parts{"127.0.0.1:6443", ""}},
		"host, port and workspace": {"127.0.0.1:6443/clusters/root", parts{"127.0.0.1:6443", "root"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			base, workspace := splitHost(tc.host)
			if diff := cmp.Diff(tc.want, parts{base, workspace}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
