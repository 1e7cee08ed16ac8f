package explain

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/causes"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// The resources that are read, by the names that logs have.
const (
	pods   = "pods"
	events = "events"
)

// The field selectors by which events are read: of what warns, and about claims, of which some that matter do not warn.
const (
	warningFeed = "type=" + corev1.EventTypeWarning
	claimFeed   = "involvedObject.kind=PersistentVolumeClaim"
)

// watched is a watch of some objects of a namespace, and what it has read.
type watched struct {
	informer cache.SharedIndexInformer
	cancel   context.CancelFunc
}

func (w *watched) hasRead() bool { return w.informer.HasSynced() }

// read says what to read, how, and who hears of changes.
type read struct {
	resource string
	kind     runtime.Object
	list     func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch    func(context.Context, metav1.ListOptions) (watch.Interface, error)
	strip    cache.TransformFunc
	onChange func()
}

// start begins to watch, until cancel is called or Run ends. x.mu is held.
func (x *Explainer) start(r read) *watched {
	ctx, cancel := context.WithCancel(x.watching)
	source := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{ListWithContextFunc: r.list, WatchFuncWithContext: r.watch}, x.client)
	w := &watched{informer: cache.NewSharedIndexInformer(source, r.kind, 0, cache.Indexers{}), cancel: cancel}
	// None of these fails before the informer runs.
	_ = w.informer.SetTransform(r.strip)
	_ = w.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, reflector *cache.Reflector, err error) {
		switch {
		case ctx.Err() != nil:
		case x.deny(ctx, r.resource, err):
			cancel()
			r.onChange()
		default:
			cache.DefaultWatchErrorHandler(ctx, reflector, err)
		}
	})
	_, _ = w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { r.onChange() },
		UpdateFunc: func(any, any) { r.onChange() },
		DeleteFunc: func(any) { r.onChange() },
	})
	x.running.Go(func() { w.informer.RunWithContext(ctx) })
	return w
}

// watches reports whether a copy is looked at by what is watched, and begins to watch its pods if need be. x.mu is held. It is not
// so for copies that have ended, nor for those whose turn to be watched is over.
func (x *Explainer) watches(key kcp.ObjectKey, a *asked) bool {
	if a.isWatched && (a.Subject.Ended || a.pods != nil && x.isDenied(pods)) {
		x.unwatch(key, a)
	}
	isFull := x.watched() >= x.limit
	switch {
	case a.isWatched:
		return true
	case a.Subject.Ended, x.watching == nil, a.Subject.Selector != "" && x.isDenied(pods), isFull && a.isLookedAt:
		return false
	}
	if isFull {
		x.giveWay()
	}
	x.order++
	a.isWatched, a.watchedSince, a.order, a.isLookedAt = true, x.now(), x.order, false
	if a.Subject.Selector != "" {
		x.watchPods(key, a)
	}
	return true
}

// watched returns how many copies have what is said of them watched.
func (x *Explainer) watched() int {
	number := 0
	for _, a := range x.asked {
		if a.isWatched {
			number++
		}
	}
	return number
}

// giveWay ends the oldest watch: its copy is looked at now and then.
func (x *Explainer) giveWay() {
	var oldest *asked
	var of kcp.ObjectKey
	for key, a := range x.asked {
		if a.isWatched && (oldest == nil || a.order < oldest.order) {
			oldest, of = a, key
		}
	}
	x.unwatch(of, oldest)
	oldest.isLookedAt = true
	x.turns.Enqueue(of)
}

// watchPods begins to watch the pods of a copy.
func (x *Explainer) watchPods(key kcp.ObjectKey, a *asked) {
	selector, client := a.Subject.Selector, x.client.CoreV1().Pods(a.Subject.Namespace)
	a.pods = x.start(read{
		resource: pods, kind: &corev1.Pod{},
		list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			return client.List(ctx, options)
		},
		watch: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			return client.Watch(ctx, options)
		},
		strip: func(obj any) (any, error) {
			if pod, isPod := obj.(*corev1.Pod); isPod {
				return causes.StripPod(pod), nil
			}
			return obj, nil
		},
		onChange: func() { x.turns.Enqueue(key) },
	})
}

