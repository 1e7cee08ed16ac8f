package aggregate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// pacedFleet is a Deployment of so many replicas on each of its clusters, and what those say of it.
type pacedFleet struct {
	generation, replicas int64
	clusters             []string
	// reports are by cluster; one that is missing has not reported.
	reports map[string]protocol.Report
	status  map[string]any
}

// input is what the status of a pacedFleet is merged from.
func (f *pacedFleet) input(t *testing.T, problems ...protocol.Problem) Input {
	t.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": f.replicas}}}
	obj.SetAPIVersion("apps/v1")
	obj.SetKind("Deployment")
	obj.SetGeneration(f.generation)
	labels, annotations := map[string]string{}, map[string]string{}
	for _, cluster := range f.clusters {
		labels[v1alpha1.PlacementLabel(cluster)] = v1alpha1.PlacementLabelValue
	}
	obj.SetLabels(labels)
	inputs := protocol.Read(obj)
	for cluster, report := range f.reports {
		report.Version, report.Cluster, report.Inputs = protocol.ReportVersion, cluster, inputs.Inputs(cluster)
		encoded, err := report.Encode()
		if err != nil {
			t.Fatal(err)
		}
		annotations[v1alpha1.StatusAnnotation(cluster)] = encoded
	}
	obj.SetAnnotations(annotations)
	if f.status != nil {
		obj.Object["status"] = f.status
	}
	return Input{Object: obj, Problems: problems, Now: metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
}

// says returns the report of a copy with so many updated pods, of which so many are available.
func (f *pacedFleet) says(updated, availablePods int64) protocol.Report {
	status := map[bool]metav1.ConditionStatus{true: "True", false: "False"}[availablePods >= f.replicas-f.replicas/4]
	return protocol.Report{
		Generation: f.generation, LocalGeneration: f.generation, LocalObservedGeneration: f.generation, Replicas: new(f.replicas),
		Counters: map[string]int64{"replicas": f.replicas, "updatedReplicas": updated, "readyReplicas": availablePods, "availableReplicas": availablePods},
		Conditions: []protocol.ReportCondition{
			{Type: "Available", Status: status, Reason: "R"},
			{Type: "Progressing", Status: "True", Reason: "ReplicaSetUpdated"},
		},
	}
}

func newPacedFleet(replicas int64) *pacedFleet {
	return &pacedFleet{generation: 1, replicas: replicas, clusters: []string{"east", "west"}, reports: map[string]protocol.Report{}}
}

func TestNewsOf(t *testing.T) {
	problem := protocol.Problem{Reason: "MissingObject", Message: "m"}
	// written has the present status be the merged one of reports of so many available pods, all of them updated.
	written := func(f *pacedFleet, inEast, inWest int64) {
		f.reports = map[string]protocol.Report{"east": f.says(4, inEast), "west": f.says(4, inWest)}
		f.status, _ = Status(f.input(t))
	}
	cases := map[string]struct {
		prepare  func(f *pacedFleet)
		problems []protocol.Problem
		want     News
	}{
		"nobody has said anything":  {func(*pacedFleet) {}, nil, Unsaid},
		"but something is missing":  {func(*pacedFleet) {}, []protocol.Problem{problem}, AtOnce},
		"it is nowhere":             {func(f *pacedFleet) { f.clusters = nil }, nil, AtOnce},
		"the first pod serves":      {func(f *pacedFleet) { f.reports["east"] = f.says(4, 1) }, nil, Turn},
		"the first cluster is done": {func(f *pacedFleet) { f.reports["east"] = f.says(4, 4) }, nil, LateTurn},
		"all clusters are done":     {func(f *pacedFleet) { f.reports["east"], f.reports["west"] = f.says(4, 4), f.says(4, 4) }, nil, AtOnce},
		"a cluster refuses its copy": {func(f *pacedFleet) {
			f.reports["east"] = protocol.Report{Generation: 1, Problems: []protocol.Problem{problem}}
		}, nil, AtOnce},
		"another pod serves": {func(f *pacedFleet) {
			written(f, 1, 1)
			f.reports["east"] = f.says(4, 2)
		}, nil, Progress},
		"enough pods serve": {func(f *pacedFleet) {
			written(f, 1, 1)
			f.reports = map[string]protocol.Report{"east": f.says(4, 3), "west": f.says(4, 3)}
		}, nil, Turn},
		"something is wrong on the way": {func(f *pacedFleet) {
			written(f, 1, 1)
			report := f.says(4, 1)
			report.Problems = []protocol.Problem{problem}
			f.reports["east"] = report
		}, nil, AtOnce},
		"a deadline is over": {func(f *pacedFleet) {
			written(f, 1, 1)
			report := f.says(4, 1)
			report.Conditions[1].Status, report.Conditions[1].Reason = "False", "ProgressDeadlineExceeded"
			f.reports["east"] = report
		}, nil, AtOnce},
		"a pod is lost": {func(f *pacedFleet) {
			written(f, 4, 4)
			f.reports["east"] = f.says(4, 3)
		}, nil, Progress},
		"it is back": {func(f *pacedFleet) {
			written(f, 3, 4)
			f.reports["east"] = f.says(4, 4)
		}, nil, AtOnce},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newPacedFleet(4)
			c.prepare(f)
			in := f.input(t, c.problems...)
			merged, _ := Status(in)
			if got := NewsOf(in, merged); got != c.want {
				t.Errorf("got %s, want %s, of %v\nafter %v", got, c.want, merged, f.status)
			}
		})
	}
}

