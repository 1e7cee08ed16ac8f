package aggregate

import (
	"slices"

	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// figures are the numbers of an object on one cluster, or of the merged status, with what they are measured by.
type figures struct {
	// wanted is how many there are to be, held how many of them a roll-out leaves as they are.
	wanted, held int64
	// counters and texts return what the status has under a name, 0 and empty for nothing.
	counters func(counter string) int64
	texts    func(field string) string
}

// figuresOf returns the figures of a cluster: none but what it lacks of one that is not heard of. Of one that is behind, nothing is
// updated, and what it is to have is the most of what its copy asks for and of what the object does.
func (m *merge) figuresOf(e protocol.Entry) figures {
	f := figures{held: m.held(e), texts: func(field string) string { return e.Report.Texts[field] }}
	if wanted := m.kind.WantedOf(m.in.Object, e.Share, e.Report); wanted != nil {
		f.wanted = clamp(*wanted)
	}
	isBehind := !e.IsUpToDate()
	if _, counted := m.kind.ReplicasOf(m.in.Object); counted && isBehind {
		f.wanted = max(f.wanted, clamp(m.share(e)))
	}
	f.counters = func(counter string) int64 {
		if isBehind && slices.Contains(m.kind.Updated, counter) {
			return 0
		}
		return clamp(e.Report.Counters[counter])
	}
	return f
}

// figures returns those of the merged status, as far as it is merged.
func (m *merge) figures() figures {
	text := func(field string) string {
		text, _ := m.status[field].(string)
		return text
	}
	return figures{wanted: m.replicas, held: m.held(protocol.Entry{}), counters: m.get, texts: text}
}

// held is how many replicas a roll-out leaves as they are on a cluster, or of the whole object.
func (m *merge) held(e protocol.Entry) int64 {
	partition := m.kind.PartitionOf(m.in.Object)
	switch {
	case e.Partition != nil:
		return *e.Partition
	case partition != nil:
		return *partition
	default:
		return 0
	}
}

// toUpdate is how many a roll-out is to update.
func (f figures) toUpdate() int64 { return max(f.wanted-f.held, 0) }

// left is how much is left to do, by what the kind counts: what is to be updated, to be available, or to go. It only compares
// clusters.
func (f figures) left(kind *kinds.Kind) int64 {
	if kind.Gap != nil {
		return f.counters(kind.Gap.Of) - f.counters(kind.Gap.Has)
	}
	var left int64
	if kind.Available != "" {
		left += max(f.wanted-f.counters(kind.Available), 0)
	}
	var updated int64
	for _, counter := range kind.Updated {
		updated = f.counters(counter)
		left += max(f.toUpdate()-updated, 0)
	}
	if len(kind.Updated) == 0 {
		updated = f.wanted
	}
	return left + max(f.counters(replicas)-updated-f.held, 0)
}
