package refusals

import (
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const (
	// firstRetry is after how long a refused write is tried again at first, lastRetry at last.
	firstRetry = 5 * time.Second
	lastRetry  = 2 * time.Minute
	// triesUntilTold is the try from which users are told of a write that is forbidden: while kcp starts, or a workspace has just
	// bound, it forbids for a moment what it then lets pass. It comes 15 s after the first.
	triesUntilTold = 3
	// mostMessage is how many bytes of what kcp says are told.
	mostMessage = 512
)

// Refusals are those of one kind of write, by object. The zero value is not usable: see New.
type Refusals struct {
	// what says, for people, what is written.
	what string
	// now is the clock; onChange hears of objects whose Problem has changed.
	now      func() time.Time
	onChange func(kcp.ObjectKey)

	mu    sync.Mutex
	byKey map[kcp.ObjectKey]refusal
}

// refusal is what is known of one object.
type refusal struct {
	tries   int
	due     time.Time
	problem protocol.Problem
}

// isTold reports whether users are told.
func (r refusal) isTold() bool { return r.problem.Reason != "" }

// New returns Refusals of what is written, in words for people. OnChange hears of objects whose Problem has come, gone or changed; it
// may be nil.
func New(what string, now func() time.Time, onChange func(kcp.ObjectKey)) *Refusals {
	return &Refusals{what: what, now: now, onChange: onChange, byKey: map[kcp.ObjectKey]refusal{}}
}

// Wait returns how long not to write to an object, 0 for no longer.
func (r *Refusals) Wait(key kcp.ObjectKey) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.byKey[key].due.Sub(r.now()), 0)
}

// Refused takes note of a refusal, and returns after how long to try again.
func (r *Refusals) Refused(key kcp.ObjectKey, err error) time.Duration {
	r.mu.Lock()
	entry := r.byKey[key]
	before := entry.problem
	wait := min(firstRetry<<min(entry.tries, 10), lastRetry)
	entry.tries++
	entry.due = r.now().Add(wait)
	if !apierrors.IsForbidden(err) || entry.tries >= triesUntilTold || entry.isTold() {
		entry.problem = protocol.Problem{Reason: protocol.ReasonWriteRefused, Message: r.message(err)}
	}
	r.byKey[key] = entry
	r.mu.Unlock()
	r.tell(key, before != entry.problem)
	return wait
}

// message says what is refused, and what helps.
func (r *Refusals) message(err error) string {
	said := fmt.Sprintf("kcp refuses %s: %s", r.what, text.Shorten(err.Error(), mostMessage))
	if strings.Contains(said, "metadata.annotations: Too long") {
		said += "; shorten the annotations of the object (kubectl apply keeps the whole manifest in one: apply it with --server-side)"
	}
	return said
}

// Written takes note that an object has been written, or needs no write any more.
func (r *Refusals) Written(key kcp.ObjectKey) {
	r.mu.Lock()
	entry, known := r.byKey[key]
	delete(r.byKey, key)
	r.mu.Unlock()
	r.tell(key, known && entry.isTold())
}

// Changed takes note that an object has changed: it may be written to at once.
func (r *Refusals) Changed(key kcp.ObjectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if entry, known := r.byKey[key]; known {
		entry.due = time.Time{}
		r.byKey[key] = entry
	}
}

// IsEmpty reports whether no write is refused. It is so of nil.
func (r *Refusals) IsEmpty() bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byKey) == 0
}

// Problem returns what to tell of an object, and whether there is anything. Of nil there is nothing.
func (r *Refusals) Problem(key kcp.ObjectKey) (problem protocol.Problem, isRefused bool) {
	if r == nil {
		return protocol.Problem{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := r.byKey[key]
	return entry.problem, entry.isTold()
}

func (r *Refusals) tell(key kcp.ObjectKey, isNews bool) {
	if isNews && r.onChange != nil {
		r.onChange(key)
	}
}
