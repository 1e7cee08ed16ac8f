package aggregator

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func withStatus(status map[string]any) change {
	return func(obj *unstructured.Unstructured) { obj.Object["status"] = status }
}

// available is the report of a cluster with so many replicas, written at a time.
func available(cluster string, count int64, written time.Time) protocol.Report {
	return protocol.Report{
		Cluster: cluster, Generation: 1, LocalGeneration: 1, LocalObservedGeneration: 1, Replicas: new(count),
		Counters: map[string]int64{"replicas": count, "availableReplicas": count}, Written: written.Format(protocol.WrittenLayout),
	}
}

func TestAggregatorSync(t *testing.T) {
	cases := map[string]struct {
		prepare func(*fakeHub)
		kind    string
		changes []change
		again   time.Duration
		writes  int
	}{
		"a workload that has just come waits to be placed": {kind: "Deployment", again: placementGrace},
		"a placed one is merged at once":                   {kind: "Deployment", changes: []change{on("east")}, writes: 1},
		"what nothing names may come to be named":          {kind: "Service", again: nobodysGrace},
		"one that was placed and is nowhere now":           {kind: "Service", changes: []change{withStatus(map[string]any{"loadBalancer": map[string]any{}})}, writes: 1},
		"a workspace that has not been read is read first": {kind: "Deployment", prepare: func(f *fakeHub) { f.isUnread = true }, again: readRetry},
		"a resource without a status has none":             {kind: "ConfigMap", changes: []change{on("east")}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub()
			resource := map[string]schema.GroupVersionResource{"Deployment": deployments, "Service": deployments, "ConfigMap": configMaps}[tc.kind]
			key := f.add("ws", resource, tc.kind, "web", tc.changes...)
			if tc.kind == "Service" {
				f.objects[key].SetAPIVersion("v1")
			}
			if tc.prepare != nil {
				tc.prepare(f)
			}
			again, err := f.aggregator().sync(t.Context(), key)
			if err != nil || again != tc.again || len(f.written) != tc.writes {
				t.Errorf("again after %s, %v; written: %q", again, err, f.written)
			}
		})
	}
	for name, off := range map[string]time.Duration{"right": 0, "ahead of kcp's": -10 * time.Minute, "behind kcp's": 10 * time.Minute} {
		t.Run("a new workload waits for its placement, the clock being "+name, func(t *testing.T) {
			f := newFakeHub()
			key := f.add("ws", deployments, "Deployment", "web", func(obj *unstructured.Unstructured) { obj.SetCreationTimestamp(metav1.NewTime(began.Add(off))) })
			a := f.aggregator()
			if again, err := a.sync(t.Context(), key); again != placementGrace || err != nil || len(f.written) > 0 {
				t.Errorf("again after %s, %v; written: %q", again, err, f.written)
			}
			a.now = func() time.Time { return began.Add(placementGrace) }
			if again, err := a.sync(t.Context(), key); again != 0 || err != nil || len(f.written) != 1 {
				t.Errorf("again after %s, %v; written: %q", again, err, f.written)
			}
			on("east")(f.objects[key])
			if _, err := a.sync(t.Context(), key); err != nil || len(a.seen.nobody) > 0 {
				t.Errorf("%v; what is placed is remembered: %v", err, a.seen.nobody)
			}
		})
	}
	t.Run("what clusters are letting go of is left alone for a moment", func(t *testing.T) {
		f := newFakeHub()
		key := f.add("ws", deployments, "Deployment", "web", on("east"), func(obj *unstructured.Unstructured) {
			obj.SetDeletionTimestamp(new(metav1.NewTime(began.Add(-time.Hour)))) // by kcp's clock
			obj.SetFinalizers([]string{"example.com/drain", v1alpha1.Finalizer("east")})
		})
		a := f.aggregator()
		if again, err := a.sync(t.Context(), key); again != 0 || err != nil || len(f.written) != 1 {
			t.Errorf("while somebody keeps it: again after %s, %v; written: %q", again, err, f.written)
		}
		f.objects[key].SetFinalizers([]string{v1alpha1.Finalizer("east")})
		unstructured.RemoveNestedField(f.objects[key].Object, "status")
		if again, err := a.sync(t.Context(), key); again != endingGrace || err != nil || len(f.written) != 1 {
			t.Errorf("at once: again after %s, %v; written: %q", again, err, f.written)
		}
		a.now = func() time.Time { return began.Add(endingGrace) }
		if again, err := a.sync(t.Context(), key); again != 0 || err != nil || len(f.written) != 2 {
			t.Errorf("later: again after %s, %v; written: %q", again, err, f.written)
		}
		delete(f.objects, key)
		if _, err := a.sync(t.Context(), key); err != nil || len(a.seen.ending) > 0 {
			t.Errorf("%v; what is gone is remembered: %v", err, a.seen.ending)
		}
	})
	t.Run("what is gone is forgotten", func(t *testing.T) {
		f, key := newFakeHub(), kcp.ObjectKey{Name: "web"}
		a := f.aggregator()
		a.seen.first(key, protocol.Report{Cluster: "east", Written: "2099"}, began)
		if _, err := a.sync(t.Context(), key); err != nil || !slices.Equal(f.forgotten, []kcp.ObjectKey{key}) || len(a.seen.byKey) > 0 {
			t.Errorf("forgotten: %v, %v, seen: %v", f.forgotten, err, a.seen.byKey)
		}
	})
}

