package scheduler

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

var resources = map[string]schema.GroupVersionResource{
	"Deployment":            {Group: "apps", Version: "v1", Resource: "deployments"},
	"Service":               {Version: "v1", Resource: "services"},
	"Ingress":               {Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
	"ConfigMap":             {Version: "v1", Resource: "configmaps"},
	"Secret":                {Version: "v1", Resource: "secrets"},
	"ServiceAccount":        {Version: "v1", Resource: "serviceaccounts"},
	"PersistentVolumeClaim": {Version: "v1", Resource: "persistentvolumeclaims"},
	"Namespace":             v1alpha1.NamespacesResource,

	"WorkloadPlacement": v1alpha1.WorkloadPlacementsResource,
	"APIBinding":        v1alpha1.APIBindingsResource,
}

// fakeKCP holds the objects of one workspace, and does what is patched.
type fakeKCP struct {
	objects map[kcp.ObjectKey]*unstructured.Unstructured
	// written are the names of the objects in the order of the writes.
	written []string
	unread  bool
	// told are the events.
	told []string
	// patches are what was written, and refuses what the next write is refused with.
	patches []string
	refuses error
	// leftOut says why objects of a resource are not seen through an APIExport.
	leftOut map[string]v1alpha1.LeftOut
}

// LeftOut goes by the name of the export, or by that and the resource.
func (f *fakeKCP) LeftOut(_ logicalcluster.Name, export string, resource schema.GroupResource) v1alpha1.LeftOut {
	if why, ofKind := f.leftOut[export+" "+resource.Resource]; ofKind {
		return why
	}
	return f.leftOut[export]
}

// Tell keeps the events.
func (f *fakeKCP) Tell(upstreamObj *unstructured.Unstructured, reason, message string) {
	f.told = append(f.told, upstreamObj.GetName()+" "+reason+": "+message)
}

func (f *fakeKCP) HasReadWorkspace(logicalcluster.Name) bool                         { return !f.unread }
func (f *fakeKCP) Cached(key kcp.ObjectKey) *unstructured.Unstructured               { return f.objects[key] }
func (f *fakeKCP) Warn(kcp.ObjectKey, *unstructured.Unstructured, string, ...string) {}
func (f *fakeKCP) Forget(kcp.ObjectKey)                                              {}

func (f *fakeKCP) Each(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.objects {
		visit(key, obj)
	}
}

// fleet is a registry of clusters that are all well.
type fleet []string

func (f fleet) Path(logicalcluster.Name) (string, bool) { return "root:ws", true }
func (f fleet) Ask(logicalcluster.Name)                 {}

func (f fleet) Clusters() []placement.Cluster {
	var clusters []placement.Cluster
	for _, name := range f {
		clusters = append(clusters, placement.Cluster{Name: name, Ready: true, Export: v1alpha1.ClusterExport(name)})
	}
	return clusters
}

func (f fleet) Fleet() *placement.Fleet { return placement.NewFleet(f.Clusters()) }

func (f fleet) Cluster(name string) placement.Cluster { return named(f.Clusters(), name) }

// named returns the cluster of that name.
func named(clusters []placement.Cluster, name string) placement.Cluster {
	for _, cluster := range clusters {
		if cluster.Name == name {
			return cluster
		}
	}
	return placement.Cluster{}
}

func (f *fakeKCP) Resources() map[schema.GroupVersionResource]kcp.Resource {
	served := map[schema.GroupVersionResource]kcp.Resource{}
	for _, resource := range resources {
		served[resource] = kcp.Resource{GroupVersionResource: resource}
	}
	return served
}

func (f *fakeKCP) EachIn(_ logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.objects {
		if key.Namespace == namespace {
			visit(key, obj)
		}
	}
}

func (f *fakeKCP) EachInWorkspace(_ logicalcluster.Name, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	f.Each(visit)
}

func (f *fakeKCP) EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.objects {
		if values, err := inventory.Indexers(kinds.Kinds{})[index](obj); err == nil && slices.Contains(values, value) {
			visit(key, obj)
		}
	}
}

