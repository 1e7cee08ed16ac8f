package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

const (
	providerPath = "/clusters/root:tmc"
	consumerPath = "/clusters/root:team-a"
	// virtualPath is where the export's virtual workspace is.
	virtualPath = "/services/apiexport/x/tmc.kcp.io/clusters/*"
)

// fakeKCP serves objects by their path, as kcp does: a workspace, or a virtual one, is
// the beginning of it. What is read through the virtual workspace lies there.
type fakeKCP struct {
	t   *testing.T
	url string

	mutex   sync.Mutex
	objects map[string]*unstructured.Unstructured
	// forbidden are beginnings of paths.
	forbidden []string
	writes    []string
	// onGet is called before an object or a list is read.
	onGet func(path string)
	// keepsDeleted leaves objects that are deleted, with the time.
	keepsDeleted bool
	// gitVersion is what it says of its version, tokens how many it has given.
	gitVersion string
	tokens     int
}

// newFakeKCP starts a fake that has nothing but where the virtual workspace is, and has
// the kubeconfig point at the consumer's workspace.
func newFakeKCP(t *testing.T) *fakeKCP {
	t.Helper()
	fake := &fakeKCP{t: t, gitVersion: "v1.35.1+kcp-v0.31.2", objects: map[string]*unstructured.Unstructured{}, onGet: func(string) {}}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	fake.url = server.URL
	fake.add(providerPath+"/apis/apis.kcp.io/v1alpha1/apiexportendpointslices", fmt.Sprintf(`
metadata: {name: tmc.kcp.io}
status: {endpoints: [{url: "%s"}]}`, server.URL+strings.TrimSuffix(virtualPath, "/clusters/*")))
	fake.pointAt(consumerPath)
	return fake
}

