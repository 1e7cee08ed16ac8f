package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// newSingleWorkspace returns a running Upstream of a workspace "mine", which has one APIBinding and no other object.
func newSingleWorkspace(t *testing.T) *Client {
	t.Helper()
	notFound := apierrors.NewNotFound(schema.GroupResource{Group: "apps", Resource: "deployments"}, "web").Status()
	notFound.APIVersion, notFound.Kind = "v1", "Status"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/clusters/root:mine/apis/apis.kcp.io/v1alpha2/apibindings" {
			_, _ = w.Write([]byte(`{"apiVersion":"apis.kcp.io/v1alpha2","kind":"APIBindingList","items":[{"metadata":{"name":"tmc","annotations":{"kcp.io/cluster":"mine","kcp.io/path":"root:mine"}}}]}`))
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(notFound)
	}))
	t.Cleanup(server.Close)
	u, err := New(Options{Config: &rest.Config{Host: server.URL + "/clusters/root:mine"}, Export: "tmc", SingleWorkspace: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = u.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return u
}

// TestASingleWorkspaceSaysNothingOfOthers asks for objects of its own workspace and of another one, for which kcp would look in
// its own: where no object is, that of the other workspace would be taken for deleted.
func TestASingleWorkspaceSaysNothingOfOthers(t *testing.T) {
	u, ctx := newSingleWorkspace(t), t.Context()
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	live := func(workspace logicalcluster.Name) error {
		obj, err := u.Live(ctx, kcp.ObjectKey{Workspace: workspace, Resource: deployments, Namespace: "default", Name: "web"})
		if obj != nil {
			t.Errorf("got an object of workspace %s: %v", workspace, obj)
		}
		return err
	}
	if err := live("mine"); err != nil && !errors.Is(err, ErrUnknownWorkspace) {
		t.Errorf("before kcp has said which workspace it is: %v", err)
	}
	if err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return live("mine") == nil, nil
	}); err != nil {
		t.Errorf("kcp is not believed that an object of its own workspace is gone: %v", err)
	}
	if err := live("other"); !errors.Is(err, ErrUnknownWorkspace) {
		t.Errorf("of another workspace's: got %v, want %v", err, ErrUnknownWorkspace)
	}
	if path, err := u.ToldPath(ctx, "mine"); path != "root:mine" || err != nil {
		t.Errorf("its path: got %q, %v", path, err)
	}
	if path, err := u.ToldPath(ctx, "other"); path != "" || !errors.Is(err, ErrUnknownWorkspace) {
		t.Errorf("the path of another workspace: got %q, %v, want %v", path, err, ErrUnknownWorkspace)
	}
}
