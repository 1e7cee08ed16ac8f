package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/hack/measure"
)

func TestFlagsInvalid(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown measurement": {[]string{"--only", "latency,speed"}, "speed"},
		"no samples":          {[]string{"--samples", "0"}, "--samples"},
		"no time":             {[]string{"--timeout", "0s"}, "--timeout"},
		"nothing is built":    {nil, "make build"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := newCommand()
			cmd.SetArgs(append(test.args, "--bin-dir", t.TempDir()))
			cmd.SetOut(io.Discard)
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestObserverNotesTheFirstMoment(t *testing.T) {
	o := &observer{key: (*unstructured.Unstructured).GetName, objects: map[string]*unstructured.Unstructured{}, waiting: map[string][]*expectation{}}
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	ready := func(replicas int64) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"readyReplicas": replicas}}}
		u.SetName("web")
		return u
	}
	there, all, gone := o.await("web", exists), o.await("web", isReady(2)), o.await("other", isGone)
	o.see(ready(1), at(1))
	o.see(ready(2), at(2))
	o.see(ready(2), at(3))
	away := o.await("web", isGone)
	o.forget(ready(2), at(4))
	for name, c := range map[string]struct {
		e    *expectation
		want time.Time
	}{"exists": {there, at(1)}, "is ready": {all, at(2)}, "is gone": {away, at(4)}} {
		if got, err := c.e.wait(t.Context()); err != nil || !got.Equal(c.want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
	if _, err := gone.wait(t.Context()); err != nil {
		t.Errorf("what is so from the beginning: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.await("web", exists).wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
}

func TestWritesAreCountedByWriter(t *testing.T) {
	request := func(side, agent, verb, resource, what string, code int) measure.Request {
		r := measure.Request{Side: side, UserAgent: agent, Verb: verb, What: what}
		r.Object.Resource, r.Response.Code = resource, code
		return r
	}
	got := writesOf("create", []measure.Request{
		request("cluster", "tmc-syncer/v1", "patch", "deployments", "apply deployments", 201),
		request("kcp", "tmc-syncer/v1", "patch", "deployments", "report", 200),
		request("kcp", "tmc-syncer/v1", "patch", "deployments", "report", 409),
		request("kcp", "tmc-controller/v1", "patch", "deployments", "placement labels", 500),
		request("kcp", "tmc-controller/v1", "update", "leases", "update leases", 200),
		request("kcp", "tmc-controller/v1", "get", "deployments", "get deployments", 200),
	}, 2)
	want := [][]string{
		{"create", "kcp", "tmc-controller", "placement labels", "0.5", "0", "1"},
		{"create", "kcp", "tmc-syncer", "report", "1.0", "1", "0"},
		{"create", "kcp", "all", "", "1.5", "1", "1"},
		{"create", "cluster", "tmc-syncer", "apply deployments", "0.5", "0", "0"},
		{"create", "cluster", "all", "", "0.5", "0", "0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRolloutIsComplete(t *testing.T) {
	deployment := func(generation, observed, replicas, updated, available int64) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"generation": generation},
			"status":   map[string]any{"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available},
		}}
	}
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		want bool
	}{
		"done":             {deployment(2, 2, 4, 4, 4), true},
		"not changed yet":  {deployment(1, 1, 4, 4, 4), false},
		"not observed":     {deployment(2, 1, 4, 4, 4), false},
		"an old pod":       {deployment(2, 2, 5, 4, 4), false},
		"one not updated":  {deployment(2, 2, 4, 3, 4), false},
		"one not ready":    {deployment(2, 2, 4, 4, 3), false},
		"it is not there":  {nil, false},
		"nothing is known": {&unstructured.Unstructured{Object: map[string]any{}}, false},
	}
	for name, c := range cases {
		if got := isComplete(2, 4)(c.obj); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestDocumentIsTheSameForTheSameFigures(t *testing.T) {
	figures := func() []section {
		return []section{
			{title: "Writes", text: strings.Repeat("word ", 40), rows: [][]string{{"CHANGE", "CPU EACH"}, {"create", "5.0"}}, picture: &picture{name: "writes", alt: "Who writes"}},
			{title: "Rest", rows: [][]string{{"WHAT"}, {"0"}}},
		}
	}
	about := func() [][]string { return [][]string{{"WHAT", "VALUE"}, {"tmc", "v1"}} }
	got := string(document(about(), figures()))
	if again := string(document(about(), figures())); got != again {
		t.Errorf("two runs wrote different documents (-first +second):\n%s", cmp.Diff(got, again))
	}
	for _, want := range []string{
		"| what | value |\n|---|---|\n| tmc | v1 |\n", "\n## Writes\n\nword", "\n![Who writes](benchmarks-writes.svg)\n\n| change | CPU each |\n|---|---|\n| create | 5.0 |\n\n## Rest\n\n| what |\n|---|\n| 0 |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the document lacks %q:\n%s", want, got)
		}
	}
	for line := range strings.SplitSeq(got, "\n") {
		if !strings.HasPrefix(line, "|") && len(line) > 120 {
			t.Errorf("a line has %d characters, expected at most 120: %s", len(line), line)
		}
	}
}

func TestFiguresAreBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 1234 * time.Microsecond: "1.2 ms", 97 * time.Millisecond: "97 ms", 234 * time.Millisecond: "230 ms", 1234 * time.Millisecond: "1200 ms",
		12345 * time.Millisecond: "12 s", 154 * time.Second: "150 s",
	} {
		if got := brief(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
	if got := ratio(3*time.Second, 2*time.Second); got != "1.5 ×" {
		t.Errorf("got %q, want 1.5 ×", got)
	}
	if got := ratio(time.Second, 0); got != "-" {
		t.Errorf("got %q of no limit, want -", got)
	}
}

func TestLatencyHasPercentilesAndRatios(t *testing.T) {
	var one, two []sample
	for i := 1; i <= 100; i++ {
		ms := time.Duration(i) * time.Millisecond
		one = append(one, sample{created: ms, copied: 2 * ms, ready: ms, merged: 3 * ms})
		two = append(two, sample{created: ms, copied: 4 * ms, ready: ms, merged: 5 * ms})
	}
	s := latencySection(one, two)
	want := [][]string{
		{"create", "answer of kcp", "1", "50 ms", "90 ms", "99 ms", "100 ms", "-"},
		{"create", "copy exists", "2", "200 ms", "360 ms", "400 ms", "400 ms", "4.0 ×"},
		{"pod ready", "status in kcp", "1", "150 ms", "270 ms", "300 ms", "300 ms", "3.0 ×"},
	}
	for i, row := range map[int][]string{1: want[0], 4: want[1], 7: want[2]} {
		if diff := cmp.Diff(row, s.rows[i]); diff != "" {
			t.Errorf("row %d (-want +got):\n%s", i, diff)
		}
	}
	if got := s.picture.charts[0].Series[2].Values; !cmp.Equal(got, []float64{200, 360, 400}) {
		t.Errorf("got bars %v of two clusters, want 200, 360, 400", got)
	}
}

func TestBulkTellsKCPsShareApart(t *testing.T) {
	f := bulkFigures{writes: 5, cpu: map[string]time.Duration{"kcp": 3 * time.Second, "tmc-controller": time.Second}}
	s := f.share(10, limits{create: calls{count: 100, cpu: 10 * time.Second}})
	want := [][]string{
		{"PROGRAM", "FOR", "CPU EACH", "SHARE"},
		{"kcp", "all", "300.0 ms", "75 %"},
		{"kcp", "the creations alone, without tmc", "100.0 ms", "25 %"},
		{"kcp", "the 5.0 writes of tmc and its watches", "200.0 ms", "50 %"},
		{"tmc-controller", "all", "100.0 ms", "25 %"},
	}
	if diff := cmp.Diff(want, s.rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLimitsAreRates(t *testing.T) {
	took := []time.Duration{10 * time.Millisecond, 20 * time.Millisecond}
	s := limits{create: calls{count: 2, wall: 100 * time.Millisecond, took: took, cpu: 10 * time.Millisecond}, copies: calls{count: 2, wall: time.Second, took: took}}.section()
	want := [][]string{
		{"CALL", "COUNT", "A SECOND", "p50", "p99", "CPU OF KCP EACH"},
		{"create a Deployment in kcp", "2", "20", "10 ms", "20 ms", "5.0 ms"},
		{"create a Deployment in a cluster", "2", "2", "10 ms", "20 ms", "-"},
	}
	if diff := cmp.Diff(want, s.rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProgressHasTwentyPoints(t *testing.T) {
	var moments []time.Duration
	for i := 100; i > 0; i-- {
		moments = append(moments, time.Duration(i)*time.Second)
	}
	got := progressLine("done", moments).Points
	if len(got) != 21 || got[0] != [2]float64{0, 0} || got[1] != [2]float64{5, 5} || got[20] != [2]float64{100, 100} {
		t.Errorf("got %v, want 21 points from 0, 0 by 5, 5 to 100, 100", got)
	}
	if got := progressLine("few", moments[99:]).Points; len(got) != 2 {
		t.Errorf("got %v of one, want the beginning and that one", got)
	}
}

func TestConfigMapsHaveTheMarksOfAnotherOne(t *testing.T) {
	like := newConfigMap(0, nil)
	like.SetLabels(map[string]string{"cluster.tmc.kcp.io/east": "sync", "claimed.internal.apis.kcp.io/abc": "def"})
	like.SetAnnotations(map[string]string{"tmc.kcp.io/placement": "{}", "kcp.io/cluster": "xyz", "tmc.kcp.io/target-clusters": "east"})
	got := newConfigMap(1, like)
	if !isPlaced(got) || len(got.GetLabels()) != 1 || len(got.GetAnnotations()) != 2 || got.GetName() != "rest-0001" {
		t.Errorf("got labels %v and annotations %v, want tmc's alone", got.GetLabels(), got.GetAnnotations())
	}
}

func TestCPUSinceARestartIsAllOfIt(t *testing.T) {
	got := cpuSince(map[string]measure.Usage{"a": {CPU: 5}, "b": {CPU: 9}}, map[string]measure.Usage{"a": {CPU: 7}, "b": {CPU: 3}, "c": {CPU: 1}})
	if diff := cmp.Diff(map[string]time.Duration{"a": 2, "b": 3, "c": 1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRepairIsSeenAfterTheChange(t *testing.T) {
	deployment := func(generation int64, image string) *unstructured.Unstructured {
		u := newDeployment("web", east)
		u.SetGeneration(generation)
		u.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"] = []any{map[string]any{"image": image}}
		return u
	}
	is := isRepaired(2)
	if is(nil) || is(deployment(1, image)) || is(deployment(2, newImage)) || is(deployment(3, newImage)) || !is(deployment(3, image)) {
		t.Error("want it to be repaired once it has its image again in a later generation, and not before")
	}
	s := driftSection([]time.Duration{5 * time.Millisecond}, []time.Duration{20 * time.Millisecond})
	if got := s.rows[2][6]; got != "4.0 × a patch" {
		t.Errorf("got the ratio %q, want 4.0 × a patch", got)
	}
}
