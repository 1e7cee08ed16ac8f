package fakekcp

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"

	jsonpatch "github.com/evanphx/json-patch/v5"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/kcp-dev/logicalcluster/v3"
)

// Version is what the server says that it is.
const Version = "v1.35.1+kcp-v0.31.2"

// virtualWorkspace is where the virtual workspace is.
const virtualWorkspace = "/services/apiexport/fake/tmc"

// Resource is a resource that the virtual workspace serves.
type Resource struct {
	schema.GroupVersionResource

	Kind       string
	Namespaced bool
	HasStatus  bool
}

// Server is a kcp in memory.
type Server struct {
	*httptest.Server

	resources []Resource
	// provider is the name of the provider workspace.
	provider logicalcluster.Name

	mu      sync.Mutex
	version int
	// collections are those of all workspaces, by resource.
	collections map[schema.GroupResource]*collection
	writes      map[string]int
}

// collection is what there is of one resource, and what has happened to it.
type collection struct {
	// encoded are the objects as JSON, by workspace, namespace and name.
	objects map[key]*stored
	// events are all that there ever were.
	events  []event
	changed chan struct{}
}

type key struct {
	workspace logicalcluster.Name
	namespace string
	name      string
}

// stored is one state of an object.
type stored struct {
	obj  *unstructured.Unstructured
	json []byte
}

type event struct {
	version int
	kind    string // ADDED, MODIFIED, DELETED
	key     key
	stored  *stored
}

// Start returns a server that listens, with the provider workspace of that name, which is found by any path, and the endpoint slice of
// an APIExport, whose virtual workspace serves the resources. Whoever starts it calls Close.
func Start(provider, export string, resources []Resource) *Server {
	s := &Server{resources: resources, provider: logicalcluster.Name(provider), collections: map[schema.GroupResource]*collection{}, writes: map[string]int{}}
	s.Server = httptest.NewServer(s)
	endpoints := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIExportEndpointSlice",
		"metadata": map[string]any{"name": export, "annotations": map[string]any{logicalcluster.AnnotationKey: provider}},
		"status":   map[string]any{"endpoints": []any{map[string]any{"url": s.URL + virtualWorkspace}}},
	}}
	s.Put(schema.GroupResource{Group: "apis.kcp.io", Resource: "apiexportendpointslices"}, endpoints)
	return s
}

// Put stores an object, and tells who watches. It is in the workspace that its annotation kcp.io/cluster names.
func (s *Server) Put(resource schema.GroupResource, obj *unstructured.Unstructured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(s.collection(resource), keyOf(obj), obj)
}

// Get returns an object, nil when there is none.
func (s *Server) Get(resource schema.GroupResource, workspace logicalcluster.Name, namespace, name string) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.collection(resource).objects[key{workspace, namespace, name}]; found != nil {
		return found.obj
	}
	return nil
}

// Writes returns how many writes of clients there have been, by resource; leases are heartbeats.
func (s *Server) Writes() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.writes)
}

func keyOf(obj *unstructured.Unstructured) key {
	return key{logicalcluster.From(obj), obj.GetNamespace(), obj.GetName()}
}

func (s *Server) collection(resource schema.GroupResource) *collection {
	found := s.collections[resource]
	if found == nil {
		found = &collection{objects: map[key]*stored{}, changed: make(chan struct{})}
		s.collections[resource] = found
	}
	return found
}

// put stores the object with what a server adds.
func (s *Server) put(c *collection, at key, obj *unstructured.Unstructured) *stored {
	s.version++
	kind := "ADDED"
	if before := c.objects[at]; before != nil {
		kind = "MODIFIED"
	}
	if obj.GetUID() == "" {
		obj.SetUID(uuid.NewUUID())
	}
	if created := obj.GetCreationTimestamp(); created.IsZero() {
		obj.SetCreationTimestamp(metav1.Now())
	}
	obj.SetResourceVersion(strconv.Itoa(s.version))
	encoded, err := obj.MarshalJSON()
	if err != nil {
		panic(err) // it came from JSON
	}
	now := &stored{obj, slices.Clip([]byte(strings.TrimSpace(string(encoded))))}
	c.objects[at] = now
	c.tell(event{s.version, kind, at, now})
	return now
}

// drop removes the object.
func (s *Server) drop(c *collection, at key) {
	s.version++
	c.tell(event{s.version, "DELETED", at, c.objects[at]})
	delete(c.objects, at)
}

