package kcp

import (
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Notices tells users of what is wrong with their objects, in events, and of each
// thing once: a controller may find the same mistake in every turn.
type Notices struct {
	recorder *Recorder

	mu sync.Mutex
	// told holds what has been said of each object, by reason.
	told map[ObjectKey]map[string]string
	// all holds what WarnOfAll was given last for each object that has anything.
	all map[ObjectKey][]Notice
}

// Notice is a reason, in CamelCase, and a message for people.
type Notice struct{ Reason, Message string }

// NewNotices returns Notices that write through recorder.
func NewNotices(recorder *Recorder) *Notices {
	return &Notices{recorder: recorder, told: map[ObjectKey]map[string]string{}, all: map[ObjectKey][]Notice{}}
}

// Warn records an event for each message that is not empty, unless the same
// messages were the last for the object and the reason. None at all says that what
// was wrong is so no more.
func (n *Notices) Warn(key ObjectKey, upstreamObj *unstructured.Unstructured, reason string, messages ...string) {
	if !n.isNews(key, reason, strings.Join(messages, "\n")) {
		return
	}
	for _, message := range messages {
		if message != "" {
			n.recorder.Warning(upstreamObj, reason, message)
		}
	}
}

// WarnOfAll takes all that others have found wrong with an object, and records an event
// for each that they had not when it was called last for the object.
func (n *Notices) WarnOfAll(key ObjectKey, upstreamObj *unstructured.Unstructured, found []Notice) {
	n.mu.Lock()
	known := n.all[key]
	if len(found) == 0 {
		delete(n.all, key)
	} else {
		n.all[key] = found
	}
	n.mu.Unlock()
	for _, notice := range found {
		if !slices.Contains(known, notice) {
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

func (n *Notices) isNews(key ObjectKey, reason, said string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told[key][reason] == said {
		return false
	}
	if n.told[key] == nil {
		n.told[key] = map[string]string{}
	}
	n.told[key][reason] = said
	return true
}
