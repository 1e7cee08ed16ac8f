package placement

import (
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// theTime is now in all cases.
var theTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// ago is a time before now.
func ago(d time.Duration) *metav1.Time { return new(metav1.NewTime(theTime.Add(-d))) }

// fleet returns clusters that are ready and for everybody.
func fleet(names ...string) []Cluster {
	var clusters []Cluster
	for _, name := range names {
		clusters = append(clusters, cluster(name))
	}
	return clusters
}

func cluster(name string, changes ...func(*Cluster)) Cluster {
	c := Cluster{Name: name, Ready: true}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func in(location string) func(*Cluster) { return func(c *Cluster) { c.Location = location } }

func labelled(labels map[string]string) func(*Cluster) {
	return func(c *Cluster) { c.Labels = labels }
}

func allowing(workspaces ...string) func(*Cluster) {
	return func(c *Cluster) { c.AllowedWorkspaces = workspaces }
}

func tainted(key, value string, effect v1alpha1.TaintEffect, since time.Duration) func(*Cluster) {
	return func(c *Cluster) {
		c.Taints = append(c.Taints, v1alpha1.Taint{Key: key, Value: value, Effect: effect, TimeAdded: ago(since)})
	}
}

// leftOut is a cluster that the object cannot enter.
func leftOut(why v1alpha1.LeftOut) func(*Cluster) {
	return func(c *Cluster) { c.LeftOut = why }
}

func unbound(c *Cluster) { leftOut(v1alpha1.LeftOutNotBound)(c) }

// groupsOf has the clusters whose names begin with g- in the group that the next word names,
// and no others in any.
func groupsOf(cluster string) []string {
	if rest, ok := strings.CutPrefix(cluster, "g-"); ok {
		group, _, _ := strings.Cut(rest, "-")
		return []string{group}
	}
	return nil
}

func draining(c *Cluster) { c.Draining = true }

func cordoned(c *Cluster) { tainted(v1alpha1.TaintUnschedulable, "", v1alpha1.TaintNoSchedule, 0)(c) }

// silent is a cluster that has not been heard of for so long.
func silent(since time.Duration) func(*Cluster) {
	return func(c *Cluster) {
		c.Ready = false
		tainted(v1alpha1.TaintUnreachable, "", v1alpha1.TaintNoExecute, since)(c)
	}
}

func capacity(cpu, memory, pods string) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory), corev1.ResourcePods: resource.MustParse(pods),
	}
}

// loaded is a cluster with 100 CPUs, 100Gi and 100 pods, so many of which are taken.
func loaded(cpu, memory, pods string) func(*Cluster) {
	return func(c *Cluster) {
		c.Allocatable, c.Requested = capacity("100", "100Gi", "100"), capacity(cpu, memory, pods)
	}
}

type (
	unstructuredObject = unstructured.Unstructured
	objectChange       = func(*unstructuredObject)
)

func object(apiVersion, kind string, changes ...objectChange) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetAPIVersion(apiVersion)
	obj.SetKind(kind)
	obj.SetNamespace("shop")
	obj.SetName("web")
	obj.SetUID("4f0c")
	obj.SetGeneration(1)
	for _, change := range changes {
		change(obj)
	}
	return obj
}

func deployment(changes ...objectChange) *unstructured.Unstructured {
	return object("apps/v1", "Deployment", changes...)
}

func uid(id string) objectChange {
	return func(obj *unstructured.Unstructured) { obj.SetUID(types.UID(id)) }
}

func replicas(count int64) objectChange {
	return func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"replicas": count}
	}
}

func annotated(annotations map[string]string) objectChange {
	return func(obj *unstructured.Unstructured) {
		all := obj.GetAnnotations()
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, annotations)
		obj.SetAnnotations(all)
	}
}

// on places an object on clusters, each of which has all of its replicas available.
func on(names ...string) objectChange {
	return func(obj *unstructured.Unstructured) {
		labels := obj.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		for _, name := range names {
			labels[v1alpha1.PlacementLabel(name)] = v1alpha1.PlacementLabelValue
		}
		obj.SetLabels(labels)
	}
}

