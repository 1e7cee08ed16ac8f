package controller

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
)

// While a server does not answer, all keys that need it fail, and each would wait for up to lastRetry by itself. So one of them, the
// scout, is tried every scoutInterval. When the server answers one that has waited for so long, all others have their turns within
// startOver.
const (
	scoutInterval = 2 * time.Second
	startOver     = time.Second
	// longInterval is scoutInterval when longOutage tries were in vain: some keys fail for ever, for nobody serves what they are about.
	longInterval = 10 * time.Second
	longOutage   = 150 // some five minutes
)

// Unanswered is an error that says that no server answers for what was asked, although none was asked.
type Unanswered interface {
	error
	// Unanswered marks the error.
	Unanswered()
}

// isUnanswered reports whether an error says that a server did not answer, or that it did as one that has only just started: it denies
// everything, knows nobody, or serves nothing. A 404 that names an object is an answer.
func isUnanswered(err error) bool {
	if _, is := errors.AsType[Unanswered](err); is || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if _, is := errors.AsType[net.Error](err); is {
		return true
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code, details := status.Status().Code, status.Status().Details
	if code == http.StatusNotFound {
		return details == nil || details.Name == "" || len(details.Causes) > 0
	}
	return code >= 500 || code == http.StatusTooManyRequests || code == http.StatusUnauthorized || code == http.StatusForbidden
}

// scouts know which keys fail because a server does not answer, and which of them is the scout.
type scouts[K comparable] struct {
	mu sync.Mutex
	// waiting are the keys, each since when.
	waiting map[K]time.Time
	scout   K
	hasOne  bool
	// vain is how many tries of scouts have been in vain since one was answered.
	vain int
}

// failed takes note of a key that was not answered. It returns the key that is the scout from now on and after how long to try it;
// none when another key is it already.
func (s *scouts[K]) failed(key K) (scout K, after time.Duration, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = map[K]time.Time{}
	}
	if _, isKnown := s.waiting[key]; !isKnown {
		s.waiting[key] = time.Now()
	}
	if s.hasOne && s.scout != key {
		return scout, 0, false
	}
	if s.hasOne {
		s.vain++
	}
	for other := range s.waiting { // any but this one, which may fail for ever
		if s.scout, s.hasOne = other, true; other != key {
			break
		}
	}
	interval := scoutInterval
	if s.vain >= longOutage {
		interval = longInterval
	}
	return s.scout, wait.Jitter(interval, 0.2), true
}

// answered takes note of a key that was answered, or that failed for another reason. It returns the keys that start over, for it was
// one that had not been answered.
func (s *scouts[K]) answered(key K) []K {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, hasFailed := s.waiting[key]
	if !hasFailed {
		return nil
	}
	delete(s.waiting, key)
	if s.scout != key && time.Since(since) < scoutInterval {
		return nil
	}
	others := make([]K, 0, len(s.waiting))
	for other := range s.waiting {
		others = append(others, other)
	}
	s.waiting, s.hasOne, s.vain = nil, false, 0
	return others
}
