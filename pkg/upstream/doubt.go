package upstream

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// What is in this file drops from the caches what kcp has long forgotten. An informer can miss for good that an object went: that was seen
// with kcp v0.31.2 that was killed while its etcd stood still, and neither its watches nor its lists told it later. Whoever decides by the
// caches then goes on counting with the object for ever. kcp itself tells when somebody writes to such an object, or asks for it: it
// answers 404, and names the object. Most often the event that it went is only on its way; so it is left some time to come.

// doubtAfter is how long the event may take, after kcp has said that an object is not there. It is also when kcp is asked again that did
// not answer.
const doubtAfter = 5 * time.Second

// doubts are the cached objects that kcp has said are not there.
type doubts struct {
	// woken says that there is a new one.
	woken chan struct{}

	mu sync.Mutex
	// after is doubtAfter; tests shorten it.
	after time.Duration
	byKey map[kcp.ObjectKey]doubt
}

// doubt is about one object.
type doubt struct {
	uid types.UID
	due time.Time
}

func newDoubts(after time.Duration) *doubts {
	return &doubts{after: after, woken: make(chan struct{}, 1), byKey: map[kcp.ObjectKey]doubt{}}
}

// add takes note of an object. One that is known already is due when it was.
func (d *doubts) add(key kcp.ObjectKey, uid types.UID) {
	d.mu.Lock()
	if known, isKnown := d.byKey[key]; !isKnown || known.uid != uid {
		d.byKey[key] = doubt{uid: uid, due: time.Now().Add(d.after)}
	}
	d.mu.Unlock()
	select {
	case d.woken <- struct{}{}:
	default: // it looks at all
	}
}

func (d *doubts) wait() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.after
}

// take returns and drops those that are due, and reports whether there are others.
func (d *doubts) take() (due map[kcp.ObjectKey]types.UID, areMore bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	due = map[kcp.ObjectKey]types.UID{}
	for key, one := range d.byKey {
		if time.Now().Before(one.due) {
			areMore = true
			continue
		}
		due[key] = one.uid
		delete(d.byKey, key)
	}
	return due, areMore
}

// doubt takes note that kcp has said that an object is not there, if it is in the cache.
func (s *source) doubt(key kcp.ObjectKey) {
	if obj := s.cached(key); obj != nil {
		s.doubts.add(key, obj.GetUID())
	}
}

// settle drops from the cache what is in doubt and is not there, until ctx ends.
func (s *source) settle(ctx context.Context) {
	for areMore := false; ; {
		if !areMore {
			select {
			case <-ctx.Done():
				return
			case <-s.doubts.woken:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.doubts.wait()):
		}
		var due map[kcp.ObjectKey]types.UID
		due, areMore = s.doubts.take()
		for key, uid := range due {
			s.dropIfGone(ctx, key, uid)
		}
	}
}

// dropIfGone drops an object from the cache that kcp says again is not there, as the event does that did not come. Should that come yet, it
// changes nothing.
func (s *source) dropIfGone(ctx context.Context, key kcp.ObjectKey, uid types.UID) {
	if obj := s.cached(key); obj == nil || obj.GetUID() != uid {
		return // most often
	}
	_, err := s.in(key.Workspace).Resource(key.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if err == nil {
		return
	}
	if !kcp.IsMissingObject(err, key.Name) {
		s.doubt(key) // kcp has not said
		return
	}
	obj, informer := s.cached(key), s.informerOf(key.Resource)
	if obj == nil || obj.GetUID() != uid {
		return
	}
	if err := informer.GetIndexer().Delete(obj); err != nil {
		return // a thread-safe store returns none for what has a key
	}
	klog.FromContext(ctx).Info("Dropping an object from the cache that kcp says is gone: its event did not come", "key", key, "url", s.url)
	s.handle(key, obj, nil)
	if again := s.cached(key); again != nil {
		s.handle(key, nil, again) // its event may have overtaken this
	}
}
