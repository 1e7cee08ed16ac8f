package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// world is a fleet, placements and one object, which change at random.
type world struct {
	*rand.Rand

	request Request
}

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1))}
	obj := deployment(uid(strconv.FormatUint(seed, 10)))
	if w.IntN(5) == 0 {
		obj = object("apps/v1", "DaemonSet")
	}
	w.request = request(obj, nil)
	w.request.Assigned = func(placement, cluster string) int { return (len(placement) + int(cluster[0])) % 3 }
	for i := range 1 + w.IntN(7) {
		w.request.Clusters = append(w.request.Clusters, w.cluster(string(rune('a'+i))))
	}
	w.place()
	w.scale()
	return w
}

func pick[T any](w *world, values ...T) T { return values[w.IntN(len(values))] }

func (w *world) cluster(name string) Cluster {
	c := cluster(name, in(pick(w, "", "eu", "us")), labelled(map[string]string{"tier": pick(w, "gold", "iron")}))
	if w.IntN(5) == 0 {
		leftOut(pick(w, v1alpha1.LeftOutNotBound, v1alpha1.LeftOutBindingsHidden, v1alpha1.LeftOutKindNotAccepted, v1alpha1.LeftOutKindNotServed))(&c)
	}
	switch w.IntN(12) {
	case 0:
		silent(time.Duration(w.IntN(600)) * time.Second)(&c)
	case 1:
		cordoned(&c)
	case 2:
		draining(&c)
	case 3:
		tainted("k", "v", pick(w, v1alpha1.TaintNoSchedule, v1alpha1.TaintNoExecute), time.Duration(w.IntN(200))*time.Second)(&c)
	case 4:
		allowing(pick(w, "root:team:*", "root:other"))(&c)
	}
	w.load(&c)
	return c
}

func (w *world) load(c *Cluster) {
	if w.IntN(4) > 0 {
		loaded(strconv.Itoa(w.IntN(100)), strconv.Itoa(w.IntN(100))+"Gi", strconv.Itoa(w.IntN(110)))(c)
	}
	c.Workloads = w.IntN(5)
}

// place makes other placements, or none.
func (w *world) place() {
	w.request.Placements = nil
	for i := range w.IntN(3) {
		p := placed("p"+strconv.Itoa(i), strategy(pick(w, v1alpha1.StrategySpread, v1alpha1.StrategyRoundRobin, v1alpha1.StrategyLeastLoaded, "")))
		if w.IntN(4) == 0 {
			preferring([]string{"c", "d"}, []string{"a"})(p)
		}
		if w.IntN(3) > 0 {
			number(int32(1 + w.IntN(4)))(p)
		}
		if w.IntN(3) == 0 {
			selecting(pick(w, v1alpha1.ClusterSelector{Locations: []string{"eu", ""}}, v1alpha1.ClusterSelector{ClusterNames: []string{"a", "c", "e"}},
				v1alpha1.ClusterSelector{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}}))(p)
		}
		if w.IntN(3) == 0 {
			tolerating(pick(w, v1alpha1.Toleration{Operator: corev1.TolerationOpExists}, v1alpha1.Toleration{Key: "k", Value: "v", TolerationSeconds: new(int64(100))}))(p)
		}
		if w.IntN(2) == 0 {
			dividedBy(pick(w, v1alpha1.DivideByWeights, v1alpha1.DivideByFreeCapacity))(p)
			weight(int64(w.IntN(9)), "a")(p)
			weight(int64(w.IntN(9)), "c", "d")(p)
		}
		w.request.Placements = append(w.request.Placements, p)
	}
}

func (w *world) scale() {
	if w.request.Object.GetKind() == "Deployment" {
		replicas(int64(w.IntN(12)))(w.request.Object)
		w.request.Object.SetGeneration(w.request.Object.GetGeneration() + 1)
	}
}

