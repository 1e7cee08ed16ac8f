package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// progressInterval is how often it is said how far a wait has come.
const progressInterval = 15 * time.Second

// Tally counts the objects that are as they should be, and remembers since when each is. It is told of them by an
// informer, so that waiting costs the server nothing.
type Tally struct {
	is func(*unstructured.Unstructured) bool

	mu sync.Mutex
	// moments has those that are, by key.
	moments map[string]time.Time
	// changed is closed, and replaced, whenever moments changes.
	changed chan struct{}
	// losses counts how often one no longer was.
	losses int
}

// NewTally returns one that counts the objects of which is says so.
func NewTally(is func(*unstructured.Unstructured) bool) *Tally {
	return &Tally{is: is, moments: map[string]time.Time{}, changed: make(chan struct{})}
}

// See takes note of an object as it is now.
func (t *Tally) See(obj *unstructured.Unstructured, now time.Time) {
	t.set(cache.MetaObjectToName(obj).String(), t.is(obj), now)
}

// Forget takes note that an object is gone.
func (t *Tally) Forget(key string) { t.set(key, false, time.Time{}) }

func (t *Tally) set(key string, is bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, was := t.moments[key]; was == is {
		return
	}
	if is {
		t.moments[key] = now
	} else {
		delete(t.moments, key)
		t.losses++
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// state gives how many are, since when the last of them is, and what is closed when that changes.
func (t *Tally) state() (done int, last time.Time, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, moment := range t.moments {
		if moment.After(last) {
			last = moment
		}
	}
	return len(t.moments), last, t.changed
}

// Lost gives how often one that was as it should be no longer was.
func (t *Tally) Lost() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.losses
}

// Done gives how many are.
func (t *Tally) Done() int {
	done, _, _ := t.state()
	return done
}

// Since gives how long each took from the moment at which it began.
func (t *Tally) Since(began map[string]time.Time) []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var took []time.Duration
	for key, moment := range t.moments {
		if start, known := began[key]; known {
			took = append(took, moment.Sub(start))
		}
	}
	return took
}

// Wait waits until so many are, and gives since when the last one is.
func (t *Tally) Wait(ctx context.Context, out *Console, what string, timeout time.Duration, want int) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		done, last, changed := t.state()
		if done >= want {
			return last, nil
		}
		select {
		case <-changed:
		case <-ticker.C:
			out.Sayf("   %d of %d %s", done, want, what)
		case <-ctx.Done():
			return last, fmt.Errorf("only %d of %d %s: %w", done, want, what, ctx.Err())
		}
	}
}

// Follow has tallies told of all objects of a resource until ctx ends, and returns when it is told of those that
// there are.
func Follow(ctx context.Context, client dynamic.Interface, resource schema.GroupVersionResource, tallies ...*Tally) error {
	informer := dynamicinformer.NewFilteredDynamicInformer(client, resource, metav1.NamespaceAll, 0, nil, nil).Informer()
	see := func(obj any) {
		now := time.Now()
		for _, t := range tallies {
			t.See(obj.(*unstructured.Unstructured), now)
		}
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    see,
		UpdateFunc: func(_, obj any) { see(obj) },
		DeleteFunc: func(obj any) {
			key, err := cache.DeletionHandlingObjectToName(obj)
			if err != nil {
				return // no object of an informer has no name
			}
			for _, t := range tallies {
				t.Forget(key.String())
			}
		},
	})
	if err != nil {
		return fmt.Errorf("follow %s: %w", resource.Resource, err)
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return errors.Join(fmt.Errorf("follow %s: not read", resource.Resource), ctx.Err())
	}
	return nil
}
