package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/aggregate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// theTime is now.
var theTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// operation is what a benchmark does again and again.
type operation struct {
	name string
	do   func()
}

// operations returns all of them, made anew.
func operations(tb testing.TB) []operation {
	tb.Helper()
	all := []operation{{"Calibration", calibration()}}
	for _, of := range []func(testing.TB) []operation{desired, evaluations, decisions, statuses, readings} {
		all = append(all, of(tb)...)
	}
	return all
}

// calibration does what the others do, maps, strings, JSON and hashes, and nothing of tmc's: so whatever slows them down slows it down as well.
func calibration() func() {
	content := map[string]any{}
	for i := range 50 {
		content[fmt.Sprintf("field-%d", i)] = map[string]any{"name": fmt.Sprintf("value-%d", i), "list": []any{int64(i), "text", true}}
	}
	return func() {
		data, err := json.Marshal(content)
		if err != nil {
			panic(err)
		}
		var back map[string]any
		if err := json.Unmarshal(data, &back); err != nil {
			panic(err)
		}
		sha256.Sum256(data)
	}
}

func desired(tb testing.TB) []operation {
	tb.Helper()
	rule := v1alpha1.TransformRule{Labels: map[string]string{"example.com/region": "eu"}}
	var all []operation
	for _, name := range []string{"deployment", "service"} {
		obj := object(tb, name, 3)
		in := transform.Input{Object: obj, Origin: origin(obj, clusterName(0)), Rule: rule}
		all = append(all, operation{"Desired/" + name, func() {
			if _, err := transform.Desired(in); err != nil {
				panic(err)
			}
		}})
	}
	return all
}

func origin(obj *unstructured.Unstructured, cluster string) transform.Origin {
	return transform.Origin{Workspace: "2ha7qlbqnn0oyk5f", Namespace: obj.GetNamespace(), Name: obj.GetName(), Cluster: cluster}
}

// evaluations are those of a copy that is as it should be: seen for the first time, as after a restart; after a change of its status;
// and after a change of what the user wants.
func evaluations(tb testing.TB) []operation {
	tb.Helper()
	var all []operation
	for _, name := range []string{"deployment", "service"} {
		obj := object(tb, name, 3)
		from := origin(obj, clusterName(0))
		copied, err := transform.Desired(transform.Input{Object: obj, Origin: from})
		if err != nil {
			tb.Fatal(err)
		}
		there := onCluster(copied, 100)
		in := evaluate.Input{
			Origin: from, Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Settings: &evaluate.Settings{},
			Upstream: obj, Downstream: there, Target: evaluate.Target{Marked: true, Made: true, Owner: from.Workspace},
		}
		in.Namespace, in.Name = from.Target(v1alpha1.TransformRule{})
		first := evaluated(in, nil)
		if first.Difference != evaluate.NoDifference {
			tb.Fatalf("the copy of the %s is %s", name, first.Difference)
		}
		newStatus, newSpec := in, in
		newStatus.Downstream = onCluster(copied, 101)
		transform.NoteOwned(nil, there) // as the cache of the cluster does
		transform.NoteOwned(there, newStatus.Downstream)
		for _, cached := range []*unstructured.Unstructured{there, newStatus.Downstream} {
			transform.NoteOrder(cached, transform.Order(cached))
		}
		transform.Pack(obj)
		newSpec.Upstream = object(tb, name, 3)
		transform.Pack(newSpec.Upstream)
		newSpec.Upstream.SetGeneration(obj.GetGeneration() + 1)
		all = append(all,
			operation{"Evaluate/" + name + "/first", func() { evaluated(in, nil) }},
			operation{"Evaluate/" + name + "/status", func() { evaluated(newStatus, first.Forget()) }},
			operation{"Evaluate/" + name + "/spec", func() { evaluated(newSpec, first.Forget()) }})
	}
	return all
}

func evaluated(in evaluate.Input, last *evaluate.Evaluation) *evaluate.Evaluation {
	e, err := evaluate.Evaluate(in, last)
	if err != nil {
		panic(err)
	}
	return e
}

// sizes are of how many clusters there is one benchmark.
var sizes = []int{3, 50, 500}

