package causes

import (
	"cmp"
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Subject is a copy that is not as ready as it should be. Two of them are equal when they ask the same.
type Subject struct {
	// Namespace, Name and UID are the copy's.
	Namespace, Name string
	UID             types.UID
	// Selector is the label selector of its pods, empty when it has none.
	Selector string
	// PodsBy says whose its pods are: a selector may find others as well.
	PodsBy kinds.PodsBy
	// Wanted is how many pods there are to be at least; 0 when that is not known.
	Wanted int64
	// IsClaim is set for a claim of a volume.
	IsClaim bool
	// SaysFailedCreate is set where the copy's own conditions say that pods cannot be made: its events need not be asked.
	SaysFailedCreate bool
	// Ended is set when nothing more will come of it: it need not be watched.
	Ended bool
	// Settling is how long to leave it alone at first.
	Settling time.Duration
}

// Evidence is what is known of a subject.
type Evidence struct {
	// Pods are those that its selector finds, stripped (StripPod).
	Pods []*corev1.Pod
	// Warnings are the namespace's events of type Warning, and Claims those about claims of volumes, stripped (StripEvent).
	Warnings, Claims []*corev1.Event
	// HasWarnings and HasClaims say that these were read; without, they are empty.
	HasWarnings, HasClaims bool
	// IsDenied is set where the cluster does not let events be read.
	IsDenied bool
	// Now is the time.
	Now time.Time
}

// Answer is what is found.
type Answer struct {
	// Causes are the worst ones, the worst first, bounded as a report has them.
	Causes []protocol.Cause
	// NeedsWarnings and NeedsClaims say that the pods' statuses leave something open which such events may explain.
	NeedsWarnings, NeedsClaims bool
	// IsOpen is set when such events were not read: there may be more causes.
	IsOpen bool
	// Again is after how long the answer may be another one without news; 0 for never.
	Again time.Duration
}

// Own is what the copy's own conditions say: causes that are not about pods. Those of a copy that has ended stand after what its
// pods say.
type Own []protocol.Cause

// maxMessage is how long one message may be, in bytes: one leaves room for another.
const maxMessage = 380

// mostGroups is how many causes are told apart: four of them are reported.
const mostGroups = 32

// finding is one cause, as it is known before it is put into words.
type finding struct {
	reason string
	// head is what it is about: a container and its exit code, an image, a volume. Empty for nothing else than the pod.
	head string
	// words are what somebody says of it.
	words string
	// at is when; of several, the latest words count.
	at time.Time
	// isPast is set for what is left of an earlier time, such as a pod that was evicted.
	isPast bool
	pods   int64
}

// message is the text of a finding.
func (f finding) message() string {
	switch {
	case f.head == "":
		return text.Shorten(f.words, maxMessage)
	case f.words == "":
		return f.head
	default:
		return text.Shorten(f.head+separator+f.words, maxMessage)
	}
}

// separator stands between what a cause is about and the words of others; no head has it.
const separator = ": "

func (f finding) cause() protocol.Cause {
	return protocol.Cause{Reason: f.reason, Count: f.pods, Message: f.message()}
}

// examination is one answer in the making.
type examination struct {
	Evidence

	subject  Subject
	answer   Answer
	warnings map[types.UID][]*corev1.Event
}

// Of says why the subject is not as ready as it should be.
func Of(subject Subject, own Own, evidence Evidence) Answer {
	x := &examination{Evidence: evidence, subject: subject, warnings: map[types.UID][]*corev1.Event{}}
	for _, event := range evidence.Warnings {
		x.warnings[event.InvolvedObject.UID] = append(x.warnings[event.InvolvedObject.UID], event)
	}
	var found []finding
	for _, c := range own {
		found = append(found, finding{reason: c.Reason, words: c.Message, isPast: subject.Ended})
	}
	living := int64(0)
	for _, pod := range evidence.Pods {
		if !subject.has(pod) {
			continue
		}
		if isLiving(pod) {
			living++
		}
		if f, isFault := x.pod(pod); isFault {
			f.pods = 1
			found = append(found, f)
		}
	}
	found = append(found, x.ofCopy(living)...)
	x.answer.IsOpen = !x.IsDenied && (x.answer.NeedsWarnings && !x.HasWarnings || x.answer.NeedsClaims && !x.HasClaims)
	x.answer.Causes = worst(grouped(found))
	return x.answer
}

// isLiving reports whether a pod is one that its controller counts.
func isLiving(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded
}

// after notes that the answer may be another one then, and reports whether that is yet to come.
func (x *examination) after(t time.Time) (isYet bool) {
	wait := t.Sub(x.Now)
	if wait <= 0 {
		return false
	}
	if x.answer.Again == 0 || wait < x.answer.Again {
		x.answer.Again = wait
	}
	return true
}

// grouped puts the findings together that have the same cause. Of their words, the latest count. Those without words come last:
// a kubelet that waits may not say any more what the registry has said.
func grouped(found []finding) []finding {
	slices.SortStableFunc(found, func(a, b finding) int {
		return cmp.Or(compareBools(a.words == "", b.words == ""), b.at.Compare(a.at))
	})
	var groups []finding
	for _, f := range found {
		at := slices.IndexFunc(groups, func(g finding) bool { return isSame(g.cause(), f.cause()) })
		if at < 0 {
			groups = append(groups, f)
			if len(groups) == mostGroups {
				break
			}
			continue
		}
		groups[at].pods += f.pods
		groups[at].isPast = groups[at].isPast && f.isPast
	}
	return groups
}

// worst returns the causes in their order: what is so now before what is past, what keeps all pods from being made first, then by
// the number of pods.
func worst(found []finding) []protocol.Cause {
	pods := func(f finding) int64 {
		if f.pods == 0 {
			return math.MaxInt64
		}
		return f.pods
	}
	slices.SortFunc(found, func(a, b finding) int {
		return cmp.Or(compareBools(a.isPast, b.isPast), cmp.Compare(pods(b), pods(a)), cmp.Compare(a.reason, b.reason), cmp.Compare(a.message(), b.message()))
	})
	if len(found) == 0 {
		return nil
	}
	causes := make([]protocol.Cause, 0, len(found))
	for _, f := range found {
		causes = append(causes, f.cause())
	}
	return protocol.BoundedCauses(causes)
}

// compareBools has false come first.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
