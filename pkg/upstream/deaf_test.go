package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

func TestAWatchThatHearsNothingIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf := endIfSilent(watch.NewFake(), longestSilence)
		begin := time.Now()
		if event, open := <-deaf.ResultChan(); open || time.Since(begin) != longestSilence {
			t.Errorf("got %v, open: %v, after %s; want the end after %s", event, open, time.Since(begin), longestSilence)
		}
	})
}

func TestAWatchThatHasHeardSomethingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := watch.NewFake()
		hearing := endIfSilent(source, longestSilence)
		for range 2 {
			go source.Action(watch.Bookmark, nil)
			if event := <-hearing.ResultChan(); event.Type != watch.Bookmark {
				t.Errorf("got %v, want what was sent", event)
			}
			time.Sleep(2 * longestSilence)
		}
		hearing.Stop()
		if event, open := <-hearing.ResultChan(); open {
			t.Errorf("got %v after the end", event)
		}
	})
}