func (f *fakeKCP) Patch(_ context.Context, key kcp.ObjectKey, _ types.PatchType, patch []byte, _ ...string) (*unstructured.Unstructured, error) {
	var change struct {
		Metadata struct{ Labels, Annotations map[string]*string }
		Status   map[string]any
	}
	if f.refuses != nil {
		return nil, f.refuses
	}
	if err := json.Unmarshal(patch, &change); err != nil {
		return nil, err
	}
	f.patches = append(f.patches, string(patch))
	obj := f.objects[key].DeepCopy()
	obj.SetLabels(merge(obj.GetLabels(), change.Metadata.Labels))
	obj.SetAnnotations(merge(obj.GetAnnotations(), change.Metadata.Annotations))
	if change.Status != nil {
		obj.Object["status"] = change.Status
	}
	f.objects[key] = obj
	f.written = append(f.written, key.Name)
	return obj, nil
}

func merge(present map[string]string, change map[string]*string) map[string]string {
	if present == nil {
		present = map[string]string{}
	}
	for key, value := range change {
		if delete(present, key); value != nil {
			present[key] = *value
		}
	}
	return present
}

// newFakeKCP reads the objects of a namespace app from YAML documents.
func newFakeKCP(t *testing.T, documents ...string) *fakeKCP {
	t.Helper()
	f := &fakeKCP{objects: map[kcp.ObjectKey]*unstructured.Unstructured{}}
	for _, document := range documents {
		obj := &unstructured.Unstructured{}
		data, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		if err := obj.UnmarshalJSON(data); err != nil {
			t.Fatal(err)
		}
		if kind := obj.GetKind(); kind != "Namespace" && kind != "APIBinding" {
			obj.SetNamespace("app")
		}
		obj.SetAnnotations(merge(obj.GetAnnotations(), map[string]*string{logicalcluster.AnnotationKey: new("ws")}))
		obj.SetUID(types.UID(obj.GetName()))
		f.objects[kcp.KeyOf(resources[obj.GetKind()], obj)] = obj
	}
	return f
}

// settle takes turns over all objects until nothing is written any more.
func (f *fakeKCP) settle(t *testing.T) {
	t.Helper()
	f.settleWith(t, f.scheduler(fleet{"east", "west"}))
}

func (f *fakeKCP) scheduler(clusters registry) *Scheduler {
	s := New(Config{Upstream: f, Inventory: inventory.New(f, kinds.Kinds{}), Notices: f, Registry: clusters, Paths: fleet{}, Bindings: f, TenantType: "root:tmc:tmc-tenant", Default: placement.DefaultAll})
	s.now = func() time.Time { return time.Unix(0, 0) }
	return s
}