// TestAggregatorTellsOfWhatIsNowhere has a Service that nothing names say so once, and not again.
func TestAggregatorTellsOfWhatIsNowhere(t *testing.T) {
	f := newFakeHub()
	key := f.add("ws", deployments, "Service", "db")
	f.objects[key].SetAPIVersion("v1")
	a := f.aggregator()
	for i, after := range []time.Duration{0, nobodysGrace, time.Hour} {
		a.now = func() time.Time { return began.Add(after) }
		if _, err := a.sync(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if want := min(i, 1); len(f.written) != want {
			t.Fatalf("after %s: written %q", after, f.written)
		}
		if i == 1 {
			withStatus(statusOf(t, f.written[0]))(f.objects[key])
		}
	}
	if !strings.Contains(f.written[0], `"reason":"NotPlaced"`) {
		t.Errorf("written: %q", f.written)
	}
}

// TestAggregatorWaitsForAChange counts what a change of an object costs: nothing more while its clusters take it up in a moment.
func TestAggregatorWaitsForAChange(t *testing.T) {
	cases := map[string]struct {
		answers time.Duration
		writes  int
	}{
		"taken up within a second":        {time.Second, 0},
		"taken up at once":                {0, 0},
		"taken up just before it is late": {changeGrace - time.Millisecond, 0},
		"taken up too late":               {changeGrace + 3*time.Second, 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub()
			key := f.add("ws", deployments, "Service", "web", on("east"))
			f.objects[key].SetAPIVersion("v1")
			inputs := protocol.Read(f.objects[key]).Inputs("east")
			reported(t, protocol.Report{Cluster: "east", Generation: 1, Inputs: inputs})(f.objects[key])
			a := f.aggregator()
			turn := func(after time.Duration) time.Duration {
				t.Helper()
				a.now = func() time.Time { return began.Add(after) }
				written := len(f.written)
				again, err := a.sync(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				for _, patch := range f.written[written:] {
					withStatus(stored(t, patch))(f.objects[key])
				}
				return again
			}
			turn(0)
			f.written = nil
			f.objects[key].SetGeneration(2)
			if again := turn(time.Minute); again != changeGrace {
				t.Errorf("looks again after %s", again)
			}
			if tc.answers > changeGrace {
				turn(time.Minute + changeGrace)
				turn(time.Minute + changeGrace + time.Second)
			}
			reported(t, protocol.Report{Cluster: "east", Generation: 2, Inputs: inputs})(f.objects[key])
			if again := turn(time.Minute + tc.answers); again != 0 || len(f.written) != tc.writes || len(a.seen.lagged) > 0 {
				t.Errorf("looks again after %s, remembers %v; written: %q", again, a.seen.lagged, f.written)
			}
		})
	}
}

// statusOf returns the status that a patch writes, and checks that it is for the object that was read.
func statusOf(t *testing.T, written string) map[string]any {
	t.Helper()
	var patch []struct {
		Op, Path string
		Value    any
	}
	content, isStatus := strings.CutPrefix(written, "[status]")
	if err := json.Unmarshal([]byte(content), &patch); err != nil || !isStatus || len(patch) < 2 || patch[0].Path != "/metadata/uid" || patch[0].Value != "u" {
		t.Fatalf("%v: %s", err, written)
	}
	last := patch[len(patch)-1]
	status, isMap := last.Value.(map[string]any)
	if last.Op != "add" || last.Path != "/status" || !isMap {
		t.Fatalf("it does not end with the status: %s", written)
	}
	return status
}

// stored returns the status that a patch writes as a cache would have it: numbers are integers.
func stored(t *testing.T, written string) map[string]any {
	t.Helper()
	status := statusOf(t, written)
	for field, value := range status {
		if number, isNumber := value.(float64); isNumber {
			status[field] = int64(number)
		}
	}
	return status
}

func TestAggregatorWrite(t *testing.T) {
	f := newFakeHub()
	key := f.add("ws", deployments, "Deployment", "web", on("east"), withStatus(map[string]any{"replicas": int64(2), "readyReplicas": int64(2)}))
	inputs := protocol.Read(f.objects[key]).Inputs("east")
	report := available("east", 2, began)
	report.Inputs = inputs
	reported(t, report)(f.objects[key])
	a := f.aggregator()
	if _, err := a.sync(t.Context(), key); err != nil || len(f.written) != 1 {
		t.Fatalf("%v; written: %q", err, f.written)
	}
	t.Run("the patch has the status", func(t *testing.T) {
		status := statusOf(t, f.written[0])
		delete(status, "conditions")
		want := map[string]any{"replicas": 2.0, "availableReplicas": 2.0, "observedGeneration": 1.0}
		if diff := cmp.Diff(want, status); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("what is written is not written again", func(t *testing.T) {
		content := map[string]any{"replicas": int64(2), "availableReplicas": int64(2), "observedGeneration": int64(1)}
		content["conditions"] = statusOf(t, f.written[0])["conditions"]
		withStatus(content)(f.objects[key])
		a.now = func() time.Time { return began.Add(time.Hour) }
		if _, err := a.sync(t.Context(), key); err != nil || len(f.written) != 1 {
			t.Errorf("%v; written: %q", err, f.written)
		}
	})
	failing := map[string]struct {
		patchErr error
		fails    bool
	}{
		"an object that was deleted meanwhile is no error": {apierrors.NewNotFound(deployments.GroupResource(), "web"), false},
		"a refusal is one": {errors.New("no"), true},
	}
	for name, tc := range failing {
		t.Run(name, func(t *testing.T) {
			f.patchErr = tc.patchErr
			withStatus(map[string]any{})(f.objects[key])
			if _, err := a.sync(t.Context(), key); (err != nil) != tc.fails {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAggregatorStrategy(t *testing.T) {
	placementsResource := v1alpha1.WorkloadPlacementsResource
	latest := func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"statusStrategy": "Latest"}
	}
	// West's report is from the future: it is as old as its first sight, which is now, and so the latest.
	reports := []change{on("east", "west"), reported(t, available("east", 1, began.Add(-time.Minute))), reported(t, available("west", 5, began.AddDate(73, 0, 0)))}
	cases := map[string]struct {
		placements []change
		changes    []change
		available  float64
		told       []string
	}{
		"without a placement reports add up":     {nil, reports, 6, nil},
		"a placement has the latest count":       {[]change{latest}, reports, 5, nil},
		"the object's annotation comes first":    {[]change{latest}, append(slices.Clone(reports), annotated(v1alpha1.StatusStrategyAnnotation, "union")), 6, nil},
		"a strategy that does not exist is told": {nil, append(slices.Clone(reports), annotated(v1alpha1.StatusStrategyAnnotation, "best")), 6, []string{"ws: InvalidStatusStrategy: annotation tmc.kcp.io/status-strategy: there is no strategy \"best\"; expected union, majority or latest; taking union"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub()
			key := f.add("ws", deployments, "Deployment", "web", tc.changes...)
			for _, change := range tc.placements {
				f.add("ws", placementsResource, "WorkloadPlacement", "p", change)
			}
			if _, err := f.aggregator().sync(t.Context(), key); err != nil || len(f.written) != 1 {
				t.Fatalf("%v; written: %q", err, f.written)
			}
			if got := statusOf(t, f.written[0])["availableReplicas"]; got != tc.available {
				t.Errorf("%v are available, want %v", got, tc.available)
			}
			if diff := cmp.Diff(tc.told, f.told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAggregatorCounters(t *testing.T) {
	counters := func(name string) change {
		return func(obj *unstructured.Unstructured) { obj.Object["spec"] = map[string]any{"statusCounters": name} }
	}
	reports := []change{on("east", "west"), reported(t, available("east", 1, began)), reported(t, available("west", 1, began))}
	cases := map[string]struct {
		flag       string
		placements []change
		changes    []change
		available  float64
		told       []string
	}{
		"nobody says anything":       {"", nil, reports, 2, nil},
		"the flag":                   {"per-cluster", nil, reports, 1, nil},
		"a placement over the flag":  {"per-cluster", []change{counters("Sum")}, reports, 2, nil},
		"a placement that says none": {"per-cluster", []change{counters("")}, reports, 1, nil},
		"an annotation over all":     {"sum", []change{counters("Sum")}, append(slices.Clone(reports), annotated(v1alpha1.StatusCountersAnnotation, "per-cluster")), 1, nil},
		"an annotation that says none": {"", []change{counters("PerCluster")}, append(slices.Clone(reports), annotated(v1alpha1.StatusCountersAnnotation, "each")), 1,
			[]string{"ws: InvalidStatusCounters: annotation tmc.kcp.io/status-counters: \"each\", expected \"sum\" or \"per-cluster\"; taking \"per-cluster\""}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub()
			key := f.add("ws", deployments, "Deployment", "web", tc.changes...)
			for _, change := range tc.placements {
				f.add("ws", v1alpha1.WorkloadPlacementsResource, "WorkloadPlacement", "p", change)
			}
			a := f.aggregator()
			a.config.Counters = tc.flag
			if _, err := a.sync(t.Context(), key); err != nil || len(f.written) != 1 {
				t.Fatalf("%v; written: %q", err, f.written)
			}
			if got := statusOf(t, f.written[0])["availableReplicas"]; got != tc.available {
				t.Errorf("%v are available, want %v", got, tc.available)
			}
			if diff := cmp.Diff(tc.told, f.told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAggregatorFutureReports(t *testing.T) {
	f := newFakeHub()
	key := f.add("ws", deployments, "Deployment", "web", on("east", "west"), annotated(v1alpha1.StatusStrategyAnnotation, "latest"),
		reported(t, available("east", 1, began.Add(-time.Minute))), reported(t, available("west", 5, began.AddDate(73, 0, 0))))
	a := f.aggregator()
	if _, err := a.sync(t.Context(), key); err != nil || statusOf(t, f.written[0])["availableReplicas"] != 5.0 {
		t.Fatalf("%v; written: %q", err, f.written)
	}
	a.now = func() time.Time { return began.Add(time.Hour) }
	reported(t, available("east", 2, began.Add(time.Minute)))(f.objects[key])
	if _, err := a.sync(t.Context(), key); err != nil || statusOf(t, f.written[1])["availableReplicas"] != 2.0 {
		t.Errorf("a newer report of east is not the latest: %v; written: %q", err, f.written)
	}
}

// queued returns the names of the objects that an event has the aggregator work on.
func queued(t *testing.T, f *fakeHub, event func(*Aggregator)) []string {
	t.Helper()
	a := f.aggregator()
	event(a)
	names := make(chan string, 16)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	a.config.Upstream = &countingHub{fakeHub: f, names: names}
	go func() {
		defer close(done)
		a.loop.Run(ctx, 1)
	}()
	var found []string
	for {
		select {
		case name := <-names:
			found = append(found, name)
		case <-time.After(50 * time.Millisecond):
			cancel()
			<-done
			slices.Sort(found)
			return found
		}
	}
}

// countingHub notes which objects are looked up.
type countingHub struct {
	*fakeHub

	names chan string
}

func (c *countingHub) Cached(key kcp.ObjectKey) *unstructured.Unstructured {
	c.names <- key.Name
	return nil
}

func TestAggregatorEvents(t *testing.T) {
	f := newFakeHub()
	web := f.add("ws", deployments, "Deployment", "web", mounting("settings", false), on("east"))
	f.add("ws", deployments, "Deployment", "idle")
	f.add("other", deployments, "Deployment", "web-of-another", on("west"))
	settings := f.add("ws", configMaps, "ConfigMap", "settings", on("east"))
	moved := f.objects[settings].DeepCopy()
	moved.SetLabels(nil)
	cases := map[string]struct {
		event func(*Aggregator)
		want  []string
	}{
		"an object that changes":                                {func(a *Aggregator) { a.OnUpstream(web, f.objects[web], f.objects[web]) }, []string{"web"}},
		"an object that goes, and what needs it":                {func(a *Aggregator) { a.OnUpstream(settings, f.objects[settings], nil) }, []string{"web"}},
		"an object that is placed elsewhere, and what needs it": {func(a *Aggregator) { a.OnUpstream(settings, f.objects[settings], moved) }, []string{"settings", "web"}},
		"a placement concerns its namespace": {func(a *Aggregator) {
			a.OnUpstream(kcp.ObjectKey{Workspace: "ws", Namespace: "app", Name: "p", Resource: v1alpha1.WorkloadPlacementsResource}, nil, nil)
		}, []string{"idle", "settings", "web"}},
		"a cluster concerns what is on it":                     {func(a *Aggregator) { a.OnCluster("west") }, []string{"web-of-another"}},
		"bindings of a workspace concern what is placed there": {func(a *Aggregator) { a.OnWorkspace("ws") }, []string{"settings", "web"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, queued(t, f, tc.event)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
