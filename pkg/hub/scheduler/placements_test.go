package scheduler

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// placementOf is a WorkloadPlacement named p.
func placementOf(spec string) string {
	return "{apiVersion: tmc.kcp.io/v1alpha1, kind: WorkloadPlacement, metadata: {name: p, generation: 1}, spec: " + spec + "}"
}

func deployments(count int) []string {
	var documents []string
	for i := range count {
		documents = append(documents, fmt.Sprintf("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web-%d}, spec: {replicas: 2}}", i))
	}
	return documents
}

// counts returns how many Deployments each cluster has.
func (f *fakeKCP) counts() map[string]int {
	counts := map[string]int{}
	for _, obj := range f.objects {
		for _, cluster := range protocol.Read(obj).Labelled() {
			if obj.GetKind() == "Deployment" {
				counts[cluster]++
			}
		}
	}
	return counts
}

func TestDecideKnowsEarlierDecisions(t *testing.T) {
	for _, strategy := range []string{"RoundRobin", "LeastLoaded"} {
		t.Run(strategy, func(t *testing.T) {
			f := newFakeKCP(t, append(deployments(9), namespace, placementOf("{numberOfClusters: 1, strategy: "+strategy+"}"))...)
			s := f.scheduler(fleet{"east", "north", "west"})
			// All are decided upon before anything is written.
			for key, obj := range f.objects {
				if obj.GetKind() == "Deployment" {
					s.decide(key, obj)
				}
			}
			f.settleWith(t, s)
			if diff := cmp.Diff(map[string]int{"east": 3, "north": 3, "west": 3}, f.counts()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSyncMovesWhatFollowsAWorkload(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, account, placementOf("{numberOfClusters: 1, strategy: Affinity, preferences: [{clusterNames: [east]}]}"), `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, generation: 1}
spec:
  replicas: 1
  template: {spec: {containers: [{name: web, envFrom: [{configMapRef: {name: settings}}]}]}}`)
	clusters := states{"east": {Name: "east", Ready: true}, "west": {Name: "west", Ready: true}}
	s := f.scheduler(clusters)
	f.settleWith(t, s)
	f.reports(t, "east", 1)
	hold(f, "web", "settings")

	clusters["east"] = placement.Cluster{Name: "east", Ready: true, Draining: true}
	f.settleWith(t, s)
	if diff := cmp.Diff([]string{"east", "west"}, f.on("web")); diff != "" {
		t.Errorf("before it is available on west (-want +got):\n%s", diff)
	}
	f.reports(t, "west", 0)
	f.settleWith(t, s)
	if diff := cmp.Diff([]string{"east", "west"}, f.on("web")); diff != "" {
		t.Errorf("while it begins on west (-want +got):\n%s", diff)
	}
	f.reports(t, "west", 1)
	f.settleWith(t, s)
	if diff := cmp.Diff([]string{"west"}, f.on("web")); diff != "" {
		t.Errorf("when it is available on west (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"east", "west"}, f.on("settings")); diff != "" {
		t.Errorf("what it needs, while its copy on east is there (-want +got):\n%s", diff)
	}
	hold(f, "web")
	f.settleWith(t, s)
	if diff := cmp.Diff([]string{"west"}, f.on("settings")); diff != "" {
		t.Errorf("what it needs, when it has left (-want +got):\n%s", diff)
	}
}

// states is a registry of clusters that the test changes.
type states map[string]placement.Cluster

func (c states) Clusters() []placement.Cluster {
	var clusters []placement.Cluster
	for _, cluster := range c {
		clusters = append(clusters, cluster)
	}
	return clusters
}

func (c states) Fleet() *placement.Fleet { return placement.NewFleet(c.Clusters()) }

func (c states) Cluster(name string) placement.Cluster { return c[name] }

// reports has a cluster report of web how many replicas are available there.
func (f *fakeKCP) reports(t *testing.T, cluster string, available int64) {
	t.Helper()
	report, err := protocol.Report{Version: protocol.ReportVersion, Cluster: cluster, Generation: 1, LocalGeneration: 1, Counters: map[string]int64{"availableReplicas": available}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for key, obj := range f.objects {
		if key.Name == "web" {
			obj = obj.DeepCopy()
			obj.SetAnnotations(merge(obj.GetAnnotations(), map[string]*string{v1alpha1.StatusAnnotation(cluster): &report}))
			f.objects[key] = obj
		}
	}
}

func TestSyncStatus(t *testing.T) {
	f := newFakeKCP(t, append(deployments(v1alpha1.MaxDecisions+5), namespace, placementOf("{numberOfClusters: 3, replicas: Divided}"))...)
	s := f.scheduler(fleet{"east", "west"})
	f.settleWith(t, s)
	key := kcp.ObjectKey{Workspace: "ws", Resource: v1alpha1.WorkloadPlacementsResource, Namespace: "app", Name: "p"}
	if _, err := s.syncStatus(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	got := f.statusAt(t, key)
	type summary struct {
		Generation   int64
		Workloads    int32
		Decisions    int
		Clusters     []string
		First, Where string
		Shares       int64
		Condition    string
	}
	first, condition := got.Decisions[0], got.Conditions[0]
	have := summary{
		got.ObservedGeneration, got.Workloads, len(got.Decisions), got.SelectedClusters,
		first.Name, first.Clusters[0].Name, *first.Clusters[0].Replicas + *first.Clusters[1].Replicas,
		condition.Type + " " + string(condition.Status) + " " + condition.Reason,
	}
	want := summary{1, v1alpha1.MaxDecisions + 5, v1alpha1.MaxDecisions, []string{"east", "west"}, "web-0", "east", 2, "Satisfied False ClustersMissing"}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if first.Clusters[0].Reason == "" || first.Message == "" {
		t.Errorf("the first decision does not say why, or what is missing: %+v", first)
	}
	s.written.Clear()
	before := len(f.written)
	if _, err := s.syncStatus(t.Context(), key); err != nil || len(f.written) > before {
		t.Errorf("error %v; written again: %v", err, f.written[before:])
	}
}

func (f *fakeKCP) statusAt(t *testing.T, key kcp.ObjectKey) v1alpha1.WorkloadPlacementStatus {
	t.Helper()
	var found v1alpha1.WorkloadPlacement
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(f.objects[key].Object, &found); err != nil {
		t.Fatal(err)
	}
	return found.Status
}

// restricted is a registry of a cluster that only some workspaces may use, in a kcp
// that has not told the path of any yet.
type restricted struct{ asked int }

func (*restricted) Clusters() []placement.Cluster {
	return []placement.Cluster{{Name: "east", Ready: true, AllowedWorkspaces: []string{"root:ws"}}}
}

func (r *restricted) Fleet() *placement.Fleet { return placement.NewFleet(r.Clusters()) }

func (r *restricted) Cluster(name string) placement.Cluster { return named(r.Clusters(), name) }

func (r *restricted) Path(logicalcluster.Name) (string, bool) { return "", false }
func (r *restricted) Ask(logicalcluster.Name)                 { r.asked++ }

func TestSyncWaitsForThePathOfTheWorkspace(t *testing.T) {
	f := newFakeKCP(t, namespace, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {cluster.tmc.kcp.io/east: sync}}}`)
	unknown := &restricted{}
	s := f.scheduler(unknown)
	s.config.Paths = unknown
	f.settleWith(t, s)
	if len(f.written) > 0 || unknown.asked == 0 {
		t.Errorf("written: %v; asked %d times", f.written, unknown.asked)
	}
	s.config.Paths = fleet{}
	f.settleWith(t, s)
	if diff := cmp.Diff([]string{"east"}, f.on("web")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
