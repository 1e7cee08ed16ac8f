package syncer

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestNew(t *testing.T) {
	nowhere := &rest.Config{Host: "https://127.0.0.1:1"}
	s, err := New(Config{Cluster: "east", Upstream: nowhere, Downstream: nowhere, SingleWorkspace: true, Namespace: "sync", Export: "cluster-east"})
	if err != nil {
		t.Fatal(err)
	}
	if !s.hasOwnView || s.settings.Load().Own != "sync" || s.HasSynced() {
		t.Errorf("own view %t, settings %+v", s.hasOwnView, s.settings.Load())
	}
	if s.caches.changes.onCopy == nil || s.caches.changes.onNamespace == nil || s.caches.changes.onTarget == nil {
		t.Error("nobody hears of changes")
	}
	if s, err := New(Config{Cluster: "east", Upstream: nowhere, Downstream: nowhere}); err != nil || s.hasOwnView {
		t.Errorf("the export of all clusters: own view %t, error %v", s.hasOwnView, err)
	}
}

func TestNewFails(t *testing.T) {
	nowhere := &rest.Config{Host: "https://127.0.0.1:1"}
	wrong := &rest.Config{Host: "https://127.0.0.1:1", TLSClientConfig: rest.TLSClientConfig{CAFile: "/does/not/exist"}}
	if _, err := New(Config{Cluster: "east", Upstream: nowhere, Downstream: wrong}); err == nil || !strings.Contains(err.Error(), "client for cluster east at https://127.0.0.1:1") {
		t.Errorf("a cluster that cannot be reached: %v", err)
	}
	if _, err := New(Config{Cluster: "east", Upstream: wrong, Downstream: nowhere}); err == nil {
		t.Error("a kcp that cannot be reached: no error")
	}
}

func TestSettings(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	h.place(web(placed, held))
	h.queued()
	h.SetDenied([]string{"kube-*"})
	h.expect(t, queued{Specs: []string{"web"}})
	h.SetDenied([]string{"kube-*"})
	h.SetAllowed([]string{app})
	h.expect(t, queued{})
	h.SetAllowed(nil)
	h.expect(t, queued{Specs: []string{"web"}})
	h.SetProvided([]string{"secrets/*-tls"})
	h.expect(t, queued{Specs: []string{"web"}})
	h.SetProvided([]string{"secrets/*-tls"})
	h.expect(t, queued{})
	h.SetRule(v1alpha1.TransformRule{NamespacePrefix: "p-"})
	h.expect(t, queued{Specs: []string{"web"}})
	if got := h.settings.Load(); got.Rule.NamespacePrefix != "p-" || len(got.Denied) != 1 || got.Allowed != nil {
		t.Errorf("settings are %+v", got)
	}
}

func TestHasSynced(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	if !h.HasSynced() {
		t.Error("both sides are read")
	}
	h.kcp.unread = true
	if h.HasSynced() {
		t.Error("kcp is not read")
	}
	if newUnreadHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).HasSynced() {
		t.Error("the cluster is not read")
	}
}

func TestRun(t *testing.T) {
	h := newUnreadHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	h.caches.byResource = map[schema.GroupVersionResource]*watched{}
	h.isRegistered = func(context.Context, string) (bool, error) { return true, nil }
	h.specs.begun = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	for _, resource := range h.kcp.Resources() {
		h.caches.follow(ctx, resource)
		h.caches.follow(ctx, resource) // once is enough
	}
	select {
	case <-h.specs.begun:
	case <-time.After(time.Minute):
		t.Error("the loops do not run")
	}
	cancel()
	if err := <-done; err != nil || !h.HasSynced() {
		t.Errorf("ended with %v, synced %t", err, h.HasSynced())
	}
	t.Run("it ends before both sides are read", func(t *testing.T) {
		h := newUnreadHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
