package kcp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

func TestObjectKey(t *testing.T) {
	obj := &metav1.ObjectMeta{Namespace: "default", Name: "web", Annotations: map[string]string{"kcp.io/cluster": "2k3x8w7q1z"}}
	key := KeyOf(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, obj)
	if want := "2k3x8w7q1z|deployments.apps default/web"; key.String() != want || key.MarshalLog() != want {
		t.Errorf("got %s, want %s", key, want)
	}
}

func TestDiscover(t *testing.T) {
	version := func(name string) metav1.GroupVersionForDiscovery {
		return metav1.GroupVersionForDiscovery{GroupVersion: "autoscaling/" + name, Version: name}
	}
	answers := map[string]any{
		"/clusters/*/api":    metav1.APIVersions{Versions: []string{"v1"}},
		"/clusters/*/api/v1": metav1.APIResourceList{GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "namespaces", Kind: "Namespace"}}},
		"/clusters/*/apis": metav1.APIGroupList{Groups: []metav1.APIGroup{
			{Name: "autoscaling", Versions: []metav1.GroupVersionForDiscovery{version("v2"), version("v1")}},
		}},
		"/clusters/*/apis/autoscaling/v2": metav1.APIResourceList{GroupVersion: "autoscaling/v2", APIResources: []metav1.APIResource{
			{Name: "horizontalpodautoscalers/status", Kind: "HorizontalPodAutoscaler"}, {Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Namespaced: true},
		}},
		"/clusters/*/apis/autoscaling/v1": metav1.APIResourceList{GroupVersion: "autoscaling/v1", APIResources: []metav1.APIResource{
			{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler"}, {Name: "old", Kind: "Old", Namespaced: true},
		}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if answers[r.URL.Path] == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(answers[r.URL.Path])
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL + "/clusters/*"}
	got, err := Discover(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	autoscaling := func(version, resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "autoscaling", Version: version, Resource: resource}
	}
	want := []Resource{
		{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, Kind: "Namespace"},
		{GroupVersionResource: autoscaling("v2", "horizontalpodautoscalers"), Kind: "HorizontalPodAutoscaler", Namespaced: true, HasStatus: true},
		{GroupVersionResource: autoscaling("v1", "old"), Kind: "Old", Namespaced: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Discover(ended, config); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	delete(answers, "/clusters/*/apis/autoscaling/v2")
	if got, err := Discover(t.Context(), config); err == nil {
		t.Errorf("a part of the answer was taken for all: %v", got)
	}
	if _, err := Discover(t.Context(), &rest.Config{Host: "https://kcp:port:/"}); err == nil {
		t.Error("a server that is no URL serves something")
	}
	if got := resourcesOf(&metav1.APIGroup{Name: "apps", Versions: []metav1.GroupVersionForDiscovery{{GroupVersion: "apps/v1"}}}, nil); got != nil {
		t.Errorf("a version without a list serves %v", got)
	}
}

func TestWithoutOriginalVersion(t *testing.T) {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetAnnotations(map[string]string{"kcp.io/original-api-version": "v1", "kcp.io/cluster": "a"})
	if got := WithoutOriginalVersion(obj).GetAnnotations(); len(got) != 1 || got["kcp.io/cluster"] != "a" {
		t.Errorf("it has %v", got)
	}
	if len(obj.GetAnnotations()) != 2 {
		t.Error("the object was changed")
	}
	if other := (&unstructured.Unstructured{Object: map[string]any{}}); WithoutOriginalVersion(other) != other {
		t.Error("what has no such annotation was copied")
	}
}
