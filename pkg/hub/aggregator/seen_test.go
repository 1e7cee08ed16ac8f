package aggregator

import (
	"fmt"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

func TestAReportOfTheFutureIsAsOldAsItsFirstSight(t *testing.T) {
	s := newSeen()
	key := kcp.ObjectKey{Name: "web"}
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	look := func(cluster, written string, after time.Duration) time.Duration {
		return s.first(key, v1alpha1.Report{Cluster: cluster, Written: written}, begin.Add(after)).Sub(begin)
	}
	for i, want := range []struct {
		cluster, written string
		after, seen      time.Duration
	}{{"east", "2099", 0, 0}, {"east", "2099", time.Hour, 0}, {"west", "2099", time.Hour, time.Hour}, {"east", "2100", 2 * time.Hour, 2 * time.Hour}, {"east", "2100", 3 * time.Hour, 2 * time.Hour}} {
		if got := look(want.cluster, want.written, want.after); got != want.seen {
			t.Errorf("look %d: first seen after %s, want %s", i+1, got, want.seen)
		}
	}
	for i := range 10_000 {
		look("east", fmt.Sprint(3000+i), time.Duration(i))
	}
	if len(s.byKey) != 1 || len(s.byKey[key]) != 2 {
		t.Errorf("%v is remembered", s.byKey)
	}
	if s.forget(key); len(s.byKey) != 0 {
		t.Error("what is gone is remembered")
	}
}
