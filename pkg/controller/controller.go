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
	queue     workqueue.TypedRateLimitingInterface[K]
}

// New returns a controller. The name is that of its queue in logs and in the workqueue
// metrics.
func New[K comparable](name string, reconcile Reconcile[K]) *Controller[K] {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, lastRetry)
	return &Controller[K]{
		name:      name,
		reconcile: reconcile,
		queue:     workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[K]{Name: name}),
	}
}

// Enqueue has a key reconciled. A key that is queued already is not queued twice, and one that
// is being reconciled is reconciled again after that.
func (c *Controller[K]) Enqueue(key K) { c.queue.Add(key) }

// Run works with the given number of workers until ctx ends, and returns when
// the last one has finished its key.
func (c *Controller[K]) Run(ctx context.Context, workers int) {
	logger := klog.FromContext(ctx).WithName(c.name)
	ctx = klog.NewContext(ctx, logger)
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
	logger := klog.FromContext(ctx).WithValues("key", key)

	again, err := c.reconcile(klog.NewContext(ctx, logger), key)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		// Shutting down: the next process reconciles every key.
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
