package controller

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// Back-off of a key that keeps failing. There is no limit over all keys: a key that fails
// never delays another. Keys that fail because a server does not answer start over when it does: see scouts.
const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = time.Minute
)

// Reconcile brings one key to its desired state. It returns after how long to reconcile the
// key again, 0 for not before the next event. After an error the key is reconciled again with
// exponential back-off.
type Reconcile[K comparable] func(ctx context.Context, key K) (again time.Duration, err error)

// Controller is a queue of keys and its workers.
type Controller[K comparable] struct {
	name      string
	reconcile Reconcile[K]

	mu sync.RWMutex
	// queue is nil before Run: a queue has goroutines, and one that is never run must leave none.
	queue   workqueue.TypedRateLimitingInterface[K]
	limiter workqueue.TypedRateLimiter[K]
	// early are the keys that were enqueued before Run, in their order.
	early   []K
	isEarly map[K]bool
	scouts  scouts[K]
}

// New returns a controller. The name is that of its queue in logs and in the workqueue
// metrics.
func New[K comparable](name string, reconcile Reconcile[K]) *Controller[K] {
	return &Controller[K]{name: name, reconcile: reconcile, isEarly: map[K]bool{}}
}

// Enqueue has a key reconciled. A key that is queued already is not queued twice, and one that
// is being reconciled is reconciled again after that.
// Keys that are enqueued before Run are reconciled when it is called.
func (c *Controller[K]) Enqueue(key K) {
	c.mu.RLock()
	queue := c.queue
	c.mu.RUnlock()
	if queue == nil {
		queue = c.enqueueEarly(key)
	}
	if queue != nil {
		queue.Add(key)
	}
}

// enqueueEarly keeps a key for Run. When that has been called meanwhile, it returns the queue instead.
func (c *Controller[K]) enqueueEarly(key K) workqueue.TypedRateLimitingInterface[K] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue == nil && !c.isEarly[key] {
		c.early, c.isEarly[key] = append(c.early, key), true
	}
	return c.queue
}

// open makes the queue, with the keys that were enqueued before.
func (c *Controller[K]) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limiter = workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, lastRetry)
	c.queue = workqueue.NewTypedRateLimitingQueueWithConfig(c.limiter, workqueue.TypedRateLimitingQueueConfig[K]{Name: c.name})
	for _, key := range c.early {
		c.queue.Add(key)
	}
	c.early, c.isEarly = nil, nil
}

// Run works with the given number of workers until ctx ends, and returns when
// the last one has finished its key. What is queued then is dropped. It is called once.
func (c *Controller[K]) Run(ctx context.Context, workers int) {
	logger := klog.FromContext(ctx).WithName(c.name)
	ctx = klog.NewContext(ctx, logger)
	c.open()
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for c.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	c.queue.ShutDown()
	running.Wait()
}

// quietRetries is how many retries are routine, after a conflict or with a cache that lags.
// They are logged for those who ask for details.
const quietRetries = 3

// next reconciles one key. It reports whether the queue has not shut down.
func (c *Controller[K]) next(ctx context.Context) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	if ctx.Err() != nil {
		return true // the next process, or the next one to lead, reconciles every key
	}
	logger := klog.FromContext(ctx).WithValues("key", key)

	again, err := c.reconcile(klog.NewContext(ctx, logger), key)
	if !isUnanswered(err) && ctx.Err() == nil {
		c.startOver(logger, key)
	}
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		// Shutting down.
	case err != nil:
		c.logFailure(logger, key, err)
		c.retry(key, isUnanswered(err))
	default:
		c.queue.Forget(key)
		if again > 0 {
			c.queue.AddAfter(key, again)
		}
	}
	return true
}

// logFailure logs why a key has failed. A scout is tried often, and logged ever less so.
func (c *Controller[K]) logFailure(logger klog.Logger, key K, err error) {
	retries := c.queue.NumRequeues(key)
	if isPower := retries&(retries-1) == 0; retries < quietRetries || isUnanswered(err) && !isPower {
		logger.V(2).Info("Will try again", "retries", retries, "reason", err.Error())
		return
	}
	logger.Error(err, "Reconciling keeps failing, will try again", "retries", retries)
}

// retry has a key that has failed reconciled again, with back-off. If no server answered, it may be the one to find out when one does.
func (c *Controller[K]) retry(key K, isUnanswered bool) {
	if !isUnanswered {
		c.queue.AddRateLimited(key)
		return
	}
	scout, after, isNew := c.scouts.failed(key)
	if !isNew || scout != key {
		c.queue.AddRateLimited(key)
	}
	if isNew && scout == key {
		after = min(after, c.limiter.When(key))
	}
	if isNew {
		c.queue.AddAfter(scout, after)
	}
}

// startOver has the keys reconciled that wait for a server, if one has answered to this key that did not before.
func (c *Controller[K]) startOver(logger klog.Logger, key K) {
	others := c.scouts.answered(key)
	if len(others) > 0 {
		logger.V(2).Info("A server answers again: what has failed is tried anew", "keys", len(others))
	}
	for _, other := range others {
		c.queue.Forget(other)
		c.queue.AddAfter(other, rand.N(startOver)) //nolint:gosec // it spreads requests
	}
}

// Sooner returns the shorter of two times after which to look at a key again, each of which may be 0, or past, for not before the
// next event.
func Sooner(a, b time.Duration) time.Duration {
	if a <= 0 || b <= 0 {
		return max(a, b, 0)
	}
	return min(a, b)
}

// NotAfter returns the earlier of a time that somebody has written and one of ours, as one of ours: how long ago it is does not change
// when our wall clock is set.
func NotAfter(written, ours time.Time) time.Time {
	return ours.Add(min(written.Sub(ours), 0))
}
