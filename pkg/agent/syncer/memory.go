package syncer

import (
	"maps"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// memory is what the loops remember of a key between turns. All of it can be lost: it saves work and carries problems from one
// loop to the other.
type memory struct {
	// evaluation is the last one of the key; the status loop uses that of the spec loop.
	evaluation *evaluate.Evaluation
	// seen is set once the spec loop has had a turn: before that there is nothing to report, and a restart would report that a
	// problem has gone.
	seen bool
	// problems are those of the last turn of the spec loop.
	problems []protocol.Problem
	// ineffective is the last apply that changed nothing, or would change nothing as one was made since.
	ineffective evaluate.Apply
	// applied is the hash of the last apply that the cluster took, and contest is about those that had to be repeated.
	applied string
	contest *evaluate.Contest
	// notes are what was put right a moment ago, and are told until then.
	notes      []protocol.Problem
	notesUntil time.Time
	// refusedHash names the copy that the cluster refused last, and refusedFor is how long it is left alone after that.
	refusedHash string
	refusedFor  time.Duration
	// retry is the user's last wish for another try (v1alpha1.RetryAnnotation).
	retry string
	// attempted is the last attempt to take away what was in the way of an apply, when that did not help.
	attempted attempt
	// inTheWay is set while an object that is not ours has the name of the copy.
	inTheWay bool
	// obstacle is the UID of the last object that was in the way, which the log has told of.
	obstacle types.UID
	// written is the copy as the last update has made it.
	written version
	// final is a Job's copy as it was last seen before it was removed, having run.
	final *unstructured.Unstructured
	// isSought is set when such a copy has left the cache, until the cluster has been asked for it: it may only have lost a label.
	isSought bool
	// wish is what whoever deleted the upstream object has asked for.
	wish wish
	// missed is since when kcp has answered that there is no such object, while its copy is there; zero when it has not.
	missed time.Time
	// pace is when reports are written, and explained is when the last one was of which only the causes were new.
	pace      evaluate.Pace
	explained time.Time
	// sent is the last report while the cache does not show it yet, nil for none.
	sent *sent
	// whyRefused is when kcp refused a report with causes.
	whyRefused time.Time
	// ending is when the copy was first seen to be being deleted, and releasing is when the upstream object could first be let go of.
	ending, releasing sighting
	// released is the resource version of the upstream object from which we have let go of it, empty when we have not.
	released string
	// bare is when the upstream object was first seen to have lost what the hub says of it, of one generation.
	bare generationSighting
}

// holds reports whether the cluster holds the upstream object as the cache has it, and has not let go of it. kcp may never tell of
// that: while a workspace ends, its views lose events.
func (s *Syncer) holds(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) bool {
	released := s.memories.get(key).released
	isReleased := released != "" && released == upstreamObj.GetResourceVersion()
	return protocol.Read(upstreamObj).IsHeld(s.cluster) && !isReleased
}

// version is one of a copy, and when we have made it.
type version struct {
	uid             types.UID
	resourceVersion string
	at              time.Time
}

// untilCached returns how long to wait for the cache, which has an earlier version of the same copy, to show this one: 0 where it
// does, where they cannot be compared, and when it takes so long that something else must be behind it (a cluster's store that was
// put back).
func (v version) untilCached(cached *unstructured.Unstructured, now time.Time) time.Duration {
	if v.uid == "" || v.uid != cached.GetUID() {
		return 0
	}
	if order, err := resourceversion.CompareResourceVersion(v.resourceVersion, cached.GetResourceVersion()); err != nil || order <= 0 {
		return 0
	}
	return max(longestLag-now.Sub(v.at), 0)
}

// sighting is when something was first seen of the object of a UID, by our clock.
type sighting struct {
	uid types.UID
	at  time.Time
}

// since returns when it was first seen of the object of that UID: now, if it never was.
func (s *sighting) since(uid types.UID, now time.Time) time.Time {
	if s.uid != uid {
		*s = sighting{uid, now}
	}
	return s.at
}

// generationSighting is when something was first seen of a generation of the object of a UID, by our clock.
type generationSighting struct {
	sighting

	generation int64
}

// since returns when it was first seen of the object as it is: now, if it never was.
func (s *generationSighting) since(obj *unstructured.Unstructured, now time.Time) time.Time {
	if s.generation != obj.GetGeneration() {
		*s = generationSighting{generation: obj.GetGeneration()}
	}
	return s.sighting.since(obj.GetUID(), now)
}

// wish is what was seen that whoever deleted an upstream object, of that UID, has asked for: what is to become of what belongs to it.
type wish struct {
	uid         types.UID
	propagation metav1.DeletionPropagation
}

// about returns the wish about the upstream object of a UID, empty when none was seen.
func (w wish) about(uid types.UID) metav1.DeletionPropagation {
	if uid == "" || uid != w.uid {
		return ""
	}
	return w.propagation
}

// noteWish remembers what whoever deleted an upstream object has asked for. kcp shows that for a moment only, unless the hub notes it
// on the object: what was seen once stays.
func (s *Syncer) noteWish(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
	said := protocol.Read(upstreamObj)
	if !said.IsDeleting() {
		return
	}
	s.memories.update(key, func(m *memory) {
		if now := said.Propagation(); m.wish.uid != upstreamObj.GetUID() || now != metav1.DeletePropagationBackground {
			m.wish = wish{upstreamObj.GetUID(), now}
		}
	})
}

// memories holds the memory of every key, for both loops.
type memories struct {
	mu    sync.Mutex
	byKey map[kcp.ObjectKey]memory
}

func newMemories() *memories { return &memories{byKey: map[kcp.ObjectKey]memory{}} }

func (m *memories) get(key kcp.ObjectKey) memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byKey[key]
}

