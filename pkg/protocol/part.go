package protocol

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Part is a cluster's part of a partition that is divided with the replicas. A partition is how many replicas a roll-out
// leaves as they are, such as spec.updateStrategy.rollingUpdate.partition of a StatefulSet.
type Part struct {
	// Own is how many replicas of its share the cluster leaves as they are.
	Own int64
	// Of is the partition that was divided.
	Of int64
}

// String returns the part as its annotation holds it: "1/2" is one of the two.
func (p Part) String() string { return fmt.Sprintf("%d/%d", p.Own, p.Of) }

// At returns how many replicas of its share a cluster with the part leaves as they are while the object has the partition,
// which may have changed since it was divided. Where it has become larger, the cluster leaves as many as the whole: whatever
// its new part is, it is no more, and so nothing is rolled out that is not to be. Where it has become smaller, what was
// rolled out stays so.
func (p Part) At(partition int64) int64 {
	if partition > p.Of {
		return partition
	}
	return min(p.Own, partition)
}

// Part returns the cluster's part of the partition, and whether it has one. A cluster without one, or with one that cannot be
// read, leaves as many replicas as the whole partition says. The scheduler writes anew what cannot be read.
func (o Object) Part(cluster string) (part Part, has bool) {
	value, _ := o.annotations.get(v1alpha1.PartitionAnnotation(cluster))
	own, of, _ := strings.Cut(value, "/")
	part = Part{Own: count(own), Of: count(of)}
	if part.Own < 0 || part.Of < 0 {
		return Part{}, false
	}
	return part, true
}

// count reads a number of replicas. It returns -1 for what is none.
func count(text string) int64 {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 || number > math.MaxInt32 {
		return -1
	}
	return number
}

// OwnPartition returns how many replicas of its share a cluster leaves as they are while the object has the partition: the part
// that it was given, or else the whole.
func (o Object) OwnPartition(cluster string, partition int64) int64 {
	if part, has := o.Part(cluster); has {
		return part.At(partition)
	}
	return partition
}
