package evaluate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// statusOf gives a copy a status of its generation.
func statusOf(counters map[string]any, conditions ...string) option {
	return func(obj *unstructured.Unstructured) {
		obj.SetGeneration(1)
		status := map[string]any{"observedGeneration": int64(1)}
		maps.Copy(status, counters)
		var entries []any
		for i := 0; i+2 < len(conditions); i += 3 {
			entries = append(entries, map[string]any{"type": conditions[i], "status": conditions[i+1], "reason": conditions[i+2]})
		}
		if entries != nil {
			status["conditions"] = entries
		}
		obj.Object["status"] = status
	}
}

func pods(total, ready, updated int64) map[string]any {
	counters := map[string]any{"replicas": total, "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": updated}
	if total > ready {
		counters["unavailableReplicas"] = total - ready
	}
	return counters
}

// as has an object be of another kind.
func as(apiVersion, kind string) option {
	return func(obj *unstructured.Unstructured) {
		obj.SetAPIVersion(apiVersion)
		obj.SetKind(kind)
		if kind != "StatefulSet" && kind != "Widget" {
			delete(obj.Object, "spec")
		}
	}
}

func unobserved(obj *unstructured.Unstructured) { obj.SetGeneration(2) }

func TestNews(t *testing.T) {
	ready, none := statusOf(pods(3, 3, 3), "Available", "True", "A", "Progressing", "True", "P"), option(func(*unstructured.Unstructured) {})
	some := statusOf(pods(3, 1, 3), "Available", "False", "A", "Progressing", "True", "P")
	starting := statusOf(pods(3, 0, 3), "Available", "False", "A", "Progressing", "True", "P")
	problem, cause := []protocol.Problem{{Reason: "Conflict", Message: "m"}}, []protocol.Cause{{Reason: "R", Message: "m"}}
	var noCopy option
	cases := map[string]struct {
		kind               option
		before, after      option // of the copy; nil for none
		first              bool
		problems, had      []protocol.Problem
		causes             []protocol.Cause
		anew, paused, bare bool
		want               News
	}{
		"first: no copy":                            {first: true, after: noCopy, want: NoNews},
		"first: no copy and a problem":              {first: true, after: noCopy, problems: problem, want: Trouble},
		"first: a copy without a status":            {first: true, after: none, want: UnsaidByPods},
		"first: a status of before":                 {first: true, after: func(obj *unstructured.Unstructured) { some(obj); unobserved(obj) }, want: UnsaidByPods},
		"first: no pod serves":                      {first: true, after: starting, want: UnsaidByPods},
		"first: no pod serves, and it is known why": {first: true, after: starting, causes: cause, want: Trouble},
		"first: no pod serves, and that has failed": {first: true, after: statusOf(pods(3, 0, 3), "ReplicaFailure", "True", "F"), want: Turn},
		"first: the first pod serves":               {first: true, after: some, want: Turn},
		"first: all pods serve":                     {first: true, after: ready, want: Done},
		"first: a drifted copy":                     {first: true, after: func(obj *unstructured.Unstructured) { ready(obj); drifted(obj) }, want: UnsaidByPods},
		"what the hub waits for":                    {before: ready, after: ready, bare: true, want: Trouble},
		"the first pod serves":                      {before: starting, after: some, want: Turn},
		"another pod serves":                        {before: some, after: statusOf(pods(3, 2, 3), "Available", "False", "A"), want: Progress},
		"the last pod serves":                       {before: some, after: ready, want: Done},
		"the last pod serves no more":               {before: some, after: starting, want: Turn},
		"enough pods serve":                         {before: some, after: statusOf(pods(3, 2, 3), "Available", "True", "A"), want: Turn},
		"a pod is lost":                             {before: ready, after: statusOf(pods(3, 2, 3), "Available", "True", "A"), want: Progress},
		"all serve, and an old one":                 {before: some, after: statusOf(pods(4, 4, 3), "Available", "True", "A"), want: Turn},
		"all serve, some of them old ones":          {before: ready, after: statusOf(pods(3, 3, 1), "Available", "True", "A"), want: Progress},
		"some are old while it is paused":           {before: some, after: statusOf(pods(3, 3, 1), "Available", "True", "A"), paused: true, want: Done},
		"words alone":                               {before: ready, after: statusOf(pods(3, 3, 3), "Available", "True", "B", "Progressing", "True", "P"), want: Progress},
		"a deadline is over":                        {before: some, after: statusOf(pods(3, 1, 3), "Available", "False", "A", "Progressing", "False", "P"), want: Turn},
		"another generation":                        {before: ready, after: ready, anew: true, want: Done},
		"another generation, on its way":            {before: ready, after: some, anew: true, want: Turn},
		"another generation, not observed":          {before: ready, after: func(obj *unstructured.Unstructured) { ready(obj); unobserved(obj) }, anew: true, want: Unsaid},
		"the copy is gone":                          {before: ready, after: noCopy, want: Unsaid},
		"a new problem":                             {before: ready, after: ready, problems: problem, want: Trouble},
		"a problem that stays":                      {before: some, after: ready, problems: problem, had: problem, want: Turn},
		"a problem that is gone":                    {before: ready, after: ready, had: problem, want: Done},
		"a StatefulSet with an old pod":             {kind: as("apps/v1", "StatefulSet"), before: some, after: statusOf(pods(3, 3, 2)), want: Turn},
		"a DaemonSet without nodes":                 {kind: as("apps/v1", "DaemonSet"), first: true, after: statusOf(nil), want: Done},
		"a DaemonSet that starts":                   {kind: as("apps/v1", "DaemonSet"), first: true, after: statusOf(map[string]any{"desiredNumberScheduled": int64(2)}), want: UnsaidByPods},
		"a Job that runs":                           {kind: asJob, first: true, after: statusOf(map[string]any{"active": int64(1)}), want: UnsaidByPods},
		"a Job that has ended":                      {kind: asJob, first: true, after: statusOf(map[string]any{"succeeded": int64(1)}, "Complete", "True", "C"), want: Done},
		"a Job that fails":                          {kind: asJob, before: statusOf(map[string]any{"active": int64(1)}), after: statusOf(nil, "Failed", "True", "F"), want: Done},
		"a CronJob":                                 {kind: as("batch/v1", "CronJob"), first: true, after: none, want: Done},
		"a Service":                                 {kind: as("v1", "Service"), first: true, after: none, want: Unsaid},
		"a claim that waits":                        {kind: as("v1", "PersistentVolumeClaim"), first: true, after: func(obj *unstructured.Unstructured) { obj.Object["status"] = map[string]any{"phase": "Pending"} }, want: Unsaid},
		"a claim that is bound":                     {kind: as("v1", "PersistentVolumeClaim"), first: true, after: func(obj *unstructured.Unstructured) { obj.Object["status"] = map[string]any{"phase": "Bound"} }, want: Done},
		"a budget":                                  {kind: as("policy/v1", "PodDisruptionBudget"), first: true, after: statusOf(map[string]any{"currentHealthy": int64(2), "desiredHealthy": int64(2)}, "DisruptionAllowed", "True", "S"), want: Done},
		"a budget that lacks pods":                  {kind: as("policy/v1", "PodDisruptionBudget"), first: true, after: statusOf(map[string]any{"desiredHealthy": int64(2)}, "DisruptionAllowed", "False", "S"), want: Turn},
		"an unknown kind without a status":          {kind: as("example.com/v1", "Widget"), first: true, after: none, want: Unsaid},
		"an unknown kind that is ready":             {kind: as("example.com/v1", "Widget"), first: true, after: statusOf(nil, "Ready", "True", "R"), want: Done},
		"an unknown kind that is not ready":         {kind: as("example.com/v1", "Widget"), first: true, after: statusOf(nil, "Ready", "False", "R"), want: Turn},
		"an unknown kind that counts its pods":      {kind: as("example.com/v1", "Widget"), first: true, after: statusOf(map[string]any{"availableReplicas": int64(3)}), want: Done},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			upstreamObj := func(number int64) *unstructured.Unstructured {
				obj := upstreamDeployment(placed, held, generation(number))
				if c.kind != nil {
					c.kind(obj)
				}
				if c.paused {
					obj.Object["spec"].(map[string]any)["paused"] = true //nolint:forcetypeassert // it is one
				}
				return obj
			}
			evaluate := func(number int64, status option) *Evaluation {
				here := upstreamObj(number)
				if status == nil {
					return evaluated(t, inputOf(here, nil), nil)
				}
				ours := func(obj *unstructured.Unstructured) {
					fields := `{"f:metadata":{"f:labels":{},"f:annotations":{}},"f:spec":{}}`
					obj.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: v1alpha1.FieldManager, Operation: "Apply", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}})
				}
				return evaluated(t, inputOf(here, copyOf(t, here, ours, status)), nil)
			}
			var last protocol.Report
			if !c.first {
				last = evaluate(1, c.before).Report(c.had)
			}
			e := evaluate(map[bool]int64{false: 1, true: 2}[c.anew], c.after)
			e.IsBare = c.bare
			next := e.Report(c.problems)
			next.Causes = c.causes
			if got := e.News(last, next, c.first); got != c.want {
				t.Errorf("got %v, want %v; from %+v\nto %+v", got, c.want, last, next)
			}
		})
	}
}