// TestNewsOfWhatReadsAsDone makes random fleets: a status that kubectl takes for done is never kept back.
func TestNewsOfWhatReadsAsDone(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	done := 0
	for range 5000 {
		f := newPacedFleet(1 + r.Int64N(3))
		before, after := map[string]protocol.Report{}, map[string]protocol.Report{}
		for _, cluster := range f.clusters {
			updated := r.Int64N(f.replicas + 1)
			before[cluster] = f.says(updated, r.Int64N(f.replicas+1))
			after[cluster] = f.says(f.replicas-r.Int64N(2), f.replicas-r.Int64N(2))
		}
		f.reports = before
		if r.IntN(4) > 0 {
			f.status, _ = Status(f.input(t))
		}
		f.reports = after
		in := f.input(t)
		merged, _ := Status(in)
		updated, _ := merged["updatedReplicas"].(int64)
		availablePods, _ := merged["availableReplicas"].(int64)
		total, _ := merged["replicas"].(int64)
		if updated < f.replicas || total > updated || availablePods < updated {
			continue
		}
		if done++; NewsOf(in, merged) != AtOnce {
			t.Fatalf("%s of %v after %v", NewsOf(in, merged), merged, f.status)
		}
	}
	if done < 100 {
		t.Errorf("%d of the fleets were done", done)
	}
}

// TestPaceKeepsNothingForLong has random news come at random times: each is written, in time, and progress costs no more than a write a
// second.
func TestPaceKeepsNothingForLong(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	kinds := []News{AtOnce, Turn, LateTurn, Progress}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		var pace Pace
		var waits time.Duration // until the next turn
		pending, isPending, since := Progress, false, began
		progress, now := 0, began
		for now.Before(began.Add(time.Minute)) {
			step := time.Duration(r.Int64N(int64(300 * time.Millisecond)))
			isTurn := isPending && waits <= step
			if isTurn {
				step = waits
			}
			now = now.Add(step)
			if !isTurn {
				if r.IntN(10) == 0 {
					pace, isPending = pace.Rested(), false // it came to nothing
					continue
				}
				if pending = kinds[r.IntN(len(kinds))]; !isPending {
					isPending, since = true, now
				}
			}
			if pace, waits = pace.Heard(pending, now); waits > 0 {
				if late := now.Add(waits).Sub(since); late > spacing {
					t.Fatalf("seed %d: %s is written %s after it came", seed, pending, late)
				}
				if pending == AtOnce {
					t.Fatalf("seed %d: what is to be written at once waits %s", seed, waits)
				}
				continue
			}
			pace, isPending = pace.Wrote(now), false
			if pending == Progress {
				progress++
			}
		}
		if progress > 300 {
			t.Errorf("seed %d: %d writes tell of progress", seed, progress)
		}
	}
}

