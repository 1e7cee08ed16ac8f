package aggregator

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/events"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// recorded are events.
type recorded []string

func (r *recorded) Warning(_ *unstructured.Unstructured, reason, message string) {
	*r = append(*r, reason+" "+message)
}
func (r *recorded) Normal(*unstructured.Unstructured, string, string) {}

// take returns what has been recorded since it was called last.
func (r *recorded) take() []string {
	taken := *r
	*r = nil
	return taken
}

// hindrance is a workload on clusters that give causes, and the hub that tells of them.
type hindrance struct {
	*testing.T

	f      *fakeHub
	key    kcp.ObjectKey
	a      *Aggregator
	events recorded
	now    time.Time
}

func newHindrance(t *testing.T, clusters ...string) *hindrance {
	t.Helper()
	h := &hindrance{T: t, f: newFakeHub(), now: began}
	h.key = h.f.add("ws", deployments, "Deployment", "web", on(clusters...))
	h.restart()
	return h
}

// restart has another hub take over, which remembers nothing.
func (h *hindrance) restart() {
	h.a = h.f.aggregator()
	h.a.now = func() time.Time { return h.now }
	h.a.config.Notices = events.NewNotices(&h.events)
}

// report has a cluster report so many replicas of three, and causes.
func (h *hindrance) report(cluster string, has int64, causes ...protocol.Cause) {
	h.Helper()
	report := available(cluster, has, began)
	report.Replicas, report.Causes = new(int64(3)), causes
	reported(h.T, report)(h.f.objects[h.key])
}

// sync merges, keeps what is written, and returns how many writes that was and when to merge again.
func (h *hindrance) sync() (writes int, again time.Duration) {
	h.Helper()
	h.f.written = nil
	again, err := h.a.sync(h.Context(), h.key)
	if err != nil {
		h.Fatal(err)
	}
	for _, written := range h.f.written {
		h.f.objects[h.key].Object["status"] = stored(h.T, written)
	}
	return len(h.f.written), again
}

func (h *hindrance) wants(what string, want ...string) {
	h.Helper()
	if diff := cmp.Diff(want, h.events.take()); diff != "" {
		h.Errorf("%s: events (-want +got):\n%s", what, diff)
	}
}

var (
	pulls   = protocol.Cause{Reason: "ImagePullBackOff", Count: 2, Message: "not found"}
	crashes = protocol.Cause{Reason: "CrashLoopBackOff", Count: 1, Message: "exit code 3"}
)

func counted(c protocol.Cause, count int64) protocol.Cause {
	c.Count = count
	return c
}

func TestCausesBecomeEvents(t *testing.T) {
	h := newHindrance(t, "east", "west")
	h.report("east", 1, pulls)
	h.report("west", 3)
	h.sync()
	h.wants("one cluster", "ImagePullBackOff east: 2 of 3 pods: ImagePullBackOff: not found")
	h.report("east", 0, counted(pulls, 3))
	h.sync()
	h.wants("another number of pods")
	h.report("east", 0, counted(pulls, 2), crashes)
	h.sync()
	h.wants("another cause beside it", "CrashLoopBackOff east: 1 of 3 pods: CrashLoopBackOff: exit code 3")
	h.report("west", 1, pulls)
	h.sync()
	h.wants("the same on another cluster", "ImagePullBackOff east, west: 4 of 6 pods: ImagePullBackOff: not found")
	h.report("east", 3)
	h.sync()
	h.wants("one of them is well")
	h.report("west", 3)
	h.sync()
	h.wants("all are well")
	h.report("west", 1, pulls)
	h.sync()
	h.wants("it is back", "ImagePullBackOff west: 2 of 3 pods: ImagePullBackOff: not found")
	h.f.silent = map[string]string{"west": "silent since noon"}
	h.sync()
	h.wants("nobody knows what a silent cluster runs")
}

