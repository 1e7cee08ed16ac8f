package syncer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/agent/syncer/explain"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

// Config is what a Syncer needs.
type Config struct {
	// Cluster is the name under which the cluster is known upstream.
	Cluster string
	// Upstream leads to kcp, Downstream to the cluster.
	Upstream   *rest.Config
	Downstream *rest.Config
	// ProviderWorkspace holds the APIExport.
	ProviderWorkspace logicalcluster.Path
	// Export is the APIExport through whose virtual workspace kcp is read and written: v1alpha1.APIExportName, the cluster's own,
	// or that of its isolation group.
	Export string
	// SingleWorkspace serves only the workspace that Upstream points at.
	SingleWorkspace bool
	// Synced reports which of the resources that kcp serves may come to the cluster. Not set, all that can be synced may.
	Synced func(schema.GroupResource) bool
	// Namespace is the one that the syncer itself runs in, empty when it is outside of the cluster. Nothing comes into it.
	Namespace string
	// Kinds are the kinds that are known.
	Kinds kinds.Kinds
	// Rule says how copies are adapted to the cluster; SetRule changes it.
	Rule v1alpha1.TransformRule
	// IsRegistered reports whether there is a cluster of that name. Without it, copies that were made under the names of clusters
	// that there are no more stay.
	IsRegistered func(ctx context.Context, cluster string) (bool, error)
	// Workers is how many keys each of the two loops works on at a time.
	Workers int
}

// kcpCaches are the caches of kcp: see upstream.Client.
type kcpCaches interface {
	Run(ctx context.Context) error
	HasSynced() bool
	HasRead(resource schema.GroupVersionResource) bool
	Resources() map[schema.GroupVersionResource]kcp.Resource
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Each(visit func(kcp.ObjectKey, *unstructured.Unstructured))
	EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
}

// kcpClient is kcp, to read, to ask and to write to.
type kcpClient interface {
	kcpCaches
	kcpServer
}

// explainer finds out why copies are not as ready as they should be: see explain.Explainer.
type explainer interface {
	Run(ctx context.Context)
	Explain(key kcp.ObjectKey, question explain.Question) (found []protocol.Cause, isKnown bool)
	IsAsked(key kcp.ObjectKey) bool
	Forget(key kcp.ObjectKey)
}

// loop takes turns of keys: see controller.Controller.
type loop[K comparable] interface {
	Enqueue(key K)
	Run(ctx context.Context, workers int)
}

// Syncer keeps one cluster in step with kcp.
type Syncer struct {
	cluster string
	workers int
	kinds   kinds.Kinds
	// settings are never nil. They are replaced under changing.
	settings atomic.Pointer[evaluate.Settings]
	changing sync.Mutex
	// hasOwnView is set when what is seen of kcp is what has a label: what is placed here, or on a cluster of the group. What has
	// not got the label (yet) is not seen.
	hasOwnView bool
	// export is Config.Export, and isAnothers is set while the registration names another one: the view may be about to end.
	export     string
	isAnothers atomic.Bool

	upstream   kcpClient
	downstream clusterServer
	caches     *caches
	memories   *memories
	waiters    *waiters
	news       *namespaceNews
	// refused are the copies that the cluster has refused.
	refused *refusedCopies
	// explainer says why copies are not ready.
	explainer explainer
	// admitting has one request at a time ask for a namespace for a workspace.
	admitting singleflight.Group
	// inherited are the namespaces, as inheritedNamespace, that are looked after for clusters that are not registered any more.
	inherited sync.Map
	// lingering are the namespaces that are not empty yet, and vacated those that have no copies and are kept for what is to leave.
	lingering, vacated *lasting
	// isRegistered is Config.IsRegistered.
	isRegistered func(ctx context.Context, cluster string) (bool, error)
	specs        loop[kcp.ObjectKey]
	statuses     loop[kcp.ObjectKey]
	// namespaces works on the cluster's namespaces, by name.
	namespaces loop[string]
	// now is the clock.
	now func() time.Time
}

