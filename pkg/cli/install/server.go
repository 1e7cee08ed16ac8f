package install

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// clustersPath precedes the workspace in the path of a kcp URL.
const clustersPath = "/clusters/"

// fieldManager is the field manager of everything that is written here.
const fieldManager = "kubectl-tmc"

// server reaches the workspaces of one kcp server.
type server struct {
	options Options
	config  *rest.Config
	http    *http.Client
	// base is the server's URL without a workspace.
	base string
	// workspace is the one that the configuration points at; empty if none.
	workspace string
	// dryRun has nothing written.
	dryRun bool
	// telling is held while the caller is told something: several requests may be under way.
	telling sync.Mutex
}

// newServer prepares the access to the server that the options point at. It fails when
// the configuration cannot make a client.
func newServer(options Options) (*server, error) {
	if options.Config == nil {
		return nil, errors.New("no client configuration is given")
	}
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	base, workspace := splitHost(options.Config.Host)
	config := rest.CopyConfig(options.Config)
	// The server limits its clients itself, by API priority and fairness.
	config.QPS = -1
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &server{options: options, config: config, http: httpClient, base: base, workspace: workspace}, nil
}

// splitHost separates a server URL into the URL of the kcp server and the workspace
// that it points at, which is empty when it points at none.
func splitHost(host string) (base, workspace string) {
	base, path, _ := strings.Cut(host, clustersPath)
	workspace, _, _ = strings.Cut(path, "/")
	return strings.TrimSuffix(base, "/"), workspace
}

// in returns the configuration for one workspace.
func (s *server) in(workspace string) *rest.Config {
	config := rest.CopyConfig(s.config)
	config.Host = s.base + clustersPath + workspace
	return config
}

// objects returns a client for the objects of one workspace.
func (s *server) objects(workspace string) (dynamic.Interface, error) {
	return dynamic.NewForConfigAndClient(s.in(workspace), s.http)
}

// checkVersion fails when tmc does not work with this version of kcp. It asks by way of the
// first of the workspaces that the caller may use.
func (s *server) checkVersion(workspaces ...string) error {
	var refused error
	for _, workspace := range workspaces {
		client, err := s.discovery(workspace)
		if err != nil {
			return err
		}
		info, err := client.ServerVersion()
		if err == nil {
			return kcp.CheckVersion(info.GitVersion)
		}
		refused = s.explain(workspace, fmt.Errorf("asking for the version of kcp: %w", err))
	}
	return refused
}

// discovery returns a client that knows which resources a workspace has.
func (s *server) discovery(workspace string) (*discovery.DiscoveryClient, error) {
	return discovery.NewDiscoveryClientForConfigAndClient(s.in(workspace), s.http)
}
