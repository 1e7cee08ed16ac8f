package install

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// fakeKCP serves what the package asks a kcp for: objects by workspace, discovery of
// what is bound, and what kcp's controllers write. It counts writes.
type fakeKCP struct {
	t *testing.T
	// forbidden are "<verb> <workspace>/<resource>" that are denied, with "*" as verb.
	forbidden map[string]bool
	// workspaces are those that there are.
	workspaces map[string]bool
	// react is called with each object that is written, after what kcp does itself.
	react func(workspace string, object *unstructured.Unstructured)

	// url is its own.
	url string
	// gitVersion is what it says of its version.
	gitVersion string

	mutex   sync.Mutex
	objects map[string]*unstructured.Unstructured
	writes  []string
	version int
	tokens  int
	// owners are the UIDs of the accounts that tokens are for.
	owners map[string]types.UID
}

// newFakeKCP starts a fake with the workspaces root and root:team-a, and returns it with
// a configuration that points at the named workspace.
func newFakeKCP(t *testing.T, workspace string) (*fakeKCP, *rest.Config) {
	t.Helper()
	fake := &fakeKCP{
		t:          t,
		forbidden:  map[string]bool{},
		workspaces: map[string]bool{"root": true, "root:team-a": true},
		objects:    map[string]*unstructured.Unstructured{},
		owners:     map[string]types.UID{},
		react:      func(string, *unstructured.Unstructured) {},
		gitVersion: "v1.35.1+kcp-v0.31.0",
	}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	fake.url = server.URL
	config := &rest.Config{Host: server.URL}
	if workspace != "" {
		config.Host += clustersPath + workspace
	}
	return fake, config
}

// takeWrites returns the writes since the last call.
func (f *fakeKCP) takeWrites() []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	writes := f.writes
	f.writes = nil
	return writes
}

// change edits a stored object behind the program's back.
func (f *fakeKCP) change(workspace, resource, name string, edit func(fields map[string]any)) {
	f.t.Helper()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	object, ok := f.objects[strings.Join([]string{workspace, resource, name}, "/")]
	if !ok {
		f.t.Fatalf("workspace %s has no %s %s", workspace, resource, name)
	}
	edit(object.Object)
}

// store puts a typed object into a workspace.
func (f *fakeKCP) store(workspace, resource string, object metav1.Object) {
	f.t.Helper()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.objects[strings.Join([]string{workspace, resource, object.GetName()}, "/")] = encode(object)
}

// stored returns the content of an object, nil when there is none.
func (f *fakeKCP) stored(workspace, resource, name string) map[string]any {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	object, ok := f.objects[strings.Join([]string{workspace, resource, name}, "/")]
	if !ok {
		return nil
	}
	return object.DeepCopy().Object
}

// remove takes an object of the provider away behind the program's back.
func (f *fakeKCP) remove(resource, name string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	delete(f.objects, strings.Join([]string{"root:tmc", resource, name}, "/"))
}

// request is a parsed request.
type request struct{ verb, workspace, namespace, resource, name, subresource string }

// key is what the object is stored by: what is in a namespace has it before its name.
func (r request) key() string {
	return strings.Join([]string{r.workspace, r.resource, path.Join(r.namespace, r.name)}, "/")
}

// ServeHTTP answers like kcp.
func (f *fakeKCP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if export, isView := strings.CutPrefix(r.URL.Path, "/services/apiexport/"); isView {
		f.listBound(w, strings.TrimSuffix(export, "/clusters/*/apis/apis.kcp.io/v1alpha2/apibindings"))
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, clustersPath)
	if !ok {
		http.NotFound(w, r)
		return
	}
	workspace, rest, _ := strings.Cut(rest, "/")
	parts := strings.Split(rest, "/")
	switch {
	case rest == "api":
		answer(w, 200, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
	case rest == "version" && f.isRevoked(r):
		answer(w, http.StatusUnauthorized, metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonUnauthorized, Code: http.StatusUnauthorized,
		})
	case rest == "version":
		answer(w, 200, map[string]any{"major": "1", "minor": "35", "gitVersion": f.gitVersion})
	case rest == "apis":
		answer(w, 200, f.groups(workspace))
	case rest == "api/v1":
		answer(w, 200, f.resources(workspace, "", "v1"))
	case len(parts) == 3 && parts[0] == "apis":
		answer(w, 200, f.resources(workspace, parts[1], parts[2]))
	default:
		f.serveObject(w, r, requestFor(r.Method, workspace, parts))
	}
}

