package placement

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestSharesAddUpToTheReplicas(t *testing.T) {
	abc := fleet("a", "b", "c")
	weights := dividedBy(v1alpha1.DivideByWeights)
	type shares = map[string]int64
	cases := map[string]struct {
		reason  string
		obj     []objectChange
		request func(*Request)
		spec    []func(*v1alpha1.WorkloadPlacement)
		want    shares
	}{
		"Equally":              {"without weights all weigh the same; the rest goes by name", []objectChange{replicas(8)}, nil, nil, shares{"a": 3, "b": 3, "c": 2}},
		"ByWeights":            {"in proportion", []objectChange{replicas(10)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(3, "a"), weight(6, "b")}, shares{"a": 3, "b": 6, "c": 1}},
		"TheFirstWeightCounts": {"others that select it do not", []objectChange{replicas(4)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(2, "a"), weight(9, "a")}, shares{"a": 2, "b": 1, "c": 1}},
		"LargestRemainder":     {"4.4, 2.2 and 0.4 of 7 at 12:6:1", []objectChange{replicas(7)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(12, "a"), weight(6, "b")}, shares{"a": 5, "b": 2}},
		"Sticky":               {"who has one more keeps it", []objectChange{replicas(8), share("a", 2), share("b", 3), share("c", 3)}, nil, nil, shares{"a": 2, "b": 3, "c": 3}},
		"OneMore":              {"nobody else changes", []objectChange{replicas(8), share("a", 2), share("b", 2), share("c", 3)}, nil, nil, shares{"a": 3, "b": 2, "c": 3}},
		"OneLess":              {"likewise", []objectChange{replicas(7), share("a", 2), share("b", 3), share("c", 3)}, nil, nil, shares{"a": 2, "b": 3, "c": 2}},
		"AnExactQuotaIsExact":  {"it gets no more even if it has", []objectChange{replicas(3), share("a", 3)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(4, "a"), weight(1, "b", "c")}, shares{"a": 2, "b": 1}},
		"WeightZero":           {"means no replicas", []objectChange{replicas(3)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(0, "b")}, shares{"a": 2, "c": 1}},
		"WeightZeroIsNoChoice": {"another is taken", []objectChange{replicas(3)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(0, "b"), number(2)}, shares{"a": 2, "c": 1}},
		"OfAssumedOnes":        {"what has been decided counts", []objectChange{replicas(2)}, func(r *Request) { r.Assumed = Assumed{Clusters: []string{"b", "c"}, Shares: shares{"b": 1, "c": 1}} }, nil, shares{"b": 1, "c": 1}},
		"TooFew":               {"who gets none is no place for it", []objectChange{replicas(1)}, nil, nil, shares{"a": 1}},
		"TooFewAndPlaced":      {"the one that there is stays", []objectChange{replicas(1), share("c", 1)}, nil, nil, shares{"c": 1}},
		"One":                  {"is what Kubernetes has when nothing is said", nil, nil, nil, shares{"a": 1}},
		"NothingYet":           {"all of them, with nothing", []objectChange{replicas(0)}, nil, []func(*v1alpha1.WorkloadPlacement){selecting(v1alpha1.ClusterSelector{ClusterNames: []string{"a", "c"}})}, shares{"a": 0, "c": 0}},
		"ToNothing":            {"it stays where it is", []objectChange{replicas(0), share("b", 3)}, nil, nil, shares{"b": 0}},
		"ForgedShares":         {"what is no number is none", []objectChange{replicas(4), share("c", -7), on("b"), annotated(shareText("b", "many"))}, nil, nil, shares{"a": 2, "b": 1, "c": 1}},
		"Enormous":             {"without an overflow", []objectChange{replicas(math.MaxInt64)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(math.MaxInt64, "a", "b"), weight(0, "c")}, shares{"a": math.MaxInt64/2 + 1, "b": math.MaxInt64 / 2}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(deployment(tc.obj...), abc, placed("p", append(tc.spec, weights)...))
			if tc.request != nil {
				tc.request(&r)
			}
			if diff := cmp.Diff(tc.want, Decide(r).Shares); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func shareText(cluster, text string) map[string]string {
	return map[string]string{v1alpha1.ReplicasAnnotation(cluster): text}
}

func TestFreeCapacityDividesWhatIsPlacedAnew(t *testing.T) {
	roomy := []Cluster{cluster("a", loaded("40", "0", "0")), cluster("b", loaded("0", "90Gi", "0")), cluster("c", loaded("0", "0", "70"))}
	template := func(containers ...any) objectChange {
		return func(obj *unstructuredObject) {
			spec, _ := obj.Object["spec"].(map[string]any)
			spec["template"] = map[string]any{"spec": map[string]any{"containers": containers}}
		}
	}
	container := func(cpu, memory string) any {
		return map[string]any{"name": "x", "resources": map[string]any{"requests": map[string]any{"cpu": cpu}, "limits": map[string]any{"cpu": "64", "memory": memory}}}
	}
	type shares = map[string]int64
	cases := map[string]struct {
		reason   string
		obj      []objectChange
		clusters []Cluster
		want     shares
	}{
		"ByPods":       {"without requests only pods count: 100, 100, 30", []objectChange{replicas(23)}, roomy, shares{"a": 10, "b": 10, "c": 3}},
		"ByRequests":   {"60 by CPU, 10 by memory, 30 by pods", []objectChange{replicas(10), template(container("1", "1Gi"))}, roomy, shares{"a": 6, "b": 1, "c": 3}},
		"OfAllOfAPod":  {"30, 10 and 30: two containers add up", []objectChange{replicas(7), template(container("1", "512Mi"), container("1", "512Mi"))}, roomy, shares{"a": 3, "b": 1, "c": 3}},
		"More":         {"what is placed stays, only the rest is divided", []objectChange{replicas(43), share("a", 0), share("b", 20)}, roomy, shares{"a": 10, "b": 30, "c": 3}},
		"Less":         {"taken off in proportion", []objectChange{replicas(9), share("a", 12), share("b", 6)}, roomy, shares{"a": 6, "b": 3}},
		"TheSame":      {"nothing moves", []objectChange{replicas(5), share("b", 5)}, roomy, shares{"b": 5}},
		"OneLess":      {"the largest remainder keeps its own", []objectChange{replicas(2), share("a", 1), share("b", 2)}, roomy, shares{"a": 1, "b": 1}},
		"NoRoom":       {"equally, if there is none anywhere", []objectChange{replicas(3)}, fleet("a", "b", "c"), shares{"a": 1, "b": 1, "c": 1}},
		"NoRoomButOne": {"one that is not known has none", []objectChange{replicas(3)}, []Cluster{cluster("a"), roomy[1]}, shares{"b": 3}},
		"OneLeft":      {"what it had is placed anew", []objectChange{replicas(6), share("a", 1), share("b", 2), share("gone", 3)}, roomy, shares{"a": 2, "b": 3, "c": 1}},
		"Forged":       {"what is no number of replicas is none", []objectChange{replicas(6), share("a", math.MaxInt64), share("b", math.MaxInt32+1)}, roomy, shares{"a": 3, "b": 2, "c": 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(request(deployment(tc.obj...), tc.clusters, placed("p", dividedBy(v1alpha1.DivideByFreeCapacity))))
			if diff := cmp.Diff(tc.want, got.Shares); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAPodRequestsWhatRunsAtTheSameTime(t *testing.T) {
	resources := func(kind, cpu string) map[string]any { return map[string]any{kind: map[string]any{"cpu": cpu}} }
	pod := func(fields map[string]any) *unstructuredObject {
		obj := deployment()
		obj.Object["spec"] = map[string]any{"template": map[string]any{"spec": fields}}
		return obj
	}
	containers := []any{map[string]any{"resources": resources("requests", "1")}, map[string]any{"resources": resources("limits", "2")}}
	cases := map[string]struct {
		reason string
		fields map[string]any
		want   int64
	}{
		"Containers": {"all at once; a limit is a request that was not made", map[string]any{"containers": containers}, 3000},
		"Init":       {"one after the other, before", map[string]any{"containers": containers, "initContainers": []any{map[string]any{"resources": resources("requests", "2")}, map[string]any{"resources": resources("requests", "4")}}}, 4000},
		"Sidecar":    {"it stays", map[string]any{"containers": containers, "initContainers": []any{map[string]any{"restartPolicy": "Always", "resources": resources("requests", "1")}, map[string]any{"resources": resources("requests", "2")}}}, 4000},
		"Overhead":   {"of its runtime class", map[string]any{"containers": containers, "overhead": map[string]any{"cpu": "500m"}}, 3500},
		"Unreadable": {"its clusters will say so", map[string]any{"containers": "x"}, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			request := podRequest(pod(tc.fields))
			if got := request["cpu"]; got != tc.want {
				t.Errorf("%s: %dm, want %dm", tc.reason, got, tc.want)
			}
			if got := request["pods"]; got != 1 {
				t.Errorf("it is %d pods, want 1", got)
			}
		})
	}
}

func TestWhatCannotBeDividedIsDuplicated(t *testing.T) {
	odd := func(obj *unstructuredObject) { obj.Object["spec"] = map[string]any{"replicas": "three"} }
	cases := map[string]struct {
		reason  string
		obj     *unstructuredObject
		divides bool
	}{
		"Deployment":       {"it has replicas", deployment(replicas(4)), true},
		"StatefulSet":      {"likewise", object("apps/v1", "StatefulSet", replicas(4)), true},
		"DaemonSet":        {"its replicas are nodes", object("apps/v1", "DaemonSet"), false},
		"Job":              {"its completions are not replicas", object("batch/v1", "Job"), false},
		"AnothersGroup":    {"a kind that nobody describes has replicas where it says so", object("example.com/v1", "Deployment", replicas(4)), true},
		"AnotherWithout":   {"and else none", object("example.com/v1", "Deployment"), false},
		"NoIntegerOfTheir": {"the clusters will say what is wrong with it", deployment(odd), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(request(tc.obj, fleet("a", "b"), placed("p", dividedBy(""), ofKinds(tc.obj.GetKind()))))
			if got.Shares != nil != tc.divides || len(got.Clusters) != 2 || len(got.Problems) > 0 {
				t.Errorf("%s: %+v", tc.reason, got)
			}
		})
	}
}
