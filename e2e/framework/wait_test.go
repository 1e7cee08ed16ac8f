package framework

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var errTest = errors.New("test")

func TestEventuallyReportsLastState(t *testing.T) {
	err := Eventually(t.Context(), "pigs to fly", 10*time.Millisecond, func(context.Context) (bool, string, error) {
		return false, "they walk", nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	for _, part := range []string{"pigs to fly", "they walk"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestEventuallyKeepsStateFromBeforeEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := Eventually(ctx, "x", time.Minute, func(ctx context.Context) (bool, string, error) {
		calls++
		if calls == 1 {
			return false, "first", nil
		}
		cancel()
		return false, "request", ctx.Err()
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "first") {
		t.Errorf("got error %v, want a cancellation that names the first state", err)
	}
}

func TestEventuallyErrors(t *testing.T) {
	calls := 0
	err := Eventually(t.Context(), "x", time.Minute, func(context.Context) (bool, string, error) {
		calls++
		return calls == 3, "", errTest
	})
	if !errors.Is(err, errTest) || calls != 3 {
		t.Errorf("got error %v after %d calls, want %v after 3", err, calls, errTest)
	}
}

func TestEventuallyPausesLongerAfterSlowPolls(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0:                      100 * time.Millisecond,
		10 * time.Millisecond:  90 * time.Millisecond,
		100 * time.Millisecond: 300 * time.Millisecond,
		time.Minute:            time.Second,
	} {
		if got := pauseAfter(took); got != want {
			t.Errorf("after a poll of %s it pauses for %s, want %s", took, got, want)
		}
	}
}

func TestWaitHTTPWaitsForStatus200(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	if err := WaitHTTP(t.Context(), server.Client(), server.URL, testTimeout); err != nil {
		t.Error(err)
	}
	if got := calls.Load(); got != 3 {
		t.Errorf("%d requests, want 3", got)
	}
}

func TestFailedChecksOfReadyz(t *testing.T) {
	tests := map[string]struct{ body, want string }{
		"only the failed ones": {
			"[+]ping ok\n[-]informers failed: reason withheld\n[+]etcd ok\n[-]x failed\n",
			"[-]informers failed: reason withheld, [-]x failed",
		},
		"another body": {" not\n\tfound ", "not found"},
		"a long body":  {strings.Repeat("x", 1000), strings.Repeat("x", 300)},
		"none":         {"", ""},
	}
	for name, test := range tests {
		if got := failedChecks(test.body); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
