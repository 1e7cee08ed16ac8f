package placement

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// partition divides the partition of an object, whose replicas are divided into the shares, so that all clusters together
// roll out spec.replicas less the partition: see holdBack. It returns the parts of those clusters that leave fewer replicas
// as they are than the whole partition, which is what holds where nothing is said; so there are none where the partition is 0,
// or takes in all replicas.
func (s *snapshot) partition(shares map[string]int64) map[string]protocol.Part {
	partition := s.kind.PartitionOf(s.Object)
	if partition == nil || *partition == 0 {
		return nil
	}
	total := int64(0)
	for _, share := range shares {
		total += min(share, math.MaxInt32)
	}
	if *partition >= total || total > math.MaxInt32 {
		return nil
	}
	holders := make([]holder, 0, len(shares))
	for cluster, share := range shares {
		holders = append(holders, holder{name: cluster, share: share, updated: share - s.writtenPart(cluster, share, *partition)})
	}
	parts := map[string]protocol.Part{}
	for _, h := range holdBack(*partition, total, holders) {
		if own := h.share - h.updated; own != *partition {
			parts[h.name] = protocol.Part{Own: own, Of: *partition}
		}
	}
	return parts
}

// writtenPart returns how many of its replicas a cluster leaves as they are as the object has it. A cluster that the object is
// not on yet leaves none: it has nothing of an earlier spec to leave.
func (s *snapshot) writtenPart(cluster string, share, partition int64) int64 {
	part, has := s.object.Part(cluster)
	switch {
	case !s.on.Has(cluster):
		return 0
	case !has:
		return min(partition, share)
	default:
		return min(part.Own, share)
	}
}

// holder is a cluster while a partition is divided. It rolls out so many of its share, and leaves the others as they are.
type holder struct {
	name           string
	share, updated int64
}

// levels are in how many steps holdBack goes from nothing to all: so many that few replicas have the same.
const levels = 1 << 30

// holdBack returns the holders so that they leave just the partition as it is, and roll out the rest of the total of their
// shares. It begins with what they leave at present, and only adds or only takes away. So a cluster takes nothing back while
// the partition becomes smaller, whatever the shares have been before.
//
// What is rolled out next is a replica of the cluster that then has rolled out the smallest part of its share, by Webster's
// method: from none or from all, that is in proportion to the shares. A largest remainder would not do: with one more to roll
// out, a cluster may get one less.
func holdBack(partition, total int64, holders []holder) []holder {
	slices.SortFunc(holders, func(a, b holder) int { return cmp.Compare(a.name, b.name) })
	wanted := total - partition
	adds := rolledOut(holders) < wanted
	at := func(level int) []holder {
		moved := slices.Clone(holders)
		for i, h := range moved {
			if due := (2*int64(level)*h.share + levels) / (2 * levels); adds == (due > h.updated) {
				moved[i].updated = due
			}
		}
		return moved
	}
	// There may be two thousand millions of replicas. All but the last few are moved at once.
	level := sort.Search(levels+1, func(level int) bool {
		sum := rolledOut(at(level))
		return sum > wanted || !adds && sum == wanted
	})
	if adds {
		level--
	}
	holders = at(level)
	for missing := wanted - rolledOut(holders); missing != 0; missing = wanted - rolledOut(holders) {
		if missing > 0 {
			holders[next(holders)].updated++
		} else {
			holders[latest(holders)].updated--
		}
	}
	return holders
}

func rolledOut(holders []holder) int64 {
	var sum int64
	for _, h := range holders {
		sum += h.updated
	}
	return sum
}

// next returns which of the holders, in their order, rolls out the next replica.
func next(holders []holder) int {
	best := -1
	for i, h := range holders {
		if h.updated < h.share && (best < 0 || h.comesBefore(h.updated, holders[best], holders[best].updated)) {
			best = i
		}
	}
	return best
}

// latest returns which of the holders has rolled out the last replica: that of which next said so, had they begun with none.
func latest(holders []holder) int {
	best := -1
	for i, h := range holders {
		if h.updated > 0 && (best < 0 || !h.comesBefore(h.updated-1, holders[best], holders[best].updated-1)) {
			best = i
		}
	}
	return best
}

// comesBefore reports whether a replica of the holder is rolled out before one of another. They are counted from 0; the middle
// of each counts, as part of the share.
func (h holder) comesBefore(replica int64, other holder, others int64) bool {
	return uint64(2*replica+1)*uint64(other.share) < uint64(2*others+1)*uint64(h.share) //nolint:gosec // neither is negative, and both fit 32 bits
}