// step changes one thing.
func (w *world) step(t *testing.T) {
	t.Helper()
	obj := w.request.Object
	i := w.IntN(len(w.request.Clusters))
	name := w.request.Clusters[i].Name
	switch w.IntN(14) {
	case 12, 13:
		w.bind(t, i)
	case 0:
		w.place()
	case 1, 2:
		w.scale()
	case 3:
		annotated(map[string]string{v1alpha1.TargetClustersAnnotation: pick(w, "", "*", "a,b", "c,nope")})(obj)
	case 4, 5:
		annotations := obj.GetAnnotations()
		delete(annotations, v1alpha1.TargetClustersAnnotation)
		obj.SetAnnotations(annotations)
	case 6:
		if copies := len(protocol.Read(obj).Labelled()); copies > 0 {
			annotated(map[string]string{v1alpha1.ReplicasAnnotation(name): pick(w, "x", "99", "-1"), v1alpha1.PlacementAnnotation: pick(w, "{}", "?", "null")})(obj)
		}
	case 7, 8:
		w.request.Clusters[i] = w.cluster(name)
	default:
		available(t, name, obj.GetGeneration()-int64(w.IntN(2)), int64(w.IntN(8)))(obj)
	}
}

// bind binds a cluster, or has its binding gone. Nothing that was decided leaves because of
// the latter.
func (w *world) bind(t *testing.T, i int) {
	t.Helper()
	c := &w.request.Clusters[i]
	if c.LeftOut != "" {
		c.LeftOut = ""
		return
	}
	before := Decide(w.request)
	unbound(c)
	after := Decide(w.request)
	if protocol.Read(w.request.Object).HasEntered(c.Name) && slices.Contains(before.Clusters, c.Name) != slices.Contains(after.Clusters, c.Name) {
		t.Errorf("%s is not bound any more: it was on %q, and is to be on %q", c.Name, before.Clusters, after.Clusters)
	}
}

// carryOut does what syncers do.
func (w *world) carryOut() {
	obj := w.request.Object
	var finalizers []string
	for _, cluster := range protocol.Read(obj).Labelled() {
		if protocol.Read(obj).IsPlaced(cluster) || w.IntN(2) == 0 {
			finalizers = append(finalizers, v1alpha1.Finalizer(cluster))
		}
	}
	obj.SetFinalizers(finalizers)
}

const propertySteps = 20000

func TestDecideOverRandomFleets(t *testing.T) {
	steps := 0
	for seed := uint64(0); steps < propertySteps; seed++ {
		w := newWorld(seed)
		for range 25 {
			steps++
			w.step(t)
			decision := Decide(w.request)
			context := fmt.Sprintf("seed %d, step %d", seed, steps)
			w.checkOrder(t, context, decision)
			w.checkConstraints(t, context, decision)
			w.checkShares(t, context, decision)
			w.checkLeftOut(t, context, decision)
			w.move(t, context, decision)
			w.checkUnrelated(t, context)
			w.checkConcern(t, context)
			if t.Failed() {
				t.Fatalf("%s: %+v\non %+v\nlabels %v annotations %v", context, decision, w.request.Clusters, w.request.Object.GetLabels(), w.request.Object.GetAnnotations())
			}
		}
	}
}

// move carries the decision out, in two turns at times, and checks that it stands then.
func (w *world) move(t *testing.T, context string, decision Decision) {
	t.Helper()
	obj := w.request.Object
	if w.IntN(2) == 0 && len(decision.Clusters) > 0 {
		apply(obj, Plan(obj, decision, decision.Clusters[:w.IntN(len(decision.Clusters))], groupsOf, theTime))
		w.request.Assumed = Assumed{Clusters: decision.Clusters, Shares: decision.Shares}
		if diff := cmp.Diff(decision, Decide(w.request), ignoreTexts); diff != "" {
			t.Errorf("%s: half carried out, the rest assumed (-before +after):\n%s", context, diff)
		}
		w.request.Assumed = Assumed{}
	}
	apply(obj, Plan(obj, decision, decision.Clusters, groupsOf, theTime))
	w.carryOut()
	apply(obj, Plan(obj, decision, decision.Clusters, groupsOf, theTime))
	again := Decide(w.request)
	if diff := cmp.Diff(decision, again, ignoreTexts); diff != "" {
		t.Errorf("%s: carried out (-before +after):\n%s", context, diff)
	}
	if change := Plan(obj, again, again.Clusters, groupsOf, theTime.Add(time.Hour)); !change.IsEmpty() {
		t.Errorf("%s: once more %+v", context, change)
	}
}

// ignoreTexts leaves out texts, and what the object comes back to: once it is carried out, it is there.
var ignoreTexts = cmpopts.IgnoreFields(Decision{}, "Reasons", "Returning")

