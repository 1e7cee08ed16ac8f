package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// Back-off of a key that keeps failing. There is no limit over all keys, so that
// one that fails never delays another.
const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = time.Minute
)

// Reconcile brings one key to its desired state. It returns after how long the
// key is to be looked at again, 0 for not before the next event; after an error
// the key is tried again with exponential back-off per key.
type Reconcile[K comparable] func(ctx context.Context, key K) (again time.Duration, err error)

// Controller is a queue of keys and its workers.
type Controller[K comparable] struct {
	name      string
	reconcile Reconcile[K]
	queue     workqueue.TypedRateLimitingInterface[K]
}

// New returns a controller; name is how its queue is called in logs and in the
// workqueue metrics.
func New[K comparable](name string, reconcile Reconcile[K]) *Controller[K] {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, lastRetry)
	return &Controller[K]{
		name:      name,
		reconcile: reconcile,
		queue:     workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[K]{Name: name}),
	}
}

// Enqueue asks for a key to be reconciled. A key that is queued already is not
// queued twice, and one that is being reconciled is reconciled again after.
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

// next reconciles one key, and returns false when the queue has shut down.
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
		// Shutting down: whatever failed starts anew with the next process.
	case err != nil:
		retries := c.queue.NumRequeues(key)
		logRetry(logger, retries, err)
		c.queue.AddRateLimited(key)
	default:
		c.queue.Forget(key)
		if again > 0 {
			c.queue.AddAfter(key, again)
		}
	}
	return true
}

// quietRetries is how many retries are routine (a conflict, a cache that lags)
// and logged for those who ask for detail only.
const quietRetries = 3

func logRetry(logger klog.Logger, retries int, err error) {
	if retries < quietRetries {
		logger.V(2).Info("Will try again", "retries", retries, "reason", err.Error())
		return
	}
	logger.Error(err, "Reconciling keeps failing, will try again", "retries", retries)
}
