package kcp

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"

	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
)

// mended is the first kcp that copies what it has cached of a user before it writes into
// it (https://github.com/kcp-dev/kcp/pull/3856).
var mended = utilversion.MajorMinor(0, 31)

// oneAtATime returns a copy of config whose requests wait for each other until the server
// has begun to answer, where the server needs that. For each request to an object through
// a virtual workspace, kcp up to v0.30 writes into what it has cached of the user; two at
// a time, of one ServiceAccount, may end the server ("concurrent map writes",
// https://github.com/kcp-dev/kcp/issues/3855).
func oneAtATime(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	g := &gate{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &gated{next, g} })
	return config
}

// gate lets one request in at a time.
type gate struct {
	mu sync.Mutex
	// open is set when they need not wait, asked when the server has said what it is.
	open, asked bool
}

// gated makes requests through a gate.
type gated struct {
	http.RoundTripper

	gate *gate
}

// RoundTrip implements http.RoundTripper.
func (t *gated) RoundTrip(request *http.Request) (*http.Response, error) {
	t.gate.mu.Lock()
	if !t.gate.asked {
		t.gate.open, t.gate.asked = t.ask(request)
	}
	if t.gate.open {
		t.gate.mu.Unlock()
		return t.RoundTripper.RoundTrip(request)
	}
	defer t.gate.mu.Unlock()
	return t.RoundTripper.RoundTrip(request)
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (t *gated) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// ask asks the server of a request whether it is mended. One that is there and does not
// say is not known to be; one that does not answer is asked again with the next request.
func (t *gated) ask(request *http.Request) (isMended, answered bool) {
	about := request.Clone(request.Context())
	about.Method, about.Body, about.GetBody, about.ContentLength = http.MethodGet, nil, nil, 0
	about.URL = &url.URL{Scheme: request.URL.Scheme, Host: request.URL.Host, Path: "/version"}
	response, err := t.RoundTripper.RoundTrip(about)
	if err != nil {
		return false, false
	}
	defer response.Body.Close()
	var info version.Info
	if err := json.NewDecoder(response.Body).Decode(&info); err != nil {
		return false, true
	}
	_, own, _ := strings.Cut(info.GitVersion, "+kcp-")
	is, err := utilversion.ParseGeneric(own)
	return err == nil && is.AtLeast(mended), true
}
