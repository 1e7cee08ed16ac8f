package scheduler

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"
)

// keeper keeps some APIBindings.
type keeper struct {
	kept   sets.Set[string]
	isSoon bool
	asked  []string
	open   int
}

func (k *keeper) Keep(_ logicalcluster.Name, exports []string) (sets.Set[string], bool) {
	k.asked = exports
	return k.kept.Intersection(sets.New(exports...)), k.isSoon
}

func (k *keeper) Place(_ logicalcluster.Name, exports []string) (func(), bool) {
	if !k.kept.HasAll(exports...) {
		return nil, false
	}
	k.open++
	return func() { k.open-- }, true
}

// TestSyncEntersAClusterWhenItsBindingIsKept has the bindings of two isolated clusters come to be kept, one after the other.
func TestSyncEntersAClusterWhenItsBindingIsKept(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, web)
	s := f.scheduler(fleet{"east", "west"})
	views := &keeper{kept: sets.New[string](), isSoon: true}
	s.config.Views = views
	entered := func(when string, want ...string) {
		t.Helper()
		s.OnWorkspace("ws")
		f.settleWith(t, s)
		for _, name := range []string{"web", "settings"} {
			if got := f.on(name); !slices.Equal(got, want) {
				t.Errorf("%s, %s is on %v, want %v", when, name, got, want)
			}
		}
		if views.open != 0 {
			t.Errorf("%s, %d writes have no end", when, views.open)
		}
	}
	entered("while none is kept")
	if !slices.Equal(views.asked, []string{"cluster-east", "cluster-west"}) {
		t.Errorf("it asked to keep %v", views.asked)
	}
	views.kept.Insert("cluster-west")
	entered("while east's is about to be kept")
	if slices.Contains(f.written, "web") || slices.Contains(f.written, "settings") {
		t.Errorf("it wrote %v before", f.written)
	}
	views.isSoon = false
	entered("when east's takes long", "west")
	views.kept.Insert("cluster-east")
	entered("when both are kept", "east", "west")
	views.kept.Delete("cluster-west")
	entered("when one has lost its finalizer", "east", "west")
}

// TestSyncWritesNothingThroughABindingThatIsLetGoOf has a binding go after it was asked about.
func TestSyncWritesNothingThroughABindingThatIsLetGoOf(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, web)
	s := f.scheduler(fleet{"east"})
	s.config.Views = &fickle{}
	s.OnWorkspace("ws")
	f.settleWith(t, s)
	if got := f.on("settings"); len(got) > 0 {
		t.Errorf("settings is on %v", got)
	}
}

// fickle says that bindings are kept, and lets go of them at once.
type fickle struct{ keeper }

func (f *fickle) Keep(_ logicalcluster.Name, exports []string) (sets.Set[string], bool) {
	return sets.New(exports...), false
}