// pointAt has the kubeconfig point at a path of the fake.
func (f *fakeKCP) pointAt(path string) {
	f.t.Helper()
	kubeconfig := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, namespace: shop}}],
  clusters: [{name: c, cluster: {server: "%s"}}]}`, f.url+path)
	file := filepath.Join(f.t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.t.Setenv("KUBECONFIG", file)
}

// add stores objects, in YAML, in the collection at the path.
func (f *fakeKCP) add(collection string, objects ...string) {
	f.t.Helper()
	for _, text := range objects {
		obj := yamltest.Object(f.t, text)
		obj.SetAPIVersion(versionOf(collection))
		obj.SetKind(kindOf(collection))
		path := collection
		if namespace := obj.GetNamespace(); namespace != "" {
			at := strings.LastIndex(collection, "/")
			path = collection[:at] + "/namespaces/" + namespace + collection[at:]
		}
		f.mutex.Lock()
		f.objects[path+"/"+obj.GetName()] = obj
		f.mutex.Unlock()
	}
}

// versionOf is the group and version in the path of a collection.
func versionOf(collection string) string {
	elements := strings.Split(collection, "/")
	if at := slices.Index(elements, "api"); at > 0 {
		return elements[at+1]
	}
	at := slices.Index(elements, "apis")
	return elements[at+1] + "/" + elements[at+2]
}

func kindOf(collection string) string {
	for _, resource := range resources[versionOf(collection)] {
		if strings.HasSuffix(collection, "/"+resource.Name) {
			return resource.Kind
		}
	}
	return ""
}

// remove takes an object away.
func (f *fakeKCP) remove(path string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	delete(f.objects, path)
}

// resources are what every workspace serves.
var resources = map[string][]metav1.APIResource{
	"v1":                   {{Name: "configmaps", Kind: "ConfigMap", Namespaced: true, ShortNames: []string{"cm"}}, {Name: "events", Kind: "Event", Namespaced: true}, {Name: "namespaces", Kind: "Namespace"}, {Name: "serviceaccounts", Kind: "ServiceAccount", Namespaced: true}},
	"apps/v1":              {{Name: "deployments", Kind: "Deployment", Namespaced: true, ShortNames: []string{"deploy"}}, {Name: "statefulsets", Kind: "StatefulSet", Namespaced: true}, {Name: "daemonsets", Kind: "DaemonSet", Namespaced: true}},
	"batch/v1":             {{Name: "jobs", Kind: "Job", Namespaced: true}, {Name: "cronjobs", Kind: "CronJob", Namespaced: true}},
	"tmc.kcp.io/v1alpha1":  {{Name: "clusterregistrations", Kind: "ClusterRegistration"}},
	"apis.kcp.io/v1alpha1": {{Name: "apiexportendpointslices", Kind: "APIExportEndpointSlice"}, {Name: "apiresourceschemas", Kind: "APIResourceSchema"}},
	"apis.kcp.io/v1alpha2": {{Name: "apibindings", Kind: "APIBinding"}, {Name: "apiexports", Kind: "APIExport"}},
	"rbac.authorization.k8s.io/v1": {{Name: "clusterroles", Kind: "ClusterRole"}, {Name: "clusterrolebindings", Kind: "ClusterRoleBinding"},
		{Name: "roles", Kind: "Role", Namespaced: true}, {Name: "rolebindings", Kind: "RoleBinding", Namespaced: true}},
	"core.kcp.io/v1alpha1":    {{Name: "logicalclusters", Kind: "LogicalCluster"}},
	"coordination.k8s.io/v1":  {{Name: "leases", Kind: "Lease", Namespaced: true}},
	"networking.k8s.io/v1":    {{Name: "ingresses", Kind: "Ingress", Namespaced: true}},
	"autoscaling/v2":          {{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Namespaced: true}},
	"policy/v1":               {{Name: "poddisruptionbudgets", Kind: "PodDisruptionBudget", Namespaced: true}},
	"custom.example.com/v1a1": {{Name: "widgets", Kind: "Widget", Namespaced: true}, {Name: "gears", Kind: "Gear", Namespaced: true}, {Name: "gears/status", Kind: "Gear", Namespaced: true}},
}

// ServeHTTP implements http.Handler.
func (f *fakeKCP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if r.Method == http.MethodGet {
		f.onGet(path)
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, forbidden := range f.forbidden {
		if strings.HasPrefix(path, forbidden) {
			f.fail(w, http.StatusForbidden, metav1.StatusReasonForbidden, path)
			return
		}
	}
	workspace := ""
	for _, candidate := range []string{providerPath, consumerPath, virtualPath, "/clusters/ws-b"} {
		if strings.HasPrefix(path, candidate+"/") {
			workspace = candidate
		}
	}
	if workspace == "" {
		http.NotFound(w, r)
		return
	}
	if f.discover(w, strings.TrimPrefix(path, workspace)) {
		return
	}
	f.serveObjects(w, r)
}

// discover answers what is asked for to learn of resources.
func (f *fakeKCP) discover(w http.ResponseWriter, path string) bool {
	version := strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/")
	switch {
	case path == "/api":
		f.answer(w, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	case path == "/version":
		f.answer(w, map[string]string{"gitVersion": f.gitVersion})
	case path == "/apis":
		groups := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
		for _, version := range slices.Sorted(maps.Keys(resources)) {
			if group, only, isGroup := strings.Cut(version, "/"); isGroup {
				discovered := metav1.GroupVersionForDiscovery{GroupVersion: version, Version: only}
				groups.Groups = append(groups.Groups, metav1.APIGroup{Name: group, Versions: []metav1.GroupVersionForDiscovery{discovered}, PreferredVersion: discovered})
			}
		}
		f.answer(w, groups)
	case resources[version] != nil:
		list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: version}
		for _, resource := range resources[version] {
			resource.Verbs = metav1.Verbs{"get", "list"}
			list.APIResources = append(list.APIResources, resource)
		}
		f.answer(w, list)
	default:
		return false
	}
	return true
}

// serveObjects answers requests for objects.
func (f *fakeKCP) serveObjects(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	obj, found := f.objects[path]
	isCollection := slices.ContainsFunc(slices.Concat(slices.Collect(maps.Values(resources))...), func(resource metav1.APIResource) bool {
		return strings.HasSuffix(path, "/"+resource.Name)
	}) || slices.Contains(listedToo, filepath.Base(path))
	switch {
	case r.Method == http.MethodGet && isCollection:
		f.list(w, r)
	case r.Method == http.MethodPost:
		f.create(w, r)
	case !found:
		f.fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, path)
	case r.Method == http.MethodGet:
		f.answer(w, obj)
	case r.Method == http.MethodPatch:
		f.patch(w, r, obj)
	case r.Method == http.MethodPut:
		f.update(w, r)
	case r.Method == http.MethodDelete:
		f.writes = append(f.writes, "DELETE "+path)
		if f.keepsDeleted {
			obj.SetDeletionTimestamp(new(metav1.Now()))
		} else {
			delete(f.objects, path)
		}
		f.answer(w, obj)
	default:
		http.Error(w, r.Method, http.StatusMethodNotAllowed)
	}
}

// listedToo are resources that are listed, and that nobody discovers.
var listedToo = []string{"apiexports", "clusterroles"}

// create makes an object, or a token of an account.
func (f *fakeKCP) create(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		f.tokens++
		f.answer(w, map[string]any{"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "status": map[string]any{
			"token": fmt.Sprintf("token-%d", f.tokens), "expirationTimestamp": "2026-01-02T03:04:05Z",
		}})
		return
	}
	obj := &unstructured.Unstructured{}
	if err := json.NewDecoder(r.Body).Decode(&obj.Object); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	path := r.URL.Path + "/" + obj.GetName()
	f.objects[path] = obj
	f.writes = append(f.writes, "POST "+path)
	if obj.GetKind() == "APIExport" { // kcp's controllers
		obj.Object["status"] = map[string]any{"identityHash": "hash", "conditions": []any{map[string]any{"type": "IdentityValid", "status": "True"}}}
		slice := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIExportEndpointSlice", "metadata": map[string]any{"name": obj.GetName()},
		}}
		f.objects[providerPath+"/apis/apis.kcp.io/v1alpha1/apiexportendpointslices/"+obj.GetName()] = slice
	}
	f.answer(w, obj)
}

func (f *fakeKCP) update(w http.ResponseWriter, r *http.Request) {
	obj := &unstructured.Unstructured{}
	if err := json.NewDecoder(r.Body).Decode(&obj.Object); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.objects[r.URL.Path] = obj
	f.writes = append(f.writes, "PUT "+r.URL.Path)
	f.answer(w, obj)
}

func (f *fakeKCP) patch(w http.ResponseWriter, r *http.Request, obj *unstructured.Unstructured) {
	var patch json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	before, _ := json.Marshal(obj.Object)
	after, err := jsonpatch.MergePatch(before, patch)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	obj.Object = map[string]any{}
	_ = json.Unmarshal(after, &obj.Object)
	f.writes = append(f.writes, "PATCH "+r.URL.Path+" "+string(patch))
	f.answer(w, obj)
}

// list lists what is at the path, or in any namespace, and is selected.
func (f *fakeKCP) list(w http.ResponseWriter, r *http.Request) {
	selector, _ := labels.Parse(r.URL.Query().Get("labelSelector"))
	at := strings.LastIndex(r.URL.Path, "/")
	base, resource := r.URL.Path[:at], r.URL.Path[at:]
	list := map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}, "items": []any{}}
	items := []any{}
	for _, path := range slices.Sorted(maps.Keys(f.objects)) {
		rest, isBelow := strings.CutPrefix(path, base+"/")
		isIn := strings.HasPrefix("/"+rest, resource+"/") || strings.HasPrefix(rest, "namespaces/") && strings.Contains("/"+rest, resource+"/")
		if isBelow && isIn && selector.Matches(labels.Set(f.objects[path].GetLabels())) {
			items = append(items, f.objects[path].Object)
		}
	}
	list["items"] = items
	f.answer(w, list)
}

func (f *fakeKCP) answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeKCP) fail(w http.ResponseWriter, code int32, reason metav1.StatusReason, path string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(code))
	f.answer(w, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: code, Reason: reason, Message: string(reason) + " " + path,
		Details: &metav1.StatusDetails{Kind: "things", Name: filepath.Base(path)},
	})
}

// takeWrites returns the writes since the last call.
func (f *fakeKCP) takeWrites() []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	writes := f.writes
	f.writes = nil
	return writes
}

const (
	registrations = providerPath + "/apis/tmc.kcp.io/v1alpha1/clusterregistrations"
	leases        = providerPath + "/apis/coordination.k8s.io/v1/leases"
	deployments   = "/apis/apps/v1/deployments"
	configMaps    = "/api/v1/configmaps"
)

// cluster is a registration in YAML.
func cluster(name, ready, spec string) string {
	return fmt.Sprintf(`
