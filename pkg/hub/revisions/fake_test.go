package revisions

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/revisions"
	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

const workspace logicalcluster.Name = "team"

var (
	web       = kcp.ObjectKey{Workspace: workspace, Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Namespace: "shop", Name: "web"}
	namespace = kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.NamespacesResource, Name: "shop"}
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: web-uid, generation: 1, annotations: {kcp.io/cluster: team, team: a}, labels: {cluster.tmc.kcp.io/east: sync}}
spec:
  replicas: 3
  revisionHistoryLimit: 2
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "web:1"}]}}`

// fakeKCP is a kcp with caches that lag behind it until they catch up. It counts what is asked of it.
type fakeKCP struct {
	t        testing.TB
	live     map[kcp.ObjectKey]*unstructured.Unstructured
	cache    map[kcp.ObjectKey]*unstructured.Unstructured
	version  int
	asked    []string
	isUnread atomic.Bool
	refuses  error
	told     []string
	keeper   *Keeper
	clock    time.Time
	intrude  func(key kcp.ObjectKey)
}

func newFake(tb testing.TB, objects ...string) *fakeKCP {
	tb.Helper()
	f := &fakeKCP{t: tb, live: map[kcp.ObjectKey]*unstructured.Unstructured{}, cache: map[kcp.ObjectKey]*unstructured.Unstructured{}, clock: time.Unix(1000, 0)}
	for _, text := range objects {
		obj := yamltest.Object(tb, text)
		f.put(keyOf(obj), obj)
	}
	f.restart()
	f.catchUp()
	return f
}

// restart is that of the hub: another keeper that remembers nothing. It makes the first revision without waiting.
func (f *fakeKCP) restart() {
	f.keeper = New(Config{Upstream: f, Revisions: f, Notices: f})
	f.keeper.now = func() time.Time { return f.clock }
	f.keeper.firstGrace = 0
}

func keyOf(obj *unstructured.Unstructured) kcp.ObjectKey {
	resource := strings.ToLower(obj.GetKind()) + "s"
	gv, _ := schema.ParseGroupVersion(obj.GetAPIVersion())
	return kcp.ObjectKey{Workspace: workspace, Resource: gv.WithResource(resource), Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

func (f *fakeKCP) put(key kcp.ObjectKey, obj *unstructured.Unstructured) {
	f.version++
	obj.SetResourceVersion(strconv.Itoa(f.version))
	f.live[key] = obj
}

// catchUp brings the caches to what kcp has, and has the keeper told of it.
func (f *fakeKCP) catchUp() {
	for key := range maps.Clone(f.cache) {
		if f.live[key] == nil {
			old := f.cache[key]
			delete(f.cache, key)
			f.tell(key, old, nil)
		}
	}
	for key, obj := range f.live {
		old := f.cache[key]
		if old != nil && old.GetResourceVersion() == obj.GetResourceVersion() {
			continue
		}
		slim := obj.DeepCopy()
		revisions.Slim(slim)
		revisions.Slim(slim) // as a WatchList does
		if _, is := revisions.ResourceOf(key.Resource.GroupResource()); is {
			kinds.Slim(slim)
		}
		f.cache[key] = slim
		f.tell(key, old, slim)
	}
}

func (f *fakeKCP) tell(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if v1alpha1.IsRevision(key.Resource.GroupResource()) {
		f.keeper.OnRevision(key, oldObj, newObj)
	} else {
		f.keeper.OnUpstream(key, oldObj, newObj)
	}
}

// sync takes a turn for web, and returns when to take another.
func (f *fakeKCP) sync() time.Duration {
	f.t.Helper()
	again, err := f.keeper.sync(f.t.Context(), web)
	if err != nil {
		f.t.Fatal(err)
	}
	return again
}

// settle takes turns until nothing more is written, the caches catching up in between.
func (f *fakeKCP) settle() {
	f.t.Helper()
	for range 10 {
		before := len(f.asked)
		f.sync()
		f.catchUp()
		if len(f.asked) == before {
			return
		}
	}
	f.t.Fatalf("there is no end: %v", f.asked)
}

// takeAsked returns what was asked since the last time, but for reads.
func (f *fakeKCP) takeWrites() []string {
	writes := slices.DeleteFunc(f.asked, func(asked string) bool { return strings.HasPrefix(asked, "get") })
	f.asked = nil
	return writes
}

func (f *fakeKCP) change(key kcp.ObjectKey, change func(*unstructured.Unstructured)) {
	obj := f.live[key].DeepCopy()
	change(obj)
	f.put(key, obj)
}

// setImage changes the template, as a user does.
func (f *fakeKCP) setImage(image string) {
	f.change(web, func(obj *unstructured.Unstructured) {
		containers := []any{map[string]any{"name": "web", "image": image}}
		check(f.t, unstructured.SetNestedSlice(obj.Object, containers, "spec", "template", "spec", "containers"))
		obj.SetGeneration(obj.GetGeneration() + 1)
	})
	f.catchUp()
}

// rollOut has the aggregator say so many replicas, updated and available.
func (f *fakeKCP) rollOut(replicas, updated, available int64) {
	f.change(web, func(obj *unstructured.Unstructured) {
		obj.Object["status"] = map[string]any{
			"observedGeneration": obj.GetGeneration(), "replicas": replicas, "updatedReplicas": updated, "readyReplicas": available, "availableReplicas": available,
		}
	})
	f.catchUp()
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// replicaSets are those of kcp: revision, replicas wanted, and ready.
func (f *fakeKCP) replicaSets() []string {
	var found []string
	for key, obj := range f.live {
		if key.Resource == v1alpha1.ReplicaSetsResource {
			revision := revisions.Of(obj)
			found = append(found, fmt.Sprintf("%d: %d/%d", revision.Number, revision.Numbers.Wanted, revision.Numbers.Ready))
		}
	}
	slices.Sort(found)
	return found
}

func (f *fakeKCP) HasReadWorkspace(logicalcluster.Name) bool { return !f.isUnread.Load() }

func (f *fakeKCP) HasReadAll(schema.GroupVersionResource) bool { return !f.isUnread.Load() }

func (f *fakeKCP) Cached(key kcp.ObjectKey) *unstructured.Unstructured { return f.cache[key] }

func (f *fakeKCP) EachIn(_ logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.cache {
		if key.Namespace == namespace {
			visit(key, obj)
		}
	}
}

func (f *fakeKCP) EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.cache {
		if !v1alpha1.IsRevision(key.Resource.GroupResource()) {
			continue
		}
		values, err := Indexers()[index](obj)
		check(f.t, err)
		if slices.Contains(values, value) {
			visit(key, obj)
		}
	}
}

func (f *fakeKCP) Warn(_ kcp.ObjectKey, _ *unstructured.Unstructured, reason string, messages ...string) {
	f.told = append(f.told, reason+": "+strings.Join(messages, "; "))
}

func (f *fakeKCP) Live(_ context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error) {
	f.asked = append(f.asked, "get "+key.Resource.Resource)
	if obj := f.live[key]; obj != nil {
		return obj.DeepCopy(), nil
	}
	return nil, nil
}

func (f *fakeKCP) Create(_ context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	f.asked = append(f.asked, "create "+key.Resource.Resource)
	if f.intrude != nil {
		f.intrude(key)
	}
	if f.refuses != nil {
		return nil, f.refuses
	}
	if f.live[key] != nil {
		return nil, apierrors.NewAlreadyExists(key.Resource.GroupResource(), key.Name)
	}
	made := decode(f.t, obj.Object)
	made.SetUID(types.UID("uid-" + strconv.Itoa(f.version)))
	made.SetGeneration(1)
	made.SetCreationTimestamp(metav1.Unix(int64(f.version), 0))
	f.annotate(made)
	f.put(key, made)
	return made.DeepCopy(), nil
}

// annotate has an object say its workspace, as what is read of kcp does.
func (f *fakeKCP) annotate(obj *unstructured.Unstructured) {
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[logicalcluster.AnnotationKey] = workspace.String()
	obj.SetAnnotations(annotations)
}

func decode(tb testing.TB, value any) *unstructured.Unstructured {
	tb.Helper()
	encoded, err := json.Marshal(value)
	check(tb, err)
	obj := &unstructured.Unstructured{}
	check(tb, utiljson.Unmarshal(encoded, &obj.Object))
	return obj
}

func (f *fakeKCP) Patch(_ context.Context, key kcp.ObjectKey, _ types.PatchType, patch []byte, _ ...string) (*unstructured.Unstructured, error) {
	f.asked = append(f.asked, "patch "+key.Resource.Resource)
	if f.refuses != nil {
		return nil, f.refuses
	}
	present := f.live[key]
	if present == nil {
		return nil, apierrors.NewNotFound(key.Resource.GroupResource(), key.Name)
	}
	before, err := present.MarshalJSON()
	check(f.t, err)
	after, err := jsonpatch.MergePatch(before, patch)
	check(f.t, err)
	obj := &unstructured.Unstructured{}
	check(f.t, utiljson.Unmarshal(after, &obj.Object))
	if obj.GetUID() != present.GetUID() || obj.GetResourceVersion() != present.GetResourceVersion() {
		return nil, apierrors.NewConflict(key.Resource.GroupResource(), key.Name, fmt.Errorf("it has changed"))
	}
	if fmt.Sprint(obj.Object["spec"], obj.Object["status"]) != fmt.Sprint(present.Object["spec"], present.Object["status"]) {
		obj.SetGeneration(present.GetGeneration() + 1)
	}
	f.put(key, obj)
	return obj.DeepCopy(), nil
}

func (f *fakeKCP) Delete(_ context.Context, key kcp.ObjectKey, preconditions metav1.Preconditions) error {
	f.asked = append(f.asked, "delete "+key.Resource.Resource)
	present := f.live[key]
	if present == nil {
		return apierrors.NewNotFound(key.Resource.GroupResource(), key.Name)
	}
	if *preconditions.UID != present.GetUID() || *preconditions.ResourceVersion != present.GetResourceVersion() {
		return apierrors.NewConflict(key.Resource.GroupResource(), key.Name, fmt.Errorf("it has changed"))
	}
	delete(f.live, key)
	return nil
}
