package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
)

// A cluster may have tens of thousands of pods, of which only sums are reported. So no pod is cached: of each, a few numbers are kept.

// podUsage is what is kept of a pod that is on a node: the node, and what it requests there, in the units of quantity.Amount.
type podUsage struct {
	node        unique.Handle[string]
	cpu, memory int64
}

func usageOf(pod *corev1.Pod) podUsage {
	requests := requestsOf(pod)
	return podUsage{
		node: unique.Make(pod.Spec.NodeName), cpu: quantity.Amount(corev1.ResourceCPU, requests[corev1.ResourceCPU]),
		memory: quantity.Amount(corev1.ResourceMemory, requests[corev1.ResourceMemory]),
	}
}

// slimPod is a pod on its way into podSums: the reflector collects those that there are before it hands them on.
type slimPod struct {
	namespace, name string
	usage           podUsage
	isLiving        bool
}

// GetObjectMeta implements metav1.ObjectMetaAccessor: by that the reflector tells one pod from the other.
func (p *slimPod) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: p.namespace, Name: p.name}
}

// slim is the reflector's transform: it may see a pod twice.
func slim(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	return &slimPod{pod.Namespace, pod.Name, usageOf(pod), isLiving(pod)}, nil
}

// podKey is how a pod is known.
type podKey struct{ namespace, name string }

// podSums is what the pods of a cluster request. It is the store, and the queue, of a reflector, which nobody takes anything out of.
type podSums struct {
	mu      sync.RWMutex
	byPod   map[podKey]podUsage
	read    chan struct{}
	isRead  bool
	closed  chan struct{}
	closing sync.Once
}

func newPodSums() *podSums {
	return &podSums{byPod: map[podKey]podUsage{}, read: make(chan struct{}), closed: make(chan struct{})}
}

// all calls yield for each pod.
func (s *podSums) all() iter.Seq[podUsage] {
	return func(yield func(podUsage) bool) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		maps.Values(s.byPod)(yield)
	}
}

// Add implements cache.Queue.
func (s *podSums) Add(obj any) error { return s.take(obj, note) }

// take does with the sums what a pod that has come, changed or gone asks for.
func (s *podSums) take(obj any, do func(byPod map[podKey]podUsage, pod *slimPod)) error {
	pod, err := slimmed(obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	do(s.byPod, pod)
	return nil
}

// note keeps what a pod requests, for as long as it lives.
func note(byPod map[podKey]podUsage, pod *slimPod) {
	if pod.isLiving {
		byPod[podKey{pod.namespace, pod.name}] = pod.usage
	} else {
		drop(byPod, pod)
	}
}

func drop(byPod map[podKey]podUsage, pod *slimPod) { delete(byPod, podKey{pod.namespace, pod.name}) }

func slimmed(obj any) (*slimPod, error) {
	obj, err := slim(obj)
	if err != nil {
		return nil, err
	}
	pod, ok := obj.(*slimPod)
	if !ok {
		return nil, fmt.Errorf("a store of pods got %T", obj)
	}
	return pod, nil
}

// Update implements cache.Queue.
func (s *podSums) Update(obj any) error { return s.Add(obj) }

// Delete implements cache.Queue.
func (s *podSums) Delete(obj any) error { return s.take(obj, drop) }

// Replace implements cache.Queue.
func (s *podSums) Replace(objects []any, _ string) error {
	byPod := make(map[podKey]podUsage, len(objects))
	for _, obj := range objects {
		pod, err := slimmed(obj)
		if err != nil {
			return err
		}
		note(byPod, pod)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPod = byPod; !s.isRead {
		s.isRead = true
		close(s.read)
	}
	return nil
}

// Resync implements cache.Queue.
func (*podSums) Resync() error { return nil }

// Transformer implements cache.TransformingStore.
func (*podSums) Transformer() cache.TransformFunc { return slim }

// Pop implements cache.Queue: nothing is ever in the queue.
func (s *podSums) Pop(cache.PopProcessFunc) (any, error) {
	<-s.closed
	return nil, cache.ErrFIFOClosed
}

// Close implements cache.Queue.
func (s *podSums) Close() { s.closing.Do(func() { close(s.closed) }) }

// HasSynced implements cache.Queue.
func (s *podSums) HasSynced() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.isRead
}

// HasSyncedChecker implements cache.Queue.
func (s *podSums) HasSyncedChecker() cache.DoneChecker { return s }

// Name implements cache.DoneChecker.
func (*podSums) Name() string { return "pods" }

// Done implements cache.DoneChecker.
func (s *podSums) Done() <-chan struct{} { return s.read }

// podWatch keeps podSums.
type podWatch struct {
	*podSums
	refusal

	controller cache.Controller
}

// newPodWatch returns one that has not yet connected to anything.
func newPodWatch(client kubernetes.Interface) *podWatch {
	w := &podWatch{podSums: newPodSums(), refusal: refusal{resource: "pods"}}
	pods := client.CoreV1().Pods(metav1.NamespaceAll)
	w.controller = cache.New(&cache.Config{
		Queue: w.podSums,
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				options.FieldSelector = livingPods
				return pods.List(ctx, options)
			},
			WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				options.FieldSelector = livingPods
				return pods.Watch(ctx, options)
			},
		}, client),
		ObjectType:                   &corev1.Pod{},
		Process:                      func(any, bool) error { return errors.New("nothing is ever in the queue") },
		WatchErrorHandlerWithContext: w.handle,
	})
	return w
}

func (w *podWatch) run(ctx context.Context) { w.controller.RunWithContext(ctx) }

// hasRead reports whether the pods have been read, or the cluster denies that.
func (w *podWatch) hasRead() bool { return w.HasSynced() || w.denied.Load() }