// share places an object on a cluster with some of its replicas.
func share(name string, count int64) objectChange {
	return func(obj *unstructured.Unstructured) {
		on(name)(obj)
		annotated(map[string]string{v1alpha1.ReplicasAnnotation(name): strconv.FormatInt(count, 10)})(obj)
	}
}

// available has a cluster report so many available replicas, of the generation.
func available(t *testing.T, name string, generation, count int64) objectChange {
	t.Helper()
	return reporting(t, protocol.Report{
		Version: protocol.ReportVersion, Cluster: name, Generation: generation, Counters: map[string]int64{"availableReplicas": count},
	})
}

func reporting(t *testing.T, report protocol.Report) objectChange {
	t.Helper()
	encoded, err := report.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return annotated(map[string]string{v1alpha1.StatusAnnotation(report.Cluster): encoded})
}

func deleted(obj *unstructured.Unstructured) { obj.SetDeletionTimestamp(ago(0)) }

// placed returns a placement of all workloads.
func placed(name string, changes ...func(*v1alpha1.WorkloadPlacement)) *v1alpha1.WorkloadPlacement {
	placement := &v1alpha1.WorkloadPlacement{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", CreationTimestamp: *ago(time.Hour)}}
	for _, change := range changes {
		change(placement)
	}
	return placement
}

func spec(change func(*v1alpha1.WorkloadPlacementSpec)) func(*v1alpha1.WorkloadPlacement) {
	return func(placement *v1alpha1.WorkloadPlacement) { change(&placement.Spec) }
}

// ofKinds has the placement select objects of these kinds.
func ofKinds(names ...string) func(*v1alpha1.WorkloadPlacement) {
	return spec(func(s *v1alpha1.WorkloadPlacementSpec) { s.WorkloadSelector.Kinds = names })
}

func number(n int32) func(*v1alpha1.WorkloadPlacement) {
	return spec(func(s *v1alpha1.WorkloadPlacementSpec) { s.NumberOfClusters = &n })
}

func strategy(name v1alpha1.Strategy) func(*v1alpha1.WorkloadPlacement) {
	return spec(func(s *v1alpha1.WorkloadPlacementSpec) { s.Strategy = name })
}

func dividedBy(by v1alpha1.DivideBy) func(*v1alpha1.WorkloadPlacement) {
	return spec(func(s *v1alpha1.WorkloadPlacementSpec) { s.Replicas, s.DivideBy = v1alpha1.ReplicasDivided, by })
}

func weight(value int64, names ...string) func(*v1alpha1.WorkloadPlacement) {
	return spec(func(s *v1alpha1.WorkloadPlacementSpec) {
		s.Weights = append(s.Weights, v1alpha1.ClusterWeight{ClusterSelector: v1alpha1.ClusterSelector{ClusterNames: names}, Weight: value})
	})
}

func tolerating(tolerations ...v1alpha1.Toleration) func(*v1alpha1.WorkloadPlacement) {
	return spec(func(s *v1alpha1.WorkloadPlacementSpec) { s.Tolerations = tolerations })
}

func preferring(groups ...[]string) func(*v1alpha1.WorkloadPlacement) {
	return spec(func(s *v1alpha1.WorkloadPlacementSpec) {
		s.Strategy = v1alpha1.StrategyAffinity
		for _, names := range groups {
			s.Preferences = append(s.Preferences, v1alpha1.ClusterSelector{ClusterNames: names})
		}
	})
}

func selecting(selector v1alpha1.ClusterSelector) func(*v1alpha1.WorkloadPlacement) {
	return spec(func(s *v1alpha1.WorkloadPlacementSpec) { s.ClusterSelector = selector })
}

// request is one about a Deployment on which placements decide.
func request(obj *unstructured.Unstructured, clusters []Cluster, placements ...*v1alpha1.WorkloadPlacement) Request {
	return Request{
		Object: obj, Workspace: "root:team:a", Placements: placements, Clusters: clusters, Default: DefaultAll,
		FailoverAfter: 5 * time.Minute, Now: theTime,
	}
}