func decisions(tb testing.TB) []operation {
	tb.Helper()
	of := func(count int, p *v1alpha1.WorkloadPlacement) placement.Request {
		obj := object(tb, "deployment", 3)
		_ = unstructured.SetNestedField(obj.Object, int64(12), "spec", "replicas") // through maps
		return placement.Request{
			Object: obj, Workspace: "root:team-a", Clusters: fleet(count), Placements: []*v1alpha1.WorkloadPlacement{p},
			Default: placement.DefaultAll, FailoverAfter: 5 * time.Minute, Now: theTime,
		}
	}
	three := &v1alpha1.WorkloadPlacement{ObjectMeta: metav1.ObjectMeta{Name: "three", Namespace: "shop"}}
	three.Spec.NumberOfClusters, three.Spec.Strategy = new(int32(3)), v1alpha1.StrategySpread
	divided := three.DeepCopy()
	divided.Spec.Replicas, divided.Spec.DivideBy = v1alpha1.ReplicasDivided, v1alpha1.DivideByFreeCapacity
	var all []operation
	for _, count := range sizes {
		for name, p := range map[string]*v1alpha1.WorkloadPlacement{"spread": three, "divided": divided} {
			request := of(count, p)
			if decision := placement.Decide(request); len(decision.Clusters) != 3 {
				tb.Fatalf("decided %+v", decision)
			}
			all = append(all, operation{fmt.Sprintf("Decide/%s/%d", name, count), func() { placement.Decide(request) }})
		}
	}
	return all
}

func fleet(count int) []placement.Cluster {
	capacity := func(cpu string) corev1.ResourceList {
		return corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(cpu + "Gi"), corev1.ResourcePods: resource.MustParse(cpu),
		}
	}
	clusters := make([]placement.Cluster, 0, count)
	for i := range count {
		clusters = append(clusters, placement.Cluster{
			Name: clusterName(i), Location: fmt.Sprintf("place-%d", i%5), Ready: true, Labels: map[string]string{"tier": "a", "region": strconv.Itoa(i % 5)},
			Allocatable: capacity("100"), Requested: capacity(strconv.Itoa(i % 50)), Workloads: i % 7,
		})
	}
	return clusters
}

func statuses(tb testing.TB) []operation {
	tb.Helper()
	var all []operation
	for _, count := range sizes {
		obj := object(tb, "deployment", count)
		in := aggregate.Input{Object: obj, Now: metav1.NewTime(theTime)}
		status, problem := aggregate.Status(in)
		if problem != "" || status["observedGeneration"] != obj.GetGeneration() {
			tb.Fatalf("the status is %v, %s", status, problem)
		}
		obj.Object["status"] = status
		all = append(all, operation{fmt.Sprintf("Status/%d", count), func() { aggregate.Status(in) }})
	}
	return all
}

// readings ask what each event has asked of an object.
func readings(tb testing.TB) []operation {
	tb.Helper()
	var all []operation
	for _, count := range sizes {
		obj := object(tb, "deployment", count)
		other := obj.DeepCopy()
		cluster := clusterName(0)
		all = append(all, operation{fmt.Sprintf("Read/%d", count), func() {
			said := protocol.Read(obj)
			if _, reported := said.EncodedReport(cluster); !reported || !said.IsPlaced(cluster) || !said.IsHeld(cluster) || said.IsDeleting() {
				panic("it is placed, held and reported")
			}
		}}, operation{fmt.Sprintf("Read/SaysSameTo/%d", count), func() {
			if !protocol.Read(obj).SaysSameTo(cluster, protocol.Read(other)) {
				panic("both say the same")
			}
		}}, operation{fmt.Sprintf("Read/Entries/%d", count), func() {
			said := protocol.Read(obj)
			if entries := said.Entries(said.Placed(), protocol.Facts{Replicas: 2}); len(entries) != count {
				panic("not all clusters")
			}
		}})
	}
	return all
}

func clusterName(i int) string { return fmt.Sprintf("cluster-%03d", i) }

