package upstream

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// What is in this file drops from the caches what kcp has long forgotten. An informer can miss for good that an object went: that was seen
// with kcp v0.31.2 that was killed while its etcd stood still, and neither its watches nor its lists told it later. Whoever decides by the
// caches then goes on counting with the object for ever. kcp itself tells when somebody writes to such an object, or asks for it: it
// answers 404, and names the object. Most often the event that it went is only on its way; so it is left some time to come. Nobody may
// write to what is being deleted any more; so kcp is asked for that now and then until it has gone.

// doubtAfter is how long the event may take, after kcp has said that an object is not there, or after the last event of one that is being
// deleted.
const doubtAfter = 5 * time.Second

// longestDoubt is the longest time between two questions about an object: they become rarer while it is there, or kcp does not say.
const longestDoubt = 10 * time.Minute

// doubt is about a cached object that kcp has said is not there, or that is being deleted.
type doubt struct {
	key kcp.ObjectKey
	uid types.UID
}

// doubt takes note that kcp has said that an object is not there, if it is in the cache. What is known already is due when it was.
func (s *source) doubt(key kcp.ObjectKey) {
	if obj, doubts := s.cached(key), s.doubts.Load(); obj != nil && doubts != nil {
		(*doubts).AddAfter(doubt{key, obj.GetUID()}, s.doubtAfter)
	}
}

// told hands an event on. Of what is being deleted, the next event may be the one that never comes.
func (s *source) told(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	s.handle(key, oldObj, newObj)
	if doubts := s.doubts.Load(); newObj != nil && newObj.GetDeletionTimestamp() != nil && doubts != nil {
		(*doubts).Forget(doubt{key, newObj.GetUID()})
		s.doubt(key)
	}
}

// settle drops from the cache what is in doubt and is not there, until ctx ends.
func (s *source) settle(ctx context.Context) {
	doubts := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[doubt](2*doubtAfter, longestDoubt))
	s.doubts.Store(&doubts)
	defer context.AfterFunc(ctx, doubts.ShutDown)()
	for {
		one, isOver := doubts.Get()
		if isOver {
			return
		}
		if isOpen := s.dropIfGone(ctx, one); isOpen {
			doubts.AddRateLimited(one)
		} else {
			doubts.Forget(one)
		}
		doubts.Done(one)
	}
}

// dropIfGone drops an object from the cache that kcp says is not there, as the event does that did not come. Should that come yet, it
// changes nothing. It reports whether the question stays open: the object is there and being deleted, or kcp has not said.
func (s *source) dropIfGone(ctx context.Context, about doubt) (isOpen bool) {
	key := about.key
	obj := s.cached(key)
	if obj == nil || obj.GetUID() != about.uid {
		return false // most often
	}
	_, err := s.in(key.Workspace).Resource(key.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if err == nil {
		return obj.GetDeletionTimestamp() != nil
	}
	if !kcp.IsMissingObject(err, key.Name) {
		return true
	}
	if obj = s.cached(key); obj == nil || obj.GetUID() != about.uid {
		return false
	}
	if err := s.informerOf(key.Resource).GetIndexer().Delete(obj); err != nil {
		return false // a thread-safe store returns none for what has a key
	}
	klog.FromContext(ctx).Info("Dropping an object from the cache that kcp says is gone: its event did not come", "key", key, "url", s.url)
	s.handle(key, obj, nil)
	if again := s.cached(key); again != nil {
		s.handle(key, nil, again) // its event may have overtaken this
	}
	return false
}