// timeline is what the status of a Deployment on one cluster says, from when on.
type timeline []struct {
	at     time.Duration
	status option
}

// podsAt returns the timeline of a new Deployment whose pods become ready then. Its controller follows each with a status.
func podsAt(ready ...time.Duration) timeline {
	slices.Sort(ready)
	wants := int64(len(ready))
	line := timeline{
		{10 * time.Millisecond, func(obj *unstructured.Unstructured) {
			statusOf(nil, "Progressing", "True", "NewReplicaSetCreated")(obj)
			unobserved(obj)
		}},
		{20 * time.Millisecond, statusOf(pods(wants, 0, wants), "Progressing", "True", "ReplicaSetUpdated", "Available", "False", "M")},
	}
	for i, at := range ready {
		available, reason := "False", "ReplicaSetUpdated"
		if has := int64(i + 1); has == wants {
			available, reason = "True", "NewReplicaSetAvailable"
		} else if has >= wants-wants/4 {
			available = "True"
		}
		line = append(line, struct {
			at     time.Duration
			status option
		}{at + 5*time.Millisecond, statusOf(pods(wants, int64(i+1), wants), "Progressing", "True", reason, "Available", available, "M")})
	}
	return line
}

// course is what came of a timeline: when reports were written, and how long it took to tell of the first pod, and of the last.
type course struct {
	reports     int
	first, last time.Duration
}

