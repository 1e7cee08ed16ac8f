package install

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

func TestForeignServer(t *testing.T) {
	resource := schema.GroupResource{Group: "apis.kcp.io", Resource: "apiexports"}
	tests := map[string]struct {
		reason string
		err    error
		want   bool
	}{
		"an object is missing":             {"kcp names it", apierrors.NewNotFound(resource, "x"), false},
		"a resource is forbidden":          {"kcp names it", apierrors.NewForbidden(resource, "x", errors.New("access denied")), false},
		"a path is missing":                {"a kube-apiserver has nothing at /clusters", apierrors.NewGenericServerResponse(404, "get", resource, "x", "404 page not found", 0, true), true},
		"a path is forbidden":              {"to a kube-apiserver /clusters is no resource", apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("cannot get path")), true},
		"it is no answer of an API server": {"the server cannot be reached", errors.New("connection refused"), false},
		"there is no error":                {"", nil, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := isForeign(tc.err); got != tc.want {
				t.Errorf("got %t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}
