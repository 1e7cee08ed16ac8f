package upstream

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var errRefused = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}

// TestReconnect has kcp be away for 90 s while 15 informers of a source want to read it, and counts what that costs.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const informers = 15
		var r reconnect
		var requests, told atomic.Int32
		back := time.Now().Add(90 * time.Second)
		late := make(chan time.Duration, informers)
		for range informers {
			go func() {
				err := r.do(t.Context(), func() error {
					requests.Add(1)
					if time.Now().Before(back) {
						return errRefused
					}
					return nil
				}, func(error) { told.Add(1) })
				if err != nil {
					t.Error(err)
				}
				late <- time.Since(back)
			}()
		}
		last := time.Duration(0)
		for range informers {
			last = max(last, <-late)
		}
		t.Logf("all read %s after kcp was back, after %d requests", last, requests.Load())
		// One in two seconds, each of the others in 15 s, and what got through.
		if most := probeInterval*6/5 + spread; last > most || requests.Load() > 45+6*informers+2*informers || told.Load() != informers {
			t.Errorf("the last reads %s after kcp was back, want %s at most; %d requests, %d told", last, most, requests.Load(), told.Load())
		}
	})
}

func TestReconnectHandsOnAnswers(t *testing.T) {
	var r reconnect
	refusal := errors.New("no")
	for _, want := range []error{nil, refusal} {
		if err := r.do(t.Context(), func() error { return want }, func(error) { t.Error("told") }); !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var r reconnect
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for range 2 { // one that tries, and one that waits for it
			go func() {
				if err := r.do(ctx, func() error { return errRefused }, func(error) {}); !errors.Is(err, errRefused) {
					t.Errorf("got %v", err)
				}
			}()
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
	})
}
