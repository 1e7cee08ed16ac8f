package syncer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// A copy that the cluster has refused is tried again after a while, and sooner when something has changed that may have been the
// reason: a quota or a limit range of its namespace, the namespace itself, or, of a Service, another Service, which may have had its
// node port. While copies are refused, the syncer lists those now and then, and looks whether anything of them has changed. It may
// list them anyway, to see whether a namespace is empty; to watch them, or admission policies, it would need more rights.

const (
	// hintInterval is how often to look for hints, and servicesEvery how often of those to look at Services, of which a cluster may
	// have thousands.
	hintInterval  = 10 * time.Second
	servicesEvery = 3
	// hintsPerRefusal is how often at most hints have a copy tried again in the time that it would be left alone without: a quota
	// changes with every pod.
	hintsPerRefusal = 4
)

var (
	quotasResource      = schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}
	limitRangesResource = schema.GroupVersionResource{Version: "v1", Resource: "limitranges"}
	servicesResource    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
)

// refusedCopy is a copy that the cluster has refused: where it is to go, whether it is a Service, before when hints do not count, and
// whether there was one.
type refusedCopy struct {
	namespace string
	isService bool
	since     time.Time
	hinted    bool
}

// refusedCopies are those that are refused at present.
type refusedCopies struct {
	mu    sync.Mutex
	byKey map[kcp.ObjectKey]refusedCopy
}

func newRefusedCopies() *refusedCopies { return &refusedCopies{byKey: map[kcp.ObjectKey]refusedCopy{}} }

func (r *refusedCopies) note(key kcp.ObjectKey, refused refusedCopy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byKey[key] = refused
}

func (r *refusedCopies) forget(key kcp.ObjectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byKey, key)
}

// hint notes that what may have kept the cluster from taking some of the copies has changed.
func (r *refusedCopies) hint(concerns func(refusedCopy) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, refused := range r.byKey {
		if concerns(refused) {
			refused.hinted = true
			r.byKey[key] = refused
		}
	}
}

// due returns the copies that there was a hint for and that may be tried again.
func (r *refusedCopies) due(now time.Time) []kcp.ObjectKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []kcp.ObjectKey
	for key, refused := range r.byKey {
		if refused.hinted && !now.Before(refused.since) {
			keys = append(keys, key)
		}
	}
	return keys
}

// places returns the namespaces of the copies, and whether a Service is among them.
func (r *refusedCopies) places() (namespaces []string, haveService bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, refused := range r.byKey {
		namespaces = append(namespaces, refused.namespace)
		haveService = haveService || refused.isService
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces), haveService
}

// hintSource is something that may be the reason of a refusal.
type hintSource struct {
	resource  schema.GroupVersionResource
	namespace string
}

// lookForHints has refused copies tried again when there is a hint that the cluster may take them now, until ctx ends.
func (s *Syncer) lookForHints(ctx context.Context) {
	ticker := time.NewTicker(hintInterval)
	defer ticker.Stop()
	seen := map[hintSource]string{}
	for round := 0; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			seen = s.lookOnce(ctx, seen, round%servicesEvery == 0)
		}
	}
}

// lookOnce looks for hints once, given what it has seen the last time, and returns what it has seen now.
func (s *Syncer) lookOnce(ctx context.Context, seen map[hintSource]string, alsoServices bool) map[hintSource]string {
	namespaces, haveService := s.refused.places()
	now := map[hintSource]string{}
	for _, namespace := range namespaces {
		s.look(ctx, hintSource{quotasResource, namespace}, seen, now)
		s.look(ctx, hintSource{limitRangesResource, namespace}, seen, now)
	}
	services := hintSource{resource: servicesResource}
	if before, known := seen[services]; haveService && alsoServices {
		s.look(ctx, services, seen, now)
	} else if haveService && known {
		now[services] = before
	}
	for _, key := range s.refused.due(s.now()) {
		s.specs.Enqueue(key)
	}
	return now
}

// look looks at one source, and takes it for a hint when it has changed.
func (s *Syncer) look(ctx context.Context, source hintSource, seen, now map[hintSource]string) {
	before, known := seen[source]
	versions, err := s.downstream.versions(ctx, source.resource, source.namespace)
	if err != nil {
		klog.FromContext(ctx).V(2).Info("The cluster does not say what has changed that it may have refused copies for", "resource", source.resource, "namespace", source.namespace, "reason", err.Error())
		versions = before
	}
	now[source] = versions
	if known && versions != before {
		s.refused.hint(func(c refusedCopy) bool {
			return c.namespace == source.namespace || source.resource == servicesResource && c.isService
		})
	}
}

// versions stands for the state of all objects of a resource in a namespace, of all namespaces when that is empty: it changes when any
// of them does. It is empty where the syncer may not list them.
func (c *cluster) versions(ctx context.Context, resource schema.GroupVersionResource, namespace string) (string, error) {
	// What the API server has in its cache is new enough.
	list, err := c.metadata.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if apierrors.IsForbidden(err) || kcp.Is404(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	versions := make([]string, 0, len(list.Items))
	for i := range list.Items {
		versions = append(versions, string(list.Items[i].UID)+"/"+list.Items[i].ResourceVersion)
	}
	slices.Sort(versions)
	sum := sha256.Sum256([]byte(strings.Join(versions, " ")))
	return hex.EncodeToString(sum[:]), nil
}

// heedRetry has an object tried anew when its user has asked for that since its last turn: what made the syncer leave it alone is
// forgotten. It does not count as news what was asked before this process has had a turn of it.
func (s *Syncer) heedRetry(key kcp.ObjectKey) {
	upstreamObj := s.upstream.Cached(key)
	if upstreamObj == nil {
		return
	}
	asked, remembered := protocol.Read(upstreamObj).Retry(), s.memories.get(key)
	if asked == remembered.retry {
		return
	}
	s.memories.update(key, func(m *memory) {
		m.retry = asked
		if m.seen {
			m.refusedHash, m.refusedFor, m.attempted = "", 0, attempt{}
			m.inTheWay, m.ineffective, m.contest = false, evaluate.Apply{}, nil
		}
	})
	if remembered.evaluation != nil {
		s.news.doubt(remembered.evaluation.Namespace)
		s.namespaces.Enqueue(remembered.evaluation.Namespace)
	}
}