// requestFor parses apis/<group>/<version>/[namespaces/<namespace>/]<resource>[/<name>],
// and the same below api/<version>.
func requestFor(method, workspace string, parts []string) request {
	if parts[0] == "api" {
		parts = parts[2:]
	} else {
		parts = parts[3:]
	}
	namespace := ""
	if parts[0] == "namespaces" && len(parts) > 2 {
		namespace, parts = parts[1], parts[2:]
	}
	verb := map[string]string{
		http.MethodGet: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
	}[method]
	parts = append(parts, "", "")
	return request{verb, workspace, namespace, parts[0], parts[1], parts[2]}
}

func (f *fakeKCP) serveObject(w http.ResponseWriter, r *http.Request, req request) {
	target := req.workspace + "/" + req.resource
	if !f.workspaces[req.workspace] || f.forbidden[req.verb+" "+target] || f.forbidden["* "+target] {
		status(w, http.StatusForbidden, metav1.StatusReasonForbidden, req)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	switch {
	case req.verb == "get" && req.name == "":
		f.list(w, r, req)
	case req.verb == "get":
		f.get(w, req)
	case req.subresource == "token":
		f.token(w, req, body)
	case req.verb == "patch":
		f.patch(w, req, body)
	case req.verb == "delete":
		f.delete(w, req)
	default:
		f.write(w, req, body)
	}
}

func (f *fakeKCP) get(w http.ResponseWriter, req request) {
	object, ok := f.objects[req.key()]
	if !ok {
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, req)
		return
	}
	answer(w, 200, object.Object)
}

// token gives a token that no other one is like.
func (f *fakeKCP) token(w http.ResponseWriter, req request, body []byte) {
	var asked authenticationv1.TokenRequest
	if err := json.Unmarshal(body, &asked); err != nil {
		f.t.Error(err)
	}
	if _, ok := f.objects[req.key()]; !ok {
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, req)
		return
	}
	if len(asked.Spec.Audiences) == 0 {
		asked.Spec.Audiences = []string{"https://kcp.example.com"}
	}
	if req.name == v1alpha1.PathReader {
		answer(w, http.StatusCreated, asked)
		return
	}
	f.tokens++
	f.owners[fmt.Sprintf("token-%d", f.tokens)] = f.objects[req.key()].GetUID()
	asked.Status.Token = fmt.Sprintf("token-%d", f.tokens)
	asked.Status.ExpirationTimestamp = metav1.NewTime(tokenEpoch.Add(time.Duration(*asked.Spec.ExpirationSeconds) * time.Second))
	answer(w, http.StatusCreated, asked)
}

// isRevoked reports whether a request bears a token of an account that is gone.
func (f *fakeKCP) isRevoked(r *http.Request) bool {
	uid, isToken := f.owners[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	for _, object := range f.objects {
		if object.GetUID() == uid {
			return false
		}
	}
	return isToken
}

// tokenEpoch is when tokens are given.
var tokenEpoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (f *fakeKCP) patch(w http.ResponseWriter, req request, body []byte) {
	object, ok := f.objects[req.key()]
	if !ok {
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, req)
		return
	}
	before, err := json.Marshal(object.Object)
	if err != nil {
		f.t.Error(err)
	}
	after, err := jsonpatch.MergePatch(before, body)
	if err != nil {
		f.t.Error(err)
	}
	if err := object.UnmarshalJSON(after); err != nil {
		f.t.Error(err)
	}
	f.wrote(req, string(body))
	answer(w, 200, object.Object)
}

func (f *fakeKCP) delete(w http.ResponseWriter, req request) {
	if _, ok := f.objects[req.key()]; !ok {
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, req)
		return
	}
	delete(f.objects, req.key())
	f.wrote(req, "")
	answer(w, 200, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess})
}