// TestPaceOfARollout follows reports as syncers write them and counts the writes of the status.
func TestPaceOfARollout(t *testing.T) {
	const ms = time.Millisecond
	type report struct {
		at      time.Duration
		cluster string
		updated int64
		serve   int64
	}
	cases := map[string]struct {
		anew    bool // a roll-out of what was done, or a creation
		pods    int64
		reports []report
		writes  int
		// first and last are how long it takes at most to tell of the first pod, and of the last.
		first, last time.Duration
	}{
		"a creation, at once on both":       {false, 1, []report{{300 * ms, "east", 1, 1}, {400 * ms, "west", 1, 1}}, 1, 100 * ms, 0},
		"a creation, one cluster is late":   {false, 1, []report{{300 * ms, "east", 1, 1}, {1500 * ms, "west", 1, 1}}, 2, 200 * ms, 0},
		"a creation, two pods on each":      {false, 2, []report{{300 * ms, "east", 2, 1}, {350 * ms, "west", 2, 1}, {700 * ms, "east", 2, 2}, {750 * ms, "west", 2, 2}}, 2, 80 * ms, 0},
		"a roll-out, 3 reports on each":     {true, 10, []report{{300 * ms, "east", 4, 9}, {350 * ms, "west", 4, 9}, {3300 * ms, "east", 8, 9}, {3450 * ms, "west", 7, 9}, {5 * time.Second, "east", 10, 10}, {5300 * ms, "west", 10, 10}}, 4, time.Second, 0},
		"a roll-out, 3 reports not at once": {true, 10, []report{{300 * ms, "east", 4, 9}, {700 * ms, "west", 4, 9}, {3300 * ms, "east", 8, 9}, {3700 * ms, "west", 7, 9}, {5 * time.Second, "east", 10, 10}, {5400 * ms, "west", 10, 10}}, 4, time.Second, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newPacedFleet(c.pods)
			if c.anew {
				f.reports = map[string]protocol.Report{"east": f.says(c.pods, c.pods), "west": f.says(c.pods, c.pods)}
				f.status, _ = Status(f.input(t))
				f.generation = 2
			}
			var pace Pace
			var writes []string
			began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			firstTold, lastTold, firstAt := time.Duration(-1), time.Duration(-1), c.reports[0].at
			lastAt := c.reports[len(c.reports)-1].at
			for i, next := 0, time.Duration(0); i < len(c.reports) || next > 0; {
				now := next
				if next == 0 || i < len(c.reports) && c.reports[i].at < next {
					r := c.reports[i]
					now, i = r.at, i+1
					f.reports[r.cluster] = f.says(r.updated, r.serve)
				}
				in := f.input(t)
				in.Waits = func() bool { return true }
				merged, _ := Status(in)
				if next = 0; fmt.Sprint(merged) == fmt.Sprint(f.status) {
					pace = pace.Rested()
					continue
				}
				news := NewsOf(in, merged)
				var wait time.Duration
				if pace, wait = pace.Heard(news, began.Add(now)); wait > 0 {
					next = now + wait
					continue
				}
				pace, f.status = pace.Wrote(began.Add(now)), merged
				writes = append(writes, fmt.Sprint(news, " at ", now))
				if firstTold < 0 {
					firstTold = now - firstAt
				}
				if now >= lastAt {
					lastTold = now - lastAt
				}
			}
			t.Log(writes)
			if len(writes) > c.writes || firstTold > c.first || lastTold > c.last || lastTold < 0 {
				t.Errorf("%d writes, the first pod told after %s, the last after %s; want at most %d, %s, %s", len(writes), firstTold, lastTold, c.writes, c.first, c.last)
			}
			if !slices.ContainsFunc(writes, func(w string) bool { return w[:6] == string(AtOnce) }) {
				t.Error("that it is done is not told at once")
			}
		})
	}
}
