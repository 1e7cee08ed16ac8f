package kcp

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// mostReasons and mostNotices are how much is remembered of what has been said of one
// object: reasons, and things that others have found wrong. Whoever finds more, all the
// time something else, is told of again; he cannot have more remembered.
const (
	mostReasons = 32
	mostNotices = 1024
)

// Notices tells users of what is wrong with their objects, in events, and of each
// thing once: a controller may find the same mistake in every turn. What it remembers of an
// object is bounded, whatever is said of it, and goes with the object.
type Notices struct {
	recorder warner

	mu sync.Mutex
	// told holds what has been said of each object, the last reason last.
	told map[ObjectKey][]said
	// all holds what WarnOfAll was given last for each object that has anything.
	all map[ObjectKey][]digest
}

// warner writes events.
type warner interface {
	Warning(upstreamObj *unstructured.Unstructured, reason, message string)
	Normal(upstreamObj *unstructured.Unstructured, reason, message string)
}

// Notice is a reason, in CamelCase, and a message for people.
type Notice struct{ Reason, Message string }

// digest stands for a text of any length.
type digest [16]byte

func digestOf(texts ...string) digest {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\x00")))
	return digest(sum[:16])
}

// said is what has been said for a reason.
type said struct{ reason, messages digest }

// NewNotices returns Notices that write through recorder.
func NewNotices(recorder *Recorder) *Notices { return newNotices(recorder) }

func newNotices(recorder warner) *Notices {
	return &Notices{recorder: recorder, told: map[ObjectKey][]said{}, all: map[ObjectKey][]digest{}}
}

// Warn records an event for each message that is not empty, unless the same
// messages were the last for the object and the reason. None at all says that what
// was wrong is so no more.
func (n *Notices) Warn(key ObjectKey, upstreamObj *unstructured.Unstructured, reason string, messages ...string) {
	messages = slices.DeleteFunc(slices.Clone(messages), func(message string) bool { return message == "" })
	if !n.isNews(key, reason, messages) {
		return
	}
	for _, message := range messages {
		n.recorder.Warning(upstreamObj, reason, message)
	}
}

// WarnOfAll takes all that others have found wrong with an object, and records an event
// for each that they had not when it was called last for the object.
func (n *Notices) WarnOfAll(key ObjectKey, upstreamObj *unstructured.Unstructured, found []Notice) {
	found = found[:min(len(found), mostNotices)]
	digests := make([]digest, 0, len(found))
	for _, notice := range found {
		digests = append(digests, digestOf(notice.Reason, notice.Message))
	}
	n.mu.Lock()
	known := n.all[key]
	if len(found) == 0 {
		delete(n.all, key)
	} else {
		n.all[key] = digests
	}
	n.mu.Unlock()
	for i, notice := range found {
		if !slices.Contains(known, digests[i]) {
			n.recorder.Warning(upstreamObj, notice.Reason, notice.Message)
		}
	}
}

// Tell records an event about what has been done about an object.
func (n *Notices) Tell(upstreamObj *unstructured.Unstructured, reason, message string) {
	n.recorder.Normal(upstreamObj, reason, message)
}

// Forget drops what has been said of an object that is gone.
func (n *Notices) Forget(key ObjectKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.told, key)
	delete(n.all, key)
}

// isNews reports whether something else was said last of the object for the reason, and
// remembers this. When nothing is wrong any more there is nothing to remember.
func (n *Notices) isNews(key ObjectKey, reason string, messages []string) bool {
	now := said{digestOf(reason), digestOf(messages...)}
	n.mu.Lock()
	defer n.mu.Unlock()
	told := n.told[key]
	before := slices.IndexFunc(told, func(s said) bool { return s.reason == now.reason })
	switch {
	case before >= 0 && told[before] == now, before < 0 && len(messages) == 0:
		return false
	case before >= 0:
		told = slices.Delete(told, before, before+1)
	case len(told) >= mostReasons:
		told = slices.Delete(told, 0, 1)
	}
	if len(messages) > 0 {
		told = append(told, now)
	}
	if len(told) == 0 {
		delete(n.told, key)
		return false
	}
	n.told[key] = told
	return true
}