// unwatch ends what is watched for a copy, if anything is.
func (x *Explainer) unwatch(key kcp.ObjectKey, a *asked) {
	if a.pods != nil {
		a.pods.cancel()
	}
	a.pods, a.isWatched, a.seen = nil, false, time.Time{}
	x.leaveFeeds(key, nil)
}

// podsBy returns the pods that a watch has.
func podsBy(w *watched) []*corev1.Pod {
	var found []*corev1.Pod
	for _, obj := range w.informer.GetStore().List() {
		if pod, isPod := obj.(*corev1.Pod); isPod {
			found = append(found, pod)
		}
	}
	return found
}

// feedKey names a feed: a namespace and a field selector.
type feedKey struct{ namespace, selector string }

// feed is a watch of events of a namespace, and which copies need it.
type feed struct {
	*watched

	users sets.Set[kcp.ObjectKey]
}

// events returns what there is, and whether that was read.
func (f *feed) events() (found []*corev1.Event, hasRead bool) {
	if f == nil || !f.hasRead() {
		return nil, false
	}
	for _, obj := range f.informer.GetStore().List() {
		if event, isEvent := obj.(*corev1.Event); isEvent {
			found = append(found, event)
		}
	}
	return found, true
}

// joinFeeds has the events watched that an answer needs, and no others, for the copy.
func (x *Explainer) joinFeeds(key kcp.ObjectKey, namespace string, answer causes.Answer) {
	needed := sets.New[feedKey]()
	if answer.NeedsWarnings && !x.isDenied(events) {
		needed.Insert(feedKey{namespace, warningFeed})
	}
	if answer.NeedsClaims && !x.isDenied(events) {
		needed.Insert(feedKey{namespace, claimFeed})
	}
	x.leaveFeeds(key, needed)
	for of := range needed {
		if x.feeds[of] == nil {
			x.feeds[of] = &feed{x.startFeed(of), sets.New[kcp.ObjectKey]()}
		}
		x.feeds[of].users.Insert(key)
	}
}

// leaveFeeds ends the watches that only the copy needed, but for those that it still needs.
func (x *Explainer) leaveFeeds(key kcp.ObjectKey, needed sets.Set[feedKey]) {
	for of, f := range x.feeds {
		if needed.Has(of) || !f.users.Has(key) {
			continue
		}
		if f.users.Delete(key); f.users.Len() == 0 {
			f.cancel()
			delete(x.feeds, of)
		}
	}
}

func (x *Explainer) startFeed(of feedKey) *watched {
	client := x.client.CoreV1().Events(of.namespace)
	return x.start(read{
		resource: events, kind: &corev1.Event{},
		list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = of.selector
			return client.List(ctx, options)
		},
		watch: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = of.selector
			return client.Watch(ctx, options)
		},
		strip: func(obj any) (any, error) {
			if event, isEvent := obj.(*corev1.Event); isEvent {
				return causes.StripEvent(event), nil
			}
			return obj, nil
		},
		onChange: func() { x.enqueueUsers(of) },
	})
}

// enqueueUsers queues the copies that need a feed.
func (x *Explainer) enqueueUsers(of feedKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if f := x.feeds[of]; f != nil {
		for key := range f.users {
			x.turns.Enqueue(key)
		}
	}
}

// listPods asks for the pods of a copy once.
func (x *Explainer) listPods(ctx context.Context, subject causes.Subject) ([]*corev1.Pod, error) {
	list, err := x.client.CoreV1().Pods(subject.Namespace).List(ctx, metav1.ListOptions{LabelSelector: subject.Selector, ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	found := make([]*corev1.Pod, 0, len(list.Items))
	for i := range list.Items {
		found = append(found, causes.StripPod(&list.Items[i]))
	}
	return found, nil
}

// mostEvents is how many events are read at once.
const mostEvents = 500

// listEvents asks for events of a namespace once.
func (x *Explainer) listEvents(ctx context.Context, namespace, selector string) ([]*corev1.Event, error) {
	list, err := x.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: selector, Limit: mostEvents})
	if err != nil {
		return nil, err
	}
	found := make([]*corev1.Event, 0, len(list.Items))
	for i := range list.Items {
		found = append(found, causes.StripEvent(&list.Items[i]))
	}
	return found, nil
}
