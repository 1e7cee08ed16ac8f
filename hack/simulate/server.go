package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
)

// object is one that the server keeps: its JSON, and what it is found by.
type object struct {
	collection, workspace, namespace, name string

	raw     []byte
	version int64
}

func (o *object) key() string { return o.workspace + "|" + o.namespace + "|" + o.name }

// server is kcp as far as the hub asks it.
type server struct {
	http.Server

	address string
	kinds   []served

	mu       sync.Mutex
	objects  map[string]map[string]*object
	watchers map[string][]*watcher
	version  int64
	writes   map[string]int
	// written is when the last write was.
	written time.Time
	// changed is told of each object that came or changed. It is called with mu held.
	changed func(*object)
}

// served is a resource that the virtual workspace serves.
type served struct {
	group, version, resource, kind string
	namespaced, hasStatus          bool
}

func (k served) groupVersion() string { return strings.TrimPrefix(k.group+"/"+k.version, "/") }

func (k served) prefix() string {
	if k.group == "" {
		return "api/" + k.version
	}
	return "apis/" + k.group + "/" + k.version
}

// servedKinds are what tmc's APIExport serves and claims.
var servedKinds = []served{
	{"", "v1", "configmaps", "ConfigMap", true, false},
	{"", "v1", "secrets", "Secret", true, false},
	{"", "v1", "serviceaccounts", "ServiceAccount", true, false},
	{"", "v1", "services", "Service", true, true},
	{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true, true},
	{"", "v1", "namespaces", "Namespace", false, true},
	{"apps", "v1", "deployments", "Deployment", true, true},
	{"apps", "v1", "statefulsets", "StatefulSet", true, true},
	{"apps", "v1", "daemonsets", "DaemonSet", true, true},
	{"apps", "v1", "replicasets", "ReplicaSet", true, true},
	{"apps", "v1", "controllerrevisions", "ControllerRevision", true, false},
	{"batch", "v1", "jobs", "Job", true, true},
	{"batch", "v1", "cronjobs", "CronJob", true, true},
	{"autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true, true},
	{"networking.k8s.io", "v1", "ingresses", "Ingress", true, true},
	{"networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true, false},
	{"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true, true},
	{"tmc.kcp.io", "v1alpha1", "workloadplacements", "WorkloadPlacement", true, true},
	{"apis.kcp.io", "v1alpha2", "apibindings", "APIBinding", false, true},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false, false},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", false, false},
}

// Collections are named by where they are: the provider workspace, or the virtual workspace, which has those of all workspaces.
const (
	provider        = "provider"
	virtual         = "virtual"
	endpointSlices  = provider + "/apis/apis.kcp.io/v1alpha1/apiexportendpointslices"
	registrations   = provider + "/apis/tmc.kcp.io/v1alpha1/clusterregistrations"
	leases          = provider + "/apis/coordination.k8s.io/v1/leases"
	deployments     = virtual + "/apis/apps/v1/deployments"
	configMaps      = virtual + "/api/v1/configmaps"
	services        = virtual + "/api/v1/services"
	namespaces      = virtual + "/api/v1/namespaces"
	bindings        = virtual + "/apis/apis.kcp.io/v1alpha2/apibindings"
	placements      = virtual + "/apis/tmc.kcp.io/v1alpha1/workloadplacements"
	virtualEndpoint = "/services/apiexport/tmc"
)

// newServer returns a server that listens on a port of its own.
func newServer(ctx context.Context) (*server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	s := &server{
		address: "http://" + listener.Addr().String(), kinds: servedKinds,
		objects: map[string]map[string]*object{}, watchers: map[string][]*watcher{}, writes: map[string]int{},
	}
	s.Handler = s
	s.ReadHeaderTimeout = time.Minute
	go func() { _ = s.Serve(listener) }()
	return s, nil
}

// set stores an object, and tells the watchers. It fills in what a server does.
func (s *server) set(collection string, content map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(collection, content)
}

// store is set. The caller holds mu.
func (s *server) store(collection string, content map[string]any) *object {
	metadata := content["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	workspace, _ := annotations["kcp.io/cluster"].(string)
	namespace, _ := metadata["namespace"].(string)
	name, _ := metadata["name"].(string)
	s.version++
	metadata["resourceVersion"] = strconv.FormatInt(s.version, 10)
	if _, has := metadata["uid"]; !has {
		metadata["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012d", s.version)
		metadata["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	obj := &object{collection: collection, workspace: workspace, namespace: namespace, name: name, raw: encode(content), version: s.version}
	all := s.objects[collection]
	if all == nil {
		all = map[string]*object{}
		s.objects[collection] = all
	}
	event := "MODIFIED"
	if all[obj.key()] == nil {
		event = "ADDED"
	}
	all[obj.key()] = obj
	s.tell(event, obj)
	return obj
}

func (s *server) tell(event string, obj *object) {
	line := eventLine(event, obj.raw)
	for _, w := range s.watchers[obj.collection] {
		w.add(line)
	}
	if s.changed != nil && event != "DELETED" {
		s.changed(obj)
	}
}

func eventLine(event string, raw []byte) []byte {
	line := make([]byte, 0, len(raw)+40)
	line = append(line, `{"type":"`+event+`","object":`...)
	line = append(line, raw...)
	return append(line, '}', '\n')
}

// change changes an object that there is. It is no write of the hub's.
func (s *server) change(collection, key string, edit func(map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.objects[collection][key]
	if known == nil {
		panic("there is no " + key + " in " + collection)
	}
	content := known.content()
	edit(content)
	s.store(collection, content)
}

// remove deletes an object.
func (s *server) remove(collection, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.objects[collection][key]
	content := known.content()
	s.version++
	delete(s.objects[collection], key)
	metadata := content["metadata"].(map[string]any)
	metadata["resourceVersion"] = strconv.FormatInt(s.version, 10)
	s.tell("DELETED", &object{collection: collection, raw: encode(content)})
}

func (o *object) content() map[string]any {
	var content map[string]any
	if err := json.Unmarshal(o.raw, &content); err != nil {
		panic(err)
	}
	return content
}

// counts returns how many writes there were of each sort, and when the last was.
func (s *server) counts() (byKind map[string]int, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.writes), s.written
}

// watcher is a watch under way: the lines that it has not sent yet.
type watcher struct {
	mu    sync.Mutex
	lines [][]byte
	more  chan struct{}
}

func (w *watcher) add(line []byte) {
	w.mu.Lock()
	w.lines = append(w.lines, line)
	w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
}

func (w *watcher) take() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = nil
	return lines
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	before, after, _ := strings.Cut(r.URL.Path, "/clusters/")
	workspace, rest, _ := strings.Cut(after, "/")
	base := provider
	if before == virtualEndpoint {
		base = virtual
	}
	switch {
	case rest == "version" || r.URL.Path == "/version":
		answer(w, map[string]string{"gitVersion": "v1.35.1+kcp-v0.31.2", "major": "1", "minor": "35"})
		return
	case r.Method == http.MethodGet && base == virtual && s.discover(w, rest):
		return
	}
	at := parse(base, rest)
	if at.workspace = workspace; base == provider {
		at.workspace = provider
	}
	switch {
	case r.Method != http.MethodGet:
		s.write(w, r, at)
	case at.name != "":
		s.show(w, at)
	case r.URL.Query().Get("watch") != "":
		s.watch(w, r, at.collection)
	default:
		s.list(w, at, r.URL.Query().Get("limit") == "1")
	}
}

// place is what a request is about.
type place struct{ collection, workspace, namespace, name, subresource string }

func (p place) key() string { return p.workspace + "|" + p.namespace + "|" + p.name }

func (p place) resource() string { return p.collection[strings.LastIndex(p.collection, "/")+1:] }

func parse(base, path string) place {
	elements := strings.Split(path, "/")
	group := 2 // api/v1
	if elements[0] == "apis" {
		group = 3
	}
	if len(elements) <= group {
		return place{}
	}
	tail, at := elements[group:], place{}
	if len(tail) >= 3 && tail[0] == "namespaces" {
		at.namespace, tail = tail[1], tail[2:]
	}
	at.collection = base + "/" + strings.Join(elements[:group], "/") + "/" + tail[0]
	if len(tail) > 1 {
		at.name = tail[1]
	}
	if len(tail) > 2 {
		at.subresource = tail[2]
	}
	return at
}

// discover answers what the virtual workspace serves. It reports false for any other request.
func (s *server) discover(w http.ResponseWriter, path string) bool {
	switch path {
	case "api":
		answer(w, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
	case "apis":
		var groups []any
		seen := map[string]bool{}
		for _, kind := range s.kinds {
			if kind.group != "" && !seen[kind.group] {
				seen[kind.group] = true
				version := map[string]any{"groupVersion": kind.groupVersion(), "version": kind.version}
				groups = append(groups, map[string]any{"name": kind.group, "versions": []any{version}, "preferredVersion": version})
			}
		}
		answer(w, map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
	default:
		var resources []any
		groupVersion := ""
		for _, kind := range s.kinds {
			if kind.prefix() == path {
				groupVersion = kind.groupVersion()
				resources = append(resources, resourceOf(kind, "")...)
			}
		}
		if groupVersion == "" {
			return false
		}
		answer(w, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": groupVersion, "resources": resources})
	}
	return true
}

func resourceOf(kind served, suffix string) []any {
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete"}
	one := map[string]any{"name": kind.resource + suffix, "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind, "verbs": verbs}
	if suffix == "" && kind.hasStatus {
		return append([]any{one}, resourceOf(kind, "/status")...)
	}
	return []any{one}
}

func (s *server) show(w http.ResponseWriter, at place) {
	s.mu.Lock()
	obj := s.objects[at.collection][at.key()]
	s.mu.Unlock()
	if obj == nil {
		refuse(w, http.StatusNotFound, "NotFound", at)
		return
	}
	_, _ = w.Write(obj.raw)
}

// sorted returns the objects of a collection in the order of their keys. The caller holds mu.
func (s *server) sorted(collection string) []*object {
	all := make([]*object, 0, len(s.objects[collection]))
	for _, obj := range s.objects[collection] {
		all = append(all, obj)
	}
	slices.SortFunc(all, func(a, b *object) int { return strings.Compare(a.key(), b.key()) })
	return all
}

// typeOf returns the version and the kind of a collection's objects.
func (s *server) typeOf(collection string) (apiVersion, kind string) {
	for _, served := range s.kinds {
		if strings.HasSuffix(collection, "/"+served.prefix()+"/"+served.resource) {
			return served.groupVersion(), served.kind
		}
	}
	switch collection {
	case registrations:
		return "tmc.kcp.io/v1alpha1", "ClusterRegistration"
	case leases:
		return "coordination.k8s.io/v1", "Lease"
	case endpointSlices:
		return "apis.kcp.io/v1alpha1", "APIExportEndpointSlice"
	default:
		return "v1", "Unknown"
	}
}

// list answers with all objects of a collection in a workspace, or with one of them: that is what a client asks for which wants to know
// whether there is the collection.
func (s *server) list(w http.ResponseWriter, at place, onlyOne bool) {
	s.mu.Lock()
	all, version := s.sorted(at.collection), s.version
	s.mu.Unlock()
	apiVersion, kind := s.typeOf(at.collection)
	_, _ = fmt.Fprintf(w, `{"apiVersion":%q,"kind":%q,"metadata":{"resourceVersion":"%d"},"items":[`, apiVersion, kind+"List", version)
	first := true
	for _, obj := range all {
		if at.workspace != "*" && at.workspace != provider && obj.workspace != at.workspace {
			continue
		}
		if !first {
			_, _ = w.Write([]byte(","))
		}
		first = false
		_, _ = w.Write(obj.raw)
		if onlyOne {
			break
		}
	}
	_, _ = w.Write([]byte("]}"))
}

// watch begins with what there is, and a bookmark, where the client asks for that.
func (s *server) watch(w http.ResponseWriter, r *http.Request, collection string) {
	apiVersion, kind := s.typeOf(collection)
	watching := &watcher{more: make(chan struct{}, 1)}
	s.mu.Lock()
	var present []*object
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		present = s.sorted(collection)
	}
	bookmark := fmt.Sprintf(`{"type":"BOOKMARK","object":{"apiVersion":%q,"kind":%q,"metadata":{"resourceVersion":"%d","annotations":{"k8s.io/initial-events-end":"true"}}}}`+"\n", apiVersion, kind, s.version)
	s.watchers[collection] = append(s.watchers[collection], watching)
	s.mu.Unlock()
	defer s.forget(collection, watching)
	flush := w.(http.Flusher).Flush
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for _, obj := range present {
			_, _ = w.Write(eventLine("ADDED", obj.raw))
		}
		_, _ = w.Write([]byte(bookmark))
	}
	flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-watching.more:
			_, _ = w.Write(bytes.Join(watching.take(), nil))
			flush()
		}
	}
}

func (s *server) forget(collection string, watching *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[collection] = slices.DeleteFunc(s.watchers[collection], func(w *watcher) bool { return w == watching })
}

// write creates, updates, patches or deletes an object.
func (s *server) write(w http.ResponseWriter, r *http.Request, at place) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(r.Method, at)
	known := s.objects[at.collection][at.key()]
	switch {
	case r.Method == http.MethodDelete:
		s.delete(w, at, known)
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/json-patch+json"):
		s.patchJSON(w, at, known, body)
	default:
		s.writeContent(w, r.Method, at, known, body)
	}
}

// count notes a write. The caller holds mu.
func (s *server) count(method string, at place) {
	kind := at.resource()
	if at.subresource != "" {
		kind += "/" + at.subresource
	}
	s.writes[strings.ToLower(method)+" "+kind]++
	s.written = time.Now()
}

// delete deletes an object, if it is there. The caller holds mu.
func (s *server) delete(w http.ResponseWriter, at place, known *object) {
	if known != nil {
		delete(s.objects[at.collection], at.key())
		s.version++
		s.tell("DELETED", known)
	}
	answer(w, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
}

// writeContent creates an object, or updates or merges into the one that is known. The caller holds mu.
func (s *server) writeContent(w http.ResponseWriter, method string, at place, known *object, body []byte) {
	content, err := decode(body)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	case at.resource() == "events":
		answer(w, content) // nobody reads them
		return
	case method == http.MethodPost:
		s.complete(content, at)
	case known == nil:
		refuse(w, http.StatusNotFound, "NotFound", at)
		return
	default:
		before := known.content()
		if !meets(before, content) {
			refuse(w, http.StatusConflict, "Conflict", at)
			return
		}
		if method == http.MethodPatch {
			content = merge(before, content)
		}
	}
	obj := s.store(at.collection, content)
	_, _ = w.Write(obj.raw)
}

// complete says in a new object where it is, and what it is.
func (s *server) complete(content map[string]any, at place) {
	metadata := content["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
	}
	annotations["kcp.io/cluster"] = at.workspace
	metadata["annotations"] = annotations
	content["apiVersion"], content["kind"] = s.typeOf(at.collection)
}

// patchJSON applies a JSON patch (RFC 6902). The caller holds mu.
func (s *server) patchJSON(w http.ResponseWriter, at place, known *object, body []byte) {
	if known == nil {
		refuse(w, http.StatusNotFound, "NotFound", at)
		return
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", at)
		return
	}
	after, err := patch.Apply(known.raw)
	if err != nil { // a test that has failed, for instance
		refuse(w, http.StatusUnprocessableEntity, "Invalid", at)
		return
	}
	var content map[string]any
	if err := json.Unmarshal(after, &content); err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", at)
		return
	}
	_, _ = w.Write(s.store(at.collection, content).raw)
}

// meets reports whether an object is as the UID and the resource version in a write have it, as far as they are there.
func meets(content, write map[string]any) bool {
	is, _ := content["metadata"].(map[string]any)
	wanted, _ := write["metadata"].(map[string]any)
	for _, field := range []string{"uid", "resourceVersion"} {
		if value, has := wanted[field]; has && value != is[field] {
			return false
		}
	}
	return true
}

// merge applies a merge patch (RFC 7386).
func merge(content, patch map[string]any) map[string]any {
	if content == nil {
		content = map[string]any{}
	}
	for field, value := range patch {
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(content, field)
		case isObject:
			present, _ := content[field].(map[string]any)
			content[field] = merge(present, inner)
		default:
			content[field] = value
		}
	}
	return content
}

// decode reads JSON, and the protobuf that typed clients send.
func decode(body []byte) (map[string]any, error) {
	if bytes.HasPrefix(body, []byte("k8s\x00")) {
		typed, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
		if err != nil {
			return nil, err
		}
		return runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	}
	var content map[string]any
	err := json.Unmarshal(body, &content)
	return content, err
}

func answer(w http.ResponseWriter, body any) { _, _ = w.Write(encode(body)) }

// encode returns the JSON of what was JSON, or is written down in this program.
func encode(body any) []byte {
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return encoded
}

func refuse(w http.ResponseWriter, code int, reason string, at place) {
	w.WriteHeader(code)
	resource := at.resource()
	answer(w, map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
		"message": fmt.Sprintf("%s %q: %s", resource, at.name, reason), "details": map[string]any{"name": at.name, "kind": resource},
	})
}
