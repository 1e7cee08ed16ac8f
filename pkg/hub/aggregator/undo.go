package aggregator

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// restoreGrace is how long the scheduler may take to put back what an undo has taken off an object.
const restoreGrace = 20 * time.Second

// untilRestored returns how long to leave an object alone that `kubectl rollout undo` has taken the reports off, and all that the
// scheduler says: the status tells of the generation before, and the reports are put back in a moment.
func (a *Aggregator) untilRestored(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) time.Duration {
	said := protocol.Read(upstreamObj)
	if !a.config.Kinds.Of(upstreamObj.GroupVersionKind().GroupKind()).LosesAnnotations() || !said.IsBare() || said.IsEnding() {
		a.seen.drop(a.seen.bare, key)
		return 0
	}
	now := a.now()
	return restoreGrace - now.Sub(a.seen.since(a.seen.bare, key, now))
}
