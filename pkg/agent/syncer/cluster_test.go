package syncer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/discovery"
	discoveryfake "k8s.io/client-go/discovery/fake"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	"k8s.io/client-go/rest"
	clientgotesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// newTestCluster returns a cluster that has the objects, and the metadata of the partial ones.
func newTestCluster(t *testing.T, objects ...runtime.Object) (*cluster, *dynamicfake.FakeDynamicClient, *metadatafake.FakeMetadataClient) {
	t.Helper()
	var whole, partial []runtime.Object
	for _, obj := range objects {
		if _, isWhole := obj.(*unstructured.Unstructured); isWhole {
			whole = append(whole, obj)
		} else {
			partial = append(partial, obj)
		}
	}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		v1alpha1.NamespacesResource: "NamespaceList", deployments: "DeploymentList",
	}, whole...)
	scheme := runtime.NewScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	metadataClient := metadatafake.NewSimpleMetadataClient(scheme, partial...)
	served := &discoveryfake.FakeDiscovery{Fake: &clientgotesting.Fake{Resources: []*metav1.APIResourceList{
		{GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "configmaps", Namespaced: true, Kind: "ConfigMap", Verbs: metav1.Verbs{"list", "create"}},
			{Name: "events", Namespaced: true, Kind: "Event", Verbs: metav1.Verbs{"list", "create"}},
			{Name: "pods", Namespaced: true, Kind: "Pod", Verbs: metav1.Verbs{"list", "create"}},
			{Name: "seen", Namespaced: true, Kind: "Seen", Verbs: metav1.Verbs{"list"}},
		}},
	}}}
	return &cluster{client: client, metadata: metadataClient, discovery: preferred{served}}, client, metadataClient
}

// preferred is a fake discovery that says what the cluster prefers.
type preferred struct{ *discoveryfake.FakeDiscovery }

func (p preferred) ServerPreferredNamespacedResources() ([]*metav1.APIResourceList, error) {
	return p.Resources, nil
}

// item returns the metadata of an object of the core group in the namespace app.
func item(kind, name string, shape func(*metav1.PartialObjectMetadata)) *metav1.PartialObjectMetadata {
	obj := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: app, Name: name, UID: types.UID(name)},
	}
	if shape != nil {
		shape(obj)
	}
	return obj
}

func TestClusterLive(t *testing.T) {
	c, client, _ := newTestCluster(t, copyOf("ws", web()), copyOf("ws", web(func(obj *unstructured.Unstructured) { obj.SetName("forged") }), by("kubectl")), madeNamespace("ws"))
	for name, want := range map[string]string{"web": "ws", "forged": ""} {
		obj, err := c.live(t.Context(), deployments, app, name)
		if err != nil || obj == nil || obj.GetAnnotations()[v1alpha1.SourceWorkspaceAnnotation] != want {
			t.Errorf("%s: got %v, error %v, want workspace %q", name, obj, err, want)
		}
	}
	if obj, err := c.live(t.Context(), deployments, app, "none"); obj != nil || err != nil {
		t.Errorf("none: got %v, error %v", obj, err)
	}
	client.PrependReactor("*", "*", func(clientgotesting.Action) (bool, runtime.Object, error) { return true, nil, errAway })
	if _, err := c.live(t.Context(), deployments, app, "web"); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "app/web") {
		t.Errorf("got %v", err)
	}
}

// TestClusterSaysNotFound asks for, and deletes, an object of a cluster that answers 404, by what the 404 is about.
func TestClusterSaysNotFound(t *testing.T) {
	unnamed := apierrors.NewNotFound(deployments.GroupResource(), "")
	cases := map[string]struct {
		err      error
		isServed bool
		readyErr error
		gone     bool // whether the object is believed to be gone
	}{
		"the object is gone":                       {apierrors.NewNotFound(deployments.GroupResource(), "web"), true, nil, true},
		"another object is":                        {apierrors.NewNotFound(deployments.GroupResource(), "other"), true, nil, false},
		"its kind is not served":                   {unnamed, false, nil, true},
		"its kind is not served, says a page":      {errStarting, false, nil, true},
		"its kind is served by now":                {errStarting, true, nil, false},
		"its API server has only just started":     {errStarting, false, errAway, false},
		"the server has started and does not know": {unnamed, false, errAway, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, client, metadataClient := newTestCluster(t)
			c.serves = func(_ context.Context, resource schema.GroupVersionResource) (bool, error) {
				if resource.Version != "v1" {
					t.Errorf("asked for %s", resource)
				}
				return tc.isServed, tc.readyErr
			}
			answer := func(clientgotesting.Action) (bool, runtime.Object, error) { return true, nil, tc.err }
			client.PrependReactor("*", "deployments", answer)
			metadataClient.PrependReactor("list", "*", answer)
			if live, err := c.live(t.Context(), deployments, app, "web"); live != nil || (err == nil) != tc.gone {
				t.Errorf("live: got %v, %v", live, err)
			}
			if err := c.remove(t.Context(), deployments, copyOf("ws", web()), metav1.DeletePropagationBackground); (err == nil) != tc.gone {
				t.Errorf("remove: got %v", err)
			}
			isKnown := !tc.isServed && tc.readyErr == nil // lists are of no object
			if found, err := c.anythingIn(t.Context(), app); found != "" || (err == nil) != isKnown {
				t.Errorf("anythingIn: got %q, %v", found, err)
			}
			if found, err := c.leftBehind(t.Context(), app); found != "" || (err == nil) != isKnown {
				t.Errorf("leftBehind: got %q, %v", found, err)
			}
		})
	}
}