// follow has the reports on a Deployment follow a timeline.
func (line timeline) follow(t *testing.T, wants int64) course {
	t.Helper()
	here := upstreamDeployment(placed, held, func(obj *unstructured.Unstructured) { obj.Object["spec"] = map[string]any{"replicas": wants} })
	var pace Pace
	var last protocol.Report
	var result course
	firstReady, lastReady, isFirst := time.Duration(-1), time.Duration(-1), true
	for i := range line {
		e := evaluated(t, inputOf(here, copyOf(t, here, line[i].status, func(obj *unstructured.Unstructured) { obj.Object["spec"] = map[string]any{"replicas": wants} })), nil)
		next := e.Report(nil)
		if next.Counters["availableReplicas"] > 0 && firstReady < 0 {
			firstReady = line[i].at
		}
		if e.isDone(next) && lastReady < 0 {
			lastReady = line[i].at
		}
		until := 100 * time.Second
		if i+1 < len(line) {
			until = line[i+1].at
		}
		for now := line[i].at; now < until; {
			news := NoNews
			if isFirst || !sameReport(t, last, next) {
				news = e.News(last, next, isFirst)
			}
			var wait time.Duration
			if pace, wait = pace.Heard(news, moment(now)); news == NoNews {
				break
			}
			if wait > 0 {
				now += wait
				continue
			}
			pace, last, isFirst = pace.Wrote(news, moment(now)), next, false
			result.reports++
			if next.Counters["availableReplicas"] > 0 && result.first == 0 {
				result.first = max(now-firstReady, 1)
			}
			if e.isDone(next) && result.last == 0 {
				result.last = max(now-lastReady, 1)
			}
		}
	}
	return result
}

