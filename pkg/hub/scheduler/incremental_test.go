package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// queue is a loop that a test works off.
type queue struct{ keys []kcp.ObjectKey }

func (q *queue) Run(context.Context, int) {}

func (q *queue) Enqueue(key kcp.ObjectKey) {
	if !slices.Contains(q.keys, key) {
		q.keys = append(q.keys, key)
	}
}

// sequence is a workspace, and a fleet, in which something happens at random. The scheduler learns of it by events alone.
type sequence struct {
	*fakeKCP
	*rand.Rand

	clusters map[string]placement.Cluster
	s        *Scheduler
	queue    *queue
	log      []string
	made     int
}

// Fleet returns the clusters that there are.
func (w *sequence) Fleet() *placement.Fleet {
	var clusters []placement.Cluster
	for _, cluster := range w.clusters {
		clusters = append(clusters, cluster)
	}
	return placement.NewFleet(clusters)
}

// Cluster returns the cluster of that name.
func (w *sequence) Cluster(name string) placement.Cluster { return w.clusters[name] }

// Patch changes an object as kcp does, and has the event come at once.
func (w *sequence) Patch(_ context.Context, key kcp.ObjectKey, _ types.PatchType, patch []byte, _ ...string) (*unstructured.Unstructured, error) {
	var change map[string]any
	if err := json.Unmarshal(patch, &change); err != nil {
		return nil, err
	}
	obj := w.objects[key].DeepCopy()
	mergeInto(obj.Object, change)
	w.written = append(w.written, key.Resource.Resource+"/"+key.Name)
	w.patches = append(w.patches, string(patch))
	w.set(key, obj)
	return obj, nil
}

func mergeInto(content, change map[string]any) {
	for field, value := range change {
		inner, isObject := value.(map[string]any)
		switch present, _ := content[field].(map[string]any); {
		case value == nil:
			delete(content, field)
		case isObject && present != nil:
			mergeInto(present, inner)
		case isObject:
			content[field] = map[string]any{}
			mergeInto(content[field].(map[string]any), inner)
		default:
			content[field] = value
		}
	}
}

// set stores an object, nil when it goes, and tells the scheduler.
func (w *sequence) set(key kcp.ObjectKey, obj *unstructured.Unstructured) {
	before := w.objects[key]
	if obj == nil {
		delete(w.objects, key)
	} else {
		w.objects[key] = obj
	}
	w.s.OnUpstream(key, before, obj)
}

// edit changes an object that there is.
func (w *sequence) edit(key kcp.ObjectKey, change func(*unstructured.Unstructured)) {
	obj := w.objects[key].DeepCopy()
	change(obj)
	w.set(key, obj)
}

func (w *sequence) newScheduler() *Scheduler {
	s := New(Config{Upstream: w, Inventory: inventory.New(w, kinds.Kinds{}), Notices: w, Registry: w, Paths: fleet{}, Bindings: w, Default: placement.DefaultAll, FailoverAfter: time.Minute})
	s.now = func() time.Time { return time.Unix(10_000, 0) }
	return s
}

func newSequence(t *testing.T, seed uint64) *sequence {
	t.Helper()
	w := &sequence{fakeKCP: newFakeKCP(t), Rand: rand.New(rand.NewPCG(seed, 3)), clusters: map[string]placement.Cluster{}, queue: &queue{}}
	w.s = w.newScheduler()
	w.s.objects, w.s.statuses = w.queue, &queue{}
	for i := range 3 + w.IntN(4) {
		w.changeCluster(string(rune('a' + i)))
	}
	for _, document := range []string{namespace, settings, account, pull, service, ingress, certs, placementOf("{numberOfClusters: 2}")} {
		w.add(t, document)
	}
	for range 4 {
		w.addWorkload(t)
	}
	return w
}

func (w *sequence) add(t *testing.T, document string) {
	t.Helper()
	for key, obj := range newFakeKCP(t, document).objects {
		w.set(key, obj)
	}
}

