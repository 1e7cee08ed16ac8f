package causes

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestSame(t *testing.T) {
	long := strings.Repeat("x", 300)
	cases := map[string]struct {
		reported, found protocol.Cause
		want            bool
	}{
		"equal":                    {protocol.Cause{Reason: "Evicted"}, protocol.Cause{Reason: "Evicted"}, true},
		"another reason":           {protocol.Cause{Reason: "Evicted"}, protocol.Cause{Reason: "OOMKilled"}, false},
		"another number of pods":   {protocol.Cause{Reason: "Evicted", Count: 1}, protocol.Cause{Reason: "Evicted", Count: 2}, false},
		"another amount of memory": {protocol.Cause{Reason: "Evicted", Message: "low on memory. 1"}, protocol.Cause{Reason: "Evicted", Message: "low: on 2"}, true},
		"other last words":         {protocol.Cause{Reason: "CrashLoopBackOff", Message: "container app, exit code 1: a"}, protocol.Cause{Reason: "CrashLoopBackOff", Message: "container app, exit code 1: b"}, true},
		"another exit code":        {protocol.Cause{Reason: "CrashLoopBackOff", Message: "container app, exit code 1: a"}, protocol.Cause{Reason: "CrashLoopBackOff", Message: "container app, exit code 2: a"}, false},
		"another container":        {protocol.Cause{Reason: "CrashLoopBackOff", Message: "container app, exit code 1"}, protocol.Cause{Reason: "CrashLoopBackOff", Message: "container web, exit code 1"}, false},
		"a registry that does not say it again": {
			protocol.Cause{Reason: "ImagePullBackOff", Message: "image i: not found"}, protocol.Cause{Reason: "ImagePullBackOff", Message: "image i"}, true,
		},
		"the same trouble with a registry": {
			protocol.Cause{Reason: "ImagePullBackOff", Message: "image i: dial tcp: lookup r on 10.0.0.10:53: no such host"}, protocol.Cause{Reason: "ImagePullBackOff", Message: "image i: i/o timeout"}, true,
		},
		"other trouble with a registry": {
			protocol.Cause{Reason: "ImagePullBackOff", Message: "image i: unauthorized"}, protocol.Cause{Reason: "ImagePullBackOff", Message: "image i: not found"}, false,
		},
		"another image": {protocol.Cause{Reason: "ImagePullBackOff", Message: "image i:1"}, protocol.Cause{Reason: "ImagePullBackOff", Message: "image i:2"}, false},
		"what is used of a quota": {
			protocol.Cause{Reason: "FailedCreate", Message: "exceeded quota: q, used: pods=2, limited: pods=3"}, protocol.Cause{Reason: "FailedCreate", Message: "exceeded quota: q, used: pods=13, limited: pods=3"}, true,
		},
		"another quota": {
			protocol.Cause{Reason: "FailedCreate", Message: "exceeded quota: q"}, protocol.Cause{Reason: "FailedCreate", Message: "exceeded quota: r"}, false,
		},
		"another key": {
			protocol.Cause{Reason: "CreateContainerConfigError", Message: "container app: couldn't find key a in ConfigMap s"}, protocol.Cause{Reason: "CreateContainerConfigError", Message: "container app: couldn't find key b in ConfigMap s"}, false,
		},
		"what was shortened": {
			protocol.Cause{Reason: "Unschedulable", Message: long[:40] + "…"}, protocol.Cause{Reason: "Unschedulable", Message: long}, true,
		},
		"what was shortened, and begins otherwise": {
			protocol.Cause{Reason: "Unschedulable", Message: "a" + long[:40] + "…"}, protocol.Cause{Reason: "Unschedulable", Message: long}, false,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, pair := range [][2]protocol.Cause{{c.reported, c.found}, {c.found, c.reported}} {
				if got := Same([]protocol.Cause{pair[0]}, []protocol.Cause{pair[1]}); got != c.want {
					t.Errorf("the same: %t", got)
				}
			}
		})
	}
	if Same(nil, []protocol.Cause{{Reason: "Evicted"}}) || !Same(nil, nil) {
		t.Error("nothing is not something")
	}
}