func TestCausesOfAFleetBecomeFewEvents(t *testing.T) {
	var clusters []string
	for i := range 250 {
		clusters = append(clusters, fmt.Sprintf("c%03d", i))
	}
	t.Run("the same at once", func(t *testing.T) {
		h := newHindrance(t, clusters...)
		for _, cluster := range clusters {
			h.report(cluster, 1, pulls)
		}
		h.sync()
		h.wants("250 clusters", "ImagePullBackOff c000, c001, c002 and 247 more: 500 of 750 pods: ImagePullBackOff: not found")
	})
	t.Run("the same one after the other", func(t *testing.T) {
		h := newHindrance(t, clusters...)
		for _, cluster := range clusters {
			h.report(cluster, 1, pulls)
			h.sync()
		}
		if told := h.events.take(); len(told) != 8 { // 1, 2, 4, … 128
			t.Errorf("%d events: %q", len(told), told)
		}
	})
	t.Run("each its own", func(t *testing.T) {
		h := newHindrance(t, clusters...)
		for i, cluster := range clusters {
			h.report(cluster, 1, protocol.Cause{Reason: "Unschedulable", Count: 1, Message: fmt.Sprintf("0/%d nodes are available", i)})
		}
		h.sync()
		if told := h.events.take(); len(told) != mostCauses {
			t.Errorf("%d events: %q", len(told), told)
		}
	})
}

// TestCausesAreNotToldAgainByTheNextHub has the status say what has been told.
func TestCausesAreNotToldAgainByTheNextHub(t *testing.T) {
	h := newHindrance(t, "east")
	h.report("east", 1, pulls)
	h.sync()
	h.wants("news", "ImagePullBackOff east: 2 of 3 pods: ImagePullBackOff: not found")
	h.restart()
	if writes, _ := h.sync(); writes != 0 {
		t.Errorf("a restart writes: %q", h.f.written)
	}
	h.wants("the status says it")
	h.report("east", 1, crashes)
	h.sync()
	h.wants("news after the restart", "CrashLoopBackOff east: 1 of 3 pods: CrashLoopBackOff: exit code 3")
	h.restart()
	h.report("east", 1, pulls)
	h.sync()
	h.wants("news while no hub ran", "ImagePullBackOff east: 2 of 3 pods: ImagePullBackOff: not found")
}

// TestStatusIsNotWrittenForNumbersOfCauses counts writes of the status.
func TestStatusIsNotWrittenForNumbersOfCauses(t *testing.T) {
	h := newHindrance(t, "east", "west")
	step := func(what string, writes int, again time.Duration) {
		t.Helper()
		if w, a := h.sync(); w != writes || a != again {
			t.Errorf("%s: %d writes, again after %s; want %d, %s: %q", what, w, a, writes, again, h.f.written)
		}
	}
	h.report("west", 3)
	h.report("east", 1, counted(pulls, 1))
	step("news", 1, 0)
	step("nothing new", 0, 0)
	h.now = h.now.Add(10 * time.Second)
	h.report("east", 1, counted(pulls, 2))
	step("a number alone", 0, 20*time.Second)
	h.report("east", 1, counted(pulls, 1))
	step("the number of before", 0, 0)
	h.report("east", 0, counted(pulls, 3))
	step("with a counter", 1, 0)
	h.report("east", 0, counted(pulls, 2))
	step("a number alone, again", 0, numbersGrace)
	h.now = h.now.Add(numbersGrace)
	step("after a while", 1, 0)
	h.report("east", 0, counted(pulls, 2), crashes)
	step("another cause", 1, 0)
	h.now = h.now.Add(time.Hour)
	h.report("east", 0, counted(pulls, 1), crashes)
	step("a number alone after a long while", 1, 0)
	h.report("east", 0, counted(pulls, 2), crashes)
	h.restart()
	step("a number alone, for a hub that knows nothing", 1, 0)
	h.report("east", 0)
	step("no cause is left", 1, 0)
	if len(h.a.spoken.byKey) > 0 {
		t.Errorf("what runs is remembered: %v", h.a.spoken.byKey)
	}
	h.report("east", 0, pulls)
	step("it is back", 1, 0)
	delete(h.f.objects, h.key)
	if step("it is gone", 0, 0); len(h.a.spoken.byKey) > 0 {
		t.Errorf("what is gone is remembered: %v", h.a.spoken.byKey)
	}
}