// checkOrder decides again with everything in another order.
func (w *world) checkOrder(t *testing.T, context string, decision Decision) {
	t.Helper()
	shuffled := w.request
	shuffled.Clusters, shuffled.Placements = slices.Clone(shuffled.Clusters), slices.Clone(shuffled.Placements)
	w.Shuffle(len(shuffled.Clusters), func(i, j int) {
		shuffled.Clusters[i], shuffled.Clusters[j] = shuffled.Clusters[j], shuffled.Clusters[i]
	})
	slices.Reverse(shuffled.Placements)
	if diff := cmp.Diff(decision, Decide(shuffled)); diff != "" {
		t.Errorf("%s: in another order (-want +got):\n%s", context, diff)
	}
}

// checkConstraints says the rules once more, as plainly as can be.
func (w *world) checkConstraints(t *testing.T, context string, decision Decision) {
	t.Helper()
	if !slices.IsSorted(decision.Clusters) || len(slices.Compact(slices.Clone(decision.Clusters))) != len(decision.Clusters) {
		t.Errorf("%s: %q are not sorted, or not each of its own", context, decision.Clusters)
	}
	if len(decision.Reasons) != len(decision.Clusters) {
		t.Errorf("%s: %q have the reasons %v", context, decision.Clusters, decision.Reasons)
	}
	for _, c := range w.request.Clusters {
		if !slices.Contains(decision.Clusters, c.Name) {
			continue
		}
		for what, is := range w.broken(c, decision) {
			if is {
				t.Errorf("%s: %s is %s", context, c.Name, what)
			}
		}
	}
	w.checkNumber(t, context, decision)
}

// broken says which of the rules are broken for a cluster of the decision.
func (w *world) broken(c Cluster, decision Decision) map[string]bool {
	enters, kept := !protocol.Read(w.request.Object).IsPlaced(c.Name), slices.Contains(decision.Kept, c.Name)
	byPlacement, reason := decision.Placement != "", decision.Reasons[c.Name]
	return map[string]bool{
		"not allowed":              len(c.AllowedWorkspaces) > 0 && c.AllowedWorkspaces[0] != "root:team:*",
		"kept, and not there":      kept && enters,
		"kept, and not ready":      kept && !c.Ready,
		"drained":                  c.Draining && !kept,
		"entered, and not ready":   enters && !c.Ready && decision.By != protocol.ByAnnotation,
		"entered, and tainted":     enters && len(c.Taints) > 0 && decision.By == protocol.ByDefault,
		"entered, and left out":    c.LeftOut != "" && !protocol.Read(w.request.Object).HasEntered(c.Name),
		"on, and said to be out":   decision.LeftOut[c.Name] != "",
		"in nobody's reasons":      reason == "",
		"kept for another reason":  kept != (reason == reasonKept),
		"kept where nothing moves": kept && !byPlacement,
	}
}

// checkLeftOut says what is left out: what would be entered if it were bound, and no more.
func (w *world) checkLeftOut(t *testing.T, context string, decision Decision) {
	t.Helper()
	for name, why := range decision.LeftOut {
		if i := slices.IndexFunc(w.request.Clusters, func(c Cluster) bool { return c.Name == name }); i < 0 || w.request.Clusters[i].LeftOut != why {
			t.Errorf("%s: %s is left out for %s", context, name, why)
		}
	}
	if len(decision.LeftOut) > 0 && len(decision.Clusters) == 0 && decision.Unsatisfied == "" {
		t.Errorf("%s: it is nowhere for %v, and does not say so", context, decision.LeftOut)
	}
}

func (w *world) checkNumber(t *testing.T, context string, decision Decision) {
	t.Helper()
	for _, p := range w.request.Placements {
		n := p.Spec.NumberOfClusters
		if p.Name == decision.Placement && n != nil && len(decision.Clusters)-len(decision.Kept) > int(*n) {
			t.Errorf("%s: %q are more than %d", context, decision.Clusters, *n)
		}
	}
}

// checkShares compares the shares with their exact quotas, and with what is to be moved at
// the least.
func (w *world) checkShares(t *testing.T, context string, decision Decision) {
	t.Helper()
	if decision.Shares == nil {
		return
	}
	total, divisible := kinds.Kinds{}.Of(w.request.Object.GroupVersionKind().GroupKind()).ReplicasOf(w.request.Object)
	if !divisible {
		t.Fatalf("%s: a %s is divided", context, w.request.Object.GetKind())
	}
	checkSum(t, context, total, decision)
	s := newSnapshot(w.request)
	placement, _, _ := Of(w.request.Placements, w.request.Object, true)
	terms, _ := readTerms(placement, true)
	if !terms.byWeight || total == 0 {
		return
	}
	chosen := s.chooseAndDivide(terms, true, total).clusters
	checkQuotas(t, context, total, s.parts(chosen, terms.weight), decision.Shares)
}

