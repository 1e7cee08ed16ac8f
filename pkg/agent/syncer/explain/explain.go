package explain

import (
	"context"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/causes"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const (
	// MaxWatched is how many copies have their pods watched at the same time: those that came last. The others are looked at in
	// turns.
	MaxWatched = 64
	// pollInterval is how often to look at one of those at most, and pollPause how much longer that is for each of them.
	pollInterval = 10 * time.Second
	pollPause    = 250 * time.Millisecond
	// readInterval is how soon to see whether a watch has read what there is, slowInterval the same once that takes longer than
	// patience, which is also how long to wait for events before what the pods say has to do.
	readInterval = 50 * time.Millisecond
	slowInterval = time.Second
	patience     = 2 * time.Second
	// lookInterval is the least time between two looks at what is known of a copy: pods come and go by the hundred.
	lookInterval = 200 * time.Millisecond
	// deniedInterval is how long to go without what the cluster does not let be read.
	deniedInterval = 5 * time.Minute
	// workers is how many copies are looked at in parallel.
	workers = 2
)

// Question is a copy that is to be asked about.
type Question struct {
	// Subject is what is asked, Own what the copy's own conditions say.
	Subject causes.Subject
	Own     causes.Own
}

// Explainer finds out why copies are not as ready as they should be.
type Explainer struct {
	client   kubernetes.Interface
	onChange func(kcp.ObjectKey)
	now      func() time.Time
	limit    int
	turns    *controller.Controller[kcp.ObjectKey]

	mu sync.Mutex
	// watching is the context of all watches; nil before Run and after it.
	watching context.Context //nolint:containedctx // watches begin when a copy is asked about, and end with Run at the latest
	running  sync.WaitGroup
	asked    map[kcp.ObjectKey]*asked
	feeds    map[feedKey]*feed
	// order counts the watches that were begun.
	order int
	// deniedUntil is until when the cluster is not asked for a resource again, by its name, and isTold what the log has told of.
	deniedUntil map[string]time.Time
	isTold      map[string]bool
}

// asked is a copy that is being asked about.
type asked struct {
	Question

	// since is when it was first asked about, or began to be about other pods.
	since time.Time
	// isWatched is set while what is said of it is watched, since when, and order says who has been so for longest. pods is the
	// watch of its pods, nil when it has none.
	isWatched    bool
	watchedSince time.Time
	order        int
	pods         *watched
	// seen is when what is watched was last looked at.
	seen time.Time
	// isLookedAt is set for one that has given its watch to another.
	isLookedAt bool
	// found is the last answer, if isKnown.
	found   []protocol.Cause
	isKnown bool
}

// New returns an Explainer that asks nothing yet. onChange hears of copies of which another thing is found than before; it must
// not block.
func New(client kubernetes.Interface, onChange func(kcp.ObjectKey)) *Explainer {
	x := &Explainer{
		client: client, onChange: onChange, now: time.Now, limit: MaxWatched,
		asked: map[kcp.ObjectKey]*asked{}, feeds: map[feedKey]*feed{},
		deniedUntil: map[string]time.Time{}, isTold: map[string]bool{},
	}
	x.turns = controller.New("why", x.turn)
	return x
}

// Run finds out what it is asked until ctx ends, and returns when every watch has ended.
func (x *Explainer) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	x.mu.Lock()
	x.watching = ctx
	for key := range x.asked {
		x.turns.Enqueue(key)
	}
	x.mu.Unlock()
	x.turns.Run(ctx, workers)
	cancel()
	x.mu.Lock()
	x.watching = nil
	x.mu.Unlock()
	x.running.Wait()
}

// Explain asks about a copy until Forget is called, and returns what is known by now, the worst cause first. isKnown is false until
// there is an answer; onChange hears of the first one and of each other one.
func (x *Explainer) Explain(key kcp.ObjectKey, question Question) (found []protocol.Cause, isKnown bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	a := x.asked[key]
	isOver := question.Subject.Ended && question.Subject.Selector == "" && len(question.Own) == 0
	switch {
	case isOver && a == nil:
		return nil, true
	case isOver:
		x.unwatch(key, a) // there is nothing left to ask: the last answer stays
	case a != nil && a.Subject.UID != question.Subject.UID:
		x.forget(key)
		fallthrough
	case a == nil:
		a = &asked{Question: question, since: x.now()}
		x.asked[key] = a
		x.turns.Enqueue(key)
	case !reflect.DeepEqual(a.Question, question):
		if a.Subject.Selector != question.Subject.Selector {
			x.unwatch(key, a)
			a.since = x.now()
		}
		a.Question = question
		x.turns.Enqueue(key)
	}
	return a.found, a.isKnown
}

// IsAsked reports whether a copy is being asked about.
func (x *Explainer) IsAsked(key kcp.ObjectKey) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asked[key] != nil
}

// Forget asks no more about a copy: it is ready, or gone.
func (x *Explainer) Forget(key kcp.ObjectKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget(key)
}

func (x *Explainer) forget(key kcp.ObjectKey) {
	a := x.asked[key]
	if a == nil {
		return
	}
	x.unwatch(key, a)
	delete(x.asked, key)
}

