package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
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
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/explain"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

// app is the namespace that the cases are about, of workspaces and of the cluster alike.
const app = "app"

// fakeKCP has objects, which its caches show unless they are unseen.
type fakeKCP struct {
	objects map[kcp.ObjectKey]*unstructured.Unstructured
	// unseen are those that the caches do not show.
	unseen map[kcp.ObjectKey]bool
	// unread has the caches still be reading.
	unread bool
	// liveErr, pathErr and patchErr are what comes of requests.
	liveErr, pathErr, patchErr error
	// conflict is what somebody does before a patch, which is refused for that. It reports whether it did anything.
	conflict func() bool
	patches  []string
	// onChange is told of patches.
	onChange upstream.Handler
}

func (f *fakeKCP) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
func (f *fakeKCP) HasSynced() bool                          { return !f.unread }
func (f *fakeKCP) HasRead(schema.GroupVersionResource) bool { return !f.unread }

func (f *fakeKCP) Resources() map[schema.GroupVersionResource]kcp.Resource {
	return map[schema.GroupVersionResource]kcp.Resource{
		deployments: {GroupVersionResource: deployments, Namespaced: true, HasStatus: true}, configMaps: {GroupVersionResource: configMaps, Namespaced: true},
	}
}

func (f *fakeKCP) Cached(key kcp.ObjectKey) *unstructured.Unstructured {
	if f.unseen[key] {
		return nil
	}
	return f.objects[key]
}

func (f *fakeKCP) Each(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key := range f.objects {
		if obj := f.Cached(key); obj != nil {
			visit(key, obj)
		}
	}
}

func (f *fakeKCP) EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	f.Each(func(key kcp.ObjectKey, obj *unstructured.Unstructured) {
		if key.Workspace == workspace && key.Namespace == namespace {
			visit(key, obj)
		}
	})
}

func (f *fakeKCP) Live(_ context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error) {
	return f.objects[key], f.liveErr
}

func (f *fakeKCP) ToldPath(context.Context, logicalcluster.Name) (string, error) {
	return "root:shop", f.pathErr
}

func (f *fakeKCP) Patch(_ context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, _ ...string) (*unstructured.Unstructured, error) {
	f.patches = append(f.patches, string(patch))
	oldObj := f.objects[key]
	if f.patchErr != nil {
		return nil, f.patchErr
	}
	if f.conflict != nil && f.conflict() {
		return nil, apierrors.NewConflict(key.Resource.GroupResource(), key.Name, errors.New("the object has been modified"))
	}
	data, err := json.Marshal(oldObj)
	if err != nil {
		return nil, err
	}
	if patchType == types.JSONPatchType {
		operations, err := jsonpatch.DecodePatch(patch)
		if err != nil {
			return nil, err
		}
		if data, err = operations.Apply(data); err != nil {
			return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
		}
	} else if data, err = jsonpatch.MergePatch(data, patch); err != nil {
		return nil, err
	}
	newObj := &unstructured.Unstructured{}
	if err := newObj.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	f.objects[key] = newObj
	if f.onChange != nil {
		f.onChange(key, oldObj, newObj)
	}
	return newObj, nil
}

// fakeCluster has objects, by resource, namespace and name, and heeds the preconditions that an API server does. Syncers of it
// are as several processes are.
type fakeCluster struct {
	mu sync.Mutex
	// version is how many objects have been stored.
	version int
	objects map[string]*unstructured.Unstructured
	// calls are the requests, such as "apply deployments app/web".
	calls []string
	// errs are what comes of requests, by call.
	errs map[string]error
	// between is the last object of which it was changed who owns what.
	between *unstructured.Unstructured
	// refusals are what comes of the next applies, nil for nothing.
	refusals []error
	// beforeApply, if set, is called once, before an apply is judged.
	beforeApply func()
	// left and inside are what leftBehind and anythingIn find.
	left, inside string
	// versioned are what versions returns, by resource and namespace.
	versioned map[string]string
}

func nameIn(resource schema.GroupVersionResource, namespace, name string) string {
	return resource.Resource + " " + namespace + "/" + name
}