func (m *memories) update(key kcp.ObjectKey, change func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.byKey[key]
	change(&entry)
	m.byKey[key] = entry
}

// amend is update, unless the spec loop has just forgotten the key.
func (m *memories) amend(key kcp.ObjectKey, change func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if entry, known := m.byKey[key]; known {
		change(&entry)
		m.byKey[key] = entry
	}
}

// keep remembers the evaluation of a key, unless the spec loop has just forgotten the key.
func (m *memories) keep(key kcp.ObjectKey, e *evaluate.Evaluation) {
	m.amend(key, func(entry *memory) { entry.evaluation = e.Forget() })
}

// replace has the evaluation of a key be about another state of the upstream object that says the same.
func (m *memories) replace(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if entry := m.byKey[key]; entry.evaluation != nil && entry.evaluation.Upstream == oldObj {
		same := *entry.evaluation
		same.Upstream, entry.evaluation = newObj, &same
		m.byKey[key] = entry
	}
}

func (m *memories) forget(key kcp.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byKey, key)
}

// waiters are the keys that wait for another key's turn.
type waiters struct {
	mu    sync.Mutex
	byKey map[kcp.ObjectKey]sets.Set[kcp.ObjectKey]
	// waitsFor are the keys that each one waits for: what waits and is gone is forgotten.
	waitsFor map[kcp.ObjectKey]sets.Set[kcp.ObjectKey]
}

func newWaiters() *waiters {
	return &waiters{byKey: map[kcp.ObjectKey]sets.Set[kcp.ObjectKey]{}, waitsFor: map[kcp.ObjectKey]sets.Set[kcp.ObjectKey]{}}
}

// note has waiter told at the end of the next turn of each of the keys. It reports whether that is new for any of them: then
// such a turn may have ended just before, and what was read of the key may be old.
func (w *waiters) note(waiter kcp.ObjectKey, keys ...kcp.ObjectKey) (isNew bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		isNew = isNew || !w.byKey[key].Has(waiter)
		insert(w.byKey, key, waiter)
		insert(w.waitsFor, waiter, key)
	}
	return isNew
}

// take returns who waits for a turn of key, and forgets them.
func (w *waiters) take(key kcp.ObjectKey) sets.Set[kcp.ObjectKey] {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := w.byKey[key]
	delete(w.byKey, key)
	for waiter := range waiting {
		remove(w.waitsFor, waiter, key)
	}
	return waiting
}

