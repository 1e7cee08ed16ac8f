package aggregator

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// job has a time to live, and has ended on clusters: each has one of the conditions Complete and Failed, or none.
func job(t *testing.T, ttl any, ends map[string]string) change {
	t.Helper()
	return func(obj *unstructured.Unstructured) {
		obj.SetResourceVersion("7")
		if ttl != nil {
			obj.Object["spec"] = map[string]any{"ttlSecondsAfterFinished": ttl}
		}
		var clusters []string
		for cluster := range ends {
			clusters = append(clusters, cluster)
		}
		on(clusters...)(obj)
		for cluster, end := range ends {
			report := protocol.Report{Cluster: cluster, Generation: 1, LocalGeneration: 1, Inputs: protocol.Read(obj).Inputs(cluster)}
			if end != "" {
				report.Conditions = []protocol.ReportCondition{{Type: end, Status: metav1.ConditionTrue}}
			}
			reported(t, report)(obj)
		}
	}
}

// clock is a hub whose time passes.
type clock struct {
	*fakeHub

	*Aggregator

	t   *testing.T
	key kcp.ObjectKey
}

func newClock(t *testing.T, changes ...change) *clock {
	t.Helper()
	f := newFakeHub()
	c := &clock{fakeHub: f, Aggregator: f.aggregator(), t: t, key: f.add("ws", jobs, "Job", "nightly", changes...)}
	return c
}

// at is a turn some time after the object began. What it writes is read by the next.
func (c *clock) at(after time.Duration) (again time.Duration) {
	c.t.Helper()
	c.now = func() time.Time { return began.Add(after) }
	again, err := c.sync(c.t.Context(), c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(c.written) == 0 {
		return again
	}
	c.objects[c.key].Object["status"], c.written = stored(c.t, c.written[0]), nil
	return c.at(after)
}

// restart is another hub over the same objects.
func (c *clock) restart() { c.Aggregator = c.aggregator() }

func (c *clock) change(changes ...change) {
	for _, change := range changes {
		change(c.objects[c.key])
	}
}

func TestExpireDeletesWhenTimeIsOver(t *testing.T) {
	all := map[string]string{"east": "Complete", "west": "Failed"}
	c := newClock(t, job(t, int64(10), all))
	if again := c.at(0); again != 10*time.Second {
		t.Errorf("it has its next turn after %s", again)
	}
	if again := c.at(9 * time.Second); again != time.Second || len(c.deleted) > 0 {
		t.Errorf("after nine seconds: again after %s, deleted %v", again, c.deleted)
	}
	c.at(10 * time.Second)
	want := []metav1.Preconditions{{UID: new(types.UID("u")), ResourceVersion: new("7")}}
	if diff := cmp.Diff(want, c.deleted); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
}

func TestExpire(t *testing.T) {
	east := map[string]string{"east": "Complete"}
	both := map[string]string{"east": "Complete", "west": "Complete"}
	later := 1000 * time.Hour
	cases := map[string]struct {
		changes []change
		then    func(*clock)
		deletes int
	}{
		"it stays without a time to live":                 {[]change{job(t, nil, east)}, nil, 0},
		"what is no time to live":                         {[]change{job(t, "soon", east)}, nil, 0},
		"nor is this":                                     {[]change{job(t, int64(-1), east)}, nil, 0},
		"one that runs on a cluster":                      {[]change{job(t, int64(1), map[string]string{"east": "Complete", "west": ""})}, nil, 0},
		"one that has failed on one, and runs on another": {[]change{job(t, int64(1), map[string]string{"east": "Failed", "west": ""})}, nil, 0},
		"one that is placed nowhere yet":                  {[]change{job(t, int64(1), nil)}, nil, 0},
		"no time at all":                                  {[]change{job(t, int64(0), both)}, nil, 1},
		"one that is being deleted":                       {[]change{job(t, int64(1), both), func(obj *unstructured.Unstructured) { obj.SetDeletionTimestamp(new(metav1.NewTime(began))) }}, nil, 0},
		"a cluster is silent: it would not go":            {[]change{job(t, int64(1), both)}, func(c *clock) { c.silent = map[string]string{"west": "since noon"} }, 0},
		"a cluster that it leaves is silent":              {[]change{job(t, int64(1), both), annotated(v1alpha1.DeletionAnnotation("west"), "x")}, func(c *clock) { c.silent = map[string]string{"west": "since noon"} }, 0},
		"it has left its last cluster":                    {[]change{job(t, int64(1), both)}, func(c *clock) { c.change(on()) }, 1},
		"a cluster was added":                             {[]change{job(t, int64(1), both)}, func(c *clock) { c.change(on("east", "west", "north")) }, 0},
		"it was changed, and is to run again":             {[]change{job(t, int64(1), both), annotated(v1alpha1.ReplaceAnnotation, "true")}, func(c *clock) { c.change(func(obj *unstructured.Unstructured) { obj.SetGeneration(2) }) }, 0},
		"it was changed, and is not to run again":         {[]change{job(t, int64(1), both)}, func(c *clock) { c.change(func(obj *unstructured.Unstructured) { obj.SetGeneration(2) }) }, 1},
		"its user takes the time to live away": {[]change{job(t, int64(1), both)}, func(c *clock) {
			c.change(func(obj *unstructured.Unstructured) { obj.Object["spec"] = map[string]any{} })
		}, 0},
		"most have ended, and most count": {[]change{job(t, int64(1), map[string]string{"east": "Complete", "west": "Complete", "north": ""}), annotated(v1alpha1.StatusStrategyAnnotation, "majority")}, nil, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newClock(t, tc.changes...)
			c.t = t
			c.at(0)
			c.deleted = nil
			if tc.then != nil {
				tc.then(c)
			}
			c.at(later)
			if len(c.deleted) != tc.deletes {
				t.Errorf("deleted %d times, want %d; the status is %v", len(c.deleted), tc.deletes, c.objects[c.key].Object["status"])
			}
		})
	}
}

