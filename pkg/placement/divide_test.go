package placement

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestDivideByWeights(t *testing.T) {
	abc := fleet("a", "b", "c")
	weights := dividedBy(v1alpha1.DivideByWeights)
	type shares = map[string]int64
	cases := map[string]struct {
		obj     []objectChange
		request func(*Request)
		spec    []func(*v1alpha1.WorkloadPlacement)
		want    shares
	}{
		"equally: without weights all weigh the same; the rest goes by name": {[]objectChange{replicas(8)}, nil, nil, shares{"a": 3, "b": 3, "c": 2}},
		"by weights: in proportion":                               {[]objectChange{replicas(10)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(3, "a"), weight(6, "b")}, shares{"a": 3, "b": 6, "c": 1}},
		"the first weight counts: others that select it do not":   {[]objectChange{replicas(4)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(2, "a"), weight(9, "a")}, shares{"a": 2, "b": 1, "c": 1}},
		"largest remainder: 4.4, 2.2 and 0.4 of 7 at 12:6:1":      {[]objectChange{replicas(7)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(12, "a"), weight(6, "b")}, shares{"a": 5, "b": 2}},
		"sticky: who has one more keeps it":                       {[]objectChange{replicas(8), share("a", 2), share("b", 3), share("c", 3)}, nil, nil, shares{"a": 2, "b": 3, "c": 3}},
		"one more: nobody else changes":                           {[]objectChange{replicas(8), share("a", 2), share("b", 2), share("c", 3)}, nil, nil, shares{"a": 3, "b": 2, "c": 3}},
		"one less":                                                {[]objectChange{replicas(7), share("a", 2), share("b", 3), share("c", 3)}, nil, nil, shares{"a": 2, "b": 3, "c": 2}},
		"an exact quota is exact: it gets no more even if it has": {[]objectChange{replicas(3), share("a", 3)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(4, "a"), weight(1, "b", "c")}, shares{"a": 2, "b": 1}},
		"weight zero: means no replicas":                          {[]objectChange{replicas(3)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(0, "b")}, shares{"a": 2, "c": 1}},
		"weight zero is no choice: another is taken":              {[]objectChange{replicas(3)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(0, "b"), number(2)}, shares{"a": 2, "c": 1}},
		"of assumed ones: what has been decided counts":           {[]objectChange{replicas(2)}, func(r *Request) { r.Assumed = Assumed{Clusters: []string{"b", "c"}, Shares: shares{"b": 1, "c": 1}} }, nil, shares{"b": 1, "c": 1}},
		"too few: who gets none is no place for it":               {[]objectChange{replicas(1)}, nil, nil, shares{"a": 1}},
		"too few and placed: the one that there is stays":         {[]objectChange{replicas(1), share("c", 1)}, nil, nil, shares{"c": 1}},
		"one: is what Kubernetes has when nothing is said":        {nil, nil, nil, shares{"a": 1}},
		"nothing yet: all of them, with nothing":                  {[]objectChange{replicas(0)}, nil, []func(*v1alpha1.WorkloadPlacement){selecting(v1alpha1.ClusterSelector{ClusterNames: []string{"a", "c"}})}, shares{"a": 0, "c": 0}},
		"to nothing: it stays where it is":                        {[]objectChange{replicas(0), share("b", 3)}, nil, nil, shares{"b": 0}},
		"forged shares: what is no number is none":                {[]objectChange{replicas(4), share("c", -7), on("b"), annotated(shareText("b", "many"))}, nil, nil, shares{"a": 2, "b": 1, "c": 1}},
		"enormous: without an overflow":                           {[]objectChange{replicas(math.MaxInt64)}, nil, []func(*v1alpha1.WorkloadPlacement){weight(math.MaxInt64, "a", "b"), weight(0, "c")}, shares{"a": math.MaxInt64/2 + 1, "b": math.MaxInt64 / 2}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(deployment(tc.obj...), abc, placed("p", append(tc.spec, weights)...))
			if tc.request != nil {
				tc.request(&r)
			}
			if diff := cmp.Diff(tc.want, Decide(r).Shares); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func shareText(cluster, text string) map[string]string {
	return map[string]string{v1alpha1.ReplicasAnnotation(cluster): text}
}

func TestDivideByFreeCapacity(t *testing.T) {
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
		obj      []objectChange
		clusters []Cluster
		want     shares
	}{
		"by pods: without requests only pods count: 100, 100, 30": {[]objectChange{replicas(23)}, roomy, shares{"a": 10, "b": 10, "c": 3}},
		"by requests: 60 by CPU, 10 by memory, 30 by pods":        {[]objectChange{replicas(10), template(container("1", "1Gi"))}, roomy, shares{"a": 6, "b": 1, "c": 3}},
		"of all of a pod: 30, 10 and 30: two containers add up":   {[]objectChange{replicas(7), template(container("1", "512Mi"), container("1", "512Mi"))}, roomy, shares{"a": 3, "b": 1, "c": 3}},
		"more: what is placed stays, only the rest is divided":    {[]objectChange{replicas(43), share("a", 0), share("b", 20)}, roomy, shares{"a": 10, "b": 30, "c": 3}},
		"less: taken off in proportion":                           {[]objectChange{replicas(9), share("a", 12), share("b", 6)}, roomy, shares{"a": 6, "b": 3}},
		"the same: nothing moves":                                 {[]objectChange{replicas(5), share("b", 5)}, roomy, shares{"b": 5}},
		"one less: the largest remainder keeps its own":           {[]objectChange{replicas(2), share("a", 1), share("b", 2)}, roomy, shares{"a": 1, "b": 1}},
		"no room: equally, if there is none anywhere":             {[]objectChange{replicas(3)}, fleet("a", "b", "c"), shares{"a": 1, "b": 1, "c": 1}},
		"no room but one: one that is not known has none":         {[]objectChange{replicas(3)}, []Cluster{cluster("a"), roomy[1]}, shares{"b": 3}},
		"one left: what it had is placed anew":                    {[]objectChange{replicas(6), share("a", 1), share("b", 2), share("gone", 3)}, roomy, shares{"a": 2, "b": 3, "c": 1}},
		"forged: what is no number of replicas is none":           {[]objectChange{replicas(6), share("a", math.MaxInt64), share("b", math.MaxInt32+1)}, roomy, shares{"a": 3, "b": 2, "c": 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(request(deployment(tc.obj...), tc.clusters, placed("p", dividedBy(v1alpha1.DivideByFreeCapacity))))
			if diff := cmp.Diff(tc.want, got.Shares); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPodRequest(t *testing.T) {
	resources := func(kind, cpu string) map[string]any { return map[string]any{kind: map[string]any{"cpu": cpu}} }
	pod := func(fields map[string]any) *unstructuredObject {
		obj := deployment()
		obj.Object["spec"] = map[string]any{"template": map[string]any{"spec": fields}}
		return obj
	}
	containers := []any{map[string]any{"resources": resources("requests", "1")}, map[string]any{"resources": resources("limits", "2")}}
	cases := map[string]struct {
		fields map[string]any
		want   int64
	}{
		"containers: all at once; a limit is a request that was not made": {map[string]any{"containers": containers}, 3000},
		"init: one after the other, before":                               {map[string]any{"containers": containers, "initContainers": []any{map[string]any{"resources": resources("requests", "2")}, map[string]any{"resources": resources("requests", "4")}}}, 4000},
		"sidecar: it stays":                                               {map[string]any{"containers": containers, "initContainers": []any{map[string]any{"restartPolicy": "Always", "resources": resources("requests", "1")}, map[string]any{"resources": resources("requests", "2")}}}, 4000},
		"overhead: of its runtime class":                                  {map[string]any{"containers": containers, "overhead": map[string]any{"cpu": "500m"}}, 3500},
		"unreadable: its clusters will say so":                            {map[string]any{"containers": "x"}, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			request := podRequest(pod(tc.fields))
			if got := request["cpu"]; got != tc.want {
				t.Errorf("%dm, want %dm", got, tc.want)
			}
			if got := request["pods"]; got != 1 {
				t.Errorf("it is %d pods, want 1", got)
			}
		})
	}
}

func TestDivideOnlyReplicas(t *testing.T) {
	odd := func(obj *unstructuredObject) { obj.Object["spec"] = map[string]any{"replicas": "three"} }
	cases := map[string]struct {
		obj     *unstructuredObject
		divides bool
	}{
		"deployment: it has replicas":           {deployment(replicas(4)), true},
		"stateful set":                          {object("apps/v1", "StatefulSet", replicas(4)), true},
		"daemon set: its replicas are nodes":    {object("apps/v1", "DaemonSet"), false},
		"job: its completions are not replicas": {object("batch/v1", "Job"), false},
		"anothers group: a kind that nobody describes has replicas where it says so": {object("example.com/v1", "Deployment", replicas(4)), true},
		"another without: and else none":                                             {object("example.com/v1", "Deployment"), false},
		"no integer of their: the clusters will say what is wrong with it":           {deployment(odd), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(request(tc.obj, fleet("a", "b"), placed("p", dividedBy(""), ofKinds(tc.obj.GetKind()))))
			if got.Shares != nil != tc.divides || len(got.Clusters) != 2 || len(got.Problems) > 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