func (c *collection) tell(e event) {
	c.events = append(c.events, e)
	close(c.changed)
	c.changed = make(chan struct{})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	q, ok := parse(r)
	if strings.Contains(q.workspace.String(), ":") { // the path of the one workspace that is known by its path
		q.workspace = s.provider
	}
	switch {
	case r.URL.Path == "/version" || strings.HasSuffix(r.URL.Path, "/version"):
		answer(w, http.StatusOK, map[string]string{"major": "1", "minor": "35", "gitVersion": Version})
	case !ok:
		http.NotFound(w, r)
	case q.resource.Resource == "":
		s.discover(w, q)
	case r.Method == http.MethodGet:
		s.read(w, r, q)
	default:
		s.write(w, r, q)
	}
}

// read answers with an object, or with those of a collection.
func (s *Server) read(w http.ResponseWriter, r *http.Request, q question) {
	switch {
	case q.name != "":
		s.get(w, q)
	case r.URL.Query().Get("watch") != "":
		s.watch(w, r, q)
	default:
		s.list(w, r, q)
	}
}

// question is what the path of a request says.
type question struct {
	workspace logicalcluster.Name // "*" for all
	group     string
	version   string
	// isGroups is set for the question which groups there are, isLegacy for that of the core group's versions.
	isGroups, isLegacy           bool
	resource                     schema.GroupResource
	namespace, name, subresource string
}

// parse reads the path, and reports whether it is one below /clusters/<workspace>/api or apis.
func parse(r *http.Request) (question, bool) {
	path := strings.TrimPrefix(r.URL.Path, virtualWorkspace)
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) < 3 || parts[0] != "clusters" {
		return question{}, false
	}
	q := question{workspace: logicalcluster.Name(parts[1])}
	switch rest := parts[2:]; {
	case rest[0] == "api" && len(rest) == 1:
		q.isLegacy = true
		return q, true
	case rest[0] == "apis" && len(rest) == 1:
		q.isGroups = true
		return q, true
	case rest[0] == "api":
		q.version, parts = rest[1], rest[2:]
	case rest[0] == "apis" && len(rest) >= 3:
		q.group, q.version, parts = rest[1], rest[2], rest[3:]
	default:
		return question{}, false
	}
	return q.of(parts), true
}

// of adds what follows the group and the version in a path: nothing, a collection or an object.
func (q question) of(parts []string) question {
	if len(parts) >= 3 && parts[0] == "namespaces" {
		q.namespace, parts = parts[1], parts[2:]
	}
	for i, into := range []*string{&q.resource.Resource, &q.name, &q.subresource} {
		if i < len(parts) {
			*into = parts[i]
		}
	}
	if q.resource.Resource != "" {
		q.resource.Group = q.group
	}
	return q
}

// discover says what the virtual workspace serves.
func (s *Server) discover(w http.ResponseWriter, q question) {
	switch {
	case q.isLegacy:
		answer(w, http.StatusOK, metav1.APIVersions{Versions: s.versions()[""]})
	case q.isGroups:
		answer(w, http.StatusOK, s.groups())
	default:
		answer(w, http.StatusOK, s.resourcesOf(schema.GroupVersion{Group: q.group, Version: q.version}))
	}
}

// versions returns those of each group, the core group's under the empty name.
func (s *Server) versions() map[string][]string {
	versions := map[string][]string{}
	for _, r := range s.resources {
		if !slices.Contains(versions[r.Group], r.Version) {
			versions[r.Group] = append(versions[r.Group], r.Version)
		}
	}
	return versions
}

// groups returns all groups but the core group.
func (s *Server) groups() metav1.APIGroupList {
	groups := metav1.APIGroupList{}
	for name, all := range s.versions() {
		if name == "" {
			continue
		}
		group := metav1.APIGroup{Name: name}
		for _, version := range all {
			group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + version, Version: version})
		}
		group.PreferredVersion = group.Versions[0]
		groups.Groups = append(groups.Groups, group)
	}
	return groups
}

// resourcesOf returns the resources of one version of a group.
func (s *Server) resourcesOf(of schema.GroupVersion) metav1.APIResourceList {
	list := metav1.APIResourceList{GroupVersion: of.String()}
	for _, r := range s.resources {
		if r.GroupVersion() != of {
			continue
		}
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: r.Resource, Kind: r.Kind, Namespaced: r.Namespaced})
		if r.HasStatus {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: r.Resource + "/status", Kind: r.Kind, Namespaced: r.Namespaced})
		}
	}
	return list
}