// TestExpireCountsByOneClock has hubs come and go whose clocks differ.
func TestExpireCountsByOneClock(t *testing.T) {
	both := map[string]string{"east": "Complete", "west": "Complete"}
	cases := map[string]struct {
		restartAt []time.Duration
		at        time.Duration
		deletes   bool
	}{
		"a hub that restarts does not begin anew": {[]time.Duration{20 * time.Second, 40 * time.Second, 60 * time.Second, 80 * time.Second}, 101 * time.Second, true},
		"nor too early":                             {[]time.Duration{20 * time.Second, 98 * time.Second}, 99 * time.Second, false},
		"one that was down comes too late":          {[]time.Duration{time.Hour}, time.Hour, true},
		"one whose clock is behind waits no longer": {[]time.Duration{-10 * time.Minute}, -10*time.Minute + 100*time.Second, true},
		"nor less": {[]time.Duration{-10 * time.Minute}, -10*time.Minute + 99*time.Second, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newClock(t, job(t, int64(100), both))
			c.at(0)
			for _, at := range tc.restartAt {
				c.restart()
				c.at(at)
			}
			c.at(tc.at)
			if (len(c.deleted) > 0) != tc.deletes {
				t.Errorf("deleted: %d", len(c.deleted))
			}
		})
	}
	t.Run("the time may change", func(t *testing.T) {
		c := newClock(t, job(t, int64(1000), both))
		c.at(0)
		c.at(50 * time.Second)
		c.change(func(obj *unstructured.Unstructured) {
			obj.Object["spec"] = map[string]any{"ttlSecondsAfterFinished": int64(60)}
		})
		if again := c.at(55 * time.Second); again != 5*time.Second {
			t.Errorf("again after %s", again)
		}
	})
	t.Run("another run begins anew", func(t *testing.T) {
		c := newClock(t, job(t, int64(100), both))
		c.at(0)
		c.change(job(t, int64(100), map[string]string{"east": "Complete", "west": ""}))
		c.at(50 * time.Second)
		c.change(job(t, int64(100), both))
		if again := c.at(90 * time.Second); again != 100*time.Second {
			t.Errorf("again after %s", again)
		}
	})
}

func TestExpireIsRefused(t *testing.T) {
	gone := apierrors.NewNotFound(jobs.GroupResource(), "nightly")
	changed := apierrors.NewConflict(jobs.GroupResource(), "nightly", errors.New("changed"))
	for name, tc := range map[string]struct {
		err   error
		again time.Duration
		fails bool
	}{
		"it is gone":                    {gone, 0, false},
		"it has changed":                {changed, readRetry, false},
		"kcp has only just started":     {errStarting, 0, true},
		"kcp refuses for other reasons": {errors.New("no"), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock(t, job(t, int64(0), map[string]string{"east": "Complete"}))
			c.at(0)
			c.deleteErr = tc.err
			again, err := c.sync(t.Context(), c.key)
			if again != tc.again || (err != nil) != tc.fails {
				t.Errorf("again after %s, %v", again, err)
			}
		})
	}
	t.Run("what is gone is forgotten", func(t *testing.T) {
		c := newClock(t, job(t, int64(10), map[string]string{"east": "Complete"}))
		c.at(0)
		delete(c.objects, c.key)
		c.at(time.Second)
		if len(c.endings.byKey) > 0 {
			t.Errorf("remembered: %v", c.endings.byKey)
		}
	})
}