// New returns a Syncer that has not yet connected to anything. It fails when a client cannot be made from its configuration.
func New(config Config) (*Syncer, error) {
	config.Export = cmp.Or(config.Export, v1alpha1.APIExportName)
	downstream, err := newCluster(config.Downstream, config.Cluster)
	if err != nil {
		return nil, err
	}
	changes := &fanout{}
	caches, err := newCaches(config, downstream.client, changes)
	if err != nil {
		return nil, err
	}
	caches.serves = downstream.serves
	kcpSide, err := upstream.New(upstream.Options{
		Config:            config.Upstream,
		SingleWorkspace:   config.SingleWorkspace,
		ProviderWorkspace: config.ProviderWorkspace,
		Export:            config.Export,
		Want:              func(r kcp.Resource) bool { return v1alpha1.IsWatched(r.GroupResource(), r.Namespaced) },
		Watching:          caches.follow,
		Selector:          v1alpha1.PlacementLabel(config.Cluster) + "=" + v1alpha1.PlacementLabelValue,
		Transform:         stripUpstream(config.Cluster),
		FieldManager:      v1alpha1.FieldManager,
	})
	if err != nil {
		return nil, err
	}
	s := newSyncer(config, kcpSide, downstream, caches)
	client, err := kubernetes.NewForConfig(config.Downstream)
	if err != nil {
		return nil, fmt.Errorf("client for cluster %s at %s: %w", config.Cluster, config.Downstream.Host, err)
	}
	s.explainer = explain.New(client, func(key kcp.ObjectKey) { s.statuses.Enqueue(key) })
	kcpSide.Handle(s.onUpstream)
	changes.onCopy, changes.onNamespace, changes.onTarget = s.onDownstream, s.onNamespace, s.onScaleTarget
	return s, nil
}

// newSyncer returns a Syncer of these parts, which is told of nothing yet.
func newSyncer(config Config, kcpSide kcpClient, downstream clusterServer, caches *caches) *Syncer {
	s := &Syncer{
		cluster: config.Cluster, kinds: config.Kinds, workers: config.Workers, isRegistered: config.IsRegistered,
		export: config.Export, hasOwnView: config.Export != v1alpha1.APIExportName,
		upstream: kcpSide, downstream: downstream, caches: caches,
		memories: newMemories(), waiters: newWaiters(), news: newNamespaceNews(), refused: newRefusedCopies(),
		lingering: newLasting(), vacated: newLasting(), now: time.Now,
	}
	s.settings.Store(&evaluate.Settings{Kinds: config.Kinds, Rule: config.Rule, Own: config.Namespace})
	s.specs = controller.New("spec", s.syncSpec)
	s.statuses = controller.New("status", s.syncStatus)
	s.namespaces = controller.New("namespace", s.syncNamespace)
	return s
}

// SetRule has copies adapted by another rule from now on, those that there are included.
func (s *Syncer) SetRule(rule v1alpha1.TransformRule) {
	s.set(func(settings *evaluate.Settings) { settings.Rule = rule })
	for _, obj := range s.caches.namespaces.informer.GetStore().List() {
		s.namespaces.Enqueue(asUnstructured(obj).GetName()) // the workspace may have no copies there that are to move
	}
}

// SetDenied has nothing come into the cluster's namespaces that match one of the patterns from now on; see transform.Matched. What
// is there stays as it is.
func (s *Syncer) SetDenied(patterns []string) {
	if !slices.Equal(s.settings.Load().Denied, patterns) {
		s.set(func(settings *evaluate.Settings) { settings.Denied = patterns })
	}
}

// SetAllowed has copies come into those of the cluster's namespaces that match one of the patterns also where tmc did not make
// them, and from now on into no other such one.
func (s *Syncer) SetAllowed(patterns []string) {
	if !slices.Equal(s.settings.Load().Allowed, patterns) {
		s.set(func(settings *evaluate.Settings) { settings.Allowed = patterns })
	}
}

// SetProvided says which objects something on the cluster makes, as protocol.ParseProvided reads them: from now on no copy waits
// for one of these to be in place.
func (s *Syncer) SetProvided(texts []string) {
	if provided := protocol.ParseProvided(texts); !slices.Equal(s.settings.Load().Provided, provided) {
		s.set(func(settings *evaluate.Settings) { settings.Provided = provided })
	}
}

// SetExport tells through which APIExport the cluster is to see its objects. While that is another one than this syncer's, which
// waits for the manifest of another join, nothing is believed to be gone because it is not seen: the view is being taken down.
func (s *Syncer) SetExport(export string) { s.isAnothers.Store(export != s.export) }

// set replaces the settings, and queues everything that is to be on the cluster.
func (s *Syncer) set(change func(*evaluate.Settings)) {
	s.changing.Lock()
	defer s.changing.Unlock()
	settings := *s.settings.Load()
	change(&settings)
	s.settings.Store(&settings)
	s.upstream.Each(func(key kcp.ObjectKey, _ *unstructured.Unstructured) { s.onUpstream(key, nil, nil) })
}

