package kcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kcp-dev/logicalcluster/v3"
)

// ErrInsecure is returned for a kubeconfig that does not check the server's certificate:
// whoever answers could take the credentials.
var ErrInsecure = errors.New("insecure-skip-tls-verify is true, expected false, with certificate-authority-data where the system does not know the authority: TLS is always verified")

// LoadConfig reads a kubeconfig file and returns the configuration of its current
// context, without a client-side rate limit. Errors name the file; one that would not
// verify TLS fails with ErrInsecure.
func LoadConfig(file, userAgent string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %q: %w", file, err)
	}
	if config.Insecure {
		return nil, fmt.Errorf("kubeconfig %q: %w", file, ErrInsecure)
	}
	return Unlimited(config, userAgent), nil
}

// Unlimited returns a copy of config that names the client and has no client-side
// rate limit: the servers' own priority and fairness does that better, and a
// limit would let one busy object delay another.
func Unlimited(config *rest.Config, userAgent string) *rest.Config {
	config = rest.CopyConfig(config)
	config.UserAgent = userAgent
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &plainRefusals{next} })
	return config
}

// plainRefusals turns a refused connection into an error like any other. A reflector that
// recognises one tries again by itself: it does not tell its error handler, so that nobody
// reads what is wrong, and in watch-list mode it goes on for half a minute after its context
// has ended (isWatchErrorRetriable in k8s.io/client-go/tools/cache/reflector.go).
type plainRefusals struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t *plainRefusals) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.RoundTripper.RoundTrip(request)
	if utilnet.IsConnectionRefused(err) {
		return response, errors.New(err.Error())
	}
	return response, err
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (t *plainRefusals) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// SplitHost takes the server URL of a kubeconfig apart into kcp's base URL and
// the workspace that it points at, empty when it points at none.
func SplitHost(host string) (base string, workspace logicalcluster.Path, err error) {
	parsed, err := url.Parse(host)
	if err != nil {
		return "", logicalcluster.None, fmt.Errorf("server %q is not a URL: %w", host, err)
	}
	prefix, path, found := strings.Cut(parsed.Path, "/clusters/")
	if !found {
		return strings.TrimSuffix(host, "/"), logicalcluster.None, nil
	}
	name, _, _ := strings.Cut(path, "/")
	workspace = logicalcluster.NewPath(name)
	if !workspace.IsValid() {
		return "", logicalcluster.None, fmt.Errorf("server %q: %q is not a workspace path", host, name)
	}
	parsed.Path = prefix
	return parsed.String(), workspace, nil
}

// ForWorkspace returns a copy of config that addresses the workspace on the same
// kcp, wherever config points at.
func ForWorkspace(config *rest.Config, workspace logicalcluster.Path) (*rest.Config, error) {
	base, _, err := SplitHost(config.Host)
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.Host = base + workspace.RequestPath()
	return config, nil
}

// ForAllWorkspaces returns a copy of config that addresses, all at once, the workspaces that
// the virtual workspace at url shows.
func ForAllWorkspaces(config *rest.Config, url string) *rest.Config {
	config = rest.CopyConfig(config)
	config.Host = url + logicalcluster.Wildcard.RequestPath()
	return config
}

// NewClient returns a client for what is in a workspace of the kcp of config, as newClient,
// such as kubernetes.NewForConfig, makes it. It sends nothing. It fails when config leads to
// no kcp, or cannot make a client.
func NewClient[Client any](config *rest.Config, workspace logicalcluster.Path, newClient func(*rest.Config) (Client, error)) (Client, error) {
	var none Client
	config, err := ForWorkspace(config, workspace)
	if err != nil {
		return none, err
	}
	client, err := newClient(config)
	if err != nil {
		return none, fmt.Errorf("client for workspace %s: %w", workspace, err)
	}
	return client, nil
}

// EndingWith returns a copy of config whose requests end when ctx does: for discovery
// clients, whose methods take no context.
func EndingWith(ctx context.Context, config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &endingWith{next, ctx} })
	return config
}

type endingWith struct {
	http.RoundTripper

	ctx context.Context //nolint:containedctx // see EndingWith
}

// RoundTrip implements http.RoundTripper.
func (t *endingWith) RoundTrip(request *http.Request) (*http.Response, error) {
	return t.RoundTripper.RoundTrip(request.WithContext(t.ctx))
}