func (f *fakeKCP) settleWith(t *testing.T, s *Scheduler) {
	t.Helper()
	for range 10 {
		before := len(f.written)
		for _, key := range f.keys() {
			if _, err := s.sync(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.written) == before {
			return
		}
	}
	t.Fatalf("it does not come to rest: %v", f.written)
}

func (f *fakeKCP) keys() []kcp.ObjectKey {
	keys := make([]kcp.ObjectKey, 0, len(f.objects))
	for key := range f.objects {
		keys = append(keys, key)
	}
	// Deployments come before what they need: the order has to come from the scheduler.
	slices.SortFunc(keys, func(a, b kcp.ObjectKey) int { return len(b.Resource.Group) - len(a.Resource.Group) })
	return keys
}

// on returns the clusters that the object of that name is placed on and not leaving.
func (f *fakeKCP) on(name string) []string {
	var clusters []string
	for key, obj := range f.objects {
		for _, cluster := range []string{"east", "west"} {
			if key.Name == name && protocol.Read(obj).IsPlaced(cluster) {
				clusters = append(clusters, cluster)
			}
		}
	}
	return clusters
}

const (
	namespace  = `{apiVersion: v1, kind: Namespace, metadata: {name: app}}`
	settings   = `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}`
	unneeded   = `{apiVersion: v1, kind: ConfigMap, metadata: {name: unneeded}}`
	certs      = `{apiVersion: v1, kind: Secret, metadata: {name: certs}}`
	pull       = `{apiVersion: v1, kind: Secret, metadata: {name: pull}}`
	account    = `{apiVersion: v1, kind: ServiceAccount, metadata: {name: account}, imagePullSecrets: [{name: pull}]}`
	service    = `{apiVersion: v1, kind: Service, metadata: {name: service}, spec: {selector: {app: web}}}`
	ingress    = `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: ingress}, spec: {tls: [{secretName: certs}], defaultBackend: {service: {name: service}}}}`
	deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {tmc.kcp.io/target-clusters: "east"}}
spec:
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: account
      containers: [{name: web, envFrom: [{configMapRef: {name: settings}}]}]
`
)

func TestSyncPlacesWhatBelongsTogether(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, unneeded, certs, pull, account, service, ingress, deployment)
	f.settle(t)
	for _, name := range []string{"web", "settings", "account", "pull", "service", "ingress", "certs", "app"} {
		if diff := cmp.Diff([]string{"east"}, f.on(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := f.on("unneeded"); got != nil {
		t.Errorf("what nothing needs is on %v", got)
	}
	before := func(first, second string) {
		t.Helper()
		if slices.Index(f.written, first) > slices.Index(f.written, second) {
			t.Errorf("%s comes after %s: %v", first, second, f.written)
		}
	}
	before("app", "settings")
	before("settings", "web")
	before("account", "web")
	before("pull", "account")
}

func TestSyncRemovesWhatNobodyNeeds(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, account, deployment)
	f.settle(t)
	hold(f, "web", "settings")

	target(f, "web", "west")
	f.settle(t)
	if diff := cmp.Diff([]string{"east", "west"}, f.on("settings")); diff != "" {
		t.Errorf("while the copy on east is there (-want +got):\n%s", diff)
	}
	hold(f, "web") // the copy on east is gone
	f.settle(t)
	if diff := cmp.Diff([]string{"west"}, f.on("settings")); diff != "" {
		t.Errorf("after it has gone (-want +got):\n%s", diff)
	}
}

// hold gives the objects of these names the finalizer of east's syncer, the first
// name alone takes it away.
func hold(f *fakeKCP, names ...string) {
	for key, obj := range f.objects {
		if slices.Contains(names, key.Name) {
			obj = obj.DeepCopy()
			if obj.GetFinalizers() == nil {
				obj.SetFinalizers([]string{v1alpha1.Finalizer("east")})
			} else {
				obj.SetFinalizers(nil)
			}
			f.objects[key] = obj
		}
	}
}

func target(f *fakeKCP, name, clusters string) {
	for key, obj := range f.objects {
		if key.Name == name {
			obj = obj.DeepCopy()
			obj.SetAnnotations(merge(obj.GetAnnotations(), map[string]*string{v1alpha1.TargetClustersAnnotation: &clusters}))
			f.objects[key] = obj
		}
	}
}

func TestSyncWaitsUntilAllIsRead(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, account, deployment)
	f.settle(t)
	written := len(f.written)
	for key := range f.objects {
		if key.Resource.Resource == "deployments" {
			delete(f.objects, key)
		}
	}
	f.unread = true
	f.settle(t)
	if len(f.written) > written {
		t.Errorf("the ConfigMap was asked to leave: %v", f.written[written:])
	}
	f.unread = false
	f.settle(t)
	if got := f.on("settings"); got != nil {
		t.Errorf("the last that needed it is gone, and it is still on %v", got)
	}
}

func TestSyncNeverPlaces(t *testing.T) {
	f := newFakeKCP(t, namespace,
		`{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, annotations: {tmc.kcp.io/target-clusters: "*"}}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, annotations: {tmc.kcp.io/target-clusters: "*"}}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: token, annotations: {tmc.kcp.io/target-clusters: "*"}}, type: kubernetes.io/service-account-token}`,
	)
	f.settle(t)
	for _, name := range []string{"default", "kube-root-ca.crt", "token"} {
		if got := f.on(name); got != nil {
			t.Errorf("%s is on %v", name, got)
		}
	}
}