// forget drops a waiter that is gone: what it waited for may not come for long.
func (w *waiters) forget(waiter kcp.ObjectKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.waitsFor[waiter] {
		remove(w.byKey, key, waiter)
	}
	delete(w.waitsFor, waiter)
}

func insert(into map[kcp.ObjectKey]sets.Set[kcp.ObjectKey], key, entry kcp.ObjectKey) {
	if into[key] == nil {
		into[key] = sets.New[kcp.ObjectKey]()
	}
	into[key].Insert(entry)
}

func remove(from map[kcp.ObjectKey]sets.Set[kcp.ObjectKey], key, entry kcp.ObjectKey) {
	if from[key].Delete(entry); len(from[key]) == 0 {
		delete(from, key)
	}
}

// namespaceNews is what this process has found out about the cluster's namespaces, for as long as its cache does not show it.
// All of it can be lost: the writes themselves carry preconditions.
type namespaceNews struct {
	mu sync.Mutex
	// owners are the namespaces that were written for a workspace.
	owners map[string]string
	// closed are those that are about to be removed or to lose their owner, with the resource version from which.
	closed map[string]string
	// foreign are those that the cluster was asked for, and that tmc did not make, with the time until which that is believed.
	foreign map[string]time.Time
	// terminating are those that the cluster says are being deleted, and what they wait for.
	terminating map[string]string
}

func newNamespaceNews() *namespaceNews {
	return &namespaceNews{owners: map[string]string{}, closed: map[string]string{}, foreign: map[string]time.Time{}, terminating: map[string]string{}}
}

// setTerminating notes that the namespace is being deleted, and what it waits for, empty when it is not. It reports whether that is
// news.
func (n *namespaceNews) setTerminating(namespace, waitsFor string) (isNews bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.terminating[namespace] == waitsFor {
		return false
	}
	if n.terminating[namespace] = waitsFor; waitsFor == "" {
		delete(n.terminating, namespace)
	}
	return true
}

// waitsFor returns what the namespace waits for that is being deleted, empty when it is not known to be.
func (n *namespaceNews) waitsFor(namespace string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.terminating[namespace]
}

// setOwner notes that the namespace was written for the workspace.
func (n *namespaceNews) setOwner(namespace, workspace string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.owners[namespace] = workspace
}

// owner returns the workspace that the namespace was just written for, and whether it was just written.
func (n *namespaceNews) owner(namespace string) (workspace string, written bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	workspace, written = n.owners[namespace]
	return workspace, written
}

// setForeign notes that the cluster has the namespace, which tmc did not make. It need not be asked again for a while.
func (n *namespaceNews) setForeign(namespace string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.foreign, func(_ string, until time.Time) bool { return !now.Before(until) })
	n.foreign[namespace] = now.Add(evaluate.Recheck)
}

// doubt forgets what the cluster has answered about a namespace: it is asked again.
func (n *namespaceNews) doubt(namespace string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.foreign, namespace)
}

// isForeign reports whether setForeign was called for the namespace a moment ago.
func (n *namespaceNews) isForeign(namespace string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return now.Before(n.foreign[namespace])
}

// close notes that the namespace, as it is at that resource version, is about to be removed or to lose its owner. From now on
// no copy goes there before the cache shows what has become of it, or reopen is called: whoever checks after close whether the
// namespace is used misses nothing.
func (n *namespaceNews) close(namespace, resourceVersion string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed[namespace] = resourceVersion
}

// reopen notes that the namespace stays as it is after all.
func (n *namespaceNews) reopen(namespace string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.closed, namespace)
}

// isClosed reports whether no copy may go to the namespace.
func (n *namespaceNews) isClosed(namespace string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, found := n.closed[namespace]
	return found
}

// observe forgets what the cache now shows: the namespace at that resource version, empty when there is none.
func (n *namespaceNews) observe(namespace, resourceVersion string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.owners, namespace)
	delete(n.foreign, namespace)
	delete(n.terminating, namespace)
	if n.closed[namespace] != resourceVersion {
		delete(n.closed, namespace)
	}
}
