package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/kcp-dev/logicalcluster/v3"
)

// The collections of the fake that tests have to do with: the provider workspace's, and those of the virtual workspace.
const (
	providerBase   = "/clusters/root:tmc"
	virtualBase    = "/services/apiexport/tmc/clusters/*"
	endpointSlices = providerBase + "/apis/apis.kcp.io/v1alpha1/apiexportendpointslices"
	workspaceType  = providerBase + "/apis/tenancy.kcp.io/v1alpha1/workspacetypes"
	registrations  = providerBase + "/apis/tmc.kcp.io/v1alpha1/clusterregistrations"
	leases         = providerBase + "/apis/coordination.k8s.io/v1/leases"
	deployments    = virtualBase + "/apis/apps/v1/deployments"
	bindings       = virtualBase + "/apis/apis.kcp.io/v1alpha2/apibindings"
	policies       = virtualBase + "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
)

// virtualResources are what the virtual workspace serves.
var virtualResources = map[string][]string{
	"apps/v1":                         {"deployments", "deployments/status"},
	"apis.kcp.io/v1alpha2":            {"apibindings"},
	"admissionregistration.k8s.io/v1": {"validatingadmissionpolicies", "validatingadmissionpolicybindings"},
}

// kindOf are the kinds of the resources that the hub reads.
var kindOf = map[string]string{
	"apibindings":                       "APIBinding",
	"apiexportendpointslices":           "APIExportEndpointSlice",
	"clusterregistrations":              "ClusterRegistration",
	"deployments":                       "Deployment",
	"events":                            "Event",
	"leases":                            "Lease",
	"logicalclusters":                   "LogicalCluster",
	"mutatingwebhookconfigurations":     "MutatingWebhookConfiguration",
	"secrets":                           "Secret",
	"validatingadmissionpolicies":       "ValidatingAdmissionPolicy",
	"validatingadmissionpolicybindings": "ValidatingAdmissionPolicyBinding",
	"workspacetypes":                    "WorkspaceType",
}

// typeOf returns the version and the kind of a collection's objects.
func typeOf(collection string) (apiVersion, kind string) {
	elements := strings.Split(collection, "/")
	apiVersion = "v1"
	if at := slices.Index(elements, "apis"); at > 0 {
		apiVersion = elements[at+1] + "/" + elements[at+2]
	}
	return apiVersion, kindOf[elements[len(elements)-1]]
}

// fakeKCP is kcp as far as the hub asks it: objects by collection, with lists, watches and writes. The provider workspace
// serves every collection, empty ones too. A collection of the virtual workspace has the objects of all workspaces.
type fakeKCP struct {
	*httptest.Server

	t          *testing.T
	gitVersion string

	mu       sync.Mutex
	objects  map[string]map[string]*unstructured.Unstructured
	watchers map[string][]chan watchEvent
	version  int
}

// watchEvent is a line of a watch.
type watchEvent struct {
	Type   string                     `json:"type"`
	Object *unstructured.Unstructured `json:"object"`
}

// newFakeKCP starts a fake whose endpoint slice lists the virtual workspace.
func newFakeKCP(t *testing.T) *fakeKCP {
	t.Helper()
	f := &fakeKCP{
		t: t, gitVersion: "v1.35.1+kcp-v0.31.2",
		objects: map[string]map[string]*unstructured.Unstructured{}, watchers: map[string][]chan watchEvent{},
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.CloseClientConnections() // watches
		f.Close()
	})
	f.set(t, endpointSlices, "provider", fmt.Sprintf(`
metadata: {name: tmc.kcp.io}
status: {endpoints: [{url: "%s"}]}`, f.URL+strings.TrimSuffix(virtualBase, "/clusters/*")))
	return f
}

// kubeconfig writes a kubeconfig whose server is the fake, and returns its path.
func (f *fakeKCP) kubeconfig() string { return f.kubeconfigAt("/clusters/root") }

