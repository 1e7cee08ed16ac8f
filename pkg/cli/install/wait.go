package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// pollInterval is how often a condition is looked at.
const pollInterval = 250 * time.Millisecond

// progress is how far something that is waited for has come.
type progress struct {
	done bool
	// state says, for people, what is still missing.
	state string
}

// waitFor returns when check says that what (a noun phrase) is done. It fails with the
// error of check, when that is not transient, when the timeout is over (the error says
// what was still missing) and when ctx ends.
func (s *server) waitFor(ctx context.Context, what string, check func(context.Context) (progress, error)) error {
	var told bool
	var last string
	return s.poll(ctx, what, func(ctx context.Context) (progress, error) {
		now, err := check(ctx)
		if err != nil && isTransient(err) {
			now, err = progress{state: err.Error()}, nil
		}
		if err != nil || now.done {
			return now, err
		}
		if !told || now.state != last {
			s.waiting(what, now.state)
		}
		told, last = true, now.state
		return now, nil
	})
}

// poll is waitFor without a word to the caller.
func (s *server) poll(ctx context.Context, what string, check func(context.Context) (progress, error)) error {
	var last string
	err := wait.PollUntilContextTimeout(ctx, pollInterval, s.options.Timeout, true, func(ctx context.Context) (bool, error) {
		now, err := check(ctx)
		if err != nil && isTransient(err) {
			now, err = progress{state: err.Error()}, nil
		}
		last = now.state
		return now.done, err
	})
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for %s was cut short: %w", what, context.Cause(ctx))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("gave up waiting for %s after %s: %s: %w", what, s.options.Timeout, last, err)
	}
	return err
}

// waiting tells the caller what is waited for.
func (s *server) waiting(what, state string) {
	if s.options.OnWaiting == nil {
		return
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	message := "waiting for " + what
	if state != "" {
		message += ": " + state
	}
	s.options.OnWaiting(message)
}

// notice tells the caller what is good to know.
func (s *server) notice(message string) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if s.options.OnNotice != nil {
		s.options.OnNotice(message)
	}
}
