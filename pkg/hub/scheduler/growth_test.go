package scheduler

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

// counted is kcp's caches with indexes, which count what is visited, and a fleet.
type counted struct {
	*sequence

	indexes map[string]map[kcp.ObjectKey]bool
	visited int
}

// index enters all objects into the indexes.
func (c *counted) index() {
	c.indexes = map[string]map[kcp.ObjectKey]bool{}
	for name, indexer := range inventory.Indexers(kinds.Kinds{}) {
		for key, obj := range c.objects {
			values, _ := indexer(obj)
			for _, value := range values {
				if c.indexes[name+"\x00"+value] == nil {
					c.indexes[name+"\x00"+value] = map[kcp.ObjectKey]bool{}
				}
				c.indexes[name+"\x00"+value][key] = true
			}
		}
	}
}

// EachBy visits what an index has.
func (c *counted) EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key := range c.indexes[index+"\x00"+value] {
		c.visited++
		visit(key, c.objects[key])
	}
}

// EachIn visits a namespace.
func (c *counted) EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	c.sequence.EachIn(workspace, namespace, func(key kcp.ObjectKey, obj *unstructured.Unstructured) {
		c.visited++
		visit(key, obj)
	})
}

// newCounted returns ten workloads on clusters a to c, and others on d to f, all in one namespace and placed by its placement.
func newCounted(t *testing.T, others int) *counted {
	t.Helper()
	w := &sequence{fakeKCP: newFakeKCP(t), clusters: map[string]placement.Cluster{}, queue: &queue{}}
	c := &counted{sequence: w}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		w.clusters[name] = placement.Cluster{Name: name, Ready: true, Export: "tmc.kcp.io"}
	}
	documents := []string{namespace, settings, service, placementOf("{numberOfClusters: 3, clusterSelector: {clusterNames: [a, b, c, d, e, f]}}")}
	for i := range 10 + others {
		labels := "cluster.tmc.kcp.io/a: sync, cluster.tmc.kcp.io/b: sync, cluster.tmc.kcp.io/c: sync"
		if i >= 10 {
			labels = "cluster.tmc.kcp.io/d: sync, cluster.tmc.kcp.io/e: sync, cluster.tmc.kcp.io/f: sync"
		}
		documents = append(documents, fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web-%d, generation: 1, labels: {%s}},
  spec: {replicas: 2, template: {metadata: {labels: {app: "web-%d"}}, spec: {containers: [{name: web}]}}}}`, i, labels, i))
	}
	c.fakeKCP = newFakeKCP(t, documents...)
	c.index()
	c.s = New(Config{Upstream: c, Inventory: inventory.New(c, kinds.Kinds{}), Notices: c, Registry: c, Paths: fleet{}, Bindings: c, Default: placement.DefaultAll})
	c.s.objects, c.s.statuses = c.queue, &queue{}
	for key, obj := range c.objects {
		c.s.OnUpstream(key, nil, obj)
	}
	c.s.OnCluster("a")
	c.drain(t)
	return c
}

// drain takes all turns that are queued, and returns how many there were and how many objects they visited.
func (c *counted) drain(t *testing.T) (turns, visited int) {
	t.Helper()
	before := c.visited
	for len(c.queue.keys) > 0 {
		key := c.queue.keys[0]
		c.queue.keys = c.queue.keys[1:]
		turns++
		if _, err := c.s.sync(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if turns > 10_000 {
			t.Fatal("it does not come to rest")
		}
	}
	return turns, c.visited - before
}

// TestGrowthOfTheScheduler has ten times as many objects elsewhere, in the same namespace and under the same placement: neither a cluster
// that falls silent and comes back, nor a change of an object, costs more turns, and no more objects are looked at.
func TestGrowthOfTheScheduler(t *testing.T) {
	type cost struct{ turns, visited int }
	measure := func(others int) (flap, change cost) {
		c := newCounted(t, others)
		for _, ready := range []bool{false, true} {
			cluster := c.clusters["a"]
			cluster.Ready = ready
			c.clusters["a"] = cluster
			c.s.OnCluster("a")
			turns, visited := c.drain(t)
			flap.turns, flap.visited = flap.turns+turns, flap.visited+visited
		}
		key := kcp.KeyOf(resources["Deployment"], c.object("web-0"))
		before := c.objects[key]
		obj := before.DeepCopy()
		obj.SetGeneration(2)
		c.objects[key] = obj
		c.s.OnUpstream(key, before, obj)
		change.turns, change.visited = c.drain(t)
		return flap, change
	}
	fewFlap, fewChange := measure(20)
	manyFlap, manyChange := measure(200)
	t.Logf("flap %+v, with ten times as many elsewhere %+v; change %+v, %+v", fewFlap, manyFlap, fewChange, manyChange)
	for what, costs := range map[string][2]int{
		"turns of a flap": {fewFlap.turns, manyFlap.turns}, "objects that a flap looks at": {fewFlap.visited, manyFlap.visited},
		"turns of a change": {fewChange.turns, manyChange.turns}, "objects that a change looks at": {fewChange.visited, manyChange.visited},
	} {
		if few, many := costs[0], costs[1]; 2*many > 3*few {
			t.Errorf("%s: %d, and %d with ten times as many objects elsewhere", what, few, many)
		}
	}
}
