package proxy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Request is what a request to an API server asks for.
type Request struct {
	// Verb is that of RBAC: get, list, watch, create, update, patch, delete or deletecollection; for what is no resource it
	// is the method, in small letters.
	Verb string
	// Group and Resource name the kind, and are empty for what is no resource. Subresource is empty for the object itself.
	Group, Resource, Subresource string
	// Namespace and Name are those of the object, as far as it has them.
	Namespace, Name string
	// Workspace is what follows "clusters" in the path, "*" for all, and empty outside of kcp.
	Workspace string
	// IsVirtual is set in a virtual workspace of kcp.
	IsVirtual bool
	// Path is the path of its URL, and Query what follows that.
	Path  string
	Query url.Values
	// Token is the bearer token that it bears.
	Token string
}

// IsWrite reports whether it changes something.
func (r *Request) IsWrite() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection", "post", "put"}, r.Verb)
}

// String says in a few words what it asks for.
func (r *Request) String() string {
	if r.Resource == "" {
		return r.Verb + " " + r.Path
	}
	resource := r.Resource
	if r.Subresource != "" {
		resource += "/" + r.Subresource
	}
	object := strings.Trim(r.Namespace+"/"+r.Name, "/")
	return strings.TrimSpace(r.Verb + " " + resource + " " + object)
}

// apis begins the path of a kind that has a group.
const apis = "apis"

// parse reads what a request asks for.
func parse(r *http.Request) Request {
	request := Request{Path: r.URL.Path, Query: r.URL.Query(), Verb: strings.ToLower(r.Method)}
	request.Token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	request.IsVirtual = parts[0] == "services"
	if at := slices.Index(parts, "clusters"); at >= 0 && at+1 < len(parts) {
		request.Workspace, parts = parts[at+1], parts[at+2:]
	}
	if at := slices.IndexFunc(parts, func(part string) bool { return part == "api" || part == apis }); at >= 0 {
		request.parseResource(parts[at:], r.Method)
	}
	return request
}

// parseResource reads a path that begins with api/VERSION or apis/GROUP/VERSION.
func (r *Request) parseResource(parts []string, method string) {
	skip := 2
	if parts[0] == apis {
		skip = 3
	}
	if len(parts) <= skip {
		return // discovery
	}
	if parts[0] == apis {
		r.Group = parts[1]
	}
	parts = parts[skip:]
	// A namespace is also an object, and so are its subresources.
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
		r.Namespace, parts = parts[1], parts[2:]
	}
	r.Resource = parts[0]
	if len(parts) > 1 {
		r.Name = parts[1]
	}
	if len(parts) > 2 {
		r.Subresource = parts[2]
	}
	r.Verb = verb(method, r.Name != "", r.Query)
}

func verb(method string, named bool, query url.Values) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if named {
			return "delete"
		}
		return "deletecollection"
	case http.MethodGet, http.MethodHead:
		if watch := query.Get("watch"); watch == "true" || watch == "1" {
			return "watch"
		}
		if named {
			return "get"
		}
		return "list"
	default:
		return strings.ToLower(method)
	}
}
