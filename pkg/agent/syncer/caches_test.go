package syncer

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clientgotesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// changes are what caches have told, in words.
type changes chan string

// take returns what is told next.
func (c changes) take(t *testing.T) string {
	t.Helper()
	select {
	case told := <-c:
		return told
	case <-time.After(time.Minute):
		t.Fatal("nothing is told")
		return ""
	}
}

// runCaches runs caches of a cluster until the test ends.
func runCaches(t *testing.T, config Config, prepare func(*dynamicfake.FakeDynamicClient)) (*caches, *dynamicfake.FakeDynamicClient, changes) {
	t.Helper()
	told := make(changes, 100)
	state := func(oldObj, newObj *unstructured.Unstructured) string {
		return map[[2]bool]string{{false, true}: "comes", {true, true}: "changes", {true, false}: "goes"}[[2]bool{oldObj != nil, newObj != nil}]
	}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		v1alpha1.NamespacesResource: "NamespaceList", deployments: "DeploymentList", autoscalersResource: "HorizontalPodAutoscalerList",
	})
	if prepare != nil {
		prepare(client)
	}
	c, err := newCaches(config, client, &fanout{
		onCopy: func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
			told <- "copy " + key.Name + " " + state(oldObj, newObj)
		},
		onNamespace: func(name string) { told <- "namespace " + name },
		onTarget:    func(target scaleTarget) { told <- "target " + target.String() },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c.follow(ctx, kcp.Resource{GroupVersionResource: deployments, Namespaced: true})
	c.follow(ctx, kcp.Resource{GroupVersionResource: v1alpha1.NamespacesResource}) // it is no copy's
	for begin := time.Now(); !c.hasRead(deployments) || c.lacks(deployments) == "" && watches(client) < 3; time.Sleep(time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatal("the caches are not read")
		}
	}
	return c, client, told
}

func TestCachesTell(t *testing.T) {
	_, client, told := runCaches(t, Config{Cluster: "east"}, nil)
	objects := client.Resource(deployments).Namespace(app)
	step := func(want string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if got := told.take(t); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	copied := copyOf("ws", web())
	_, err := objects.Create(t.Context(), copied, metav1.CreateOptions{})
	step("copy web comes", err)
	_, err = objects.Update(t.Context(), copyOf("ws", web(), annotated(v1alpha1.SourceWorkspaceAnnotation, ""), by(v1alpha1.FieldManager)), metav1.UpdateOptions{})
	step("copy web changes", err)
	_, err = objects.Update(t.Context(), copied, metav1.UpdateOptions{})
	step("copy web changes", err)
	step("copy web goes", objects.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	_, err = objects.Create(t.Context(), copyOf("ws", web(), forWest), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	step("namespace app", objects.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	_, err = client.Resource(v1alpha1.NamespacesResource).Create(t.Context(), madeNamespace("ws"), metav1.CreateOptions{})
	step("namespace app", err)
	step("namespace app", client.Resource(v1alpha1.NamespacesResource).Delete(t.Context(), app, metav1.DeleteOptions{}))
	_, err = client.Resource(autoscalersResource).Namespace(app).Create(t.Context(), autoscalerOf("web"), metav1.CreateOptions{})
	step("target app/apps/Deployment/web", err)
	_, err = client.Resource(autoscalersResource).Namespace(app).Update(t.Context(), autoscalerOf("api"), metav1.UpdateOptions{})
	step("target app/apps/Deployment/web", err)
	step("target app/apps/Deployment/api", nil)
}

// watches returns how many resources are watched: what comes before that, a fake does not tell.
func watches(client *dynamicfake.FakeDynamicClient) int {
	watched := sets.New[schema.GroupVersionResource]()
	for _, action := range client.Actions() {
		if action.GetVerb() == "watch" {
			watched.Insert(action.GetResource())
		}
	}
	return watched.Len()
}

// autoscalerOf returns an autoscaler of a Deployment.
func autoscalerOf(name string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "status": map[string]any{"x": "y"},
		"spec": map[string]any{"minReplicas": int64(1), "scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": name}},
	}}
	obj.SetNamespace(app)
	obj.SetName("scaler")
	return obj
}

func TestCachesOfWhatTheClusterLacks(t *testing.T) {
	c, _, _ := runCaches(t, Config{Cluster: "east"}, func(client *dynamicfake.FakeDynamicClient) {
		client.PrependReactor("list", "deployments", func(clientgotesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewNotFound(deployments.GroupResource(), "")
		})
	})
	if got := c.lacks(deployments); got != "the cluster does not serve deployments.apps v1" {
		t.Errorf("got %q", got)
	}
	c, client, _ := runCaches(t, Config{Cluster: "east", Synced: func(r schema.GroupResource) bool { return r.Resource != "deployments" }}, nil)
	if got := c.lacks(deployments); !strings.Contains(got, "not among the kinds that come to the cluster") {
		t.Errorf("got %q", got)
	}
	if slices.ContainsFunc(client.Actions(), func(action clientgotesting.Action) bool { return action.GetResource() == deployments }) {
		t.Error("the cluster is asked for what is not for it")
	}
	unknown := schema.GroupVersionResource{Resource: "unknown"}
	if c.lacks(unknown) != "" || c.at(unknown, app, "x") != nil || c.of(unknown, transform.Origin{}) != nil || c.hasRead(unknown) {
		t.Error("something is known of what is not watched")
	}
}

// TestCachesOfAClusterThatStarts has an API server not serve a kind that it begins to serve when it is ready: until then nothing is
// known, not that there is none.
func TestCachesOfAClusterThatStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var isReady atomic.Bool
		client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{deployments: "DeploymentList"})
		client.PrependReactor("list", "deployments", func(clientgotesting.Action) (bool, runtime.Object, error) { return !isReady.Load(), nil, errStarting })
		c, err := newCaches(Config{Cluster: "east"}, client, &fanout{})
		if err != nil {
			t.Fatal(err)
		}
		c.serves = func(context.Context, schema.GroupVersionResource) (bool, error) { return false, errAway }
		w, err := c.watch(deployments)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan bool, 1)
		go func() { served <- w.waitServed(t.Context()) }()
		time.Sleep(10 * readRetry)
		if w.hasRead() || c.lacks(deployments) != "" {
			t.Errorf("read: %t, lacks: %q", w.hasRead(), c.lacks(deployments))
		}
		isReady.Store(true)
		time.Sleep(readRetry)
		synctest.Wait()
		select {
		case isServed := <-served:
			if !isServed {
				t.Error("it is not served")
			}
		default:
			t.Error("it is waited for longer")
		}
	})
}