func newFakeCluster(objects ...*unstructured.Unstructured) *fakeCluster {
	c := &fakeCluster{objects: map[string]*unstructured.Unstructured{}, errs: map[string]error{}}
	for _, obj := range objects {
		c.store(obj)
	}
	return c
}

// resourceOf returns the resource of an object of a test.
func resourceOf(obj *unstructured.Unstructured) schema.GroupVersionResource {
	return map[string]schema.GroupVersionResource{
		"Deployment": deployments, "ConfigMap": configMaps, "Namespace": v1alpha1.NamespacesResource,
		"StatefulSet": deployments, // what is known of the kind goes by its name
	}[obj.GetKind()]
}

// store stores an object, as applied by us unless its managedFields say otherwise.
func (c *fakeCluster) store(obj *unstructured.Unstructured) *unstructured.Unstructured {
	c.version++
	stored := obj.DeepCopy()
	if stored.GetManagedFields() == nil {
		ownedBy(stored, v1alpha1.FieldManager)
	}
	if stored.GetUID() == "" {
		stored.SetUID(types.UID("uid-of-" + stored.GetName()))
	}
	stored.SetResourceVersion(strconv.Itoa(100 + c.version))
	c.objects[nameIn(resourceOf(stored), stored.GetNamespace(), stored.GetName())] = stored
	return stored
}

func (c *fakeCluster) call(verb, name string) error {
	c.calls = append(c.calls, verb+" "+name)
	return c.errs[verb+" "+name]
}

// writes returns the calls that write.
func (c *fakeCluster) writes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.calls), func(call string) bool {
		return !strings.HasPrefix(call, "apply") && !strings.HasPrefix(call, "remove") && !strings.HasPrefix(call, "own")
	})
}

func (c *fakeCluster) live(_ context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.call("live", nameIn(resource, namespace, name)); err != nil {
		return nil, err
	}
	obj := c.objects[nameIn(resource, namespace, name)]
	if obj != nil {
		obj = obj.DeepCopy()
		transform.KeepOwnMarks(obj)
	}
	return obj, nil
}

func (c *fakeCluster) liveNamespace(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	return c.live(ctx, v1alpha1.NamespacesResource, "", name)
}

func (c *fakeCluster) apply(_ context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.beforeApply; before != nil {
		c.beforeApply = nil
		before()
	}
	name := nameIn(resource, desired.GetNamespace(), desired.GetName())
	if err := c.call("apply", name); err != nil {
		return nil, err
	}
	if len(c.refusals) > 0 {
		err := c.refusals[0]
		if c.refusals = c.refusals[1:]; err != nil {
			return nil, err
		}
	}
	present := c.objects[name]
	isOther := func(given, present string) bool { return given != "" && given != present }
	if present != nil && (isOther(desired.GetResourceVersion(), present.GetResourceVersion()) || isOther(string(desired.GetUID()), string(present.GetUID()))) {
		return nil, apierrors.NewConflict(resource.GroupResource(), desired.GetName(), errors.New("it has changed"))
	}
	namespace := desired.GetNamespace()
	if namespace != "" && c.objects[nameIn(v1alpha1.NamespacesResource, "", namespace)] == nil {
		return nil, apierrors.NewNotFound(v1alpha1.NamespacesResource.GroupResource(), namespace)
	}
	if present != nil {
		desired = desired.DeepCopy()
		desired.SetUID(present.GetUID())
	}
	return c.store(desired), nil
}

func (c *fakeCluster) setManagedFields(_ context.Context, resource schema.GroupVersionResource, live *unstructured.Unstructured, managedFields []metav1.ManagedFieldsEntry) (*unstructured.Unstructured, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := nameIn(resource, live.GetNamespace(), live.GetName())
	if err := c.call("own", name); err != nil {
		return nil, err
	}
	if present := c.objects[name]; present == nil || present.GetResourceVersion() != live.GetResourceVersion() {
		return nil, apierrors.NewConflict(resource.GroupResource(), live.GetName(), errors.New("it has changed"))
	}
	owned := live.DeepCopy()
	owned.SetManagedFields(managedFields)
	c.between = c.store(owned)
	return c.between, nil
}

func (c *fakeCluster) tryCreate(_ context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.call("try", nameIn(resource, desired.GetNamespace(), desired.GetName()))
}