// kubeconfigAt writes a kubeconfig whose server is a path of the fake.
func (f *fakeKCP) kubeconfigAt(path string) string {
	f.t.Helper()
	file := filepath.Join(f.t.TempDir(), "kcp.kubeconfig")
	content := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}],
  clusters: [{name: c, cluster: {server: "%s"}}]}`, f.URL+path)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return file
}

// set stores an object of a workspace, in YAML, and tells the watchers.
func (f *fakeKCP) set(t *testing.T, collection, workspace, text string) {
	t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store(collection, workspace, obj)
}

// change changes an object that there is.
func (f *fakeKCP) change(t *testing.T, collection, key string, edit func(*unstructured.Unstructured)) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.objects[collection][key]
	if known == nil {
		t.Fatalf("there is no %s in %s", key, collection)
	}
	obj := known.DeepCopy()
	edit(obj)
	f.store(collection, logicalcluster.From(obj).String(), obj)
}

// get returns an object, nil when there is none.
func (f *fakeKCP) get(collection, key string) *unstructured.Unstructured {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.objects[collection][key]
}

// eventually waits until an object passes a test.
func (f *fakeKCP) eventually(t *testing.T, collection, key, what string, test func(*unstructured.Unstructured) bool) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		obj := f.get(collection, key)
		if obj != nil && test(obj) {
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s of %s is not %s: %v", key, collection, what, obj)
		}
	}
}

// store stores an object and tells the watchers. The caller holds mu.
func (f *fakeKCP) store(collection, workspace string, obj *unstructured.Unstructured) {
	apiVersion, kind := typeOf(collection)
	obj.SetAPIVersion(apiVersion)
	obj.SetKind(kind)
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[logicalcluster.AnnotationKey] = workspace
	obj.SetAnnotations(annotations)
	f.version++
	obj.SetResourceVersion(fmt.Sprint(f.version))
	if obj.GetUID() == "" {
		obj.SetUID("uid")
	}
	key := workspace + "/" + obj.GetName()
	event := watchEvent{"MODIFIED", obj}
	if f.objects[collection][key] == nil {
		event.Type = "ADDED"
	}
	if f.objects[collection] == nil {
		f.objects[collection] = map[string]*unstructured.Unstructured{}
	}
	f.objects[collection][key] = obj
	for _, watcher := range f.watchers[collection] {
		watcher <- event
	}
}

// ServeHTTP implements http.Handler.
func (f *fakeKCP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	base, workspace, rest := cut(r.URL.Path)
	if rest == "version" {
		f.answer(w, map[string]string{"gitVersion": f.gitVersion})
		return
	}
	if r.Method == http.MethodGet && f.discover(w, base, rest) {
		return
	}
	collection, name := split(base, rest)
	switch {
	case r.Method != http.MethodGet:
		f.write(w, r, collection, workspace, name)
	case name != "":
		f.show(w, collection, workspace, name)
	case r.URL.Query().Get("watch") != "":
		f.watch(w, r, collection)
	default:
		f.list(w, collection)
	}
}

// cut takes the path of a request apart: the base of its collections, the workspace's name, and the rest.
func cut(path string) (base, workspace, rest string) {
	before, after, _ := strings.Cut(path, "/clusters/")
	workspace, rest, _ = strings.Cut(after, "/")
	if before != "" {
		return before + "/clusters/*", workspace, rest
	}
	return before + "/clusters/" + workspace, "provider", rest
}

// split returns the collection of a path below its base, without namespaces, and the name of the object.
func split(base, rest string) (collection, name string) {
	elements := strings.Split(rest, "/")
	group := 2 // api/v1
	if elements[0] == "apis" {
		group = 3
	}
	tail := elements[group:]
	if len(tail) >= 3 && tail[0] == "namespaces" {
		tail = tail[2:]
	}
	if len(tail) > 1 {
		name = tail[1]
	}
	return base + "/" + strings.Join(elements[:group], "/") + "/" + tail[0], name
}

// discover answers what the virtual workspace serves. It returns false for any other request.
func (f *fakeKCP) discover(w http.ResponseWriter, base, path string) bool {
	groupVersion, isGroup := strings.CutPrefix(path, "apis/")
	resources, isServed := virtualResources[groupVersion]
	switch {
	case base != virtualBase:
		return false
	case path == "api":
		f.answer(w, metav1.APIVersions{})
	case path == "apis":
		list := metav1.APIGroupList{}
		for _, groupVersion := range slices.Sorted(maps.Keys(virtualResources)) {
			group, version, _ := strings.Cut(groupVersion, "/")
			one := metav1.GroupVersionForDiscovery{GroupVersion: groupVersion, Version: version}
			list.Groups = append(list.Groups, metav1.APIGroup{Name: group, Versions: []metav1.GroupVersionForDiscovery{one}, PreferredVersion: one})
		}
		f.answer(w, list)
	case isGroup && isServed:
		list := metav1.APIResourceList{GroupVersion: groupVersion}
		for _, name := range resources {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: name, Kind: kindOf[strings.TrimSuffix(name, "/status")], Namespaced: strings.HasPrefix(name, "deployments"),
				Verbs: metav1.Verbs{"get", "list", "watch", "create", "update", "patch", "delete"},
			})
		}
		f.answer(w, list)
	default:
		return false
	}
	return true
}

// show answers with one object.
func (f *fakeKCP) show(w http.ResponseWriter, collection, workspace, name string) {
	if obj := f.get(collection, workspace+"/"+name); obj != nil {
		f.answer(w, obj.Object)
		return
	}
	f.refuse(w, collection, name)
}

func (f *fakeKCP) list(w http.ResponseWriter, collection string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	apiVersion, kind := typeOf(collection)
	list := unstructured.UnstructuredList{Object: map[string]any{"apiVersion": apiVersion, "kind": kind + "List"}}
	list.SetResourceVersion(fmt.Sprint(f.version))
	for _, key := range slices.Sorted(maps.Keys(f.objects[collection])) {
		list.Items = append(list.Items, *f.objects[collection][key])
	}
	f.answer(w, list.UnstructuredContent())
}

// watch begins with what there is, and a bookmark, where the client asks for that.
func (f *fakeKCP) watch(w http.ResponseWriter, r *http.Request, collection string) {
	events := make(chan watchEvent, 100)
	f.mu.Lock()
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for _, obj := range f.objects[collection] {
			events <- watchEvent{"ADDED", obj}
		}
		apiVersion, kind := typeOf(collection)
		bookmark := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
		bookmark.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		bookmark.SetResourceVersion(fmt.Sprint(f.version))
		events <- watchEvent{"BOOKMARK", bookmark}
	}
	f.watchers[collection] = append(f.watchers[collection], events)
	f.mu.Unlock()
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-events:
			f.answer(w, event)
			w.(http.Flusher).Flush()
		}
	}
}

// write creates, updates, patches or deletes an object.
func (f *fakeKCP) write(w http.ResponseWriter, r *http.Request, collection, workspace, name string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	obj := &unstructured.Unstructured{}
	known := f.objects[collection][workspace+"/"+name]
	switch r.Method {
	case http.MethodPatch:
		if known == nil {
			f.refuse(w, collection, name)
			return
		}
		before, _ := json.Marshal(known.Object)
		if body, err = patched(r.Header.Get("Content-Type"), before, body); err != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			f.answer(w, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false).Status())
			return
		}
	case http.MethodDelete:
		f.answer(w, metav1.Status{Status: metav1.StatusSuccess})
		return
	}
	if obj.Object, err = decode(body); err != nil {
		f.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	if r.Method == http.MethodPut && known != nil && obj.GetResourceVersion() != known.GetResourceVersion() {
		status := apierrors.NewConflict(schema.GroupResource{Resource: path.Base(collection)}, name, errors.New("it has changed")).Status()
		status.APIVersion, status.Kind = "v1", "Status"
		w.WriteHeader(http.StatusConflict)
		f.answer(w, status)
		return
	}
	f.store(collection, workspace, obj)
	f.answer(w, obj.Object)
}

// patched applies a patch of either type.
func patched(contentType string, before, patch []byte) ([]byte, error) {
	if contentType != string(types.JSONPatchType) {
		return jsonpatch.MergePatch(before, patch)
	}
	operations, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, err
	}
	return operations.Apply(before)
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

func (f *fakeKCP) answer(w http.ResponseWriter, body any) {
	if err := json.NewEncoder(w).Encode(body); err != nil {
		f.t.Log(err) // the client has gone
	}
}

// refuse answers that there is no such object, and names it.
func (f *fakeKCP) refuse(w http.ResponseWriter, collection, name string) {
	apiVersion, _ := typeOf(collection)
	group, _, isNamed := strings.Cut(apiVersion, "/")
	if !isNamed {
		group = ""
	}
	status := apierrors.NewNotFound(schema.GroupResource{Group: group, Resource: path.Base(collection)}, name).Status()
	status.APIVersion, status.Kind = "v1", "Status"
	w.WriteHeader(http.StatusNotFound)
	f.answer(w, status)
}
