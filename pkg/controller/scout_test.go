package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	objects = schema.GroupResource{Resource: "objects"}
	errDown = &url.Error{Op: "Patch", URL: "https://kcp", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
)

type nobody struct{ error }

func (nobody) Unanswered() {}

func TestIsUnanswered(t *testing.T) {
	cases := map[string]struct {
		err  error
		want bool
	}{
		"none":                     {nil, false},
		"nobody listens":           {fmt.Errorf("patching: %w", errDown), true},
		"it takes too long":        {fmt.Errorf("patching: %w", context.DeadlineExceeded), true},
		"nobody was asked":         {fmt.Errorf("patching: %w", nobody{errors.New("no shard")}), true},
		"it fails":                 {apierrors.NewInternalError(errors.New("starting")), true},
		"it is not ready":          {apierrors.NewServiceUnavailable("starting"), true},
		"it is busy":               {apierrors.NewTooManyRequests("later", 1), true},
		"it knows nobody":          {apierrors.NewUnauthorized("who?"), true},
		"it denies everything":     {apierrors.NewForbidden(objects, "web", errors.New("access denied")), true},
		"it serves nothing":        {apierrors.NewGenericServerResponse(404, "patch", objects, "web", "404 page not found", 0, true), true},
		"it does not say what of":  {apierrors.NewNotFound(objects, ""), true},
		"the object is gone":       {apierrors.NewNotFound(objects, "web"), false},
		"somebody was faster":      {apierrors.NewConflict(objects, "web", errors.New("changed")), false},
		"the object is not valid":  {apierrors.NewInvalid(schema.GroupKind{Kind: "Object"}, "web", nil), false},
		"something else is broken": {errors.New("cannot encode"), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isUnanswered(tc.err); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// TestRunStartsOverWhenTheServerAnswers has a server be away while 50 keys need it, and measures how long the last of them takes from
// when it answers.
func TestRunStartsOverWhenTheServerAnswers(t *testing.T) {
	keys := make([]string, 50)
	for i := range keys {
		keys[i] = fmt.Sprint("key-", i)
	}
	cases := map[string]struct {
		away     time.Duration
		forever  int // how many of the keys are never answered
		most     time.Duration
		requests int // how many may be in vain at most
	}{
		"for 90 s":                        {90 * time.Second, 0, scoutInterval*6/5 + startOver, 900},
		"for 90 s, some are never served": {90 * time.Second, 5, 2*scoutInterval*6/5 + startOver + 4*time.Second, 1200},
		"for 10 minutes":                  {10 * time.Minute, 0, longInterval*6/5 + startOver, 1400},
		"for a moment":                    {time.Second, 0, scoutInterval*6/5 + startOver, 600},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := time.Now().Add(tc.away)
				done, vain, tooLate := map[string]bool{}, 0, time.Duration(0)
				never := func(key string) bool { return slices.Contains(keys[:tc.forever], key) }
				during(t, tc.away+time.Minute, 1, func(_ context.Context, key string) (time.Duration, error) {
					if time.Now().Before(back) || never(key) {
						if time.Now().Before(back) {
							vain++
						}
						return 0, errDown
					}
					if !done[key] {
						tooLate = max(tooLate, time.Since(back))
					}
					done[key] = true
					return 0, nil
				}, keys...)
				t.Logf("all were done %s after the server answered; %d requests were in vain", tooLate, vain)
				if len(done) != len(keys)-tc.forever || tooLate > tc.most || vain > tc.requests {
					t.Errorf("%d are done, the last after %s (at most %s); %d requests were in vain (at most %d)", len(done), tooLate, tc.most, vain, tc.requests)
				}
			})
		})
	}
}

// TestRunDoesNotStartOverForOthers has one key fail for ever, while others are answered all the time: it keeps its pace.
func TestRunDoesNotStartOverForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		during(t, time.Hour, 2, func(_ context.Context, key string) (time.Duration, error) {
			if key == "broken" {
				tries++
				return 0, errDown
			}
			return 10 * time.Millisecond, nil
		}, "broken", "good", "better")
		// Some 150 in the first five minutes, then one in 10 s at most.
		if tries < 60 || tries > 600 {
			t.Errorf("it was tried %d times in an hour", tries)
		}
	})
}