func (s *Server) get(w http.ResponseWriter, q question) {
	s.mu.Lock()
	found := s.collection(q.resource).objects[q.at()]
	s.mu.Unlock()
	if found == nil {
		refuse(w, apierrors.NewNotFound(q.resource, q.name))
		return
	}
	_, _ = w.Write(found.json)
}

// at returns the key of the object that the question is about.
func (q question) at() key { return key{q.workspace, q.namespace, q.name} }

// write carries a write out, and counts it.
func (s *Server) write(w http.ResponseWriter, r *http.Request, q question) {
	body, err := readAll(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes[strings.TrimSuffix(q.resource.Resource+"/"+q.subresource, "/")]++
	c := s.collection(q.resource)
	written, err := s.change(c, q, r, body)
	switch status, isStatus := errors.AsType[*apierrors.StatusError](err); {
	case isStatus:
		refuse(w, status)
	case err != nil:
		refuse(w, apierrors.NewBadRequest(err.Error()))
	default:
		_, _ = w.Write(written)
	}
}

// change carries a write out, and returns what there is after it; of what it deletes, what there was.
func (s *Server) change(c *collection, q question, r *http.Request, body []byte) ([]byte, error) {
	if r.Method == http.MethodPost {
		return s.create(c, q, body)
	}
	before := c.objects[q.at()]
	if before == nil {
		return nil, apierrors.NewNotFound(q.resource, q.name)
	}
	if r.Method == http.MethodDelete {
		s.drop(c, q.at())
		return before.json, nil
	}
	obj, err := changed(before, r, body)
	if err != nil {
		return nil, err
	}
	if version := obj.GetResourceVersion(); version != "" && version != before.obj.GetResourceVersion() {
		return nil, apierrors.NewConflict(q.resource, q.name, errors.New("it has changed"))
	}
	return s.put(c, q.at(), obj).json, nil
}

// create stores a new object.
func (s *Server) create(c *collection, q question, body []byte) ([]byte, error) {
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(body); err != nil {
		return nil, err
	}
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[logicalcluster.AnnotationKey] = q.workspace.String()
	obj.SetAnnotations(annotations)
	obj.SetNamespace(q.namespace)
	return s.put(c, keyOf(obj), obj).json, nil
}

// changed returns an object as an update or a patch would have it.
func changed(before *stored, r *http.Request, body []byte) (*unstructured.Unstructured, error) {
	content, err := body, error(nil)
	switch {
	case r.Method == http.MethodPut:
	case r.Header.Get("Content-Type") == string(types.JSONPatchType):
		content, err = patched(before.json, body)
	default:
		content, err = jsonpatch.MergePatch(before.json, body)
	}
	if err != nil {
		return nil, err
	}
	obj := &unstructured.Unstructured{}
	return obj, obj.UnmarshalJSON(content)
}

// patched applies a JSON patch (RFC 6902).
func patched(content, encoded []byte) ([]byte, error) {
	patch, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		return nil, err
	}
	return patch.Apply(content)
}

func answer(w http.ResponseWriter, code int, body any) {
	w.WriteHeader(code)
	_, _ = w.Write(encode(body)) // the client has gone
}

// encode returns the JSON of what this server says.
func encode(body any) []byte {
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err) // it is written down here
	}
	return encoded
}

func refuse(w http.ResponseWriter, err apierrors.APIStatus) {
	status := err.Status()
	status.APIVersion, status.Kind = "v1", "Status"
	answer(w, int(status.Code), status)
}

// Dumped is an object, and where it is.
type Dumped struct {
	Resource schema.GroupResource `json:"resource"`
	Object   map[string]any       `json:"object"`
}

// Dump returns all objects.
func (s *Server) Dump() []Dumped {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Dumped
	for resource, c := range s.collections {
		for _, one := range c.objects {
			all = append(all, Dumped{resource, one.obj.Object})
		}
	}
	return all
}

// Load stores all objects of a Dump but the endpoint slice, which is the server's own.
func (s *Server) Load(all []Dumped) {
	for _, one := range all {
		if one.Resource.Resource != "apiexportendpointslices" {
			s.Put(one.Resource, &unstructured.Unstructured{Object: one.Object})
		}
	}
}