func TestKept(t *testing.T) {
	reported := []protocol.Cause{{Reason: "ImagePullBackOff", Count: 1, Message: "image i: not found"}, {Reason: "OOMKilled", Message: "container app"}}
	found := []protocol.Cause{{Reason: "ImagePullBackOff", Count: 2, Message: "image i"}, {Reason: "OOMKilled", Message: "container web"}, {Reason: "Evicted", Message: "low: on memory"}}
	want := []protocol.Cause{{Reason: "ImagePullBackOff", Count: 2, Message: "image i: not found"}, found[1], found[2]}
	if diff := cmp.Diff(want, Kept(reported, found)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if Kept(reported, nil) != nil {
		t.Error("causes that are no more are kept")
	}
}

// TestChurnSaysTheSame has pods go through what they go through while a cause stays.
func TestChurnSaysTheSame(t *testing.T) {
	crash := func(count, second string) *corev1.Pod {
		return app(t, `{name: app, ready: false, restartCount: `+count+`, image: i, imageID: "", state: {waiting: {reason: CrashLoopBackOff, message: "back-off `+count+`0s restarting failed container=app pod=x"}}, lastState: {terminated: {exitCode: 1, reason: Error, message: "at `+second+`", finishedAt: "2026-01-01T12:09:`+second+`Z"}}}`)
	}
	unschedulable := func(words string) *corev1.Pod {
		return pod(t, head+spec+`
status:
  conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "`+words+`"}]`)
	}
	rounds := map[string][]*corev1.Pod{
		"a crash loop": {
			crash("2", "10"), crash("3", "20"), another(crash("4", "30"), "other"),
			app(t, `{name: app, ready: false, restartCount: 5, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:58Z"}}, lastState: {terminated: {exitCode: 1, reason: Error, message: "x", finishedAt: "2026-01-01T12:09:01Z"}}}`),
			app(t, `{name: app, ready: false, restartCount: 5, image: i, imageID: "", state: {terminated: {exitCode: 1, reason: Error, message: "y", finishedAt: "2026-01-01T12:09:01Z"}}, lastState: {terminated: {exitCode: 1, reason: Error, message: "x", finishedAt: "2026-01-01T12:09:01Z"}}}`),
		},
		"an image": {
			app(t, `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ErrImagePull, message: 'rpc error: code = NotFound desc = x: not found'}}}`),
			app(t, `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image "registry.example.com/web:2"'}}}`),
			app(t, `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image "i": ErrImagePull: x: not found'}}}`),
		},
		"nodes that come and go": {
			unschedulable("0/5 nodes are available: 2 node(s) were unschedulable, 3 Insufficient cpu. preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."),
			unschedulable("0/12 nodes are available: 10 Insufficient cpu, 2 node(s) were unschedulable. preemption: 0/12 nodes are available: 12 No preemption victims found for incoming pod."),
		},
	}
	for name, pods := range rounds {
		t.Run(name, func(t *testing.T) {
			first := Of(web, nil, Evidence{Pods: pods[:1], HasWarnings: true, Now: now}).Causes
			if len(first) != 1 {
				t.Fatalf("causes %+v, want one", first)
			}
			for _, p := range pods[1:] {
				if now := Of(web, nil, Evidence{Pods: []*corev1.Pod{p}, HasWarnings: true, Now: now}).Causes; !Same(first, now) {
					t.Errorf("other causes (-before +after):\n%s", cmp.Diff(first, now))
				}
			}
		})
	}
}

func TestWordsAreBounded(t *testing.T) {
	long := "panic: the first\n" + strings.Repeat("line\x1b[31m ü\n", 400) + "\xff the last"
	p := app(t, `{name: app, ready: false, restartCount: 4, image: i, imageID: "", state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, reason: Error, finishedAt: "2026-01-01T12:09:01Z"}}}`)
	p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = long
	found := Of(web, nil, Evidence{Pods: []*corev1.Pod{StripPod(p)}, HasWarnings: true, Now: now}).Causes[0].Message
	if len(found) > maxMessage || !strings.Contains(found, "panic: the first") || !strings.HasSuffix(found, "the last") || strings.ContainsAny(found, "\x1b\n") || !utf8.ValidString(found) {
		t.Errorf("the words are %q", found)
	}
	p.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: "Any thing", Message: long}
	if c := Of(web, nil, Evidence{Pods: []*corev1.Pod{StripPod(p)}, HasWarnings: true, Now: now}).Causes[0]; c.Reason != "Other" || len(c.Message) > maxMessage+3 {
		t.Errorf("the cause is %+v", c)
	}
}

func TestStripPod(t *testing.T) {
	p := pod(t, head+spec+"status: {phase: Pending, podIP: 10.0.0.1, conditions: [{type: Ready, status: \"False\"}, {type: Initialized, status: \"True\"}]}")
	if p.Annotations != nil || p.Spec.Containers[0].Env != nil || p.Status.PodIP != "" || len(p.Status.Conditions) != 1 || len(p.Labels) != 1 || p.Spec.Containers[0].Resources.Limits.Cpu().Sign() != 0 {
		t.Errorf("what nobody reads is kept: %+v", p)
	}
}

func TestTimesOfEvents(t *testing.T) {
	modern := &corev1.Event{EventTime: metav1.NewMicroTime(now)}
	if !lastOf(modern).Equal(now) || !firstOf(modern).Equal(now) {
		t.Error("the time of a modern event is not read")
	}
	modern.Series = &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(now.Add(time.Minute))}
	if !lastOf(modern).Equal(now.Add(time.Minute)) {
		t.Error("the time of a series is not read")
	}
	if bare := (&corev1.Event{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}); !lastOf(bare).Equal(now) || !firstOf(bare).Equal(now) {
		t.Error("the time of an event without times is not that of its creation")
	}
}
