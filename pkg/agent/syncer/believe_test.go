package syncer

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

func TestWhatAViewOfItsOwnDoesNotShowIsNotGoneAtOnce(t *testing.T) {
	begin := time.Unix(1000, 0)
	now := begin
	s := &Syncer{memories: newMemories(), hasOwnView: true, now: func() time.Time { return now }}
	key := kcp.ObjectKey{Name: "web"}
	if wait := s.untilBelieved(key, nil); wait != viewFills {
		t.Errorf("at first: %s, want %s", wait, viewFills)
	}
	now = begin.Add(time.Minute)
	if wait := s.untilBelieved(key, nil); wait != viewFills-time.Minute {
		t.Errorf("a minute later: %s, want a minute less", wait)
	}
	if wait := s.untilBelieved(kcp.ObjectKey{Name: "other"}, nil); wait != viewFills {
		t.Errorf("another one: %s, want all of it", wait)
	}
	now = begin.Add(viewFills)
	if wait := s.untilBelieved(key, nil); wait > 0 {
		t.Errorf("at last: %s, want nothing", wait)
	}

	now = begin
	if wait := s.untilBelieved(kcp.ObjectKey{Name: "released"}, &unstructured.Unstructured{}); wait > 0 {
		t.Errorf("kcp shows that the hub has let it go: %s, want nothing", wait)
	}

	s.SetExport("cluster-another")
	now = begin.Add(time.Hour)
	if wait := s.untilBelieved(key, nil); wait != recheck {
		t.Errorf("the registration names another export: %s, want %s for as long as it does", wait, recheck)
	}
	s.SetExport("")
	if wait := s.untilBelieved(key, nil); wait != viewFills {
		t.Errorf("it names this one again: %s, want %s from then", wait, viewFills)
	}
	s.hasOwnView = false
	if wait := s.untilBelieved(kcp.ObjectKey{Name: "third"}, nil); wait > 0 {
		t.Errorf("a view that shows everything: %s, want nothing", wait)
	}
}
