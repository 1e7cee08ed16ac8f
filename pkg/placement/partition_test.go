package placement

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// statefulSet is one with a partition, none where that is negative.
func statefulSet(count, partition int64, changes ...objectChange) *unstructuredObject {
	obj := object("apps/v1", "StatefulSet", changes...)
	rollTo(obj, count, partition)
	return obj
}

func rollTo(obj *unstructuredObject, count, partition int64) {
	spec := map[string]any{"replicas": count}
	if partition >= 0 {
		spec["updateStrategy"] = map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"partition": partition}}
	}
	obj.Object["spec"] = spec
}

// withPart places an object on a cluster with a share, and a part of the partition.
func withPart(name string, count int64, text string) objectChange {
	return func(obj *unstructuredObject) {
		share(name, count)(obj)
		annotated(map[string]string{v1alpha1.PartitionAnnotation(name): text})(obj)
	}
}

func TestPartitionIsDividedWithReplicas(t *testing.T) {
	two := fleet("a", "b")
	type parts = map[string]protocol.Part
	cases := map[string]struct {
		obj      *unstructuredObject
		clusters []Cluster
		spec     []func(*v1alpha1.WorkloadPlacement)
		want     parts
	}{
		"half of four: one each":                                         {statefulSet(4, 2), two, nil, parts{"a": {Own: 1, Of: 2}, "b": {Own: 1, Of: 2}}},
		"three of four: the first by name rolls out":                     {statefulSet(4, 3), two, nil, parts{"a": {Own: 1, Of: 3}, "b": {Own: 2, Of: 3}}},
		"one of four: the second by name leaves one; so the whole":       {statefulSet(4, 1), two, nil, parts{"a": {Own: 0, Of: 1}}},
		"none: all are rolled out":                                       {statefulSet(4, 0), two, nil, nil},
		"all: none is rolled out":                                        {statefulSet(4, 4), two, nil, nil},
		"more than all":                                                  {statefulSet(4, 400), two, nil, nil},
		"without a partition":                                            {statefulSet(4, -1), two, nil, nil},
		"no replicas":                                                    {statefulSet(0, 0), two, nil, nil},
		"no replicas, and a partition":                                   {statefulSet(0, 2), two, nil, nil},
		"in proportion to the shares":                                    {statefulSet(9, 3), fleet("a", "b", "c"), []func(*v1alpha1.WorkloadPlacement){weight(6, "a"), weight(2, "b")}, parts{"a": {Own: 2, Of: 3}, "b": {Own: 1, Of: 3}, "c": {Own: 0, Of: 3}}},
		"on one cluster: its part is the whole":                          {statefulSet(4, 3), fleet("a"), nil, nil},
		"of a cluster without replicas: it has none":                     {statefulSet(4, 3), two, []func(*v1alpha1.WorkloadPlacement){weight(0, "b")}, nil},
		"from none to some: in proportion, what was before is no matter": {statefulSet(4, 2, share("a", 2), share("b", 2)), two, nil, parts{"a": {Own: 1, Of: 2}, "b": {Own: 1, Of: 2}}},
		"as it is: it stays":                                             {statefulSet(4, 3, withPart("a", 2, "2/3"), withPart("b", 2, "1/3")), two, nil, parts{"a": {Own: 2, Of: 3}, "b": {Own: 1, Of: 3}}},
		"smaller: who has rolled out least is next":                      {statefulSet(4, 2, withPart("a", 2, "2/3"), withPart("b", 2, "1/3")), two, nil, parts{"a": {Own: 1, Of: 2}, "b": {Own: 1, Of: 2}}},
		"larger: who has rolled out most leaves one more":                {statefulSet(4, 3, withPart("a", 2, "0/2"), withPart("b", 2, "2/2")), two, nil, parts{"a": {Own: 1, Of: 3}, "b": {Own: 2, Of: 3}}},
		"scaled out: nothing is left that was rolled out":                {statefulSet(6, 3, withPart("a", 2, "2/3"), withPart("b", 2, "1/3")), two, nil, parts{"a": {Own: 2, Of: 3}, "b": {Own: 1, Of: 3}}},
		"scaled in: what is left of less is less":                        {statefulSet(3, 2, withPart("a", 3, "3/4"), withPart("b", 3, "1/4")), two, nil, parts{"a": {Own: 1, Of: 2}, "b": {Own: 1, Of: 2}}},
		"on another cluster: there is nothing of before to leave":        {statefulSet(4, 2, share("a", 4)), two, nil, parts{"b": {Own: 0, Of: 2}}},
		"a cluster left: the others leave as many as before together":    {statefulSet(4, 2, withPart("a", 2, "1/2"), withPart("gone", 2, "1/2")), fleet("a"), nil, nil},
		"unreadable: it is as if there were none":                        {statefulSet(4, 2, withPart("a", 2, "many"), withPart("b", 2, "-1/2")), two, nil, parts{"a": {Own: 1, Of: 2}, "b": {Own: 1, Of: 2}}},
		"forged: it leaves no more than its share":                       {statefulSet(4, 2, withPart("a", 2, "99/2"), withPart("b", 2, "0/2")), two, nil, parts{"b": {Own: 0, Of: 2}}},
		"enormous: in no time":                                           {statefulSet(math.MaxInt32, math.MaxInt32/2), two, nil, parts{"a": {Own: 536870912, Of: 1073741823}, "b": {Own: 536870911, Of: 1073741823}}},
		"more than there can be":                                         {statefulSet(math.MaxInt64, 2), two, nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(request(tc.obj, tc.clusters, placed("p", append(tc.spec, dividedBy(""))...)))
			if diff := cmp.Diff(tc.want, got.Parts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("of shares %v (-want +got):\n%s", got.Shares, diff)
			}
		})
	}
	t.Run("duplicated: each cluster has the whole", func(t *testing.T) {
		if got := Decide(request(statefulSet(4, 2), two, placed("p"))); got.Parts != nil {
			t.Errorf("%+v", got)
		}
	})
}

