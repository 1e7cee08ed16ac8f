package inventory

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// objects are caches that index as Indexers says.
type objects map[kcp.ObjectKey]*unstructured.Unstructured

func (o objects) Cached(key kcp.ObjectKey) *unstructured.Unstructured { return o[key] }

func (o objects) Resources() map[schema.GroupVersionResource]kcp.Resource {
	return map[schema.GroupVersionResource]kcp.Resource{
		{Group: "apps", Version: "v1", Resource: "deployments"}: {}, {Version: "v1", Resource: "configmaps"}: {}, {Version: "v1", Resource: "services"}: {},
	}
}

func (o objects) EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range o {
		if key.Workspace == workspace && key.Namespace == namespace {
			visit(key, obj)
		}
	}
}

func (o objects) EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range o {
		if values, err := Indexers(kinds.Kinds{})[index](obj); err == nil && slices.Contains(values, value) {
			visit(key, obj)
		}
	}
}

// add puts an object of namespace default of a workspace into the caches.
func (o objects) add(t *testing.T, workspace, document string) kcp.ObjectKey {
	t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(document), &obj.Object); err != nil {
		t.Fatal(err)
	}
	obj.SetNamespace("default")
	obj.SetAnnotations(map[string]string{logicalcluster.AnnotationKey: workspace})
	version := obj.GroupVersionKind().GroupVersion()
	key := kcp.KeyOf(version.WithResource(strings.ToLower(obj.GetKind())+"s"), obj)
	o[key] = obj
	return key
}

// visited returns what an Each… function has visited, sorted.
func visited(each func(visit func(kcp.ObjectKey, *unstructured.Unstructured))) string {
	var names []string
	each(func(key kcp.ObjectKey, _ *unstructured.Unstructured) {
		names = append(names, key.Workspace.String()+" "+key.Resource.Resource+"/"+key.Name)
	})
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func TestInventory(t *testing.T) {
	o := objects{}
	deployment := o.add(t, "a", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {cluster.tmc.kcp.io/east: sync}},
		spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main}], volumes: [{configMap: {name: settings}}, {configMap: {name: extra, optional: true}}, {secret: {secretName: unserved}}]}}}}`)
	settings := o.add(t, "a", `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}`)
	service := o.add(t, "a", `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}}}`)
	held := o.add(t, "a", `{apiVersion: v1, kind: ConfigMap, metadata: {name: held, finalizers: [syncer.tmc.kcp.io/east]}}`)
	o.add(t, "b", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {cluster.tmc.kcp.io/east: sync}}, spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main}]}}}}`)
	o.add(t, "c", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {cluster.tmc.kcp.io/west: sync}}, spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main}]}}}}`)
	o.add(t, "d", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main}]}}}}`)
	i := New(o, kinds.Kinds{})

	t.Run("Needs", func(t *testing.T) {
		extra := kcp.ObjectKey{Workspace: "a", Resource: settings.Resource, Namespace: "default", Name: "extra"}
		needs := i.Needs(deployment, o[deployment])
		slices.SortFunc(needs, func(x, y Need) int { return -strings.Compare(x.Key.Name, y.Key.Name) })
		if diff := cmp.Diff([]Need{{Key: settings, Object: o[settings]}, {Key: extra, Optional: true}}, needs); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := i.Needs(settings, o[settings]); got != nil {
			t.Errorf("a ConfigMap needs %v", got)
		}
	})
	cases := map[string]struct {
		each func(visit func(kcp.ObjectKey, *unstructured.Unstructured))
		want string
	}{
		"EachDependent of what is named":     {func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) { i.EachDependent(settings, visit) }, "a deployments/web"},
		"EachDependent of what is not named": {func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) { i.EachDependent(held, visit) }, ""},
		"EachFollowed by what is named": {func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
			i.EachFollowed(settings, o[settings], visit)
		}, ""},
		"EachFollowed by what follows": {func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
			i.EachFollowed(service, o[service], visit)
		}, "a deployments/web"},
		"NeedKeys": {func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
			for _, key := range i.NeedKeys(deployment, o[deployment]) {
				visit(key, nil)
			}
		}, "a configmaps/extra, a configmaps/settings"},
		"EachFollower": {func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
			i.EachFollower(deployment, o[deployment], func(key kcp.ObjectKey) { visit(key, nil) })
		}, "a configmaps/extra, a configmaps/settings, a services/web"},
		"EachOn": {func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) { i.EachOn("east", visit) }, "a configmaps/held, a deployments/web, b deployments/web"},
		"EachNamesake": {func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
			i.EachNamesake(deployment, o[deployment], "east", visit)
		}, "b deployments/web"},
		"EachNamesake, elsewhere": {func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
			i.EachNamesake(deployment, o[deployment], "west", visit)
		}, "c deployments/web"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := visited(tc.each); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestInventoryLeavesOutWhatClustersProvide(t *testing.T) {
	o := objects{}
	const volumes = `spec: {template: {spec: {containers: [{name: main}], volumes: [{configMap: {name: made}}, {configMap: {name: settings}}]}}}}`
	web := o.add(t, "a", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, `+volumes)
	made := o.add(t, "a", `{apiVersion: v1, kind: ConfigMap, metadata: {name: made}}`)
	o[web].SetAnnotations(map[string]string{logicalcluster.AnnotationKey: "a", "tmc.kcp.io/provided-by-cluster": "configmap/made, nonsense"})
	i := New(o, kinds.Kinds{})
	if needs := i.Needs(web, o[web]); len(needs) != 1 || needs[0].Key.Name != "settings" {
		t.Errorf("it needs %v", needs)
	}
	if got := visited(func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) { i.EachDependent(made, visit) }); got != "" {
		t.Errorf("what the cluster makes follows %q: the cluster's own would be in its way", got)
	}
	o.add(t, "a", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: other}, `+volumes)
	if got := visited(func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) { i.EachDependent(made, visit) }); got != "a deployments/other" {
		t.Errorf("it follows %q, and another one names it", got)
	}
}

func TestInventoryPlacements(t *testing.T) {
	o := objects{}
	o.add(t, "a", `{apiVersion: tmc.kcp.io/v1alpha1, kind: WorkloadPlacement, metadata: {name: two}, spec: {numberOfClusters: 2}}`)
	o.add(t, "a", `{apiVersion: tmc.kcp.io/v1alpha1, kind: WorkloadPlacement, metadata: {name: odd}, spec: odd}`)
	o.add(t, "b", `{apiVersion: tmc.kcp.io/v1alpha1, kind: WorkloadPlacement, metadata: {name: other}, spec: {}}`)
	got := New(o, kinds.Kinds{}).Placements("a", "default")
	if len(got) != 1 || got[0].Name != "two" {
		t.Errorf("got %v", got)
	}
	if values, err := Indexers(kinds.Kinds{})[placementsIndex]("no object"); values != nil || err != nil {
		t.Errorf("what is no object has %v, %v", values, err)
	}
}
