package syncer

import (
	"maps"
	"sync"
	"time"
)

// claims is what this process has written about whose the cluster's namespaces are, for
// as long as its cache does not show it. All of it can be lost: the writes themselves
// carry preconditions.
type claims struct {
	mu sync.Mutex
	// taken are the namespaces that were written for a workspace.
	taken map[string]string
	// leaving are those that are being given away, with the resource version from which.
	leaving map[string]string
	// foreign are those that the cluster was asked for, and that tmc did not make, with the
	// time until which that is believed.
	foreign map[string]time.Time
}

func newClaims() *claims {
	return &claims{taken: map[string]string{}, leaving: map[string]string{}, foreign: map[string]time.Time{}}
}

// take notes that the namespace is the workspace's.
func (c *claims) take(namespace, workspace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken[namespace] = workspace
}

// isTaken reports whether the namespace was just written for the workspace.
func (c *claims) isTaken(namespace, workspace string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken[namespace] == workspace && workspace != ""
}

// isWritten reports whether the namespace was just written, for whomever.
func (c *claims) isWritten(namespace string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, found := c.taken[namespace]
	return found
}

// noteForeign notes that the cluster has the namespace, which tmc did not make. For as long
// as recheck the cluster need not be asked again.
func (c *claims) noteForeign(namespace string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.foreign, func(_ string, until time.Time) bool { return !now.Before(until) })
	c.foreign[namespace] = now.Add(recheck)
}

// isForeign reports whether noteForeign was called for the namespace a moment ago.
func (c *claims) isForeign(namespace string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.foreign[namespace])
}

// leave notes that the namespace, as it is at that resource version, is about to be given
// away: from now on no copy goes there before the cache shows what has become of it, or
// stay is called. Whoever looks after that whether it is used misses nothing.
func (c *claims) leave(namespace, resourceVersion string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving[namespace] = resourceVersion
}

// stay notes that the namespace is not given away after all.
func (c *claims) stay(namespace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leaving, namespace)
}

// isLeaving reports whether the namespace is about to be given away.
func (c *claims) isLeaving(namespace string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, found := c.leaving[namespace]
	return found
}

// observe forgets what the cache now shows: the namespace at that resource version, empty
// when there is none.
func (c *claims) observe(namespace, resourceVersion string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.taken, namespace)
	delete(c.foreign, namespace)
	if c.leaving[namespace] != resourceVersion {
		delete(c.leaving, namespace)
	}
}
