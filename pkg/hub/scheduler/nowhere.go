package scheduler

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// nowhere remembers the objects that nothing sends to a cluster: those that are no workloads, that nobody has placed, and
// that follow nothing which is placed. Each is told of by one event, after a while: what it belongs to may come later than it.
type nowhere struct {
	mu sync.Mutex
	// since is from when, by our clock, an object was known to go nowhere; the zero time when it has been told.
	since map[kcp.ObjectKey]time.Time
	// started is when this hub began to work. What has been there for longer than placement.NowhereAfter before was told of by
	// the last one, or by none if none ran: a restart writes nothing.
	started time.Time
}

// wait returns how long to wait until it is to be told that an object goes nowhere, 0 when never, and whether it is to be told
// now. isNew is set when it has been on a cluster until now.
func (n *nowhere) wait(key kcp.ObjectKey, created time.Time, isNew bool, now time.Time) (left time.Duration, tell bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	since, known := n.since[key]
	switch {
	case known:
	case !isNew && created.Before(n.started.Add(-placement.NowhereAfter)):
		n.since[key] = time.Time{}
	default:
		since = now
		n.since[key] = now
	}
	if since.IsZero() {
		return 0, false
	}
	if left = placement.NowhereAfter - now.Sub(since); left > 0 {
		return left, false
	}
	n.since[key] = time.Time{}
	return 0, true
}

// forget drops what is remembered of an object, and reports whether that was anything.
func (n *nowhere) forget(key kcp.ObjectKey) (known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, known = n.since[key]
	delete(n.since, key)
	return known
}

// led is what an object follows.
type led struct {
	// clusters are those of all that it follows.
	clusters sets.Set[string]
	// isPlaced is set when any of that is a workload, or was placed by somebody, be it on no cluster: that says itself why.
	isPlaced bool
}

// untilTold has it told that an object goes nowhere, and returns after how long to ask again.
func (s *Scheduler) untilTold(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, follows led) time.Duration {
	if follows.isPlaced || follows.clusters.Len() > 0 || transform.IsRecord(upstreamObj) {
		s.isSomewhere(key, upstreamObj)
		return 0
	}
	isNew := len(protocol.Read(upstreamObj).Labelled()) > 0
	left, tell := s.nowhere.wait(key, upstreamObj.GetCreationTimestamp().Time, isNew, s.now())
	switch {
	case !tell:
	case isData[upstreamObj.GroupVersionKind().GroupKind()]:
		s.config.Notices.Tell(upstreamObj, protocol.ReasonNotPlaced, placement.SayNowhere(upstreamObj))
	default:
		s.config.Notices.Warn(key, upstreamObj, protocol.ReasonNotPlaced, placement.SayNowhere(upstreamObj))
	}
	return left
}

// isData holds the kinds of which objects serve readers of kcp itself, too. That such an object goes to no cluster may be meant.
var isData = map[schema.GroupKind]bool{{Kind: "ConfigMap"}: true, {Kind: "Secret"}: true, {Kind: "ServiceAccount"}: true}

// isSomewhere notes that an object is placed, or need not be.
func (s *Scheduler) isSomewhere(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
	if s.nowhere.forget(key) {
		s.config.Notices.Warn(key, upstreamObj, protocol.ReasonNotPlaced) // should it ever go nowhere again, that is news
	}
}