// wrote notes a write.
func (f *fakeKCP) wrote(req request, what string) {
	f.writes = append(f.writes, strings.TrimSpace(fmt.Sprintf("%s %s %s/%s %s", req.verb, req.workspace, req.resource, path.Join(req.namespace, req.name), what)))
}

// listBound answers as the virtual workspace of an export, whose bindings it shows: and all others of their workspaces, where
// the export claims bindings.
func (f *fakeKCP) listBound(w http.ResponseWriter, export string) {
	binds := func(object *unstructured.Unstructured) bool {
		return fieldOf(object.Object, "spec", "reference", "export", "name") == export
	}
	bound := sets.New[string]()
	for key, object := range f.objects {
		if workspace, _, isBinding := strings.Cut(key, "/apibindings/"); isBinding && binds(object) {
			bound.Insert(workspace)
		}
	}
	items := []any{}
	for key, object := range f.objects {
		workspace, name, isBinding := strings.Cut(key, "/apibindings/")
		if isBinding && (binds(object) || export == v1alpha1.APIExportName && bound.Has(workspace)) {
			shown := object.DeepCopy()
			shown.SetName(name)
			shown.SetAnnotations(map[string]string{"kcp.io/path": workspace, "kcp.io/cluster": workspace})
			items = append(items, shown.Object)
		}
	}
	answer(w, 200, map[string]any{"apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBindingList", "metadata": map[string]any{}, "items": items})
}

func (f *fakeKCP) list(w http.ResponseWriter, r *http.Request, req request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		f.t.Error(err)
	}
	items := []any{}
	for key, object := range f.objects {
		if strings.HasPrefix(key, req.workspace+"/"+req.resource+"/") && selector.Matches(labels.Set(object.GetLabels())) {
			items = append(items, object.Object)
		}
	}
	answer(w, 200, map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}, "items": items})
}

func (f *fakeKCP) write(w http.ResponseWriter, req request, body []byte) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(body); err != nil {
		f.t.Error(err)
	}
	req.name = object.GetName()
	existing, exists := f.objects[req.key()]
	switch {
	case req.verb == "create" && exists:
		status(w, http.StatusConflict, metav1.StatusReasonAlreadyExists, req)
		return
	case req.verb == "update" && object.GetResourceVersion() != existing.GetResourceVersion():
		status(w, http.StatusConflict, metav1.StatusReasonConflict, req)
		return
	}
	f.version++
	object.SetResourceVersion(strconv.Itoa(f.version))
	if req.resource == "serviceaccounts" && !exists {
		object.SetUID(types.UID(fmt.Sprintf("uid-%d", f.version)))
	}
	f.objects[req.key()] = object
	f.wrote(req, "")
	f.reconcile(req.workspace, object)
	f.react(req.workspace, object)
	if object.GetDeletionTimestamp() != nil && len(object.GetFinalizers()) == 0 {
		delete(f.objects, req.key())
	}
	answer(w, 200, object.Object)
}

// reconcile writes what kcp's controllers do.
func (f *fakeKCP) reconcile(workspace string, object *unstructured.Unstructured) {
	switch object.GetKind() {
	case "Workspace":
		f.workspaces[workspace+":"+object.GetName()] = true
		set(f.t, object, map[string]any{"phase": "Ready"}, "status")
	case "APIExport":
		set(f.t, object, logicalName(workspace), "metadata", "annotations", "kcp.io/cluster")
		set(f.t, object, map[string]any{
			"identityHash": "hash",
			"conditions":   []any{map[string]any{"type": "IdentityValid", "status": "True"}},
		}, "status")
		key := workspace + "/apiexportendpointslices/" + object.GetName()
		f.objects[key] = endpointSlice(f.url, object.GetName())
	case "APIBinding":
		f.bind(object)
	case "CustomResourceDefinition":
		f.define(object)
	}
}

// endpointSlice says where an export's virtual workspace is.
func endpointSlice(url, export string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIExportEndpointSlice", "metadata": map[string]any{"name": export},
		"status": map[string]any{"endpoints": []any{map[string]any{"url": url + "/services/apiexport/" + export}}},
	}}
}

// logicalName is the name of the logical cluster of a workspace.
func logicalName(workspace string) string {
	return "logical-" + strings.ReplaceAll(workspace, ":", "-")
}

