package aggregator

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/events"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// fakeHub is all that an Aggregator needs, for one workspace, and keeps what is written.
type fakeHub struct {
	objects  map[kcp.ObjectKey]*unstructured.Unstructured
	leftOut  map[string]v1alpha1.LeftOut
	clusters map[string]placement.Cluster
	written  int
}

func (f *fakeHub) HasReadWorkspace(logicalcluster.Name) bool                            { return true }
func (f *fakeHub) Cached(key kcp.ObjectKey) *unstructured.Unstructured                  { return f.objects[key] }
func (f *fakeHub) Silent(string) string                                                 { return "" }
func (f *fakeHub) Cluster(name string) placement.Cluster                                { return f.clusters[name] }
func (f *fakeHub) Warn(kcp.ObjectKey, *unstructured.Unstructured, string, ...string)    {}
func (f *fakeHub) WarnOfAll(kcp.ObjectKey, *unstructured.Unstructured, []events.Notice) {}
func (f *fakeHub) Forget(kcp.ObjectKey)                                                 {}

func (f *fakeHub) LeftOut(_ logicalcluster.Name, export string, _ schema.GroupResource) v1alpha1.LeftOut {
	return f.leftOut[export]
}

func (f *fakeHub) Resources() map[schema.GroupVersionResource]kcp.Resource {
	served := kcp.Resource{GroupVersionResource: deployments, Kind: "Deployment", Namespaced: true, HasStatus: true}
	return map[schema.GroupVersionResource]kcp.Resource{deployments: served}
}

func (f *fakeHub) EachIn(logicalcluster.Name, string, func(kcp.ObjectKey, *unstructured.Unstructured)) {
}

func (f *fakeHub) EachInWorkspace(_ logicalcluster.Name, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.objects {
		visit(key, obj)
	}
}
func (f *fakeHub) EachBy(string, string, func(kcp.ObjectKey, *unstructured.Unstructured)) {}

func (f *fakeHub) Patch(context.Context, kcp.ObjectKey, types.PatchType, []byte, ...string) (*unstructured.Unstructured, error) {
	f.written++
	return nil, nil
}

func TestSyncedSaysWhichSyncersDoNotSeeAnObject(t *testing.T) {
	const hint = " not bound here: kubectl tmc bind, or make the workspace of type root:tmc:tmc-tenant"
	cases := map[string]struct {
		reason  string
		labels  map[string]string
		noted   string
		leftOut map[string]v1alpha1.LeftOut
		want    []v1alpha1.Problem
	}{
		"Seen":             {"all is well", map[string]string{"cluster.tmc.kcp.io/east": "sync"}, "", nil, nil},
		"NotBoundAnyMore":  {"what it reports is not renewed", map[string]string{"cluster.tmc.kcp.io/east": "sync"}, "", map[string]v1alpha1.LeftOut{"cluster-east": v1alpha1.LeftOutNotBound}, []v1alpha1.Problem{{Reason: "NotBound", Message: "east is" + hint}}},
		"OnOneOfTwo":       {"a fleet with an unbound cluster does not look broken", map[string]string{"cluster.tmc.kcp.io/west": "sync"}, `{"leftOut":{"east":"NotBound"}}`, map[string]v1alpha1.LeftOut{"cluster-east": v1alpha1.LeftOutNotBound}, nil},
		"OnNone":           {"it goes nowhere", nil, `{"leftOut":{"east":"NotBound","west":"NotBound"}}`, nil, []v1alpha1.Problem{{Reason: "NotBound", Message: "east, west are" + hint}}},
		"TheKindIsNotOurs": {"its copy is changed no more", map[string]string{"cluster.tmc.kcp.io/few": "sync"}, "", nil, []v1alpha1.Problem{{Reason: "KindNotServed", Message: "few does not take Deployment.apps"}}},
		"NotRegistered":    {"that is said elsewhere", map[string]string{"cluster.tmc.kcp.io/nope": "sync"}, "", map[string]v1alpha1.LeftOut{"": v1alpha1.LeftOutNotBound}, nil},
		"NoPoliciesThere":  {"what runs is seen as before", map[string]string{"cluster.tmc.kcp.io/east": "sync"}, "", map[string]v1alpha1.LeftOut{"cluster-east": v1alpha1.LeftOutPoliciesMissing}, nil},
		"NoPolicies":       {"nothing enters", nil, `{"leftOut":{"east":"PoliciesMissing"}}`, nil, []v1alpha1.Problem{{Reason: "PoliciesMissing", Message: "nothing new enters east from here until the workspace has tmc's ValidatingAdmissionPolicies as they were made: tmc-controller puts them in"}}},
		"NotAccepted":      {"his binding is of before the upgrade", nil, `{"leftOut":{"east":"PoliciesNotAccepted"}}`, nil, []v1alpha1.Problem{{Reason: "PoliciesNotAccepted", Message: "nothing new enters east from here, for the workspace's APIBinding tmc.kcp.io does not accept the claims on ValidatingAdmissionPolicies: kubectl tmc bind"}}},
		"Tampered":         {"it is written again", nil, `{"leftOut":7`, nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := &fakeHub{leftOut: tc.leftOut, clusters: map[string]placement.Cluster{
				"east": {Name: "east", Export: "cluster-east"}, "west": {Name: "west", Export: "cluster-west"},
				"few": {Name: "few", Export: v1alpha1.APIExportName, Resources: sets.New("configmaps/v1")},
			}}
			a := New(Config{Upstream: f, Inventory: inventory.New(f, kinds.Kinds{}), Registry: f, Bindings: f, Notices: f, TenantType: "root:tmc:tmc-tenant"})
			obj := &unstructured.Unstructured{Object: map[string]any{}}
			obj.SetAPIVersion("apps/v1")
			obj.SetKind("Deployment")
			obj.SetLabels(tc.labels)
			obj.SetAnnotations(map[string]string{v1alpha1.PlacementAnnotation: tc.noted})
			key := kcp.ObjectKey{Workspace: "ws", Resource: deployments, Namespace: "app", Name: "web"}
			if diff := cmp.Diff(tc.want, a.unseen(key, obj)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			f.objects = map[kcp.ObjectKey]*unstructured.Unstructured{key: obj}
			if _, err := a.sync(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			if f.written != 1 {
				t.Errorf("its status is written %d times", f.written)
			}
		})
	}
}
