package events

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// mostReasons and mostNotices are how many reasons of Warn and how many Notices of
// WarnOfAll are remembered of one object. What goes beyond that may be written again.
const (
	mostReasons = 32
	mostNotices = 1024
)

// Notices writes events about what is wrong with objects, and writes each once, although a
// controller may find the same mistake in every turn. It remembers a bounded amount of each
// object, and forgets it with the object.
type Notices struct {
	recorder recorder

	mu sync.Mutex
	// told is what Warn has written of each object, the latest reason last.
	told map[kcp.ObjectKey][]said
	// all is what WarnOfAll was given last for each object of which that was anything.
	all map[kcp.ObjectKey][]digest
	// spread is likewise for WarnOfSpread, and of how many each was told.
	spread map[kcp.ObjectKey]map[digest]int
}

// recorder writes events; a Recorder does.
type recorder interface {
	Warning(upstreamObj *unstructured.Unstructured, reason, message string)
	Normal(upstreamObj *unstructured.Unstructured, reason, message string)
}

// Notice is a reason, in CamelCase, and a message for people.
type Notice struct{ Reason, Message string }

// Spread is a Notice about several, such as clusters, which may become more.
type Spread struct {
	Notice

	// Identity is what it is remembered by, in place of its message, which may change.
	Identity string
	// Number is how many it is about.
	Number int
}

// digest stands for a text of any length.
type digest [16]byte

func digestOf(texts ...string) digest {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\x00")))
	return digest(sum[:16])
}

// said is what has been written for a reason.
type said struct{ reason, messages digest }

// NewNotices returns Notices that write through a Recorder.
func NewNotices(recorder recorder) *Notices {
	return &Notices{recorder: recorder, told: map[kcp.ObjectKey][]said{}, all: map[kcp.ObjectKey][]digest{}, spread: map[kcp.ObjectKey]map[digest]int{}}
}

// Warn records an event for each message that is not empty, unless the same messages were
// the last for the object and the reason. No message at all says that nothing is wrong any
// more.
func (n *Notices) Warn(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, reason string, messages ...string) {
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
func (n *Notices) WarnOfAll(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, found []Notice) {
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

// WarnOfSpread is WarnOfAll for what is about several: it records an event for each that was not there
// when it was called last for the object, and for each that is about twice as many as when it was told.
// isTold has it record nothing of an object of which it knows nothing, for somebody has told it before.
func (n *Notices) WarnOfSpread(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, found []Spread, isTold bool) {
	for _, news := range n.newsOf(key, found[:min(len(found), mostNotices)], isTold) {
		n.recorder.Warning(upstreamObj, news.Reason, news.Message)
	}
}

// newsOf returns what of it is to be told, and remembers all of it.
func (n *Notices) newsOf(key kcp.ObjectKey, found []Spread, isTold bool) []Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := n.spread[key]
	if len(found) == 0 {
		delete(n.spread, key)
		return nil
	}
	isTold = isTold && known == nil
	now := make(map[digest]int, len(found))
	var news []Notice
	for _, spread := range found {
		id := digestOf(spread.Reason, spread.Identity)
		number, isKnown := known[id]
		if isKnown && spread.Number < 2*number {
			now[id] = number
			continue
		}
		now[id] = spread.Number
		if !isTold {
			news = append(news, spread.Notice)
		}
	}
	n.spread[key] = now
	return news
}

// Tell records an event about what has been done about an object.
func (n *Notices) Tell(upstreamObj *unstructured.Unstructured, reason, message string) {
	n.recorder.Normal(upstreamObj, reason, message)
}

// Forget drops what is remembered of an object that is gone.
func (n *Notices) Forget(key kcp.ObjectKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.told, key)
	delete(n.all, key)
	delete(n.spread, key)
}

// isNews reports whether the messages are others than the last for the object and the
// reason, and remembers them.
func (n *Notices) isNews(key kcp.ObjectKey, reason string, messages []string) bool {
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