// define fills in what an API server does, and says that the kind is served.
func (f *fakeKCP) define(definition *unstructured.Unstructured) {
	set(f.t, definition, map[string]any{"strategy": "None"}, "spec", "conversion")
	set(f.t, definition, []any{
		map[string]any{"type": "NamesAccepted", "status": "True"},
		map[string]any{"type": "Established", "status": "True"},
	}, "status", "conditions")
}

// bind binds the resources of the export that the binding refers to.
func (f *fakeKCP) bind(binding *unstructured.Unstructured) {
	provider, _, _ := unstructured.NestedString(binding.Object, "spec", "reference", "export", "path")
	name, _, _ := unstructured.NestedString(binding.Object, "spec", "reference", "export", "name")
	export, ok := f.objects[provider+"/apiexports/"+name]
	if !ok {
		return
	}
	var boundResources, conditions []any
	resources, _, _ := unstructured.NestedSlice(export.Object, "spec", "resources")
	for _, resource := range resources {
		fields := resource.(map[string]any)
		boundResources = append(boundResources, map[string]any{"group": fields["group"], "resource": fields["name"]})
	}
	for _, conditionType := range []string{"APIExportValid", "InitialBindingCompleted", "BindingUpToDate", "PermissionClaimsApplied"} {
		conditions = append(conditions, map[string]any{"type": conditionType, "status": "True"})
	}
	accepted, _, _ := unstructured.NestedSlice(binding.Object, "spec", "permissionClaims")
	asked, _, _ := unstructured.NestedSlice(export.Object, "spec", "permissionClaims")
	set(f.t, binding, map[string]any{
		"phase": "Bound", "boundResources": boundResources, "conditions": conditions,
		"appliedPermissionClaims": accepted, "exportPermissionClaims": asked,
		"apiExportClusterName": logicalName(provider),
	}, "status")
}

// served returns the resources that bindings and definitions have brought into
// a workspace.
func (f *fakeKCP) served(workspace string) []map[string]any {
	var result []map[string]any
	for key, object := range f.objects {
		switch {
		case strings.HasPrefix(key, workspace+"/apibindings/"):
			resources, _, _ := unstructured.NestedSlice(object.Object, "status", "boundResources")
			for _, resource := range resources {
				result = append(result, resource.(map[string]any))
			}
		case strings.HasPrefix(key, workspace+"/customresourcedefinitions/"):
			spec := object.Object["spec"].(map[string]any)
			result = append(result, map[string]any{"group": spec["group"], "resource": spec["names"].(map[string]any)["plural"]})
		}
	}
	return result
}

func (f *fakeKCP) groups(workspace string) map[string]any {
	groups := []any{}
	known := map[any]bool{"": true}
	for _, resource := range f.served(workspace) {
		if known[resource["group"]] {
			continue
		}
		known[resource["group"]] = true
		version := map[string]any{"groupVersion": fmt.Sprint(resource["group"], "/v1"), "version": "v1"}
		groups = append(groups, map[string]any{"name": resource["group"], "versions": []any{version}, "preferredVersion": version})
	}
	return map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
}

func (f *fakeKCP) resources(workspace, group, version string) map[string]any {
	resources := []any{}
	if group == "" {
		resources = append(resources, map[string]any{"name": "namespaces", "namespaced": false, "kind": "Namespace", "verbs": []any{"list"}})
	}
	for _, resource := range f.served(workspace) {
		if resource["group"] == group {
			resources = append(resources, map[string]any{"name": resource["resource"], "namespaced": true, "kind": "X", "verbs": []any{"list"}})
		}
	}
	groupVersion := schema.GroupVersion{Group: group, Version: version}.String()
	return map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": groupVersion, "resources": resources}
}

// set sets a field of an object.
func set(t *testing.T, object *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(object.Object, value, path...); err != nil {
		t.Error(err, reflect.TypeOf(value))
	}
}

// answer writes a JSON answer.
func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

// status answers with an error as API servers do.
func status(w http.ResponseWriter, code int, reason metav1.StatusReason, req request) {
	answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason,
		Message: fmt.Sprintf("%s %q: %s", req.resource, req.name, reason),
		Details: &metav1.StatusDetails{Kind: req.resource, Name: req.name},
	})
}
