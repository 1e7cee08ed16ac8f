package controller

import (
	"strings"
	"testing"
	"time"
)

// TestNotAfterHeedsNoOneWhoSetsTheClock has a time that was read from kcp, or from a token, be one that counts by the monotonic clock:
// neither a taint nor a silence is older when somebody sets the clock.
func TestNotAfterHeedsNoOneWhoSetsTheClock(t *testing.T) {
	now := time.Now()
	for ago, want := range map[time.Duration]time.Duration{time.Hour: time.Hour, 0: 0, -time.Hour: 0} {
		got := NotAfter(now.Add(-ago).Round(0), now) // which has no monotonic reading
		if now.Sub(got) != want || !strings.Contains(got.String(), " m=") {
			t.Errorf("%s ago: got %s at %s", ago, got, now)
		}
	}
}
