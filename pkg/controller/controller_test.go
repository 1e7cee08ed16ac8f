package controller

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// record is a reconcile function that remembers when it was called for what.
type record struct {
	mu    sync.Mutex
	calls map[string][]time.Time
}

func (r *record) note(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		r.calls = map[string][]time.Time{}
	}
	r.calls[key] = append(r.calls[key], time.Now())
	return len(r.calls[key])
}

func (r *record) of(key string) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[key]
}

// during runs a controller in fake time for as long as it is given.
func during(t *testing.T, lasts time.Duration, workers int, reconcile Reconcile[string], keys ...string) {
	t.Helper()
	c := New("test", reconcile)
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	for _, key := range keys {
		c.Enqueue(key)
	}
	c.Run(ctx, workers)
}

func TestRunFailingKeyDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls record
		began := time.Now()
		keys := []string{"broken-0", "broken-1", "broken-2", "broken-3", "good"}
		during(t, time.Hour, 1, func(_ context.Context, key string) (time.Duration, error) {
			calls.note(key)
			if key == "good" {
				return 0, nil
			}
			return 0, errors.New("broken")
		}, keys...)
		if good := calls.of("good"); len(good) != 1 || good[0].Sub(began) > time.Millisecond {
			t.Errorf("the good key was reconciled at %v, want once and at once", good)
		}
		// 5 ms, 10 ms, … 1 min: some 13 tries until the limit, then one a minute.
		if tries := len(calls.of("broken-0")); tries < 60 || tries > 80 {
			t.Errorf("a broken key was tried %d times in an hour, want about 73", tries)
		}
	})
}

func TestRunReconcilesAgainAfterTheTimeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls record
		during(t, time.Minute, 2, func(_ context.Context, key string) (time.Duration, error) {
			if calls.note(key) == 1 {
				return 30 * time.Second, nil
			}
			return 0, nil
		}, "key")
		got := calls.of("key")
		if len(got) != 2 || got[1].Sub(got[0]) != 30*time.Second {
			t.Errorf("reconciled at %v, want twice with 30 s between", got)
		}
	})
}

func TestRunReturnsWhenTheLastKeyIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := false
		during(t, time.Second, 1, func(context.Context, string) (time.Duration, error) {
			time.Sleep(time.Minute)
			done = true
			return 0, nil
		}, "key")
		if !done {
			t.Error("Run returned before its worker")
		}
	})
}

func TestRunDropsWhatIsQueuedWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls record
		during(t, time.Second, 1, func(ctx context.Context, key string) (time.Duration, error) {
			calls.note(key)
			<-ctx.Done()
			return 0, ctx.Err()
		}, "first", "second", "first")
		if first, second := len(calls.of("first")), len(calls.of("second")); first != 1 || second != 0 {
			t.Errorf("reconciled the first %d times, the second %d times, want 1 and 0", first, second)
		}
	})
}

// TestControllerThatIsNotRun has no goroutine: synctest fails where one is left.
func TestControllerThatIsNotRun(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		New("test", func(context.Context, string) (time.Duration, error) { return 0, nil }).Enqueue("key")
	})
}

func TestSooner(t *testing.T) {
	for _, tc := range [][3]time.Duration{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {5, 3, 3}, {3, 5, 3}, {-1, 5, 5}, {5, -1, 5}, {-1, -2, 0}} {
		if got := Sooner(tc[0], tc[1]); got != tc[2] {
			t.Errorf("of %d and %d: %d", tc[0], tc[1], got)
		}
	}
}