// object returns an object of testdata as kcp has it when so many clusters run it, and all is well.
func object(tb testing.TB, name string, clusters int) *unstructured.Unstructured {
	tb.Helper()
	content, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		tb.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(content); err != nil {
		tb.Fatal(err)
	}
	labels, annotations, finalizers := obj.GetLabels(), obj.GetAnnotations(), []string{}
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations["kcp.io/cluster"] = "2ha7qlbqnn0oyk5f"
	for i := range clusters {
		cluster := clusterName(i)
		labels[v1alpha1.PlacementLabel(cluster)] = v1alpha1.PlacementLabelValue
		finalizers = append(finalizers, v1alpha1.Finalizer(cluster))
		obj.SetLabels(labels)
	}
	for i := range clusters {
		cluster := clusterName(i)
		report, err := reportOf(obj, cluster).Encode()
		if err != nil {
			tb.Fatal(err)
		}
		annotations[v1alpha1.StatusAnnotation(cluster)] = report
	}
	obj.SetAnnotations(annotations)
	obj.SetFinalizers(finalizers)
	return obj
}

func reportOf(obj *unstructured.Unstructured, cluster string) protocol.Report {
	report := protocol.Report{
		Version: protocol.ReportVersion, Cluster: cluster, Generation: obj.GetGeneration(), LocalGeneration: 4, LocalObservedGeneration: 4,
		Inputs: protocol.Read(obj).Inputs(cluster),
	}
	if obj.GetKind() == "Deployment" {
		report.Replicas = new(int64(2))
		report.Counters = map[string]int64{"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
		report.Conditions = []protocol.ReportCondition{
			{Type: "Available", Status: "True", Reason: "MinimumReplicasAvailable", Message: "Deployment has minimum availability."},
			{Type: "Progressing", Status: "True", Reason: "NewReplicaSetAvailable", Message: `ReplicaSet "web-7d4b9c6f5d" has successfully progressed.`},
		}
	}
	return report
}

// onCluster returns the copy as the cluster has it, with a status of its own, and the entries of who wrote what.
func onCluster(copied *unstructured.Unstructured, version int64) *unstructured.Unstructured {
	obj := copied.DeepCopy()
	obj.SetUID("down-1")
	obj.SetGeneration(4)
	obj.SetResourceVersion(strconv.FormatInt(version, 10))
	metadata := copied.Object["metadata"].(map[string]any)
	fields := map[string]any{"f:metadata": map[string]any{"f:labels": fieldsOf(metadata["labels"]), "f:annotations": fieldsOf(metadata["annotations"])}}
	for name, value := range copied.Object {
		if name != "apiVersion" && name != "kind" && name != "metadata" {
			fields["f:"+name] = fieldsOf(value)
		}
	}
	_ = unstructured.SetNestedSlice(obj.Object, []any{map[string]any{
		"manager": v1alpha1.FieldManager, "operation": "Apply", "apiVersion": obj.GetAPIVersion(), "fieldsType": "FieldsV1",
		"time": "2026-01-01T00:00:00Z", "fieldsV1": fields,
	}}, "metadata", "managedFields")
	obj.Object["status"] = map[string]any{"observedGeneration": int64(4), "replicas": int64(2), "readyReplicas": version % 3}
	return obj
}

// fieldsOf returns the FieldsV1 of a value; lists of objects with names, or ports, have them as keys.
func fieldsOf(value any) any {
	all := map[string]any{}
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			all["f:"+name] = fieldsOf(field)
		}
	case []any:
		for _, item := range value {
			fields, isObject := item.(map[string]any)
			if !isObject {
				return map[string]any{} // atomic
			}
			below := fieldsOf(fields).(map[string]any)
			below["."] = map[string]any{}
			all["k:"+keyOf(fields)] = below
		}
	}
	return all
}

func keyOf(fields map[string]any) string {
	for _, keys := range [][]string{{"containerPort", "protocol"}, {"port", "protocol"}, {"mountPath"}, {"name"}} {
		key := map[string]any{}
		for _, name := range keys {
			if value, has := fields[name]; has {
				key[name] = value
			}
		}
		if len(key) == len(keys) {
			encoded, _ := json.Marshal(key)
			return string(encoded)
		}
	}
	return "{}"
}

func BenchmarkHot(b *testing.B) {
	for _, o := range operations(b) {
		b.Run(o.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				o.do()
			}
		})
	}
}