// updated returns how many replicas a cluster rolls out as the decision has it.
func updated(decision Decision, cluster string, partition int64) int64 {
	own := partition
	if part, has := decision.Parts[cluster]; has {
		own = part.Own
	}
	return max(decision.Shares[cluster]-own, 0)
}

// TestPartitionOverRandomRollouts scales, moves and rolls out at random. What is rolled out is exact at any time, and while the
// shares stay it only goes forward with a smaller partition, and backward with a larger one. Half carried out, a decision
// stays.
func TestPartitionOverRandomRollouts(t *testing.T) {
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 3))
		clusters := fleet("a", "b", "c", "d", "e")[:1+random.IntN(5)]
		p := placed("p", dividedBy(""), weight(1+random.Int64N(9), "a"), weight(random.Int64N(4), "c"))
		count, partition := 1+random.Int64N(30), int64(0)
		obj := statefulSet(count, partition)
		var before Decision
		wasPartition := int64(-1)
		for step := range 20 {
			switch random.IntN(4) {
			case 0:
				count = random.Int64N(30)
			case 1:
				clusters[random.IntN(len(clusters))].Draining = random.IntN(3) == 0
			default:
				partition = random.Int64N(count + 3)
			}
			rollTo(obj, count, partition)
			r := request(obj, clusters, p)
			decision := Decide(r)
			context := fmt.Sprintf("seed %d, step %d: %d of %d stay, shares %v, parts %v; before, of %d: %v, %v",
				seed, step, partition, count, decision.Shares, decision.Parts, wasPartition, before.Shares, before.Parts)
			checkUpdated(t, context, decision, count, partition)
			if cmp.Equal(before.Shares, decision.Shares) {
				checkForward(t, context, before, decision, wasPartition, partition)
			}
			if entered := decision.Clusters[:random.IntN(len(decision.Clusters)+1)]; len(entered) > 0 {
				apply(obj, Plan(obj, decision, entered, groupsOf, theTime))
				r.Assumed = Assumed{Clusters: decision.Clusters, Shares: decision.Shares}
				if diff := cmp.Diff(decision.Parts, Decide(r).Parts); diff != "" {
					t.Errorf("%s: half carried out (-before +after):\n%s", context, diff)
				}
			}
			apply(obj, Plan(obj, decision, decision.Clusters, groupsOf, theTime))
			if change := Plan(obj, Decide(request(obj, clusters, p)), decision.Clusters, groupsOf, theTime); !change.IsEmpty() {
				t.Errorf("%s: carried out, it changes again: %s", context, change.Patch())
			}
			if t.Failed() {
				t.FailNow()
			}
			before, wasPartition = decision, partition
		}
	}
}

func checkUpdated(t *testing.T, context string, decision Decision, count, partition int64) {
	t.Helper()
	sum, replicas := int64(0), int64(0)
	for cluster, share := range decision.Shares {
		sum += updated(decision, cluster, partition)
		replicas += share
	}
	if len(decision.Shares) > 0 && (replicas != count || sum != max(count-partition, 0)) {
		t.Errorf("%s: %d are rolled out", context, sum)
	}
}

func checkForward(t *testing.T, context string, before, after Decision, was, is int64) {
	t.Helper()
	for cluster := range after.Shares {
		moved := updated(after, cluster, is) - updated(before, cluster, was)
		if moved < 0 && is <= was || moved > 0 && is >= was {
			t.Errorf("%s: %s moves by %d", context, cluster, moved)
		}
	}
}

func TestHoldBackIsInProportion(t *testing.T) {
	for _, shares := range [][]int64{{10, 10}, {1, 2, 3, 4}, {100, 1, 1, 1}, {7}, {3, 3, 3}, {50, 30, 20}} {
		var total int64
		for _, share := range shares {
			total += share
		}
		for partition := range total + 1 {
			var none, all []holder
			for i, share := range shares {
				none = append(none, holder{string(rune('a' + i)), share, 0})
				all = append(all, holder{string(rune('a' + i)), share, share})
			}
			up, down := holdBack(partition, total, none), holdBack(partition, total, all)
			if diff := cmp.Diff(up, down, cmp.AllowUnexported(holder{})); diff != "" {
				t.Fatalf("%v, %d stay: from none and from all it differs:\n%s", shares, partition, diff)
			}
			for _, h := range up {
				if off := abs(h.updated*total - h.share*(total-partition)); off > total+total/2 {
					t.Errorf("%v, %d stay: %s rolls out %d of %d", shares, partition, h.name, h.updated, h.share)
				}
			}
		}
	}
}

func TestHoldBackIsQuick(t *testing.T) {
	var holders []holder
	var total int64
	for i := range 250 {
		share := int64(math.MaxInt32/250) - int64(i)
		holders = append(holders, holder{fmt.Sprintf("cluster-%03d", i), share, 0})
		total += share
	}
	before := cpuTime(t)
	got := holdBack(total/3, total, holders)
	if sum, took := rolledOut(got), cpuTime(t)-before; sum != total-total/3 || took > 200*time.Millisecond {
		t.Errorf("%d are rolled out of %d, in %s", sum, total, took)
	}
}
