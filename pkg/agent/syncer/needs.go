package syncer

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// need is an object that another one names, and that is placed here, but not in
// place yet.
type need struct {
	key kcp.ObjectKey
	// problem says what keeps it from being, nil when it is on its way.
	problem *v1alpha1.Problem
}

// needsOf returns what has to be in place before the object is. The end of each
// one's next turn brings the object's.
func (s *Syncer) needsOf(key kcp.ObjectKey, st state) []need {
	var needs []need
	for _, reference := range s.references(key, st) {
		needed := s.upstream.Cached(reference)
		if needed == nil || !isPlaced(needed, s.cluster) {
			continue // the hub has not placed it here: it is optional, or missing, and the hub says so
		}
		// First the note, then the look: a turn that ends in between is not missed.
		s.waiters.note(reference, key)
		// What it needs in turn does not matter here.
		other, err := s.gatherAlone(reference)
		other.settled = isSettled(other, s.memories.get(reference))
		if err == nil && stands(other) {
			continue
		}
		wanting := need{key: reference}
		if problems := s.memories.get(reference).problems; len(problems) > 0 {
			wanting.problem = &problems[0]
		}
		needs = append(needs, wanting)
	}
	return needs
}

// references returns the keys of what the object names.
func (s *Syncer) references(key kcp.ObjectKey, st state) []kcp.ObjectKey {
	served := s.upstream.Resources()
	var keys []kcp.ObjectKey
	for _, reference := range s.kinds.Needs(st.upstreamObj) {
		for resource := range served {
			if resource.GroupResource() == reference.Resource {
				keys = append(keys, kcp.ObjectKey{Workspace: key.Workspace, Resource: resource, Namespace: key.Namespace, Name: reference.Name})
			}
		}
	}
	return keys
}

// checkUnseen asks kcp for what the object names and the caches do not have, before
// the object first goes down: the watch of one resource may be behind that of
// another. It returns errStale when kcp has something that is placed here.
func (s *Syncer) checkUnseen(ctx context.Context, key kcp.ObjectKey, st state) error {
	for _, reference := range s.references(key, st) {
		if s.upstream.Cached(reference) != nil {
			continue
		}
		needed, err := s.upstream.Live(ctx, reference)
		if err != nil {
			return err
		}
		if needed != nil && isPlaced(needed, s.cluster) {
			return errStale
		}
	}
	return nil
}

// waiting is the result of a turn that lets others go first.
func waiting(needs []need) result {
	done := result{again: recheck}
	for _, wanting := range needs {
		if wanting.problem == nil {
			continue
		}
		done.problems = append(done.problems, v1alpha1.Problem{
			Reason: reasonDependency,
			Message: truncate(fmt.Sprintf("%s %s/%s is needed first and is not in place: %s",
				wanting.key.Resource.GroupResource(), wanting.key.Namespace, wanting.key.Name, wanting.problem.Message)),
		})
	}
	return done
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

// note has waiter told at the end of the next turn of key.
func (w *waiters) note(key, waiter kcp.ObjectKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	insert(w.byKey, key, waiter)
	insert(w.waitsFor, waiter, key)
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
