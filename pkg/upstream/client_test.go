package upstream

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// shard is a source that answers every request alike, and counts them.
type shard struct {
	err      error
	requests []string
}

func (s *shard) source(url string, objects ...runtime.Object) *source {
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{deployments: "DeploymentList", kcp.APIBindingsResource: "APIBindingList"}, objects...)
	client.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		s.requests = append(s.requests, strings.TrimSuffix(action.GetVerb()+" "+action.GetSubresource(), " "))
		return s.err != nil, nil, s.err
	})
	return &source{
		url:      url,
		in:       func(logicalcluster.Name) dynamic.Interface { return client },
		mayServe: func(logicalcluster.Name) bool { return true },
	}
}

// The answers of kcp v0.31.2 to a Get of a Deployment web.
var (
	missing = apierrors.NewNotFound(deployments.GroupResource(), "web")
	// denied is the answer of a virtual workspace about workspaces that are not bound, or are another shard's.
	denied = apierrors.NewForbidden(deployments.GroupResource(), "web", errors.New("access denied"))
	// unserved is the answer about a resource that is not served, or not yet.
	unserved = apierrors.NewGenericServerResponse(http.StatusNotFound, "get", schema.GroupResource{}, "", "404 page not found", 0, true)
)

func TestClientLive(t *testing.T) {
	web := newObject("a", "default", "web")
	cases := map[string]struct {
		one, two error // nil: the shard has the object
		isFound  bool
		want     error
		// requests are the most that are made.
		requests int
	}{
		"the only shard that answers has it":              {one: denied, isFound: true, requests: 2},
		"the only shard that answers says it is missing":  {one: denied, two: missing, requests: 2},
		"every shard denies the workspace":                {one: denied, two: denied, want: ErrUnknownWorkspace, requests: 2},
		"a shard that starts says nothing of the object":  {one: unserved, two: unserved, want: unserved, requests: 1},
		"a shard that is down says nothing of the object": {one: errors.ErrUnsupported, two: errors.ErrUnsupported, want: errors.ErrUnsupported, requests: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			one, two := &shard{err: tc.one}, &shard{err: tc.two}
			c := &Client{seenAt: map[logicalcluster.Name]string{}, running: map[string]*source{"1": one.source("1", web), "2": two.source("2", web)}}
			obj, err := c.Live(t.Context(), keyOf("a", "web"))
			if (obj != nil) != tc.isFound || !errors.Is(err, tc.want) || tc.want != nil && !strings.Contains(err.Error(), "default/web") {
				t.Errorf("got %v, %v; want the object: %t, error: %v", obj, err, tc.isFound, tc.want)
			}
			if requests := len(one.requests) + len(two.requests); requests > tc.requests {
				t.Errorf("%d requests, want %d", requests, tc.requests)
			}
			if s, err := c.sourceOf("a"); tc.isFound != (err == nil) || tc.isFound && s.url != "2" {
				t.Errorf("the workspace is served by %v, %v afterwards", s, err)
			}
		})
	}
	if _, err := (&Client{}).Live(t.Context(), keyOf("a", "web")); !errors.Is(err, ErrUnknownWorkspace) {
		t.Errorf("without any shard: %v", err)
	}
}