func checkSum(t *testing.T, context string, total int64, decision Decision) {
	t.Helper()
	sum := int64(0)
	for name, share := range decision.Shares {
		sum += share
		if share < 0 || share == 0 && total > 0 {
			t.Errorf("%s: %s has the share %d", context, name, share)
		}
		if !slices.Contains(decision.Clusters, name) || slices.Contains(decision.Kept, name) {
			t.Errorf("%s: %s has a share, and is not to be there", context, name)
		}
	}
	if len(decision.Shares) > 0 && sum != total || len(decision.Shares) != len(decision.Clusters)-len(decision.Kept) {
		t.Errorf("%s: shares %v of %d", context, decision.Shares, total)
	}
}

func checkQuotas(t *testing.T, context string, total int64, parts []part, shares map[string]int64) {
	t.Helper()
	weights, moved := int64(0), int64(0)
	for _, part := range parts {
		weights += part.weight
		moved += abs(shares[part.name] - part.present)
	}
	for _, part := range parts {
		if off := abs(shares[part.name]*weights - total*part.weight); off >= weights {
			t.Errorf("%s: %v: %s is off by %d/%d", context, shares, part.name, off, weights)
		}
	}
	if least := leastMoved(total, weights, parts); moved > least {
		t.Errorf("%s: %v of %+v moves %d, want %d", context, shares, parts, moved, least)
	}
}

// leastMoved tries every way to round the quotas.
func leastMoved(total, weights int64, parts []part) int64 {
	least := int64(1 << 60)
	for up := range 1 << len(parts) {
		sum, moved, exact := int64(0), int64(0), true
		for i, part := range parts {
			share := total * part.weight / weights
			if up&(1<<i) != 0 {
				share++
				exact = exact && total*part.weight%weights != 0
			}
			sum, moved = sum+share, moved+abs(share-part.present)
		}
		if exact && sum == total {
			least = min(least, moved)
		}
	}
	return least
}

func abs(n int64) int64 { return max(n, -n) }

// checkUnrelated changes clusters that the object has nothing to do with, and capacities:
// nothing follows from that while the placement has what it asks for.
func (w *world) checkUnrelated(t *testing.T, context string) {
	t.Helper()
	before := Decide(w.request)
	placement, _, _ := Of(w.request.Placements, w.request.Object, true)
	if before.Placement == "" || placement.Spec.NumberOfClusters == nil || len(before.Clusters)-len(before.Kept) != int(*placement.Spec.NumberOfClusters) {
		return
	}
	other := w.request
	other.Clusters = append(slices.Clone(other.Clusters), w.cluster("z"))
	for i := range other.Clusters {
		if c := &other.Clusters[i]; slices.Contains(before.Clusters, c.Name) || protocol.Read(w.request.Object).IsPlaced(c.Name) {
			w.load(c)
		} else {
			*c = w.cluster(c.Name)
		}
	}
	if diff := cmp.Diff(before, Decide(other)); diff != "" {
		t.Errorf("%s: after an unrelated change (-before +after):\n%s", context, diff)
	}
}

// checkConcern changes one cluster that the object is not on, adds one or takes one away: where that is said not to concern the object,
// the decision is the same.
func (w *world) checkConcern(t *testing.T, context string) {
	t.Helper()
	decision := Decide(w.request)
	var placement *v1alpha1.WorkloadPlacement
	if decision.Placement != "" {
		placement, _, _ = Of(w.request.Placements, w.request.Object, true)
	}
	changed := w.request
	changed.Clusters = slices.Clone(changed.Clusters)
	at := w.IntN(len(changed.Clusters) + 1)
	var before, after Cluster
	switch {
	case at == len(changed.Clusters):
		after = w.cluster("z")
		changed.Clusters = append(changed.Clusters, after)
	case w.IntN(4) == 0:
		before = changed.Clusters[at]
		changed.Clusters = slices.Delete(changed.Clusters, at, at+1)
	default:
		before, after = changed.Clusters[at], changed.Clusters[at]
		switch another := w.cluster(before.Name); w.IntN(4) {
		case 0:
			after = another
		case 1:
			after.Ready = another.Ready
		case 2:
			after.Taints = another.Taints
		default:
			after.Draining = another.Draining
		}
		changed.Clusters[at] = after
	}
	name := max(before.Name, after.Name) // one of them may have none
	if slices.Contains(decision.Clusters, name) || protocol.Read(w.request.Object).IsPlaced(name) || MayConcern(decision.Interest, placement, before, after) {
		return
	}
	if diff := cmp.Diff(decision, Decide(changed)); diff != "" {
		t.Errorf("%s: %+v became %+v, which is no concern (-before +after):\n%s", context, before, after, diff)
	}
}

