package aggregate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// fate is what has become of a cluster's copy.
type fate int

const (
	upToDate fate = iota
	unreported
	silent
	ofOldGeneration
	ofOldInputs
	unobserved
)

// member is a cluster with its copy.
type member struct {
	name string
	fate fate
	// share is what the copy is to run, held its part of the partition; nil for what is not divided.
	share, held *int64
	copy        *unstructured.Unstructured
}

// world is an object and its clusters, as a model makes them.
type world struct {
	model      model
	upstream   *unstructured.Unstructured
	members    []*member
	isDivided  bool
	autoscaled bool
	perCluster bool
	strategy   string
}

const presentGeneration = int64(2)

// newWorld makes an object that is at generation 2, and clusters that are at any stage with it.
func newWorld(random *rand.Rand, m model) *world {
	spec := m.spec(random)
	w := &world{model: m, perCluster: oneIn(random, 2)}
	w.strategy = []string{"union", "union", "union", "majority", "latest"}[random.IntN(5)]
	_, counts := spec["replicas"]
	w.isDivided = m.isDivisible && oneIn(random, 2)
	w.autoscaled = counts && m.isDivisible && spec["replicas"] != int64(0) && oneIn(random, 5)
	w.upstream = &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": m.apiVersion, "kind": m.kind, "metadata": map[string]any{"name": "x", "generation": presentGeneration}, "spec": spec,
	}}
	for _, name := range []string{"east", "north", "west"}[:1+random.IntN(3)] {
		w.members = append(w.members, &member{name: name, fate: max(upToDate, fate(random.IntN(16)-10))})
	}
	if w.isDivided {
		w.divide(random)
	}
	for _, member := range w.members {
		w.run(random, member)
	}
	if observed := random.Int64N(4); m.observes && observed > 0 {
		w.upstream.Object["status"] = map[string]any{observedGeneration: min(observed, presentGeneration)}
	}
	return w
}

// divide gives each cluster a share, and a part of the partition.
func (w *world) divide(random *rand.Rand) {
	left := w.upstream.Object["spec"].(map[string]any)["replicas"].(int64)
	held, hasHeld, _ := unstructured.NestedInt64(w.upstream.Object, "spec", "updateStrategy", "rollingUpdate", "partition")
	for i, member := range w.members {
		share := upTo(random, left)
		if i == len(w.members)-1 {
			share = left
		}
		left -= share
		member.share = &share
		if hasHeld {
			part := max(min(held, upTo(random, share)), held-left) // what is left for the others can hold the rest
			held -= part
			member.held = &part
		}
	}
}

// run makes a cluster's copy, and has its controllers work on it for any time.
func (w *world) run(random *rand.Rand, m *member) {
	m.copy = w.upstream.DeepCopy()
	spec := m.copy.Object["spec"].(map[string]any)
	if w.model.onCluster != nil {
		w.model.onCluster(spec)
	}
	if m.share != nil {
		spec["replicas"] = *m.share
	}
	if m.held != nil {
		_ = unstructured.SetNestedField(spec, *m.held, "updateStrategy", "rollingUpdate", "partition")
	}
	if w.autoscaled && spec["replicas"] != int64(0) {
		spec["replicas"] = 1 + random.Int64N(7)
	}
	status := w.model.run(random, spec)
	m.copy.SetGeneration(7)
	if w.model.observes {
		status[observedGeneration] = int64(7)
		if m.fate == unobserved {
			status[observedGeneration] = int64(6)
		}
	} else if m.fate == unobserved {
		m.fate = upToDate
	}
	m.copy.Object["status"] = status
}

// report is what a syncer says of a copy.
func (m *member) report() protocol.Report {
	report := protocol.Report{
		Version: protocol.ReportVersion, Cluster: m.name, Generation: presentGeneration, LocalGeneration: m.copy.GetGeneration(),
		Inputs: "now", Counters: map[string]int64{}, Texts: map[string]string{},
	}
	switch m.fate {
	case ofOldGeneration:
		report.Generation--
	case ofOldInputs:
		report.Inputs = "before"
	default:
	}
	report.LocalObservedGeneration, _, _ = unstructured.NestedInt64(m.copy.Object, "status", observedGeneration)
	if replicas, has, _ := unstructured.NestedInt64(m.copy.Object, "spec", "replicas"); has {
		report.Replicas = &replicas
	}
	status, _, _ := unstructured.NestedMap(m.copy.Object, "status")
	for name, value := range status {
		switch value := value.(type) {
		case int64:
			report.Counters[name] = value
		case string:
			report.Texts[name] = value
		}
	}
	report.Addresses, _, _ = unstructured.NestedSlice(status, "loadBalancer", "ingress")
	for _, c := range conditionsOf(m.copy) {
		encoded, _ := json.Marshal(map[string]any{"t": c["type"], "s": c["status"], "r": c["reason"], "m": c["message"]})
		var condition protocol.ReportCondition
		_ = json.Unmarshal(encoded, &condition)
		report.Conditions = append(report.Conditions, condition)
	}
	return report
}

