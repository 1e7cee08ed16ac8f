package kcp

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"
)

func TestSplitHost(t *testing.T) {
	cases := map[string]struct {
		host      string
		base      string
		workspace string
		fails     bool
	}{
		"a workspace":       {host: "https://kcp:6443/clusters/root:team-a", base: "https://kcp:6443", workspace: "root:team-a"},
		"a logical cluster": {host: "https://kcp:6443/clusters/1j88s7y0wm1zsd3v", base: "https://kcp:6443", workspace: "1j88s7y0wm1zsd3v"},
		"no workspace":      {host: "https://kcp:6443", base: "https://kcp:6443"},
		"a trailing slash":  {host: "https://kcp:6443/", base: "https://kcp:6443"},
		"a path before":     {host: "https://front/proxy/clusters/root", base: "https://front/proxy", workspace: "root"},
		"a path behind":     {host: "https://kcp/clusters/root:a/", base: "https://kcp", workspace: "root:a"},
		"no workspace path": {host: "https://kcp/clusters/Root:A", fails: true},
		"no URL":            {host: "https://kcp:port:/", fails: true},
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

func TestForWorkspace(t *testing.T) {
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
	if _, err := ForWorkspace(&rest.Config{Host: "https://kcp:port:/"}, logicalcluster.NewPath("root:tmc")); err == nil {
		t.Error("a server that is no URL has a workspace")
	}
	if got := ForAllWorkspaces(original, "https://kcp:6443/services/apiexport/x/tmc").Host; got != "https://kcp:6443/services/apiexport/x/tmc/clusters/*" {
		t.Errorf("all workspaces are at %s", got)
	}
}

func TestNewClient(t *testing.T) {
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
	_, err = NewClient(&rest.Config{Host: "https://kcp:port:/"}, logicalcluster.NewPath("root:tmc"), func(*rest.Config) (string, error) { return "", nil })
	if err == nil {
		t.Error("there is a client for a server that is no URL")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// TestUnlimited has the transport of a configuration fail: reflectors must not recognise refused connections.
func TestUnlimited(t *testing.T) {
	config := &rest.Config{Host: "https://kcp:6443", QPS: 5}
	got := Unlimited(config, "agent/1")
	if got.UserAgent != "agent/1" || got.QPS != -1 || config.UserAgent != "" {
		t.Errorf("got %+v", got)
	}
	for _, cause := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, nil} {
		refusing := roundTripper(func(*http.Request) (*http.Response, error) { return nil, cause })
		wrapped := got.WrapTransport(refusing)
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://kcp:6443", nil)
		response, err := wrapped.RoundTrip(request)
		if response != nil {
			response.Body.Close()
		}
		if utilnet.IsConnectionRefused(err) || (err != nil) != (cause != nil) || err != nil && err.Error() != cause.Error() {
			t.Errorf("%v becomes %v", cause, err)
		}
		if _, isRefusing := wrapped.(utilnet.RoundTripperWrapper).WrappedRoundTripper().(roundTripper); !isRefusing {
			t.Error("the transport within is hidden")
		}
	}
}

func TestLoadConfigVerifiesTLS(t *testing.T) {
	cases := map[string]struct {
		cluster string
		want    error
	}{
		"whoever answers would get the credentials":  {"{server: https://kcp:6443, insecure-skip-tls-verify: true}", ErrInsecure},
		"it is said to be verified":                  {"{server: https://kcp:6443, insecure-skip-tls-verify: false}", nil},
		"the system's authorities count":             {"{server: https://kcp:6443}", nil},
		"only the current context's cluster is used": {"{server: https://kcp:6443}}\n- {name: test, cluster: {server: https://test, insecure-skip-tls-verify: true}", nil},
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
				t.Fatalf("got %v and %v, want %v", config, err, tc.want)
			}
			if err != nil && !strings.Contains(err.Error(), file) {
				t.Errorf("%q does not name the file", err)
			}
		})
	}
	if _, err := LoadConfig("no/such/file", "test"); err == nil || !strings.Contains(err.Error(), "no/such/file") {
		t.Errorf("got %v for a file that is not there", err)
	}
}
