package main

import (
	"net/http"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// narrow shows the user of config only the copies that are its own, and one node of the cluster with its pods.
func narrow(config *rest.Config, cluster, node string) {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return &narrowed{RoundTripper: next, cluster: cluster, node: node}
	})
}

type narrowed struct {
	http.RoundTripper

	cluster, node string
}

// RoundTrip implements http.RoundTripper.
func (n *narrowed) RoundTrip(request *http.Request) (*http.Response, error) {
	if query, changed := n.query(request.URL); changed {
		request = request.Clone(request.Context())
		request.URL.RawQuery = query.Encode()
	}
	return n.RoundTripper.RoundTrip(request)
}

// query returns the query of a list or a watch as it is to be made.
func (n *narrowed) query(target *url.URL) (query url.Values, changed bool) {
	query = target.Query()
	switch selector := query.Get("labelSelector"); {
	case strings.Contains(selector, v1alpha1.ManagedByLabel):
		query.Set("labelSelector", selector+","+ownerLabel+"="+n.cluster)
	case strings.HasSuffix(target.Path, "/api/v1/pods"):
		query.Set("fieldSelector", and(query.Get("fieldSelector"), "spec.nodeName="+n.node))
	case strings.HasSuffix(target.Path, "/api/v1/nodes"):
		query.Set("fieldSelector", and(query.Get("fieldSelector"), "metadata.name="+n.node))
	default:
		return query, false
	}
	return query, true
}

// and joins two selectors, of which the first may be empty.
func and(selector, other string) string {
	if selector == "" {
		return other
	}
	return selector + "," + other
}