func TestCachesFind(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	elsewhere := copyOf("ws", web(), func(obj *unstructured.Unstructured) { obj.SetNamespace("old") })
	lost := copyOf("ws", web(), func(obj *unstructured.Unstructured) { obj.SetNamespace("lost") }, annotated(v1alpha1.SourceWorkspaceAnnotation, ""))
	forged := copyOf("ws", web(), func(obj *unstructured.Unstructured) { obj.SetNamespace("forged") }, by("kubectl"))
	h.cache(t, copyOf("ws", web()), elsewhere, lost, forged)
	origin := transform.Origin{Workspace: "ws", Namespace: app, Name: "web", Cluster: "east"}
	var found []string
	for _, obj := range h.caches.of(deployments, origin) {
		found = append(found, obj.GetNamespace())
	}
	if diff := cmp.Diff([]string{app, "lost", "old"}, found, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("copies (-want +got):\n%s", diff)
	}
	if err := h.caches.autoscalers.informer.GetStore().Add(autoscalerOf("web")); err != nil {
		t.Fatal(err)
	}
	if !h.caches.hasAutoscaler(copyOf("ws", web())) || h.caches.hasAutoscaler(copyOf("ws", settingsMap())) {
		t.Error("the autoscaler of the Deployment is not found")
	}
	if _, err := indexBy(hashOfOrigin)("x"); err == nil || !strings.Contains(err.Error(), "string") {
		t.Errorf("got %v", err)
	}
	if got := asUnstructured(cache.DeletedFinalStateUnknown{Obj: elsewhere}); got != elsewhere {
		t.Errorf("got %v", got)
	}
	if got := asUnstructured("x"); got == nil {
		t.Error("got nil")
	}
}

// withHandles compares what handles stand for.
var withHandles = cmp.Exporter(func(reflect.Type) bool { return true })