func TestServedBy(t *testing.T) {
	cases := map[string]struct {
		readyz, apps int // what the API server answers
		resources    string
		isServed     bool
		fails        bool
	}{
		"it serves the resource":          {200, 200, `[{"name":"deployments"}]`, true, false},
		"it serves others":                {200, 200, `[{"name":"statefulsets"}]`, false, false},
		"it does not serve the group":     {200, 404, "", false, false},
		"it is not ready":                 {500, 404, "", false, true},
		"it does not say whether":         {403, 404, "", false, false},
		"it cannot say whether":           {404, 200, `[{"name":"deployments"}]`, true, false},
		"it does not answer in the group": {200, 503, "", false, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch r.URL.Path {
				case "/readyz":
					w.WriteHeader(tc.readyz)
				case "/apis/apps/v1":
					w.WriteHeader(tc.apps)
					fmt.Fprintf(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"apps/v1","resources":%s}`, cmp.Or(tc.resources, "[]"))
				default:
					t.Errorf("asked for %s", r.URL.Path)
				}
			}))
			defer server.Close()
			isServed, err := servedBy(discovery.NewDiscoveryClientForConfigOrDie(&rest.Config{Host: server.URL}))(t.Context(), deployments)
			if isServed != tc.isServed || (err != nil) != tc.fails {
				t.Errorf("got %t, %v", isServed, err)
			}
		})
	}
}

func TestClusterLiveNamespace(t *testing.T) {
	c, client, _ := newTestCluster(t, madeNamespace("ws"))
	if obj, err := c.liveNamespace(t.Context(), app); err != nil || obj == nil || obj.GetName() != app {
		t.Errorf("the namespace: got %v, error %v", obj, err)
	}
	if obj, err := c.liveNamespace(t.Context(), "none"); obj != nil || err != nil {
		t.Errorf("no namespace: got %v, error %v", obj, err)
	}
	client.PrependReactor("*", "*", func(clientgotesting.Action) (bool, runtime.Object, error) { return true, nil, errAway })
	if _, err := c.liveNamespace(t.Context(), app); !errors.Is(err, errAway) || !strings.Contains(err.Error(), app) {
		t.Errorf("got %v", err)
	}
}

func TestClusterApply(t *testing.T) {
	c, client, _ := newTestCluster(t)
	var patched clientgotesting.PatchActionImpl
	var result error
	client.PrependReactor("patch", "*", func(action clientgotesting.Action) (bool, runtime.Object, error) {
		patched = action.(clientgotesting.PatchActionImpl)
		return true, web(), result
	})
	if applied, err := c.apply(t.Context(), deployments, copyOf("ws", web())); err != nil || applied.GetName() != "web" {
		t.Fatalf("got %v, %v", applied, err)
	}
	sent := map[string]any{}
	if err := json.Unmarshal(patched.GetPatch(), &sent); err != nil || patched.GetPatchType() != types.ApplyPatchType ||
		patched.PatchOptions.FieldManager != v1alpha1.FieldManager || !*patched.PatchOptions.Force {
		t.Errorf("patched %+v, %v", patched, err)
	}
	result = errAway
	if _, err := c.apply(t.Context(), v1alpha1.NamespacesResource, madeNamespace("ws")); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "applying app:") {
		t.Errorf("got %v", err)
	}
}

func TestClusterRemove(t *testing.T) {
	c, client, _ := newTestCluster(t)
	var deleted clientgotesting.DeleteActionImpl
	var result error
	client.PrependReactor("delete", "*", func(action clientgotesting.Action) (bool, runtime.Object, error) {
		deleted = action.(clientgotesting.DeleteActionImpl)
		return true, nil, result
	})
	body := copyOf("ws", web())
	if err := c.remove(t.Context(), deployments, body, metav1.DeletePropagationOrphan); err != nil || *deleted.DeleteOptions.Preconditions.UID != body.GetUID() || *deleted.DeleteOptions.PropagationPolicy != metav1.DeletePropagationOrphan {
		t.Errorf("deleted %+v, %v", deleted, err)
	}
	result = apierrors.NewNotFound(deployments.GroupResource(), "web")
	if err := c.remove(t.Context(), deployments, body, metav1.DeletePropagationBackground); err != nil {
		t.Errorf("it is gone: %v", err)
	}
	result = errAway
	if err := c.remove(t.Context(), deployments, body, metav1.DeletePropagationBackground); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "app/web") {
		t.Errorf("got %v", err)
	}
}

// foundCase is a namespace on a cluster that refuses, perhaps, to list some resource, and what should be found in it.
type foundCase struct {
	objects []runtime.Object
	refuse  string
	err     error
	want    string
	wantErr error
}

func (tc foundCase) run(t *testing.T, find func(*cluster) (string, error)) {
	t.Helper()
	c, _, client := newTestCluster(t, tc.objects...)
	if tc.refuse != "" {
		client.PrependReactor("list", tc.refuse, func(clientgotesting.Action) (bool, runtime.Object, error) { return true, nil, tc.err })
	}
	if got, err := find(c); got != tc.want || !errors.Is(err, tc.wantErr) {
		t.Errorf("got %q, %v, want %q, %v", got, err, tc.want, tc.wantErr)
	}
}

func TestAnythingIn(t *testing.T) {
	cases := map[string]foundCase{
		"nothing":                        {nil, "", nil, "", nil},
		"what every namespace has":       {[]runtime.Object{item("ConfigMap", "kube-root-ca.crt", nil), item("Event", "x", nil)}, "", nil, "", nil},
		"what is only seen there":        {[]runtime.Object{item("Seen", "x", nil), item("Pod", "x", func(obj *metav1.PartialObjectMetadata) { obj.UID = "" })}, "", nil, "", nil},
		"somebody's ConfigMap":           {[]runtime.Object{item("ConfigMap", "theirs", nil)}, "", nil, "configmaps theirs", nil},
		"what the syncer may not list":   {nil, "pods", apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errAway), "pods, perhaps: the syncer's account may not list them", nil},
		"what is not served any more":    {nil, "pods", apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, ""), "", nil},
		"a cluster that does not answer": {nil, "pods", errAway, "", errAway},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.run(t, func(c *cluster) (string, error) { return c.anythingIn(t.Context(), app) })
		})
	}
}

func TestComesByItself(t *testing.T) {
	cases := map[string]struct {
		resource  schema.GroupResource
		name, uid string
		want      bool
	}{
		"the root CA":               {schema.GroupResource{Resource: "configmaps"}, "kube-root-ca.crt", "u", true},
		"the default account":       {schema.GroupResource{Resource: "serviceaccounts"}, "default", "u", true},
		"what is not stored":        {schema.GroupResource{Group: "metrics.k8s.io", Resource: "pods"}, "web-1", "", true},
		"a ConfigMap":               {schema.GroupResource{Resource: "configmaps"}, "theirs", "u", false},
		"another kind of that name": {schema.GroupResource{Resource: "configmaps"}, "default", "u", false},
		"a claim with data":         {schema.GroupResource{Resource: "persistentvolumeclaims"}, "data-db-0", "u", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: tc.name, UID: types.UID(tc.uid)}}
			if got := comesByItself(tc.resource, obj); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}

func TestIsOrphan(t *testing.T) {
	labelled := func(label string, value ...string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: "u", Labels: map[string]string{label: append(value, "x")[0]}}}
	}
	owned := func(item *metav1.PartialObjectMetadata) *metav1.PartialObjectMetadata {
		item.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", UID: "there", Controller: new(true)}}
		return item
	}
	scheduled := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: "u", Annotations: map[string]string{"batch.kubernetes.io/cronjob-scheduled-timestamp": "x"}}}
	cases := map[string]struct {
		resource           string
		item               *metav1.PartialObjectMetadata
		isOrphan, isDebris bool
	}{
		"a pod of a ReplicaSet":       {"pods", labelled("pod-template-hash"), true, false},
		"a pod of a StatefulSet":      {"pods", labelled("controller-revision-hash"), true, false},
		"a pod of a Job":              {"pods", labelled("batch.kubernetes.io/job-name"), true, false},
		"a pod that has its owner":    {"pods", owned(labelled("controller-revision-hash")), false, false},
		"somebody's pod":              {"pods", labelled("app"), false, false},
		"a ReplicaSet":                {"replicasets.apps", labelled("pod-template-hash"), true, false},
		"somebody's ReplicaSet":       {"replicasets.apps", labelled("app"), false, false},
		"a Job of a CronJob":          {"jobs.batch", scheduled, true, false},
		"somebody's Job":              {"jobs.batch", labelled("app"), false, false},
		"what is scheduled otherwise": {"pods", scheduled, false, false},
		"a revision":                  {"controllerrevisions.apps", labelled("controller.kubernetes.io/hash"), true, true},
		"a revision of what is there": {"controllerrevisions.apps", owned(labelled("controller.kubernetes.io/hash")), false, false},
		"somebody's revision":         {"controllerrevisions.apps", labelled("app"), false, false},
		"addresses of what is gone":   {"endpointslices.discovery.k8s.io", labelled("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"), false, true},
		"somebody's addresses":        {"endpointslices.discovery.k8s.io", labelled("endpointslice.kubernetes.io/managed-by", "staff"), false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			resource := schema.ParseGroupResource(tc.resource)
			if got := isOrphan(resource, tc.item); got != tc.isOrphan {
				t.Errorf("isOrphan is %t", got)
			}
			if got := isDebris(resource, tc.item); got != tc.isDebris || got != comesByItself(resource, tc.item) {
				t.Errorf("isDebris is %t", got)
			}
			if got := isLeft(resource.WithVersion("v1"), tc.item, sets.New[types.UID]("there")); got != tc.isOrphan {
				t.Errorf("isLeft is %t", got)
			}
		})
	}
}

func TestLeftBehind(t *testing.T) {
	claim := func(manager string) runtime.Object {
		made := copyOf("ws", web(func(obj *unstructured.Unstructured) { obj.SetName("data") }), by(manager))
		return item("PersistentVolumeClaim", "data", func(obj *metav1.PartialObjectMetadata) {
			obj.Labels, obj.Annotations, obj.ManagedFields = made.GetLabels(), made.GetAnnotations(), made.GetManagedFields()
		})
	}
	ofGone := item("Pod", "web-1", func(obj *metav1.PartialObjectMetadata) {
		obj.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", UID: "gone", Controller: new(true)}}
	})
	cases := map[string]foundCase{
		"nothing":                        {nil, "", nil, "", nil},
		"pods of somebody else":          {[]runtime.Object{item("Pod", "theirs", nil)}, "", nil, "", nil},
		"a pod whose maker is gone":      {[]runtime.Object{ofGone}, "", nil, "pods web-1", nil},
		"a claim of a volume":            {[]runtime.Object{item("PersistentVolumeClaim", "data-db-0", nil)}, "", nil, "persistentvolumeclaims data-db-0", nil},
		"a claim that is a copy":         {[]runtime.Object{claim(v1alpha1.FieldManager)}, "", nil, "", nil},
		"a claim that says it is one":    {[]runtime.Object{claim("kube-controller-manager")}, "", nil, "persistentvolumeclaims data", nil},
		"what the syncer may not list":   {nil, "pods", apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errAway), "pods, perhaps: the syncer's account may not list them", nil},
		"what the cluster does not have": {nil, "cronjobs", apierrors.NewNotFound(schema.GroupResource{Resource: "cronjobs"}, ""), "", nil},
		"a cluster that does not answer": {nil, "pods", errAway, "", errAway},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.run(t, func(c *cluster) (string, error) { return c.leftBehind(t.Context(), app) })
		})
	}
}

func TestIsLeft(t *testing.T) {
	madeBy := func(apiVersion, kind, uid string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{
			APIVersion: apiVersion, Kind: kind, UID: types.UID(uid), Controller: new(true),
		}}}}
	}
	ending := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: new(metav1.NewTime(time.Unix(1, 0)))}}
	cases := map[string]struct {
		item *metav1.PartialObjectMetadata
		want bool
	}{
		"nobody runs it":                          {&metav1.PartialObjectMetadata{}, false},
		"its maker is there":                      {madeBy("apps/v1", "ReplicaSet", "there"), false},
		"its maker is gone":                       {madeBy("apps/v1", "ReplicaSet", "gone"), true},
		"its CronJob is gone":                     {madeBy("batch/v1", "CronJob", "gone"), true},
		"whether its maker is there is not known": {madeBy("argoproj.io/v1alpha1", "Rollout", "unknown"), false},
		"it is being deleted, whosever it is":     {ending, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isLeft(runners[0], tc.item, sets.New[types.UID]("there")); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}