func (w *sequence) addWorkload(t *testing.T) {
	t.Helper()
	w.made++
	name := fmt.Sprintf("web-%d", w.made)
	w.add(t, fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s, generation: 1, labels: {pick: "%d"}},
  spec: {replicas: %d, template: {metadata: {labels: {app: %s}}, spec: {serviceAccountName: %s, containers: [{name: web, envFrom: [{configMapRef: {name: %s}}]}]}}}}`,
		name, w.IntN(3), w.IntN(5), pick(w, "web", "other"), pick(w, "account", "nobody"), pick(w, "settings", "none")))
}

func pick[T any](w *sequence, values ...T) T { return values[w.IntN(len(values))] }

// keysOf returns the keys of a resource, sorted.
func (w *sequence) keysOf(resource string) []kcp.ObjectKey {
	var keys []kcp.ObjectKey
	for key := range w.objects {
		if key.Resource.Resource == resource {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b kcp.ObjectKey) int { return strings.Compare(a.Name, b.Name) })
	return keys
}

// changeCluster makes a cluster another one, at random, and tells the scheduler.
func (w *sequence) changeCluster(name string) {
	c := placement.Cluster{
		Name: name, Ready: true, Location: pick(w, "eu", "us"), Labels: map[string]string{"tier": pick(w, "gold", "iron")},
		Export: pick(w, v1alpha1.APIExportName, v1alpha1.ClusterExport(name)), Draining: w.IntN(6) == 0,
	}
	if before, known := w.clusters[name]; known && w.IntN(2) == 0 {
		c = before // and one thing else
		switch w.IntN(4) {
		case 0:
			c.Draining = !c.Draining
		case 1:
			c.Labels = map[string]string{"tier": pick(w, "gold", "iron")}
		}
	}
	c.Taints = nil
	switch w.IntN(6) {
	case 0:
		c.Ready = false
		c.Taints = append(c.Taints, v1alpha1.Taint{Key: v1alpha1.TaintUnreachable, Effect: v1alpha1.TaintNoExecute, TimeAdded: &metav1.Time{Time: time.Unix(pick(w, int64(0), 9_990), 0)}})
	case 1:
		c.Taints = append(c.Taints, v1alpha1.Taint{Key: "full", Effect: pick(w, v1alpha1.TaintNoSchedule, v1alpha1.TaintNoExecute), TimeAdded: &metav1.Time{Time: time.Unix(0, 0)}})
	}
	w.clusters[name] = c
	w.s.OnCluster(name)
}

// step has one thing happen.
func (w *sequence) step(t *testing.T) {
	t.Helper()
	names := make([]string, 0, len(w.clusters))
	for _, cluster := range w.Fleet().All() {
		names = append(names, cluster.Name)
	}
	workloads := w.keysOf("deployments")
	chance := w.IntN(20)
	w.log = append(w.log, fmt.Sprint(chance))
	switch {
	case chance < 8 && len(names) > 0:
		w.changeCluster(pick(w, names...))
	case chance == 8 && len(names) > 1:
		name := pick(w, names...)
		delete(w.clusters, name)
		w.s.OnCluster(name)
	case chance == 9:
		w.changeCluster(string(rune('a' + w.IntN(8))))
	case chance == 10:
		w.addWorkload(t)
	case chance == 11 && len(workloads) > 2:
		w.set(pick(w, workloads...), nil)
	case chance == 12:
		w.changePlacement()
	case chance == 13:
		for _, key := range w.keysOf(pick(w, "configmaps", "services", "secrets", "serviceaccounts")) {
			w.set(key, nil)
		}
	case chance == 14:
		w.add(t, pick(w, settings, account, pull, service, ingress, certs))
	case chance == 15:
		w.leftOut = map[string]v1alpha1.LeftOut{pick(w, v1alpha1.ClusterExport("a"), v1alpha1.ClusterExport("b")+" configmaps"): v1alpha1.LeftOutNotBound}
		w.s.OnWorkspace("ws")
	case len(workloads) > 0:
		w.changeWorkload(pick(w, workloads...))
	}
	w.syncers()
}

func (w *sequence) changePlacement() {
	keys := w.keysOf("workloadplacements")
	w.edit(keys[0], func(obj *unstructured.Unstructured) {
		spec := map[string]any{"workloadSelector": map[string]any{"labelSelector": map[string]any{"matchLabels": map[string]any{"pick": fmt.Sprint(w.IntN(2))}}}}
		if w.IntN(3) > 0 {
			spec["numberOfClusters"] = int64(1 + w.IntN(3))
		}
		if w.IntN(2) == 0 {
			spec["replicas"] = "Divided"
		}
		if w.IntN(2) == 0 {
			spec["clusterSelector"] = map[string]any{"locations": []any{"eu"}}
		}
		spec["strategy"] = pick(w, "Spread", "RoundRobin", "LeastLoaded", "Affinity")
		if spec["strategy"] == "Affinity" {
			spec["preferences"] = []any{map[string]any{"locations": []any{"us"}}}
		}
		obj.Object["spec"] = spec
		obj.SetGeneration(obj.GetGeneration() + 1)
	})
}

func (w *sequence) changeWorkload(key kcp.ObjectKey) {
	w.edit(key, func(obj *unstructured.Unstructured) {
		switch w.IntN(4) {
		case 0:
			obj.Object["spec"].(map[string]any)["replicas"] = int64(w.IntN(5))
			obj.SetGeneration(obj.GetGeneration() + 1)
		case 1:
			labels := obj.GetLabels()
			labels["pick"] = fmt.Sprint(w.IntN(3))
			obj.SetLabels(labels)
		case 2:
			obj.SetAnnotations(merge(obj.GetAnnotations(), map[string]*string{v1alpha1.TargetClustersAnnotation: new(pick(w, "a", "a, b", "*", "z, c", ""))}))
		case 3:
			obj.SetAnnotations(merge(obj.GetAnnotations(), map[string]*string{v1alpha1.TargetClustersAnnotation: nil}))
		}
	})
}

// syncers has some clusters report, and let go of what is to leave.
func (w *sequence) syncers() {
	for _, key := range w.s.keysHeld() {
		obj := w.objects[key]
		if obj == nil || w.IntN(3) == 0 {
			continue
		}
		said := protocol.Read(obj)
		w.edit(key, func(obj *unstructured.Unstructured) {
			for _, cluster := range said.Held() {
				if !said.IsPlaced(cluster) {
					obj.SetFinalizers(slices.DeleteFunc(obj.GetFinalizers(), func(f string) bool { return f == v1alpha1.Finalizer(cluster) }))
					obj.SetAnnotations(merge(obj.GetAnnotations(), map[string]*string{v1alpha1.StatusAnnotation(cluster): nil}))
					continue
				}
				report := fmt.Sprintf(`{"v":1,"cluster":%q,"gen":%d,"n":{"availableReplicas":%d}}`, cluster, obj.GetGeneration(), pick(w, 0, 5))
				obj.SetAnnotations(merge(obj.GetAnnotations(), map[string]*string{v1alpha1.StatusAnnotation(cluster): &report}))
			}
		})
	}
}

// keysHeld returns the keys of all that is on a cluster, sorted.
func (s *Scheduler) keysHeld() []kcp.ObjectKey {
	var keys []kcp.ObjectKey
	for key, r := range s.ledger.records {
		if len(r.entry.occupied) > 0 && key.Namespace != "" {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b kcp.ObjectKey) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// work takes turns until nothing is queued.
func (w *sequence) work(t *testing.T, s *Scheduler, q *queue) {
	t.Helper()
	for range 2000 {
		if len(q.keys) == 0 {
			return
		}
		key := q.keys[0]
		q.keys = q.keys[1:]
		if _, err := s.sync(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("it does not come to rest: %v", w.written[len(w.written)-10:])
}

// all returns the keys of all objects, sorted.
func (w *sequence) all() []kcp.ObjectKey {
	var keys []kcp.ObjectKey
	for key := range w.objects {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b kcp.ObjectKey) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// checkRest has everything decided anew, by the scheduler that has worked by events, and by one that has just started: neither has
// anything to write.
func (w *sequence) checkRest(t *testing.T, context string) {
	t.Helper()
	for _, who := range []string{"which worked by events", "which has just started"} {
		s, before := w.s, len(w.written)
		if who == "which has just started" {
			s = w.newScheduler()
			s.objects, s.statuses = &queue{}, &queue{}
		}
		for _, key := range w.all() {
			obj, r := w.objects[key], ledgerString(s, key)
			if _, err := s.sync(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			if len(w.written) > before {
				t.Logf("%v\n%v\nbefore %s\nafter %s\n%+v", obj.Object, w.clusters, r, ledgerString(s, key), w.objects[w.keysOf("workloadplacements")[0]].Object["spec"])
				break
			}
		}
		if len(w.written) > before {
			t.Fatalf("%s: a scheduler %s, and decides everything anew, writes %q: %q\nsteps %v", context, who, w.written[before:], w.patches[before:], w.log)
		}
	}
}

func ledgerString(s *Scheduler, key kcp.ObjectKey) string {
	return fmt.Sprintf("%+v", s.ledger.records[key])
}

// checkSums compares the sums of the ledger with those of one that has just been made.
func (w *sequence) checkSums(t *testing.T, context string) {
	t.Helper()
	for _, key := range w.keysOf("namespaces") {
		inside := map[string]bool{}
		w.EachIn("", key.Name, func(k kcp.ObjectKey, obj *unstructured.Unstructured) {
			if isPlaceable(k) {
				for cluster := range placement.Occupied(obj, w.s.lastDecision(k, obj)) {
					inside[cluster] = true
				}
			}
		})
		if got := w.s.membersOf(key).clusters; got.Len() != len(inside) {
			t.Fatalf("%s: the ledger has the namespace on %v, its objects are on %v", context, got, inside)
		}
	}
	for key := range w.s.ledger.records {
		if w.objects[key] == nil {
			t.Fatalf("%s: the ledger has %s, which is gone", context, key)
		}
	}
	workloads := map[string]int{}
	for _, key := range w.keysOf("deployments") {
		for _, cluster := range w.s.lastDecision(key, w.objects[key]).Clusters {
			workloads[cluster]++
		}
	}
	if fmt.Sprint(workloads) != fmt.Sprint(w.s.ledger.workloads) {
		t.Fatalf("%s: the ledger counts %v workloads, there are %v", context, w.s.ledger.workloads, workloads)
	}
}

// TestSchedulerDecidesByEventsAsAnew has things happen at random, one after the other and several at once: what the scheduler decides
// again for an event is all that deciding everything anew would change.
func TestSchedulerDecidesByEventsAsAnew(t *testing.T) {
	for seed := range uint64(40) {
		w := newSequence(t, seed)
		for step := range 25 {
			context := fmt.Sprintf("seed %d, step %d", seed, step)
			w.work(t, w.s, w.queue)
			w.checkRest(t, context)
			w.checkSums(t, context)
			for range 1 + w.IntN(3) {
				w.step(t)
			}
		}
	}
}

var _ registry = &sequence{}

// HasReadWorkspace is that of a workspace that has been read.
func (w *sequence) HasReadWorkspace(logicalcluster.Name) bool { return true }