func TestStripCopy(t *testing.T) {
	scaled := metav1.ManagedFieldsEntry{Manager: "kubectl", Operation: "Update", Subresource: "scale", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`)}
	status := metav1.ManagedFieldsEntry{Manager: "kube-controller-manager", Operation: "Update", Subresource: "status", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)}
	with := func(entries ...metav1.ManagedFieldsEntry) option {
		return func(obj *unstructured.Unstructured) { obj.SetManagedFields(append(obj.GetManagedFields(), entries...)) }
	}
	obj := copyOf("ws", web(ready(1), func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"replicas": int64(3), "template": map[string]any{}, "list": []any{}}
		obj.Object["data"] = map[string]any{}
	}), ready(1), with(scaled, status))
	first := obj.DeepCopy()
	(&caches{}).stripCopy(nil, first)
	want := map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": first.Object["metadata"], "spec": map[string]any{"replicas": int64(3)}, "status": obj.Object["status"]}
	want[transform.OwnedField] = first.Object[transform.OwnedField]
	transform.NoteOrder(&unstructured.Unstructured{Object: want}, transform.Order(first))
	if diff := cmp.Diff(want, first.Object, withHandles); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if managers := first.GetManagedFields(); len(managers) != 2 || managers[1].Subresource != "scale" {
		t.Errorf("managedFields are %v", managers)
	}
	cases := map[string]struct {
		change option
		shared bool
		marked bool
	}{
		"a status alone": {ready(2), true, true},
		"another label": {func(obj *unstructured.Unstructured) {
			labels := obj.GetLabels()
			labels["a"] = "b"
			obj.SetLabels(labels)
		}, true, true},
		"somebody takes the marks from us": {by("kubectl"), false, false},
		"somebody adds a mark":             {annotated(v1alpha1.SourcePathAnnotation, "root:forged"), true, true},
		"somebody changes a mark":          {annotated(v1alpha1.SourceUIDAnnotation, "x"), true, true},
		"somebody scales it again":         {with(scaled), true, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			next, fresh := shaped(obj.DeepCopy(), c.change), shaped(obj.DeepCopy(), c.change)
			(&caches{}).stripCopy(first, next)
			(&caches{}).stripCopy(nil, fresh)
			if diff := cmp.Diff(fresh.Object, next.Object, withHandles); diff != "" {
				t.Errorf("with and without the object before (-without +with):\n%s", diff)
			}
			if shared := sharesManagedFields(first, next); shared != c.shared {
				t.Errorf("shares managedFields: %t, want %t", shared, c.shared)
			}
			if got := transform.IsCopy(next); got != c.marked || next.GetAnnotations()[v1alpha1.SourcePathAnnotation] != "" {
				t.Errorf("is our copy: %t, want %t; %v", got, c.marked, next.GetAnnotations())
			}
		})
	}
}

func TestStripCopyNotesTheOrderOfLists(t *testing.T) {
	owned := `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{},"k:{\"name\":\"b\"}":{}}}}}}`
	stripped := func(before *unstructured.Unstructured, generation int64, names ...string) *unstructured.Unstructured {
		containers := []any{}
		for _, name := range names {
			containers = append(containers, map[string]any{"name": name})
		}
		obj := web(func(obj *unstructured.Unstructured) {
			obj.SetGeneration(generation)
			obj.SetManagedFields([]metav1.ManagedFieldsEntry{{
				Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(owned),
			}})
			obj.Object["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{"containers": containers}}}
		})
		(&caches{}).stripCopy(before, obj)
		return obj
	}
	first := stripped(nil, 1, "a", "b")
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		same bool
	}{
		"a status":                         {stripped(first, 1, "a", "b"), true},
		"another spec of the same order":   {stripped(first, 2, "a", "x", "b"), true},
		"another order":                    {stripped(first, 2, "b", "a"), false},
		"another order without generation": {stripped(stripped(nil, 0, "a", "b"), 0, "b", "a"), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if same := transform.Order(c.obj) == transform.Order(first); same != c.same || c.obj.Object["spec"].(map[string]any)["template"] != nil {
				t.Errorf("the same order: %t, want %t; %v", same, c.same, c.obj.Object)
			}
		})
	}
	if evaluate.SameButStatus(stripped(nil, 0, "a", "b"), stripped(nil, 0, "b", "a")) {
		t.Error("an order without a generation is no change")
	}
}

func TestStripCopyOfAnOperatorsKind(t *testing.T) {
	own, err := kinds.Parse("kinds.yaml", []byte("[{group: apps, kind: Deployment, available: ready, replicas: spec.server.size}]"))
	if err != nil {
		t.Fatal(err)
	}
	obj := copyOf("ws", web(ready(1), func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"server": map[string]any{"size": int64(3), "image": "i"}, "list": []any{}}
	}))
	(&caches{kinds: own}).stripCopy(nil, obj)
	want := map[string]any{"server": map[string]any{"size": int64(3)}}
	if diff := cmp.Diff(want, obj.Object["spec"]); diff != "" {
		t.Errorf("left of the spec (-want +got):\n%s", diff)
	}
}

func TestStripAutoscaler(t *testing.T) {
	obj := autoscalerOf("web")
	stripAutoscaler(nil, ownedBy(obj, "kubectl"))
	if spec, _ := obj.Object["spec"].(map[string]any); len(spec) != 1 || obj.Object["status"] != nil || obj.GetManagedFields() != nil || targetOfAutoscaler(obj).name != "web" {
		t.Errorf("left %v", obj.Object)
	}
}

func TestExplainWatchError(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	explain := explainWatchError("east", deployments)
	reflector := cache.NewReflector(&cache.ListWatch{}, &unstructured.Unstructured{}, cache.NewStore(cache.MetaNamespaceKeyFunc), 0)
	explain(ended, reflector, errAway)
	explain(t.Context(), reflector, apierrors.NewForbidden(deployments.GroupResource(), "", errors.New("no")))
	explain(t.Context(), reflector, errAway)
}
