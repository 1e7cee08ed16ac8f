package fakekcp

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/version"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kcp-dev/logicalcluster/v3"
)

// Version is what the server says that it is.
const Version = "v1.35.1+kcp-v0.31.2"

// virtualWorkspace is where the virtual workspace is.
const virtualWorkspace = "/services/apiexport/fake/tmc"

// Server is a kcp in memory.
type Server struct {
	*httptest.Server

	// OnChange, if any, is told of each object that has come or changed, and its JSON. Set it before anybody asks the server, and do not
	// ask the server in it.
	OnChange func(at Place, encoded []byte)

	served   []Resource
	provider logicalcluster.Name

	mu          sync.Mutex
	version     int64
	collections map[schema.GroupResource]*collection
	writes      map[string]int
	lastWrite   time.Time
}

// Start returns a server that listens, with the provider workspace of that name, which is found by any path, and the endpoint slice of
// an APIExport, whose virtual workspace serves the resources. Whoever starts it calls Close.
func Start(provider logicalcluster.Name, export string, served []Resource) *Server {
	s := &Server{served: served, provider: provider, collections: map[schema.GroupResource]*collection{}, writes: map[string]int{}}
	s.Server = httptest.NewServer(s)
	s.Put(endpointSlices.groupResource(), map[string]any{
		"apiVersion": endpointSlices.groupVersion().String(), "kind": endpointSlices.Kind,
		"metadata": map[string]any{"name": export, "annotations": map[string]any{logicalcluster.AnnotationKey: provider.String()}},
		"status":   map[string]any{"endpoints": []any{map[string]any{"url": s.URL + virtualWorkspace}}},
	})
	return s
}

// Close ends all watches, and the server.
func (s *Server) Close() {
	s.CloseClientConnections()
	s.Server.Close()
}

// Writes returns how many writes of clients there have been, by method and resource as in "patch deployments/status", and when the last
// was; leases are heartbeats.
func (s *Server) Writes() (counts map[string]int, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.writes), s.lastWrite
}

// question is what a request asks for. The place has no name where it asks for a collection, and its workspace is "*" for all of the
// virtual workspace.
type question struct {
	*apirequest.RequestInfo

	at Place
}

var paths = apirequest.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}

func (s *Server) questionOf(r *http.Request) (question, error) {
	path, isVirtual := strings.CutPrefix(r.URL.Path, virtualWorkspace)
	workspace, path, _ := strings.Cut(strings.TrimPrefix(path, "/clusters/"), "/")
	if !isVirtual {
		workspace = s.provider.String()
	}
	info, err := paths.NewRequestInfo(&http.Request{Method: r.Method, URL: &url.URL{Path: "/" + path, RawQuery: r.URL.RawQuery}})
	if err != nil {
		return question{}, err
	}
	q := question{info, Place{schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, logicalcluster.Name(workspace), info.Namespace, info.Name}}
	if info.Resource == "namespaces" {
		q.at.Namespace = "" // a namespace is in none, unlike there
	}
	return q, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	q, err := s.questionOf(r)
	switch {
	case err != nil:
	case q.Path == "/version":
		answer(w, http.StatusOK, version.Info{Major: "1", Minor: "35", GitVersion: Version})
	case !q.IsResourceRequest:
		s.discover(w, q.Path)
	case q.Verb == "get":
		err = s.get(w, q)
	case q.Verb == "list":
		err = s.list(w, r, q)
	case q.Verb == "watch":
		err = s.watch(w, r, q)
	default:
		err = s.write(w, r, q)
	}
	if status, isStatus := errors.AsType[*apierrors.StatusError](err); isStatus {
		refuse(w, status)
	} else if err != nil {
		refuse(w, apierrors.NewBadRequest(err.Error()))
	}
}

func answer(w http.ResponseWriter, code int, body any) {
	w.WriteHeader(code)
	_, _ = w.Write(encode(body)) // the client has gone
}

// encode returns the JSON of what this server says, or has decoded.
func encode(body any) []byte {
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return encoded
}

func refuse(w http.ResponseWriter, err apierrors.APIStatus) {
	status := err.Status()
	status.APIVersion, status.Kind = "v1", "Status"
	answer(w, int(status.Code), status)
}
