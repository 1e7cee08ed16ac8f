package guard

import (
	"time"

	"golang.org/x/time/rate"
)

// How often the policies of one workspace may be put back: some times at once, and then now and
// then. Somebody who goes on taking them away, or another version of tmc that has others, must
// not cost more.
const (
	burst  = 20
	refill = 30 * time.Second
)

// newPace returns a limit for one workspace.
func newPace() *rate.Limiter { return rate.NewLimiter(rate.Every(refill), burst) }

// untilAllowed returns how long to wait before the next time.
func untilAllowed(pace *rate.Limiter, now time.Time) time.Duration {
	return time.Duration(max(0, 1-pace.TokensAt(now)) * float64(refill))
}