func (c *fakeCluster) remove(
	_ context.Context, resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured, propagation metav1.DeletionPropagation,
) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, how := nameIn(resource, downstreamObj.GetNamespace(), downstreamObj.GetName()), ""
	if propagation != metav1.DeletePropagationBackground {
		how = " " + string(propagation)
	}
	if err := c.call("remove", name+how); err != nil {
		return err
	}
	if present := c.objects[name]; present != nil && present.GetUID() == downstreamObj.GetUID() {
		delete(c.objects, name)
	}
	return nil
}

func (c *fakeCluster) anythingIn(_ context.Context, namespace string) (string, error) {
	return c.inside, c.call("anythingIn", namespace)
}

func (c *fakeCluster) leftBehind(_ context.Context, namespace string) (string, error) {
	return c.left, c.call("leftBehind", namespace)
}

func (c *fakeCluster) versions(_ context.Context, resource schema.GroupVersionResource, namespace string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := resource.Resource + " " + namespace
	return c.versioned[call], c.call("versions", call)
}

// owner returns the workspace that owns the namespace app, empty when none does.
func (c *fakeCluster) owner() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	namespace := c.objects[nameIn(v1alpha1.NamespacesResource, "", app)]
	if namespace == nil {
		return ""
	}
	origin, _ := transform.OriginOf(namespace)
	return origin.Workspace
}

// fakeExplainer finds the causes that a case says, for who is asked about.
type fakeExplainer struct {
	asked map[kcp.ObjectKey]explain.Question
	found []protocol.Cause
	known bool
}

func (f *fakeExplainer) Run(ctx context.Context) { <-ctx.Done() }

func (f *fakeExplainer) Explain(key kcp.ObjectKey, question explain.Question) ([]protocol.Cause, bool) {
	f.asked[key] = question
	return f.found, f.known
}

func (f *fakeExplainer) IsAsked(key kcp.ObjectKey) bool {
	_, isAsked := f.asked[key]
	return isAsked
}

func (f *fakeExplainer) Forget(key kcp.ObjectKey) { delete(f.asked, key) }

// queue is a loop that remembers what it is asked for.
type queue[K comparable] struct {
	keys []K
	// begun, if set, is closed when the loop runs.
	begun chan struct{}
}

func (q *queue[K]) Enqueue(key K) { q.keys = append(q.keys, key) }

func (q *queue[K]) Run(ctx context.Context, _ int) {
	if q.begun != nil {
		close(q.begun)
	}
	<-ctx.Done()
}

// take returns what was asked for, and forgets it.
func (q *queue[K]) take() []K {
	keys := q.keys
	q.keys = nil
	return keys
}

// harness is a syncer with fakes around it.
type harness struct {
	*Syncer

	kcp             *fakeKCP
	cluster         *fakeCluster
	specs, statuses *queue[kcp.ObjectKey]
	namespaces      *queue[string]
	why             *fakeExplainer
	time            time.Time
}

// newHarness returns a syncer of the cluster east whose caches are empty, and read. Copies may come into the namespace app.
func newHarness(tb testing.TB, c *fakeCluster, mode v1alpha1.NamespaceMode) *harness {
	tb.Helper()
	h := newUnreadHarness(tb, c, mode)
	ctx, cancel := context.WithCancel(tb.Context())
	var running sync.WaitGroup
	for _, w := range append(slices.Collect(maps.Values(h.caches.all())), h.caches.namespaces, h.caches.autoscalers) {
		running.Go(func() { w.informer.RunWithContext(ctx) })
		for !w.informer.HasSynced() {
			time.Sleep(100 * time.Microsecond)
		}
	}
	cancel()
	running.Wait()
	return h
}