func TestDivideMovesNoMoreThanNeeded(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		var clusters []Cluster
		var weights []func(*v1alpha1.WorkloadPlacement)
		for i := range 1 + random.IntN(6) {
			name := string(rune('a' + i))
			clusters = append(clusters, cluster(name))
			weights = append(weights, weight(1+random.Int64N(9), name))
		}
		p := placed("p", append(weights, dividedBy(""))...)
		total := 1 + random.Int64N(40)
		obj := deployment(replicas(total))
		for range 8 {
			decision := Decide(request(obj, clusters, p))
			apply(obj, Plan(obj, decision, decision.Clusters, groupsOf, theTime))
			total = max(total+2*random.Int64N(2)-1, 1)
			replicas(total)(obj)
			after := request(obj, clusters, p)
			terms, _ := readTerms(p, true)
			checkQuotas(t, "scaled", total, newSnapshot(after).parts(newSnapshot(after).clusters, terms.weight), Decide(after).Shares)
		}
	}
}

// crowd is a fleet of 100 clusters and a placement for each strategy.
func crowd() ([]Cluster, []*v1alpha1.WorkloadPlacement) {
	var clusters []Cluster
	for i := range 100 {
		c := cluster(fmt.Sprintf("cluster-%02d", i), in("location-"+strconv.Itoa(i%7)), labelled(map[string]string{"tier": strconv.Itoa(i % 3)}))
		c.Allocatable, c.Requested = capacity("100", "400Gi", "1000"), capacity(strconv.Itoa(i), "100Gi", "300")
		c.Requested[corev1.ResourcePods] = *resource.NewQuantity(int64(i*7), resource.DecimalSI)
		clusters = append(clusters, c)
	}
	return clusters, []*v1alpha1.WorkloadPlacement{
		placed("all"),
		placed("spread", number(10)),
		placed("spread-many", number(90)),
		placed("in-turn", number(10), strategy(v1alpha1.StrategyRoundRobin)),
		placed("least-loaded", number(10), strategy(v1alpha1.StrategyLeastLoaded)),
		placed("preferred", number(10), preferring([]string{"cluster-07"}, []string{"cluster-08", "cluster-09"})),
		placed("weighed", dividedBy(v1alpha1.DivideByWeights), weight(7, "cluster-07")),
		placed("filled", number(10), dividedBy(v1alpha1.DivideByFreeCapacity)),
	}
}

func TestDecideAThousandOverAHundredClusters(t *testing.T) {
	clusters, placements := crowd()
	before := cpuTime(t)
	for i := range 1000 {
		decision := Decide(request(deployment(uid(strconv.Itoa(i)), replicas(250)), clusters, placements[i%len(placements)]))
		if decision.Unsatisfied != "" {
			t.Fatal(decision.Unsatisfied)
		}
	}
	took, limit := cpuTime(t)-before, time.Second
	if testing.CoverMode() != "" {
		limit *= 4 // each statement is counted, with -race by an atomic operation
	}
	t.Logf("1,000 decisions over 100 clusters took %s", took)
	if took > limit {
		t.Errorf("1,000 decisions over 100 clusters took %s, want at most %s", took, limit)
	}
}

// cpuTime returns how long the process has worked: the time of day also passes while other processes do.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkDecide(b *testing.B) {
	clusters, placements := crowd()
	for _, placement := range placements {
		b.Run(placement.Name, func(b *testing.B) {
			r := request(deployment(replicas(250)), clusters, placement)
			decision := Decide(r)
			apply(r.Object, Plan(r.Object, decision, decision.Clusters, groupsOf, theTime))
			b.ResetTimer()
			for b.Loop() {
				Decide(r)
			}
		})
	}
}
