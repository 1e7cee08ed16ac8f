package aggregator

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/aggregate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/events"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	jobs        = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

	began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// fakeHub is all that an Aggregator needs. It keeps what is written and told.
type fakeHub struct {
	objects  map[kcp.ObjectKey]*unstructured.Unstructured
	leftOut  map[string]v1alpha1.LeftOut
	clusters map[string]placement.Cluster
	silent   map[string]string
	isUnread bool
	patchErr error

	// written are the patches, told the events, forgotten the objects whose events are.
	written   []string
	deleted   []metav1.Preconditions
	deleteErr error
	told      []string
	forgotten []kcp.ObjectKey
}

func newFakeHub() *fakeHub { return &fakeHub{objects: map[kcp.ObjectKey]*unstructured.Unstructured{}} }

// aggregator returns an Aggregator over the fake, at the time began. It writes at once whatever has changed.
func (f *fakeHub) aggregator() *Aggregator {
	a := New(Config{
		Upstream: f, Inventory: inventory.New(f, kinds.Kinds{}), Registry: f, Bindings: f, Notices: f, TenantType: "root:tmc:tmc-tenant",
	})
	a.now = func() time.Time { return began }
	a.heard = func(kcp.ObjectKey, aggregate.News, time.Time) time.Duration { return 0 }
	return a
}

func (f *fakeHub) HasReadWorkspace(logicalcluster.Name) bool           { return !f.isUnread }
func (f *fakeHub) Cached(key kcp.ObjectKey) *unstructured.Unstructured { return f.objects[key] }
func (f *fakeHub) Silent(cluster string) string                        { return f.silent[cluster] }
func (f *fakeHub) Cluster(name string) placement.Cluster               { return f.clusters[name] }
func (f *fakeHub) Forget(key kcp.ObjectKey)                            { f.forgotten = append(f.forgotten, key) }

func (f *fakeHub) Warn(key kcp.ObjectKey, _ *unstructured.Unstructured, reason string, messages ...string) {
	for _, message := range messages {
		if message != "" {
			f.told = append(f.told, fmt.Sprintf("%s: %s: %s", key.Workspace, reason, message))
		}
	}
}

func (f *fakeHub) WarnOfAll(key kcp.ObjectKey, obj *unstructured.Unstructured, found []events.Notice) {
	for _, notice := range found {
		f.Warn(key, obj, notice.Reason, notice.Message)
	}
}

func (f *fakeHub) WarnOfSpread(key kcp.ObjectKey, obj *unstructured.Unstructured, found []events.Spread, isTold bool) {
	for _, spread := range found {
		if !isTold {
			f.Warn(key, obj, spread.Reason, spread.Message)
		}
	}
}

func (f *fakeHub) LeftOut(_ logicalcluster.Name, export string, _ schema.GroupResource) v1alpha1.LeftOut {
	return f.leftOut[export]
}

func (f *fakeHub) Resources() map[schema.GroupVersionResource]kcp.Resource {
	return map[schema.GroupVersionResource]kcp.Resource{
		deployments: {GroupVersionResource: deployments, Kind: "Deployment", Namespaced: true, HasStatus: true},
		jobs:        {GroupVersionResource: jobs, Kind: "Job", Namespaced: true, HasStatus: true},
		configMaps:  {GroupVersionResource: configMaps, Kind: "ConfigMap", Namespaced: true},
	}
}

func (f *fakeHub) EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	f.EachInWorkspace(workspace, func(key kcp.ObjectKey, obj *unstructured.Unstructured) {
		if key.Namespace == namespace {
			visit(key, obj)
		}
	})
}

func (f *fakeHub) EachInWorkspace(workspace logicalcluster.Name, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.objects {
		if key.Workspace == workspace {
			visit(key, obj)
		}
	}
}

func (f *fakeHub) EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.objects {
		values, _ := inventory.Indexers(kinds.Kinds{})[index](obj)
		for _, has := range values {
			if has == value {
				visit(key, obj)
			}
		}
	}
}

func (f *fakeHub) Patch(_ context.Context, _ kcp.ObjectKey, _ types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error) {
	f.written = append(f.written, fmt.Sprint(subresources)+string(patch))
	return nil, f.patchErr
}

func (f *fakeHub) Delete(_ context.Context, _ kcp.ObjectKey, preconditions metav1.Preconditions) error {
	f.deleted = append(f.deleted, preconditions)
	return f.deleteErr
}

// change changes an object of the fake.
type change func(*unstructured.Unstructured)

func on(clusters ...string) change {
	return func(obj *unstructured.Unstructured) {
		labels := map[string]string{}
		for _, cluster := range clusters {
			labels[v1alpha1.PlacementLabel(cluster)] = v1alpha1.PlacementLabelValue
		}
		obj.SetLabels(labels)
	}
}

func annotated(key, value string) change {
	return func(obj *unstructured.Unstructured) {
		annotations := obj.GetAnnotations()
		annotations[key] = value
		obj.SetAnnotations(annotations)
	}
}

// add adds an object in the namespace app of a workspace, made at the time began.
func (f *fakeHub) add(workspace string, resource schema.GroupVersionResource, kind, name string, changes ...change) kcp.ObjectKey {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetAPIVersion(resource.GroupVersion().String())
	obj.SetKind(kind)
	obj.SetNamespace("app")
	obj.SetName(name)
	obj.SetUID("u")
	obj.SetGeneration(1)
	obj.SetCreationTimestamp(metav1.NewTime(began))
	obj.SetAnnotations(map[string]string{logicalcluster.AnnotationKey: workspace})
	for _, change := range changes {
		change(obj)
	}
	key := kcp.ObjectKey{Workspace: logicalcluster.Name(workspace), Resource: resource, Namespace: "app", Name: name}
	f.objects[key] = obj
	return key
}

// reported adds the report of a cluster.
func reported(t *testing.T, report protocol.Report) change {
	t.Helper()
	report.Version = protocol.ReportVersion
	encoded, err := report.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return annotated(v1alpha1.StatusAnnotation(report.Cluster), encoded)
}
