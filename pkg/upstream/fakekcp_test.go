package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	provider    = logicalcluster.NewPath("root:tmc")
)

const (
	slicesPath = "/clusters/root:tmc/apis/apis.kcp.io/v1alpha1/apiexportendpointslices"
	typesPath  = "/clusters/root:tmc/apis/tenancy.kcp.io/v1alpha1/workspacetypes"
)

// deploymentsAt is where a shard's virtual workspace shows the Deployments of all workspaces.
func deploymentsAt(shard string) string {
	return "/services/" + shard + "/clusters/*/apis/apps/v1/deployments"
}

// fakeKCP is kcp as far as a Client asks it: lists and watches of collections, which it finds by their paths, and what
// virtual workspaces serve. As kcp v0.31.2 does, it answers 404 with a page for what it does not serve (yet), begins a
// watch with what there is, and sends a bookmark after that.
type fakeKCP struct {
	*httptest.Server

	t  *testing.T
	mu sync.Mutex
	// objects are those of the collections, by their names; a collection that is not here is not served.
	objects  map[string]map[string]*unstructured.Unstructured
	watchers map[string][]chan watch.Event
	version  int
	// served are the resources that shards serve.
	served map[string][]string
	// selectors are those with which collections were listed or watched.
	selectors map[string]string
	// refused counts how often what is not served was asked for.
	refused map[string]int
	// missing are the answers about objects that do not exist.
	missing map[string]metav1.Status
}

func newFakeKCP(t *testing.T) *fakeKCP {
	t.Helper()
	f := &fakeKCP{
		t: t, objects: map[string]map[string]*unstructured.Unstructured{}, watchers: map[string][]chan watch.Event{},
		served: map[string][]string{}, selectors: map[string]string{}, refused: map[string]int{}, missing: map[string]metav1.Status{},
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// run has the client run until the end of the test.
func run(t *testing.T, c *Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// waitUntil waits until something is so.
func waitUntil(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	for begin := time.Now(); !isSo(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// serve has a collection served, empty at first.
func (f *fakeKCP) serve(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[path] = map[string]*unstructured.Unstructured{}
}

// serveShard has a shard serve Deployments.
func (f *fakeKCP) serveShard(shard string) {
	f.serve(deploymentsAt(shard))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served[shard] = []string{"deployments", "deployments/status"}
}

// set stores an object in a collection and tells the watchers.
func (f *fakeKCP) set(path string, obj *unstructured.Unstructured) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	obj.SetResourceVersion(fmt.Sprint(f.version))
	key := logicalcluster.From(obj).String() + "|" + obj.GetNamespace() + "/" + obj.GetName()
	event := watch.Event{Type: watch.Added, Object: obj}
	if _, known := f.objects[path][key]; known {
		event.Type = watch.Modified
	}
	f.objects[path][key] = obj
	f.tell(path, event)
}

// remove drops all objects of a collection.
func (f *fakeKCP) remove(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, obj := range f.objects[path] {
		delete(f.objects[path], key)
		f.tell(path, watch.Event{Type: watch.Deleted, Object: obj})
	}
}

func (f *fakeKCP) tell(path string, event watch.Event) {
	for _, watcher := range f.watchers[path] {
		watcher <- event
	}
}

// ServeHTTP implements http.Handler.
func (f *fakeKCP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	f.mu.Lock()
	_, isCollection := f.objects[r.URL.Path]
	missing, isMissing := f.missing[r.URL.Path]
	discovered := f.discovery(r.URL.Path)
	f.mu.Unlock()
	switch {
	case isCollection && r.URL.Query().Get("watch") != "":
		f.watch(w, r)
	case isCollection:
		f.list(w, r)
	case isMissing:
		f.refuse(w, missing)
	case discovered != nil:
		f.answer(w, discovered)
	default:
		f.mu.Lock()
		f.refused[r.URL.Path]++
		f.mu.Unlock()
		http.NotFound(w, r)
	}
}

// restart ends the watches of a collection, serves it no more, and returns what is in it.
func (f *fakeKCP) restart(path string) map[string]*unstructured.Unstructured {
	f.mu.Lock()
	defer f.mu.Unlock()
	stored := f.objects[path]
	delete(f.objects, path)
	for _, watcher := range f.watchers[path] {
		close(watcher)
	}
	delete(f.watchers, path)
	return stored
}

// refusals returns how often a collection was asked for while it was not served.
func (f *fakeKCP) refusals(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused[path]
}

// discovery returns what a shard says that it serves, nil when the path is no such question.
func (f *fakeKCP) discovery(path string) any {
	base, question, _ := strings.Cut(path, "/clusters/*/")
	served, isServed := f.served[strings.TrimPrefix(base, "/services/")]
	switch {
	case isServed && question == "api":
		return metav1.APIVersions{}
	case isServed && question == "apis":
		version := metav1.GroupVersionForDiscovery{GroupVersion: "apps/v1", Version: "v1"}
		return metav1.APIGroupList{Groups: []metav1.APIGroup{{Name: "apps", Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version}}}
	case isServed && question == "apis/apps/v1":
		list := metav1.APIResourceList{GroupVersion: "apps/v1"}
		for _, name := range served {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: name, Kind: "Deployment", Namespaced: true})
		}
		return list
	default:
		return nil
	}
}

func (f *fakeKCP) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.selectors[r.URL.Path] = r.URL.Query().Get("labelSelector")
	list := unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List"}}
	list.SetResourceVersion(fmt.Sprint(f.version))
	for _, key := range slices.Sorted(maps.Keys(f.objects[r.URL.Path])) {
		list.Items = append(list.Items, *f.objects[r.URL.Path][key])
	}
	f.answer(w, list.UnstructuredContent())
}

func (f *fakeKCP) watch(w http.ResponseWriter, r *http.Request) {
	events := make(chan watch.Event, 100)
	f.mu.Lock()
	f.selectors[r.URL.Path] = r.URL.Query().Get("labelSelector")
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for _, obj := range f.objects[r.URL.Path] {
			events <- watch.Event{Type: watch.Added, Object: obj}
		}
		bookmark := newObject("", "", "")
		bookmark.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		bookmark.SetResourceVersion(fmt.Sprint(f.version))
		events <- watch.Event{Type: watch.Bookmark, Object: bookmark}
	}
	f.watchers[r.URL.Path] = append(f.watchers[r.URL.Path], events)
	f.mu.Unlock()
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case event, isOpen := <-events:
			if !isOpen {
				return
			}
			f.answer(w, map[string]any{"type": event.Type, "object": event.Object})
			w.(http.Flusher).Flush()
		}
	}
}