// merge gives the upstream object its status.
func (w *world) merge(t *testing.T) {
	t.Helper()
	var reports []protocol.Report
	var names []string
	silentOnes := map[string]string{}
	for _, m := range w.members {
		names = append(names, m.name)
		if m.fate != unreported {
			reports = append(reports, m.report())
		}
		if m.fate == silent {
			silentOnes[m.name] = "silent since noon"
		}
	}
	said := annotations(t, reports...)
	if w.isDivided {
		replicas := w.upstream.Object["spec"].(map[string]any)["replicas"]
		said[v1alpha1.PlacementAnnotation] = fmt.Sprintf(`{"by":"placement","name":"p","replicas":%d}`, replicas)
		partition, has, _ := unstructured.NestedInt64(w.upstream.Object, "spec", "updateStrategy", "rollingUpdate", "partition")
		for _, m := range w.members {
			said[v1alpha1.ReplicasAnnotation(m.name)] = strconv.FormatInt(*m.share, 10)
			if has && *m.held != partition {
				said[v1alpha1.PartitionAnnotation(m.name)] = fmt.Sprintf("%d/%d", *m.held, partition)
			}
		}
	}
	w.upstream.SetAnnotations(said)
	w.upstream.SetLabels(placement(names))
	in := Input{Object: w.upstream, Inputs: func(string) string { return "now" }, Silent: func(cluster string) string { return silentOnes[cluster] }, Strategy: w.strategy, Now: now}
	if w.perCluster {
		in.Counters = v1alpha1.CountersPerCluster
	}
	status, _ := Status(in)
	w.upstream.Object["status"] = status
}

// hasEnded reports whether a copy will do nothing more: what it has reported stays true.
func (w *world) hasEnded(m *member) bool {
	return m.fate != unreported && (kinds.Kinds{}).Of(m.copy.GroupVersionKind().GroupKind()).ReportsEnd(m.report())
}

// isBlind tells of clients that look at nothing of a kind that says whether its controllers have seen it.
func (w *world) isBlind(name string) bool { return name == "Argo CD" && !w.model.observes }

// expected is what a client should conclude: what it concludes of every cluster's own copy, where all are up to date.
func (w *world) expected(t *testing.T, name string) verdict {
	t.Helper()
	verdicts := map[verdict]int{}
	for _, m := range w.members {
		counts := m.fate == upToDate || w.hasEnded(m) || w.isBlind(name) && m.fate != unreported && m.fate != silent
		own := waiting
		if counts {
			own = clients[name](t, m.copy)
		}
		// Of a share, kubectl's word, which is Argo CD's, is too soon while more of it runs.
		has, _, _ := unstructured.NestedInt64(m.copy.Object, "status", replicas)
		if m.share != nil && own == done && has > m.copy.Object["spec"].(map[string]any)["replicas"].(int64) && (name != "kstatus" || !isOnDelete(m.copy)) {
			own = waiting
		}
		verdicts[own]++
	}
	isPaused, _, _ := unstructured.NestedBool(w.upstream.Object, "spec", "paused")
	switch {
	case name == "Argo CD" && isPaused:
		return suspended // it looks at nothing else
	case verdicts[failed] > 0:
		return failed
	case name == "Argo CD" && w.model.kind == "Service" && w.upstream.Object["spec"].(map[string]any)["type"] != "LoadBalancer":
		return done // nor here
	case name == "Argo CD" && w.hasAddresses():
		return waitingIf(verdicts[done] == 0) // those of one cluster serve
	case verdicts[done] == len(w.members):
		return done
	case verdicts[suspended] == len(w.members):
		return suspended
	default:
		return waiting
	}
}

// hasAddresses tells of kinds whose addresses Argo CD looks at: the status has those of all clusters.
func (w *world) hasAddresses() bool { return w.model.kind == "Service" || w.model.kind == "Ingress" }

func isOnDelete(object *unstructured.Unstructured) bool {
	strategy, _, _ := unstructured.NestedString(object.Object, "spec", "updateStrategy", "type")
	return strategy == "OnDelete"
}

