package syncer

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// memory is what the loops remember of a key between turns. All of it can be
// lost: it saves work and carries problems from one loop to the other.
type memory struct {
	// seen is set once the spec loop has looked at the key: before that there is
	// nothing to report, and a restart would report that a problem has gone.
	seen bool
	// problems are those of the last turn of the spec loop.
	problems []v1alpha1.Problem
	// settledHash and settledState name the copy that was last applied without
	// changing anything, and what it was applied onto.
	settledHash, settledState string
	// refusedHash names the copy that the cluster refused last, and refusedFor how
	// long it is left alone after that.
	refusedHash string
	refusedFor  time.Duration
	// inTheWay is set while an object that is not ours has the name of the copy.
	inTheWay bool
	// obstacle is the UID of the last object that was in the way, which the log has told of.
	obstacle types.UID
	// final is a Job's copy as it was last seen before it was removed, having run.
	final *unstructured.Unstructured
	// missed is since when kcp has answered that there is no such object, while its copy
	// is there; zero when it has not.
	missed time.Time
	// evaluation is what came of the user's override last, nil when there is none.
	evaluation *evaluation
	// reported is when the last report was written.
	reported time.Time
}

// memories holds the memory of every key, for both loops.
type memories struct {
	mu    sync.Mutex
	byKey map[kcp.ObjectKey]memory
}

func newMemories() *memories { return &memories{byKey: map[kcp.ObjectKey]memory{}} }

func (m *memories) get(key kcp.ObjectKey) memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byKey[key]
}

func (m *memories) update(key kcp.ObjectKey, change func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.byKey[key]
	change(&entry)
	m.byKey[key] = entry
}

func (m *memories) forget(key kcp.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byKey, key)
}