// Run syncs until ctx ends, and returns when everything it started has ended. It waits, however long it takes, until both sides
// have been read: with half a picture it would take what it does not see yet for gone.
func (s *Syncer) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.upstream.Run(ctx) })
	group.Go(func() error { return s.caches.run(ctx) })
	group.Go(func() error {
		logger := klog.FromContext(ctx)
		logger.Info("Waiting for kcp and the cluster")
		if !cache.WaitForCacheSync(ctx.Done(), s.HasSynced) {
			return nil // ended before both had answered
		}
		logger.Info("Syncing", "workers", s.workers)
		var running sync.WaitGroup
		running.Go(func() { s.specs.Run(ctx, s.workers) })
		running.Go(func() { s.statuses.Run(ctx, s.workers) })
		running.Go(func() { s.namespaces.Run(ctx, 1) })
		running.Go(func() { s.lookForHints(ctx) })
		running.Go(func() { s.explainer.Run(ctx) })
		if s.isRegistered != nil {
			running.Go(func() { s.clearAbandoned(ctx) })
		}
		running.Wait()
		return nil
	})
	return group.Wait()
}

// HasSynced reports whether both sides have been read in full.
func (s *Syncer) HasSynced() bool {
	if !s.upstream.HasSynced() {
		return false
	}
	for resource, served := range s.upstream.Resources() {
		if v1alpha1.IsSynced(resource.GroupResource(), served.Namespaced) && !s.caches.hasRead(resource) {
			return false
		}
	}
	return true
}

// How often to take a turn again whose resource has not been read yet (one that kcp has just begun to serve takes a moment), and
// whose copy does not say what it is of, for none of its events lead to the key.
const (
	readRetry = time.Second
	lostRetry = time.Second
)

// turn is what one turn of the spec loop is about.
type turn struct {
	*evaluate.Evaluation
	evaluate.Decision

	key    kcp.ObjectKey
	around evaluate.Surroundings
}

// syncSpec is a turn of the spec loop: it gathers, evaluates and acts.
func (s *Syncer) syncSpec(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	if !s.upstream.HasRead(key.Resource) || !s.caches.hasRead(key.Resource) {
		return readRetry, nil
	}
	defer s.wakeWaiters(key)
	s.heedRetry(key)
	t, err := s.evaluate(key)
	if err != nil {
		return 0, err
	}
	copies := t.copies()
	if t.Upstream == nil && len(copies) == 0 {
		s.memories.forget(key)
		s.waiters.forget(key)
		s.refused.forget(key)
		s.explainer.Forget(key)
		return 0, nil
	}
	done, err := s.act(ctx, t)
	if err != nil {
		return 0, err
	}
	s.follow(t, done)
	if done.again == 0 && slices.ContainsFunc(copies, hasLostOrigin) {
		return lostRetry, nil
	}
	return done.again, nil
}

// follow remembers what a turn has left behind, and queues the turns that follow it.
func (s *Syncer) follow(t turn, done result) {
	if t.Tolerated != nil {
		done.problems = append(done.problems, *t.Tolerated)
	}
	s.memories.update(t.key, func(m *memory) {
		m.seen, m.problems = true, done.problems
		if t.Upstream != nil {
			m.missed = time.Time{}
		}
	})
	s.statuses.Enqueue(t.key)
	if t.Settings.Rule.SeparatesWorkspaces() && len(t.copies()) > 0 && s.caches.namespace(t.Namespace) == nil {
		s.namespaces.Enqueue(t.Namespace) // it does not say yet who owns it
	}
}

func hasLostOrigin(downstreamObj *unstructured.Unstructured) bool {
	_, ok := transform.OriginOf(downstreamObj)
	return !ok
}

// evaluate returns what a turn of the key is to do, having noted for what news the key waits.
func (s *Syncer) evaluate(key kcp.ObjectKey) (turn, error) {
	for {
		e, err := evaluate.Evaluate(s.gather(key), s.memories.get(key).evaluation)
		if err != nil {
			return turn{}, err
		}
		s.memories.update(key, func(m *memory) { m.evaluation = e.Forget() })
		around := s.gatherAround(key, e)
		t := turn{Evaluation: e, Decision: e.Decide(around), key: key, around: around}
		var awaited []kcp.ObjectKey
		if e.AwaitsNamespace {
			awaited = append(awaited, namespaceKey(e.Namespace))
		}
		for _, need := range t.Awaited {
			awaited = append(awaited, keyOf(need.Input.Resource, need.Input.Origin))
		}
		if !s.waiters.note(key, awaited...) {
			return t, nil
		}
		// News that came before that was noted would be missed: read again.
	}
}

// wakeWaiters queues those who wait for a turn of the key.
func (s *Syncer) wakeWaiters(key kcp.ObjectKey) {
	for waiter := range s.waiters.take(key) {
		s.specs.Enqueue(waiter)
	}
}
