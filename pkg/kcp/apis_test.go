package kcp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
)

func TestSaidPath(t *testing.T) {
	cases := map[string]struct{ said, want string }{
		"a path":                         {"root:team-a", "root:team-a"},
		"a name of a logical cluster":    {"2k3x8w7q1z", "2k3x8w7q1z"},
		"nothing":                        {"", ""},
		"all workspaces":                 {"*", ""},
		"longer than people's paths":     {"root:" + strings.Repeat("a", 300), ""},
		"escape sequences for terminals": {"root:\x1b[31m", ""},
		"a blank":                        {"root:a b", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := SaidPath(&metav1.ObjectMeta{Annotations: map[string]string{"kcp.io/path": tc.said}}); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestVirtualWorkspaceURLs(t *testing.T) {
	entry := func(url, kind string) any { return map[string]any{"url": url, "type": kind} }
	endpointSlice := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{
		"endpoints": []any{entry("https://b", ""), entry("https://a", ""), entry("https://b", ""), entry("", ""), "odd"},
	}}}
	if diff := cmp.Diff([]string{"https://a", "https://b"}, VirtualWorkspaceURLs(endpointSlice)); diff != "" {
		t.Errorf("endpoint slice (-want +got):\n%s", diff)
	}
	workspaceType := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{
		"virtualWorkspaces": []any{entry("https://b/terminating", "terminating"), entry("https://b", "initializing"), entry("https://a", "initializing")},
	}}}
	if diff := cmp.Diff([]string{"https://a", "https://b"}, InitializingURLs(workspaceType)); diff != "" {
		t.Errorf("WorkspaceType (-want +got):\n%s", diff)
	}
	if got := append(VirtualWorkspaceURLs(workspaceType), InitializingURLs(endpointSlice)...); len(got) > 0 {
		t.Errorf("URLs out of nothing: %v", got)
	}
}

func TestIsClaimed(t *testing.T) {
	configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	claim := func(resource string, matchAll bool, verbs ...string) apisv1alpha2.ScopedPermissionClaim {
		return apisv1alpha2.ScopedPermissionClaim{
			PermissionClaim: apisv1alpha2.PermissionClaim{GroupResource: apisv1alpha2.GroupResource{Resource: resource}, Verbs: verbs},
			Selector:        apisv1alpha2.PermissionClaimSelector{MatchAll: matchAll},
		}
	}
	cases := map[string]struct {
		claims []apisv1alpha2.ScopedPermissionClaim
		want   bool
	}{
		"no claim":                       {nil, false},
		"the verbs":                      {[]apisv1alpha2.ScopedPermissionClaim{claim("configmaps", true, "get", "update", "create")}, true},
		"all verbs":                      {[]apisv1alpha2.ScopedPermissionClaim{claim("configmaps", true, "*")}, true},
		"one of the verbs":               {[]apisv1alpha2.ScopedPermissionClaim{claim("configmaps", true, "create")}, false},
		"the verbs, in two claims":       {[]apisv1alpha2.ScopedPermissionClaim{claim("configmaps", true, "create"), claim("configmaps", true, "update")}, false},
		"the verbs, on some objects":     {[]apisv1alpha2.ScopedPermissionClaim{claim("configmaps", false, "*")}, false},
		"the verbs, on another resource": {[]apisv1alpha2.ScopedPermissionClaim{claim("secrets", true, "*")}, false},
		"the second claim is the one":    {[]apisv1alpha2.ScopedPermissionClaim{claim("secrets", true, "*"), claim("configmaps", true, "*")}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := IsClaimed(tc.claims, configMaps, "create", "update"); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}