// turn looks at one copy.
func (x *Explainer) turn(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	x.mu.Lock()
	a := x.asked[key]
	if a == nil {
		x.mu.Unlock()
		return 0, nil
	}
	if wait := a.Subject.Settling - x.now().Sub(a.since); wait > 0 {
		x.mu.Unlock()
		return wait, nil
	}
	if x.watches(key, a) { //nolint:contextcheck // watches outlive the turn: they end with Run
		defer x.mu.Unlock()
		return x.turnWatched(key, a), nil //nolint:contextcheck // likewise
	}
	question := a.Question
	x.mu.Unlock()
	answer, err := x.look(ctx, question)
	if err != nil {
		return 0, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.asked[key] == a {
		x.publish(key, a, answer.Causes)
	}
	if a.Subject.Ended {
		return 0, nil
	}
	return x.pollAfter(), nil
}

// pollAfter is after how long to look again at a copy that is not watched.
func (x *Explainer) pollAfter() time.Duration {
	others := len(x.asked) - x.watched()
	return max(pollInterval, time.Duration(others)*pollPause)
}

// turnWatched looks at a copy whose pods are watched.
func (x *Explainer) turnWatched(key kcp.ObjectKey, a *asked) time.Duration {
	evidence := causes.Evidence{Now: x.now(), IsDenied: x.isDenied(events)}
	if wait := lookInterval - evidence.Now.Sub(a.seen); wait > 0 {
		return wait
	}
	awaiting := readInterval
	if evidence.Now.Sub(a.watchedSince) > patience {
		awaiting = slowInterval
	}
	if a.pods != nil {
		if !a.pods.hasRead() {
			return awaiting
		}
		evidence.Pods = podsBy(a.pods)
	}
	a.seen = evidence.Now
	warnings, claims := x.feeds[feedKey{a.Subject.Namespace, warningFeed}], x.feeds[feedKey{a.Subject.Namespace, claimFeed}]
	evidence.Warnings, evidence.HasWarnings = warnings.events()
	evidence.Claims, evidence.HasClaims = claims.events()
	answer := causes.Of(a.Subject, a.Own, evidence)
	x.joinFeeds(key, a.Subject.Namespace, answer)
	if answer.IsOpen && evidence.Now.Sub(a.watchedSince) <= patience {
		a.seen = time.Time{}
		return awaiting
	}
	x.publish(key, a, answer.Causes)
	again := answer.Again
	if answer.IsOpen {
		again = controller.Sooner(again, slowInterval)
	}
	if evidence.IsDenied && (answer.NeedsWarnings || answer.NeedsClaims) {
		again = controller.Sooner(again, deniedInterval)
	}
	return again
}

// publish notes an answer, and tells of it when it is another one.
func (x *Explainer) publish(key kcp.ObjectKey, a *asked, found []protocol.Cause) {
	isNews := !a.isKnown || !causes.Same(a.found, found)
	a.found, a.isKnown = causes.Kept(a.found, found), true
	if isNews {
		x.onChange(key)
	}
}

// look asks the cluster once. Where it denies that, the copy's own conditions have to do.
func (x *Explainer) look(ctx context.Context, q Question) (causes.Answer, error) {
	x.mu.Lock()
	deniesPods, deniesEvents := x.isDenied(pods), x.isDenied(events)
	x.mu.Unlock()
	evidence := causes.Evidence{Now: x.now(), IsDenied: deniesEvents}
	if q.Subject.Selector != "" && !deniesPods {
		found, err := x.listPods(ctx, q.Subject)
		if err != nil && !x.deny(ctx, pods, err) {
			return causes.Answer{}, err
		}
		evidence.Pods = found
	}
	answer := causes.Of(q.Subject, q.Own, evidence)
	if !answer.IsOpen {
		return answer, nil
	}
	if err := x.readEvents(ctx, q.Subject.Namespace, answer, &evidence); err != nil && !x.deny(ctx, events, err) {
		return causes.Answer{}, err
	}
	return causes.Of(q.Subject, q.Own, evidence), nil
}

// readEvents asks the cluster once for the events that an answer needs.
func (x *Explainer) readEvents(ctx context.Context, namespace string, answer causes.Answer, evidence *causes.Evidence) (err error) {
	evidence.HasWarnings, evidence.HasClaims = answer.NeedsWarnings, answer.NeedsClaims
	if answer.NeedsWarnings {
		evidence.Warnings, err = x.listEvents(ctx, namespace, warningFeed)
	}
	if answer.NeedsClaims && err == nil {
		evidence.Claims, err = x.listEvents(ctx, namespace, claimFeed)
	}
	return err
}

// isDenied reports whether the cluster has said lately that a resource may not be read.
func (x *Explainer) isDenied(resource string) bool { return x.now().Before(x.deniedUntil[resource]) }

// deny takes note that the cluster does not let a resource be read, if the error says that, and reports whether it does. The log
// is told once.
func (x *Explainer) deny(ctx context.Context, resource string, err error) bool {
	if !apierrors.IsForbidden(err) {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.deniedUntil[resource] = x.now().Add(deniedInterval)
	if !x.isTold[resource] {
		x.isTold[resource] = true
		klog.FromContext(ctx).Info("The cluster does not let the syncer read what says why copies are not ready; reports say what the copies' own statuses do. Apply the manifest of a new join to grant it", "resource", resource, "reason", err.Error())
	}
	return true
}
