package fakekcp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// started is a server with clients of the workspace "shop" and of all workspaces.
type started struct {
	*Server

	config    *rest.Config
	shop, all dynamic.NamespaceableResourceInterface
}

func start(t *testing.T) started {
	t.Helper()
	s := Start("provider", "tmc.kcp.io", Resources)
	t.Cleanup(s.Close)
	of := func(workspace string) (*rest.Config, dynamic.NamespaceableResourceInterface) {
		config := &rest.Config{Host: s.URL + virtualWorkspace + "/clusters/" + workspace, QPS: -1}
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		return config, client.Resource(configMaps)
	}
	_, all := of("*")
	config, shop := of("shop")
	return started{s, config, shop, all}
}

func configMap(name string, labels map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": "1", "b": "2"},
		"metadata": map[string]any{"name": name, "namespace": "default", "labels": labels, "annotations": map[string]any{logicalcluster.AnnotationKey: "shop"}},
	}}
}

func (s started) put(name string, labels map[string]any) {
	s.Put(configMaps.GroupResource(), configMap(name, labels).Object)
}

// next returns the next events of a watch, as "ADDED a".
func next(t *testing.T, w watch.Interface, count int) []string {
	t.Helper()
	var seen []string
	for range count {
		select {
		case e := <-w.ResultChan():
			seen = append(seen, string(e.Type)+" "+e.Object.(*unstructured.Unstructured).GetName())
		case <-t.Context().Done():
			t.Fatalf("only %q have come", seen)
		}
	}
	return seen
}

func expect(t *testing.T, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWatchGoesOnWhereAListEnds(t *testing.T) {
	s := start(t)
	red, blue := map[string]any{"color": "red"}, map[string]any{"color": "blue"}
	s.put("a", red)
	s.put("b", blue)
	s.Put(configMaps.GroupResource(), map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{
		"name": "of-provider", "labels": red, "annotations": map[string]any{logicalcluster.AnnotationKey: "provider"},
	}})
	list, err := s.all.List(t.Context(), metav1.ListOptions{LabelSelector: "color=red"})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, len(list.Items), 1)
	s.put("c", red)
	s.put("d", blue)
	w, err := s.all.Watch(t.Context(), metav1.ListOptions{LabelSelector: "color=red", ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	s.put("a", red)
	s.put("b", red)
	s.put("a", blue)
	s.Remove(Place{configMaps.GroupResource(), "shop", "default", "c"})
	expect(t, next(t, w, 5), "[ADDED c MODIFIED a ADDED b DELETED a DELETED c]")
	byName, err := s.shop.Namespace("default").List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=d"})
	if err != nil || len(byName.Items) != 1 || byName.Items[0].GetName() != "d" {
		t.Errorf("got %v, %v", byName, err)
	}
}

func TestWatchBeginsWithWhatThereIs(t *testing.T) {
	s := start(t)
	s.put("b", nil)
	s.put("a", nil)
	w, err := s.all.Watch(t.Context(), metav1.ListOptions{SendInitialEvents: new(true), AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	expect(t, next(t, w, 2), "[ADDED a ADDED b]")
	bookmark := <-w.ResultChan()
	expect(t, bookmark.Type, watch.Bookmark)
	expect(t, bookmark.Object.(*unstructured.Unstructured).GetAnnotations(), map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	s.put("c", nil)
	expect(t, next(t, w, 1), "[ADDED c]")
}

func TestWatchFromLongAgoHasExpired(t *testing.T) {
	s := start(t)
	list, err := s.all.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range tailLength {
		s.put(fmt.Sprintf("a-%d", i), nil)
	}
	since := metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}
	w, err := s.all.Watch(t.Context(), since)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	expect(t, len(next(t, w, tailLength)), tailLength)
	s.put("b", nil)
	s.put("c", nil)
	if _, err := s.all.Watch(t.Context(), since); !apierrors.IsResourceExpired(err) {
		t.Errorf("got %v", err)
	}
}

func TestPreconditionsOfWrites(t *testing.T) {
	s := start(t)
	client := s.shop.Namespace("default")
	patch := func(format types.PatchType, body string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := client.Patch(ctx, "a", format, []byte(body), metav1.PatchOptions{})
			return err
		}
	}
	remove := func(only metav1.Preconditions) func(context.Context) error {
		return func(ctx context.Context) error {
			return client.Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &only})
		}
	}
	update := func(uid types.UID, version string) func(context.Context) error {
		return func(ctx context.Context) error {
			obj := configMap("a", nil)
			obj.SetUID(uid)
			obj.SetResourceVersion(version)
			_, err := client.Update(ctx, obj, metav1.UpdateOptions{})
			return err
		}
	}
	const uid = "00000000-0000-4000-8000-000000000002"
	for _, c := range []struct {
		name string
		do   func(context.Context) error
		want metav1.StatusReason
	}{
		{"merge patch", patch(types.MergePatchType, `{"data":{"a":null,"b":"3"}}`), ""},
		{"merge patch of another object", patch(types.MergePatchType, `{"metadata":{"uid":"other"}}`), metav1.StatusReasonConflict},
		{"merge patch of this object", patch(types.MergePatchType, `{"metadata":{"uid":"`+uid+`","resourceVersion":"2"},"data":{"a":null,"b":"3"}}`), ""},
		{"merge patch of another state", patch(types.MergePatchType, `{"metadata":{"resourceVersion":"1"}}`), metav1.StatusReasonConflict},
		{"JSON patch", patch(types.JSONPatchType, `[{"op":"test","path":"/data/a","value":"1"},{"op":"remove","path":"/data/a"},{"op":"replace","path":"/data/b","value":"3"}]`), ""},
		{"JSON patch whose test fails", patch(types.JSONPatchType, `[{"op":"test","path":"/data/a","value":"2"}]`), metav1.StatusReasonInvalid},
		{"JSON patch of another state", patch(types.JSONPatchType, `[{"op":"replace","path":"/metadata/resourceVersion","value":"1"}]`), metav1.StatusReasonConflict},
		{"server-side apply", patch(types.ApplyPatchType, `{}`), metav1.StatusReasonUnsupportedMediaType},
		{"update of another object", update("other", ""), metav1.StatusReasonConflict},
		{"update of another state", update("", "1"), metav1.StatusReasonConflict},
		{"deletion of another object", remove(metav1.Preconditions{UID: new(types.UID("other"))}), metav1.StatusReasonConflict},
		{"deletion of another state", remove(metav1.Preconditions{ResourceVersion: new("1")}), metav1.StatusReasonConflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.Remove(Place{configMaps.GroupResource(), "shop", "default", "a"})
			s.version = 1
			s.put("a", nil)
			err := c.do(t.Context())
			expect(t, apierrors.ReasonForError(err), c.want)
			after, err2 := client.Get(t.Context(), "a", metav1.GetOptions{})
			if err2 != nil {
				t.Fatal(err2)
			}
			want := map[string]any{"a": "1", "b": "2"}
			if c.want == "" {
				want = map[string]any{"b": "3"}
			}
			expect(t, after.Object["data"], want)
			expect(t, after.GetUID(), uid)
		})
	}
	if err := remove(metav1.Preconditions{UID: new(types.UID(uid)), ResourceVersion: new("2")})(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := client.Get(t.Context(), "a", metav1.GetOptions{})
	if status, isStatus := err.(apierrors.APIStatus); !isStatus || status.Status().Details == nil || status.Status().Details.Name != "a" || status.Status().Reason != metav1.StatusReasonNotFound {
		t.Errorf("got %v", err)
	}
}

