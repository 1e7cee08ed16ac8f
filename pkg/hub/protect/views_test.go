package protect

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// TestProtectorKeepsBeforeAnythingIsPlaced has the scheduler ask for a view, place something, and the workspace end at any moment.
func TestProtectorKeepsBeforeAnythingIsPlaced(t *testing.T) {
	exports := []string{"cluster-east"}
	keep := func(t *testing.T, f *fake, isKept, isSoon bool) {
		t.Helper()
		if kept, soon := f.protector.Keep(workspace, exports); kept.Equal(sets.New(exports...)) != isKept || soon != isSoon {
			t.Errorf("kept: %v, soon: %t, want %t, %t", kept, soon, isKept, isSoon)
		}
	}
	t.Run("what is asked for is kept", func(t *testing.T) {
		f := newFake()
		f.step(t, "nobody has asked", "", 0)
		keep(t, f, false, true)
		f.now = f.now.Add(patience)
		keep(t, f, false, false)
		f.step(t, "it is asked for", "tmc.kcp.io +, east +", 0)
		keep(t, f, true, false)
		f.step(t, "at rest", "", 0)
		f.goAway("east")
		f.step(t, "it goes unused", "east -", 0)
	})
	t.Run("what goes is not kept any more", func(t *testing.T) {
		f := newFake()
		f.goAway("east")
		keep(t, f, false, true)
		f.step(t, "it goes already", "", 0)
		if done, may := f.protector.Place(workspace, exports); may || done != nil {
			t.Error("something may be placed through a binding that goes")
		}
	})
	t.Run("what goes while something is being placed stays", func(t *testing.T) {
		f := newFake()
		keep(t, f, false, true)
		f.step(t, "it is asked for", "tmc.kcp.io +, east +", 0)
		done, may := f.protector.Place(workspace, exports)
		if !may {
			t.Fatal("it may not be placed")
		}
		f.goAway("tmc.kcp.io")
		f.goAway("east")
		f.now = f.now.Add(10 * onItsWay)
		f.step(t, "the write takes long", "", retryInterval)
		done()
		f.step(t, "the caches lag", "", retryInterval)
		f.put(deploymentKey("web"), object(map[string]string{v1alpha1.PlacementLabel("east"): "sync"}, []string{v1alpha1.Finalizer("east")}))
		f.now = f.now.Add(onItsWay)
		f.step(t, "east holds it", "", retryInterval)
		f.remove(deploymentKey("web"))
		f.step(t, "east is done", "east -", retryInterval)
		for _, key := range []kcp.ObjectKey{bindingKey("east"), bindingKey("tmc.kcp.io")} {
			f.remove(key)
		}
		if f.step(t, "all is gone", "", 0); len(f.protector.workspaces) > 0 {
			t.Errorf("remembered: %v", f.protector.workspaces[workspace])
		}
	})
}