// isExact reports whether a client should conclude exactly what is expected. The sums of duplicated replicas, and of those that
// autoscalers have chosen, are not those of spec.replicas: there it must only not conclude too soon that all is done.
func (w *world) isExact(name string) bool {
	areSums := w.model.isDivisible && !w.perCluster
	isKstatus := name == "kstatus" && !w.isDivided && len(w.members) > 1
	return !areSums || !w.autoscaled && !isKstatus
}

func (w *world) String() string {
	said, _ := json.MarshalIndent(map[string]any{"spec": w.upstream.Object["spec"], "status": w.upstream.Object["status"], "strategy": w.strategy, "per cluster": w.perCluster, "divided": w.isDivided}, "", " ")
	text := string(said)
	for _, m := range w.members {
		own, _ := json.Marshal(map[string]any{"spec": m.copy.Object["spec"], "status": m.copy.Object["status"]})
		text += fmt.Sprintf("\n%s (fate %d): %s", m.name, m.fate, own)
	}
	return text
}

// TestClientsConcludeWhatTheClustersSay holds what clients conclude from the merged status of random fleets against what they conclude
// from the copies of their clusters.
func TestClientsConcludeWhatTheClustersSay(t *testing.T) {
	for _, m := range models {
		t.Run(m.kind, func(t *testing.T) {
			verdicts := map[string]map[verdict]int{}
			for seed := range uint64(2500) {
				w := newWorld(rand.New(rand.NewPCG(seed, 2)), m)
				w.merge(t)
				for name, conclude := range clients {
					got := conclude(t, w.upstream)
					if got == "" {
						continue
					}
					want := w.expected(t, name)
					if !w.isRight(name, got, want) {
						t.Fatalf("seed %d: %s concludes %q, want %q\n%s", seed, name, got, want, w)
					}
					if verdicts[name] == nil {
						verdicts[name] = map[verdict]int{}
					}
					verdicts[name][got]++
				}
			}
			t.Logf("verdicts: %v", verdicts)
			for name, of := range verdicts {
				for _, v := range m.verdicts[name] {
					if of[v] < 40 {
						t.Errorf("%s concludes %q %d times: the test does not test it", name, v, of[v])
					}
				}
			}
		})
	}
	t.Run("there is a model of each kind with a status", func(t *testing.T) {
		for _, kind := range (kinds.Kinds{}).All() {
			if !kind.Statusless && !slices.ContainsFunc(models, func(m model) bool { return m.kind == kind.Kind }) {
				t.Errorf("there is none of %s", kind.Kind)
			}
		}
	})
}

// isMute tells of objects of which a client looks at no number: pods that only their user updates, or none that are asked for.
func (w *world) isMute(name string) bool {
	isRolling := w.upstream.Object["spec"].(map[string]any)["updateStrategy"]
	_, hasParameters, _ := unstructured.NestedMap(w.upstream.Object, "spec", "updateStrategy", "rollingUpdate")
	asked, _, _ := unstructured.NestedInt64(w.upstream.Object, "spec", replicas)
	switch {
	case name == "kstatus" || isRolling == nil:
		return false
	case w.model.kind == "DaemonSet":
		return name == "Argo CD" && isOnDelete(w.upstream)
	default:
		return asked == 0 && (hasParameters || isOnDelete(w.upstream))
	}
}

// isRight reports whether a client concludes what it should.
func (w *world) isRight(name string, got, want verdict) bool {
	observed, _, _ := unstructured.NestedInt64(w.upstream.Object, "status", observedGeneration)
	isObserved := !w.model.observes || observed >= presentGeneration
	switch {
	case got == want:
		return true
	case w.isMute(name):
		return isObserved // it looks at nothing else
	case name == "kstatus" && w.autoscaled && !w.perCluster:
		return true // what an autoscaler has chosen is compared with another number
	case name == "kstatus" && w.strategy == "latest":
		return true // a surplus of other clusters is not shown
	case w.strategy != "union": // which says whose word counts; but nothing must read as rolled out that is not
		return want == done || got != done || (kinds.Kinds{}).Of(w.upstream.GroupVersionKind().GroupKind()).Rollout == kinds.NoRollout
	case name == "Argo CD" && w.model.kind == "HorizontalPodAutoscaler" && got == failed:
		return want == waiting // of a cluster it does not look at its metrics where it is able to scale
	case want == failed && got == waiting:
		return !isObserved // it waits for the other clusters first
	case !w.isExact(name):
		return got == waiting
	default:
		return false
	}
}