// newUnreadHarness is newHarness with caches of the cluster that have not been read.
func newUnreadHarness(tb testing.TB, c *fakeCluster, mode v1alpha1.NamespaceMode) *harness {
	tb.Helper()
	changes := &fanout{}
	config := Config{Cluster: "east", Export: v1alpha1.APIExportName, Rule: v1alpha1.TransformRule{NamespaceMode: mode}}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		v1alpha1.NamespacesResource: "NamespaceList", deployments: "DeploymentList", configMaps: "ConfigMapList", autoscalersResource: "HorizontalPodAutoscalerList",
	})
	caches, err := newCaches(config, client, changes)
	if err != nil {
		tb.Fatal(err)
	}
	for _, resource := range []schema.GroupVersionResource{deployments, configMaps} {
		if _, err := caches.watch(resource); err != nil {
			tb.Fatal(err)
		}
	}
	fake := &fakeKCP{objects: map[kcp.ObjectKey]*unstructured.Unstructured{}, unseen: map[kcp.ObjectKey]bool{}}
	h := &harness{
		Syncer: newSyncer(config, fake, c, caches), kcp: fake, cluster: c, time: time.Unix(1_000_000, 0),
		specs: &queue[kcp.ObjectKey]{}, statuses: &queue[kcp.ObjectKey]{}, namespaces: &queue[string]{},
	}
	h.why = &fakeExplainer{asked: map[kcp.ObjectKey]explain.Question{}}
	h.explainer = h.why
	h.Syncer.specs, h.Syncer.statuses, h.Syncer.namespaces = h.specs, h.statuses, h.namespaces
	h.now = func() time.Time { return h.time }
	h.SetAllowed([]string{app})
	changes.onCopy, changes.onNamespace, changes.onTarget = h.onDownstream, h.onNamespace, h.onScaleTarget
	fake.onChange = h.onUpstream
	return h
}

// cache has the caches show objects of the cluster.
func (h *harness) cache(tb testing.TB, objects ...*unstructured.Unstructured) *harness {
	tb.Helper()
	for _, obj := range objects {
		w := h.caches.namespaces
		if obj.GetKind() != "Namespace" {
			w = h.caches.watchedFor(resourceOf(obj))
		}
		cached := obj.DeepCopy()
		(&caches{}).stripCopy(w.get(cached.GetNamespace(), cached.GetName()), cached)
		if err := w.informer.GetStore().Add(cached); err != nil {
			tb.Fatal(err)
		}
	}
	return h
}

// cacheAll has the caches show just what the cluster has.
func (h *harness) cacheAll(t *testing.T) {
	t.Helper()
	for _, w := range h.caches.all() {
		if err := w.informer.GetStore().Replace(nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, obj := range h.cluster.objects {
		h.cache(t, obj)
	}
}

// place has kcp show an object of the workspace ws.
func (h *harness) place(obj *unstructured.Unstructured) kcp.ObjectKey {
	key := kcp.ObjectKey{Workspace: "ws", Resource: resourceOf(obj), Namespace: obj.GetNamespace(), Name: obj.GetName()}
	h.kcp.objects[key] = obj
	return key
}

// turn evaluates a key.
func (h *harness) turn(t *testing.T, key kcp.ObjectKey) turn {
	t.Helper()
	turn, err := h.evaluate(key)
	if err != nil {
		t.Fatal(err)
	}
	return turn
}

// option shapes an object of a test.
type option func(*unstructured.Unstructured)

func annotated(key, value string) option {
	return func(obj *unstructured.Unstructured) {
		annotations := obj.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[key] = value
		obj.SetAnnotations(annotations)
	}
}

func without(field ...string) option {
	return func(obj *unstructured.Unstructured) { unstructured.RemoveNestedField(obj.Object, field...) }
}

// placed places an object on east, as the hub does: it says why.
func placed(obj *unstructured.Unstructured) {
	obj.SetLabels(map[string]string{v1alpha1.PlacementLabel("east"): v1alpha1.PlacementLabelValue})
	annotated(v1alpha1.PlacementAnnotation, "{}")(obj)
}

func held(obj *unstructured.Unstructured) {
	obj.SetFinalizers([]string{"someone.else/finalizer", v1alpha1.Finalizer("east")})
}

// deleting has an object be deleted that nobody but tmc holds; see deletingBy.
func deleting(obj *unstructured.Unstructured) {
	obj.SetDeletionTimestamp(new(metav1.NewTime(time.Unix(1000, 0))))
	obj.SetFinalizers(slices.DeleteFunc(obj.GetFinalizers(), func(finalizer string) bool { return finalizer == "someone.else/finalizer" }))
}

// deletingBy has an object be deleted that has these finalizers as well.
func deletingBy(finalizers ...string) option {
	return func(obj *unstructured.Unstructured) {
		deleting(obj)
		obj.SetFinalizers(append(finalizers, obj.GetFinalizers()...))
	}
}

func created(second int64) option {
	return func(obj *unstructured.Unstructured) { obj.SetCreationTimestamp(metav1.Unix(second, 0)) }
}

func shaped(obj *unstructured.Unstructured, options ...option) *unstructured.Unstructured {
	for _, shape := range options {
		shape(obj)
	}
	return obj
}

// web returns the Deployment app/web of a workspace.
func web(options ...option) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "spec": map[string]any{"replicas": int64(3)}}}
	obj.SetNamespace(app)
	obj.SetName("web")
	obj.SetUID("upstream-uid")
	obj.SetGeneration(1)
	return shaped(obj, options...)
}

