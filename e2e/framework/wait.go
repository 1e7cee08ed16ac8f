package framework

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// A condition is polled every pollInterval. Where polling takes long, as it does with kubectl on a busy machine, it is
// polled less often, so that waiting takes no more than a quarter of a core from what is waited for; at least every
// longestPause.
const (
	pollInterval = 100 * time.Millisecond
	longestPause = time.Second
)

// pauseAfter returns how long to wait after a poll that took so long.
func pauseAfter(took time.Duration) time.Duration {
	return min(max(pollInterval-took, 3*took), longestPause)
}

// Eventually calls poll until it says done, at most for the given time or until ctx ends. what names the
// condition for the error, in the form "kcp to be ready".
//
// poll returns the state it saw in words. An error without done means that it could not look, and counts
// as a state; an error with done ends the wait at once and is returned. The error of a wait that ended
// without success says what was waited for, how long, and the last state, and wraps the context's.
func Eventually(
	ctx context.Context, what string, timeout time.Duration,
	poll func(ctx context.Context) (done bool, state string, err error),
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	last := "not polled yet"
	for {
		began := time.Now()
		done, state, err := poll(ctx)
		if done {
			if err != nil {
				return fmt.Errorf("wait for %s: %w", what, err)
			}
			return nil
		}
		last = lastState(ctx, last, state, err)
		select {
		case <-ctx.Done():
			waited := time.Since(start).Round(pollInterval)
			return fmt.Errorf("wait for %s: not so after %s: last state: %s: %w", what, waited, last, ctx.Err())
		case <-time.After(pauseAfter(time.Since(began))):
		}
	}
}

// lastState keeps the state before the context ended: that a request was cancelled tells nobody anything.
func lastState(ctx context.Context, last, state string, err error) string {
	switch {
	case err == nil:
		return state
	case ctx.Err() != nil:
		return last
	case state == "":
		return err.Error()
	default:
		return state + ": " + err.Error()
	}
}

// WaitHTTP waits until a GET of the URL answers 200. A nil client stands for http.DefaultClient.
func WaitHTTP(ctx context.Context, client *http.Client, url string, timeout time.Duration) error {
	if client == nil {
		client = http.DefaultClient
	}
	return Eventually(ctx, url+" to answer 200", timeout, func(ctx context.Context) (bool, string, error) {
		return getOK(ctx, client, url)
	})
}

// getOK gets a URL once, and describes any answer but 200.
func getOK(ctx context.Context, client *http.Client, url string) (done bool, state string, err error) {
	// One hanging request must not use up the time of the whole wait.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return true, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return false, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTail))
	if err != nil {
		return false, response.Status, err
	}
	if response.StatusCode != http.StatusOK {
		return false, response.Status + ": " + failedChecks(string(body)), nil
	}
	return true, response.Status, nil
}

// failedChecks shortens a /readyz answer to the checks that failed; other bodies it gives in one line.
func failedChecks(body string) string {
	var failed []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "[-]") {
			failed = append(failed, strings.TrimSpace(line))
		}
	}
	if len(failed) > 0 {
		return strings.Join(failed, ", ")
	}
	const enough = 300
	line := strings.Join(strings.Fields(body), " ")
	return line[:min(len(line), enough)]
}