func TestTypedClients(t *testing.T) {
	s := start(t)
	var changed []string
	s.OnChange = func(at Place, _ []byte) {
		changed = append(changed, at.Workspace.String()+"/"+at.Namespace+"/"+at.Name)
	}
	s.config.ContentType = runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	maps1 := client.CoreV1().ConfigMaps("default")
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"a": "1"}}
	created, err := maps1.Create(t.Context(), cm, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := maps1.Create(t.Context(), cm, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("got %v", err)
	}
	created.Data["a"] = "2"
	if _, err := maps1.Update(t.Context(), created, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
	list, err := maps1.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Data["a"] != "2" || list.Items[0].UID != created.UID {
		t.Errorf("got %v, %v", list, err)
	}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e"}, Reason: "Placed"}
	if answer, err := client.CoreV1().Events("default").Create(t.Context(), event, metav1.CreateOptions{}); err != nil || answer.Reason != "Placed" {
		t.Errorf("got %v, %v", answer, err)
	}
	if err := maps1.Delete(t.Context(), "a", *metav1.NewPreconditionDeleteOptions(string(created.UID))); err != nil {
		t.Error(err)
	}
	expect(t, changed, "[shop/default/a shop/default/a]")
	writes, last := s.Writes()
	expect(t, writes, map[string]int{"delete configmaps": 1, "post configmaps": 2, "post events": 1, "put configmaps": 1})
	expect(t, last.IsZero(), false)
	expect(t, len(s.Dump()), 1) // the endpoint slice
}

func TestDiscovery(t *testing.T) {
	s := start(t)
	_, lists, err := discovery.NewDiscoveryClientForConfigOrDie(s.config).ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !strings.Contains(r.Name, "/") {
				found[list.GroupVersion+" "+r.Name] = r.Namespaced
			}
		}
	}
	want := map[string]bool{}
	for _, r := range Resources {
		want[r.groupVersion().String()+" "+r.Resource] = r.Namespaced
	}
	expect(t, slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(want)))
	expect(t, found, want)
}