// TestClientWrites has a workspace that was not seen yet, and then on the second of two shards.
func TestClientWrites(t *testing.T) {
	web, key := newObject("a", "default", "web"), keyOf("a", "web")
	one, two := &shard{}, &shard{}
	c := &Client{seenAt: map[logicalcluster.Name]string{}, running: map[string]*source{"1": one.source("1"), "2": two.source("2", web)}}
	writes := map[string]func() (*unstructured.Unstructured, error){
		"patch": func() (*unstructured.Unstructured, error) {
			return c.Patch(t.Context(), key, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`))
		},
		"patch status": func() (*unstructured.Unstructured, error) {
			return c.Patch(t.Context(), key, types.MergePatchType, []byte(`{"status":{"replicas":1}}`), "status")
		},
		"update": func() (*unstructured.Unstructured, error) { return c.Update(t.Context(), key, web) },
		"create": func() (*unstructured.Unstructured, error) {
			return c.Create(t.Context(), keyOf("a", "new"), newObject("a", "default", "new"))
		},
	}
	each := func(when string, check func(name string, obj *unstructured.Unstructured, err error) bool) {
		for name, write := range writes {
			two.requests = nil
			if obj, err := write(); !check(name, obj, err) {
				t.Errorf("%s, %s: %v, %v, requests %v", name, when, obj, err, two.requests)
			}
		}
	}
	each("before the workspace was seen", func(_ string, _ *unstructured.Unstructured, err error) bool {
		return errors.Is(err, ErrUnknownWorkspace)
	})
	c.handleFrom("2")(key, nil, web)
	each("after", func(name string, obj *unstructured.Unstructured, err error) bool {
		return err == nil && obj != nil && slices.Equal(two.requests, []string{name})
	})
	two.err = apierrors.NewConflict(deployments.GroupResource(), "web", errors.New("changed"))
	each("when kcp refuses", func(_ string, _ *unstructured.Unstructured, err error) bool {
		return apierrors.IsConflict(err) && strings.Contains(err.Error(), "a|deployments.apps default/")
	})
	if len(one.requests) != 0 {
		t.Errorf("the other shard got %v", one.requests)
	}
}

func TestClientToldPath(t *testing.T) {
	binding := newObject("a", "", "tmc")
	binding.SetGroupVersionKind(kcp.APIBindingKind)
	for annotation, want := range map[string]string{"root:team-a": "root:team-a", "": "", "no path": ""} {
		binding.SetAnnotations(map[string]string{logicalcluster.AnnotationKey: "a", "kcp.io/path": annotation})
		c := &Client{seenAt: map[logicalcluster.Name]string{"a": "1"}, running: map[string]*source{"1": (&shard{}).source("1", binding)}}
		if got, err := c.ToldPath(t.Context(), "a"); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", annotation, got, err, want)
		}
	}
	c := &Client{seenAt: map[logicalcluster.Name]string{"a": "1"}, running: map[string]*source{"1": (&shard{err: denied}).source("1")}}
	if _, err := c.ToldPath(t.Context(), "a"); !apierrors.IsForbidden(err) {
		t.Errorf("when kcp denies it: %v", err)
	}
}

// newSingleWorkspace returns a running Client of a workspace "mine", which has one APIBinding and no other object.
func newSingleWorkspace(t *testing.T) *Client {
	t.Helper()
	f := newFakeKCP(t)
	bindings := "/clusters/root:mine/apis/apis.kcp.io/v1alpha2/apibindings"
	f.serve(bindings)
	binding := newObject("mine", "", "tmc")
	binding.SetGroupVersionKind(kcp.APIBindingKind)
	binding.SetAnnotations(map[string]string{logicalcluster.AnnotationKey: "mine", "kcp.io/path": "root:mine"})
	f.set(bindings, binding)
	f.missing["/clusters/root:mine/apis/apps/v1/namespaces/default/deployments/web"] = missing.Status()
	c, err := New(Options{Config: &rest.Config{Host: f.URL + "/clusters/root:mine"}, Export: "tmc", SingleWorkspace: true})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	return c
}

// TestClientOfASingleWorkspace asks for objects of its own workspace and of another one, for which kcp would look in its
// own: where no object is, that of the other workspace would be taken for deleted.
func TestClientOfASingleWorkspace(t *testing.T) {
	c, ctx := newSingleWorkspace(t), t.Context()
	live := func(workspace string) error {
		obj, err := c.Live(ctx, keyOf(workspace, "web"))
		if obj != nil {
			t.Errorf("got an object of workspace %s: %v", workspace, obj)
		}
		return err
	}
	if err := live("mine"); err != nil && !errors.Is(err, ErrUnknownWorkspace) {
		t.Errorf("before kcp has said which workspace it is: %v", err)
	}
	waitUntil(t, "kcp is believed that an object of its own workspace is missing", func() bool { return live("mine") == nil })
	if err := live("other"); !errors.Is(err, ErrUnknownWorkspace) {
		t.Errorf("of another workspace's: got %v, want %v", err, ErrUnknownWorkspace)
	}
	if path, err := c.ToldPath(ctx, "mine"); path != "root:mine" || err != nil {
		t.Errorf("its path: got %q, %v", path, err)
	}
	if path, err := c.ToldPath(ctx, "other"); path != "" || !errors.Is(err, ErrUnknownWorkspace) {
		t.Errorf("the path of another workspace: got %q, %v, want %v", path, err, ErrUnknownWorkspace)
	}
	if c.Provider() != "" {
		t.Errorf("it knows the provider %s, whose endpoint slice it does not read", c.Provider())
	}
}

func TestNewFailsWithoutAKCP(t *testing.T) {
	for name, config := range map[string]*rest.Config{
		"no URL":                      {Host: "https://kcp:port:/"},
		"an authority that is no PEM": {Host: "https://kcp", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("no PEM")}},
	} {
		if _, err := New(Options{Config: config, ProviderWorkspace: provider, Export: "tmc"}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := newShardSource(Options{Config: config}, config.Host, nil); err == nil {
			t.Errorf("%s: no error of a shard's source", name)
		}
		c, err := New(Options{Config: config, SingleWorkspace: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(t.Context()); err == nil {
			t.Errorf("%s: no error of a single workspace's source", name)
		}
	}
}
