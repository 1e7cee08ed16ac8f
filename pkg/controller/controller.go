package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// Back-off of a key that keeps failing. There is no limit over all keys: a key that fails
// never delays another.
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
	queue workqueue.TypedRateLimitingInterface[K]
	// early are the keys that were enqueued before Run, in their order.
	early   []K
	isEarly map[K]bool
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
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, lastRetry)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[K]{Name: c.name})
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
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		// Shutting down.
	case err != nil:
		if retries := c.queue.NumRequeues(key); retries < quietRetries {
			logger.V(2).Info("Will try again", "retries", retries, "reason", err.Error())
		} else {
			logger.Error(err, "Reconciling keeps failing, will try again", "retries", retries)
		}
		c.queue.AddRateLimited(key)
	default:
		c.queue.Forget(key)
		if again > 0 {
			c.queue.AddAfter(key, again)
		}
	}
	return true
}

// Sooner returns the shorter of two times after which to look at a key again, each of which may be 0, or past, for not before the
// next event.
func Sooner(a, b time.Duration) time.Duration {
	if a <= 0 || b <= 0 {
		return max(a, b, 0)
	}
	return min(a, b)
}
