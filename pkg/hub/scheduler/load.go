package scheduler

import (
	"sync"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// load counts the workloads on each cluster, those included that are decided upon and
// not written yet.
type load struct {
	mu     sync.Mutex
	placed map[kcp.ObjectKey]sets.Set[string]
	counts map[string]int
}

func newLoad() *load {
	return &load{placed: map[kcp.ObjectKey]sets.Set[string]{}, counts: map[string]int{}}
}

// set says which clusters a workload is on; none forgets it.
func (l *load) set(key kcp.ObjectKey, clusters ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for cluster := range l.placed[key] {
		l.counts[cluster]--
	}
	delete(l.placed, key)
	if len(clusters) == 0 {
		return
	}
	l.placed[key] = sets.New(clusters...)
	for cluster := range l.placed[key] {
		l.counts[cluster]++
	}
}

// of returns how many workloads a cluster has.
func (l *load) of(cluster string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[cluster]
}