func sameReport(t *testing.T, a, b protocol.Report) bool {
	t.Helper()
	some, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return some == other
}

// TestReportsOfARollout follows what Deployments go through whose pods take so long to be ready, and bounds what that costs and how
// long their users wait.
func TestReportsOfARollout(t *testing.T) {
	within := func(count int, from, spread time.Duration) func(*rand.Rand) timeline {
		return func(r *rand.Rand) timeline {
			ready := make([]time.Duration, count)
			for i := range ready {
				ready[i] = from + time.Duration(r.Int64N(int64(spread)))
			}
			return podsAt(ready...)
		}
	}
	const ms = time.Millisecond
	cases := []struct {
		name        string
		pods        int64
		line        func(*rand.Rand) timeline
		reports     float64
		first, last time.Duration
	}{
		{"1 pod, at once", 1, within(1, 40*ms, 20*ms), 1, ms, ms},
		{"1 pod, within 2 s", 1, within(1, 40*ms, 1900*ms), 1, ms, ms},
		{"1 pod, after 10 s", 1, within(1, 10*time.Second, time.Second), 2, ms, ms},
		{"3 pods, at once", 3, within(3, 40*ms, 150*ms), 1, gatherFor, ms},
		{"3 pods, within a second", 3, within(3, 40*ms, time.Second), 1.95, gatherFor, ms},
		{"20 pods, within 300 ms", 20, within(20, 40*ms, 300*ms), 2, gatherFor, ms},
		{"20 pods, within 5 s", 20, within(20, 40*ms, 5*time.Second), 4.1, gatherFor, ms},
		{"20 pods, within a minute", 20, within(20, time.Second, time.Minute), 15, gatherFor, ms},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			const rounds = 30
			var reports int
			var first, last time.Duration
			for seed := range uint64(rounds) {
				got := c.line(rand.New(rand.NewPCG(seed, 1))).follow(t, c.pods)
				reports, first, last = reports+got.reports, max(first, got.first), max(last, got.last)
			}
			each := float64(reports) / rounds
			t.Logf("%.2f reports, the first pod told after at most %s, the last after %s", each, first, last)
			if each > c.reports || first > c.first || last > c.last {
				t.Errorf("want at most %.2f reports, %s and %s", c.reports, c.first, c.last)
			}
		})
	}
}

// TestReportsOfAFlappingCopy has a pod be ready and not ready, back and forth, for a minute: that costs no more than a report a
// second, however fast it is.
func TestReportsOfAFlappingCopy(t *testing.T) {
	for _, every := range []time.Duration{20 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond, 3 * time.Second} {
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			line := podsAt(40 * time.Millisecond)
			for at, up := time.Second, false; at < time.Minute; at, up = at+every, !up {
				status := statusOf(pods(1, 0, 1), "Progressing", "True", "P", "Available", "False", "M")
				if up {
					status = line[2].status
				}
				line = append(line, struct {
					at     time.Duration
					status option
				}{at, status})
			}
			got := line.follow(t, 1)
			t.Logf("%d reports in a minute", got.reports)
			if most := reportBudget + int(time.Minute/reportInterval); got.reports > most || got.reports > len(line)+1 {
				t.Errorf("%d reports, want at most %d", got.reports, most)
			}
		})
	}
}