apiVersion: tmc.kcp.io/v1alpha1
kind: ClusterRegistration
metadata: {name: %s, uid: u-%s}
spec: {%s}
status: {conditions: [{type: Ready, status: "%s"}]}`, name, name, spec, ready)
}

// on is the metadata of an object that is on a cluster, in YAML.
func on(workspace, name, cluster string) string {
	return fmt.Sprintf(`
metadata:
  name: %s
  namespace: shop
  labels: {cluster.tmc.kcp.io/%s: sync}
  annotations: {kcp.io/cluster: %s}`, name, cluster, workspace)
}

// run runs the plugin, quickly where it waits, and returns what it printed.
func run(t *testing.T, args ...string) (out, progress string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := newCommand()
	command.SetArgs(args)
	command.SetOut(&stdout)
	command.SetErr(&stderr)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = command.ExecuteContext(ctx)
	return stdout.String(), stderr.String(), err
}

// twoClusters has east, with two workloads, and west, with one, of two workspaces.
func twoClusters(t *testing.T) *fakeKCP {
	t.Helper()
	kcp := newFakeKCP(t)
	kcp.add(registrations, cluster("west", "Unknown", "unschedulable: true, location: eu"), cluster("east", "True", `transform: {namespacePrefix: k-}`))
	kcp.add(leases, fmt.Sprintf("{metadata: {name: east, namespace: tmc-heartbeats}, spec: {renewTime: %q}}", time.Now().Add(-5*time.Second).UTC().Format("2006-01-02T15:04:05.000000Z")))
	kcp.add(virtualPath+deployments, on("ws-b", "web", "east"), on("ws-a", "api", "east"), on("ws-a", "db", "west"))
	kcp.add(virtualPath+configMaps, on("ws-a", "settings", "east"), "{metadata: {name: old, namespace: shop, annotations: {kcp.io/cluster: ws-a}, finalizers: [syncer.tmc.kcp.io/east]}}")
	kcp.add(virtualPath+"/apis/apis.kcp.io/v1alpha2/apibindings", "{metadata: {name: tmc, annotations: {kcp.io/cluster: ws-a, kcp.io/path: 'root:team-a'}}}")
	kcp.add("/clusters/ws-b/apis/core.kcp.io/v1alpha1/logicalclusters", "{metadata: {name: cluster, annotations: {kcp.io/path: 'root:team-b'}}}")
	return kcp
}