// settingsMap returns the ConfigMap app/settings of a workspace.
func settingsMap(options ...option) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": "b"}}}
	obj.SetNamespace(app)
	obj.SetName("settings")
	obj.SetUID("settings-uid")
	return shaped(obj, options...)
}

// copyOf returns the copy of a workspace's object as the cluster has it, applied by us.
func copyOf(workspace string, upstreamObj *unstructured.Unstructured, options ...option) *unstructured.Unstructured {
	origin := transform.Origin{Workspace: workspace, Namespace: upstreamObj.GetNamespace(), Name: upstreamObj.GetName(), Cluster: "east"}
	copied, err := transform.Desired(transform.Input{Object: upstreamObj, Origin: origin})
	if err != nil {
		panic(err)
	}
	copied.SetUID(types.UID("uid-of-" + copied.GetName()))
	copied.SetResourceVersion("50")
	return shaped(ownedBy(copied, v1alpha1.FieldManager), options...)
}

// madeNamespace returns the namespace app as tmc makes it for a workspace.
func madeNamespace(workspace string, options ...option) *unstructured.Unstructured {
	made, err := transform.DesiredNamespace(nil, transform.Origin{Workspace: workspace, Name: app, Cluster: "east"}, v1alpha1.TransformRule{})
	if err != nil {
		panic(err)
	}
	made.SetResourceVersion("50")
	made.SetUID("uid-of-app")
	return shaped(ownedBy(made, v1alpha1.FieldManager), options...)
}

// operatorsNamespace returns the namespace app as an operator made it, noted for the workspace unless that is empty.
func operatorsNamespace(workspace string, options ...option) *unstructured.Unstructured {
	noted := transform.BareNamespace(app)
	if workspace != "" {
		var err error
		if noted, err = transform.NotedNamespace(app, transform.Origin{Workspace: workspace, Name: app, Cluster: "east"}); err != nil {
			panic(err)
		}
	}
	noted.SetResourceVersion("50")
	noted.SetUID("uid-of-app")
	return shaped(ownedBy(noted, v1alpha1.FieldManager), options...)
}

// by has the fields of an object owned by another manager.
func by(manager string) option {
	return func(obj *unstructured.Unstructured) { ownedBy(obj, manager) }
}

// ownedBy has labels, annotations and spec of an object owned by the applies of a manager, as an API server notes it.
func ownedBy(obj *unstructured.Unstructured, manager string) *unstructured.Unstructured {
	owned := fieldpath.NewSet()
	for field, entries := range map[string]map[string]string{"labels": obj.GetLabels(), "annotations": obj.GetAnnotations()} {
		for key := range entries {
			owned.Insert(fieldpath.MakePathOrDie("metadata", field, key))
		}
	}
	for _, field := range []string{"spec", "data"} {
		fields, _ := obj.Object[field].(map[string]any)
		for key := range fields {
			owned.Insert(fieldpath.MakePathOrDie(field, key))
		}
	}
	data, err := owned.ToJSON()
	if err != nil {
		panic(err)
	}
	obj.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: obj.GetAPIVersion(),
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(data)),
	}})
	return obj
}

// withoutNil returns the objects that are not nil.
func withoutNil(objs ...*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.DeleteFunc(objs, func(obj *unstructured.Unstructured) bool { return obj == nil })
}