func (f *fakeKCP) answer(w http.ResponseWriter, body any) {
	if err := json.NewEncoder(w).Encode(body); err != nil {
		f.t.Log(err) // the client has gone
	}
}

func (f *fakeKCP) refuse(w http.ResponseWriter, status metav1.Status) {
	status.APIVersion, status.Kind = "v1", "Status"
	w.WriteHeader(int(status.Code))
	f.answer(w, status)
}

// listShards has the APIExport's endpoint slice list the virtual workspaces of shards.
func (f *fakeKCP) listShards(shards ...string) {
	var endpoints []any
	for _, shard := range shards {
		endpoints = append(endpoints, map[string]any{"url": f.URL + "/services/" + shard})
	}
	endpointSlice := newObject("provider", "", "tmc")
	endpointSlice.SetGroupVersionKind(kcp.EndpointSlicesResource.GroupVersion().WithKind("APIExportEndpointSlice"))
	endpointSlice.Object["status"] = map[string]any{"endpoints": endpoints}
	f.set(slicesPath, endpointSlice)
}

func newObject(workspace, namespace, name string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment"}}
	obj.SetNamespace(namespace)
	obj.SetName(name)
	obj.SetAnnotations(map[string]string{logicalcluster.AnnotationKey: workspace})
	return obj
}

func keyOf(workspace, name string) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: logicalcluster.Name(workspace), Resource: deployments, Namespace: "default", Name: name}
}

func (f *fakeKCP) config() *rest.Config { return &rest.Config{Host: f.URL + "/clusters/root:any"} }
