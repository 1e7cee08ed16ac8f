package syncer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
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
	// Export is the APIExport through whose virtual workspace kcp is read and written:
	// v1alpha1.APIExportName, the cluster's own, or that of its isolation group.
	Export string
	// SingleWorkspace serves only the workspace that Upstream points at.
	SingleWorkspace bool
	// Synced tells which of the resources that kcp serves may come to the cluster: all
	// that can be synced, if not set.
	Synced func(schema.GroupResource) bool
	// Namespace is the one that the syncer itself runs in, empty when it is outside of
	// the cluster. Nothing comes into it.
	Namespace string
	// Rule says how copies are adapted to the cluster; SetRule changes it.
	Rule v1alpha1.TransformRule
	// Kinds are the kinds that are known.
	Kinds kinds.Kinds
	// IsRegistered reports whether there is a cluster of that name. Without it, copies that
	// were made under the names of clusters that there are no more stay.
	IsRegistered func(ctx context.Context, cluster string) (bool, error)
	// Workers is how many keys each of the two loops works on at a time.
	Workers int
}

// Syncer keeps one cluster in step with kcp.
type Syncer struct {
	cluster string
	workers int
	kinds   kinds.Kinds
	// rule is how copies are adapted at present; never nil.
	rule atomic.Pointer[v1alpha1.TransformRule]
	// denied are the patterns of the namespaces that nothing comes into; never nil.
	denied atomic.Pointer[[]string]
	// allowed are those of the namespaces that copies come into although tmc did not make
	// them; never nil.
	allowed atomic.Pointer[[]string]
	// hasOwnView is set when what is seen of kcp is what has a label: what is placed here, or on
	// a cluster of the group. What has not got the label (yet) is not seen.
	hasOwnView bool
	// export is Config.Export, and isAnothers tells that the registration names another one:
	// the view may be about to end.
	export     string
	isAnothers atomic.Bool
	// namespace is the syncer's own.
	namespace  string
	upstream   *upstream.Client
	downstream *downstream
	copies     *copies
	memories   *memories
	waiters    *waiters
	claims     *claims
	// entering has one request at a time take a namespace for a workspace.
	entering singleflight.Group
	// adopted are the namespaces, as keys, that are looked after for clusters that are not
	// registered any more: see abandoned.go.
	adopted sync.Map
	// lingering spaces the looks at namespaces that are not empty yet.
	lingering workqueue.TypedRateLimiter[string]
	// isRegistered is Config.IsRegistered.
	isRegistered func(ctx context.Context, cluster string) (bool, error)
	specs        *controller.Controller[kcp.ObjectKey]
	statuses     *controller.Controller[kcp.ObjectKey]
	// namespaces works on the cluster's namespaces, by name.
	namespaces *controller.Controller[string]
	// now is the clock; tests replace it.
	now func() time.Time
}

// New returns a Syncer that has not yet connected to anything. It fails when a
// client cannot be made from its configuration.
func New(config Config) (*Syncer, error) {
	s := &Syncer{
		cluster: config.Cluster, kinds: config.Kinds, namespace: config.Namespace, workers: config.Workers, isRegistered: config.IsRegistered,
		memories: newMemories(), waiters: newWaiters(), claims: newClaims(), now: time.Now,
	}
	s.export = cmp.Or(config.Export, v1alpha1.APIExportName)
	s.hasOwnView = s.export != v1alpha1.APIExportName
	s.rule.Store(&config.Rule)
	s.denied.Store(new([]string))
	s.allowed.Store(new([]string))
	s.lingering = workqueue.NewTypedItemExponentialFailureRateLimiter[string](namespaceRetry, longestRecheck)
	s.specs = controller.New("spec", s.syncSpec)
	s.statuses = controller.New("status", s.syncStatus)
	s.namespaces = controller.New("namespace", s.syncNamespace)
	var err error
	s.downstream, err = newDownstream(config.Downstream, config.Cluster)
	if err != nil {
		return nil, err
	}
	s.copies, err = newCopies(s.downstream.client, config.Cluster, config.Synced, handlers{
		onCopy: s.onDownstream, onNamespace: s.onNamespace, onTarget: s.onScaleTarget,
	})
	if err != nil {
		return nil, err
	}
	s.copies.kinds = config.Kinds
	s.upstream, err = upstream.New(upstream.Options{
		Config:            config.Upstream,
		SingleWorkspace:   config.SingleWorkspace,
		ProviderWorkspace: config.ProviderWorkspace,
		Export:            s.export,
		Want:              func(r kcp.Resource) bool { return v1alpha1.IsWatched(r.GroupResource(), r.Namespaced) },
		Watching:          s.copies.follow,
		Selector:          v1alpha1.PlacementLabel(config.Cluster) + "=" + v1alpha1.PlacementLabelValue,
		Transform:         stripUpstream(config.Cluster),
		FieldManager:      v1alpha1.FieldManager,
	})
	if err != nil {
		return nil, err
	}
	s.upstream.Handle(s.onUpstream)
	return s, nil
}

// SetRule has copies adapted by another rule from now on, those that there are
// included.
func (s *Syncer) SetRule(rule v1alpha1.TransformRule) {
	s.rule.Store(&rule)
	s.requeue()
}

// SetDenied has nothing come into the cluster's namespaces that match one of the patterns
// from now on; see transform.Matched. What is there stays as it is.
func (s *Syncer) SetDenied(patterns []string) {
	if slices.Equal(*s.denied.Swap(&patterns), patterns) {
		return
	}
	s.requeue()
}

// SetAllowed has copies come into those of the cluster's namespaces that match one of the
// patterns also where tmc did not make them, and from now on into no other such one.
func (s *Syncer) SetAllowed(patterns []string) {
	if slices.Equal(*s.allowed.Swap(&patterns), patterns) {
		return
	}
	s.requeue()
}

// SetExport tells through which APIExport the cluster is to see its objects. While that is
// another one than this syncer's, which waits for the manifest of another join, nothing is
// believed to be gone because it is not seen: the view is being taken down.
func (s *Syncer) SetExport(export string) { s.isAnothers.Store(export != s.export) }

// requeue has everything looked at anew that is to be on the cluster.
func (s *Syncer) requeue() {
	s.upstream.Each(func(key kcp.ObjectKey, _ *unstructured.Unstructured) { s.onUpstream(key, nil, nil) })
}

// Run syncs until ctx ends, and returns when everything it started has ended. It
// waits, however long it takes, until both sides have been read: with half a
// picture it would take what it does not see yet for gone.
func (s *Syncer) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.upstream.Run(ctx) })
	group.Go(func() error { return s.copies.run(ctx) })
	group.Go(func() error {
		logger := klog.FromContext(ctx)
		logger.Info("Waiting for kcp and the cluster")
		if !cache.WaitForCacheSync(ctx.Done(), s.HasSynced) {
			return nil // ended before both had answered
		}
		logger.Info("Syncing", "workers", s.workers)
		s.work(ctx)
		return nil
	})
	return group.Wait()
}

// work runs the loops until ctx ends.
func (s *Syncer) work(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { s.specs.Run(ctx, s.workers) })
	running.Go(func() { s.statuses.Run(ctx, s.workers) })
	running.Go(func() { s.namespaces.Run(ctx, 1) })
	if s.isRegistered != nil {
		running.Go(func() { s.clearAbandoned(ctx) })
	}
	running.Wait()
}

// HasSynced reports whether both sides have been read in full.
func (s *Syncer) HasSynced() bool {
	if !s.upstream.HasSynced() {
		return false
	}
	for resource, served := range s.upstream.Resources() {
		if v1alpha1.IsSynced(resource.GroupResource(), served.Namespaced) && !s.copies.hasRead(resource) {
			return false
		}
	}
	return true
}

// hasRead reports whether both sides of a resource have been read: one that kcp has
// just begun to serve takes a moment.
func (s *Syncer) hasRead(resource schema.GroupVersionResource) bool {
	return s.upstream.HasRead(resource) && s.copies.hasRead(resource)
}

// readRetry is how often a key is looked at whose resource has not been read yet.
const readRetry = time.Second

// syncSpec is a turn of the spec loop.
func (s *Syncer) syncSpec(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	if !s.hasRead(key.Resource) {
		return readRetry, nil
	}
	defer s.wakeWaiters(key)
	st, err := s.gather(key)
	if err != nil {
		return 0, err
	}
	if st.upstreamObj == nil && len(st.ours()) == 0 {
		s.memories.forget(key)
		s.waiters.forget(key)
		return 0, nil
	}
	done, err := s.act(ctx, key, st)
	if err != nil {
		return 0, err
	}
	s.memories.update(key, func(m *memory) {
		m.seen, m.problems = true, done.problems
		if st.upstreamObj != nil {
			m.missed = time.Time{}
		}
	})
	s.enqueueFollowing(key, st)
	if done.again == 0 && slices.ContainsFunc(st.ours(), hasLostOrigin) {
		return lostRetry, nil
	}
	return done.again, nil
}

// enqueueFollowing queues the turns that follow one of the spec loop: that of the status,
// and that of a namespace which does not say yet whose it is.
func (s *Syncer) enqueueFollowing(key kcp.ObjectKey, st state) {
	s.statuses.Enqueue(key)
	if st.separates && len(st.ours()) > 0 && s.copies.namespace(st.namespace) == nil {
		s.namespaces.Enqueue(st.namespace)
	}
}

// lostRetry is how often a key is looked at whose copy does not say what it is of:
// none of its events lead to the key.
const lostRetry = time.Second

func hasLostOrigin(downstreamObj *unstructured.Unstructured) bool {
	_, ok := transform.OriginOf(downstreamObj)
	return !ok
}

// wakeWaiters queues those who wait for a turn of the key.
func (s *Syncer) wakeWaiters(key kcp.ObjectKey) {
	for waiter := range s.waiters.take(key) {
		s.specs.Enqueue(waiter)
	}
}

func (s *Syncer) originOf(key kcp.ObjectKey) transform.Origin {
	return transform.Origin{
		Workspace: key.Workspace.String(),
		Namespace: key.Namespace,
		Name:      key.Name,
		Cluster:   s.cluster,
	}
}

func keyOf(resource schema.GroupVersionResource, origin transform.Origin) kcp.ObjectKey {
	return kcp.ObjectKey{
		Workspace: logicalcluster.Name(origin.Workspace),
		Resource:  resource,
		Namespace: origin.Namespace,
		Name:      origin.Name,
	}
}

// onUpstream queues what a change in kcp concerns.
func (s *Syncer) onUpstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if key.Resource == v1alpha1.NamespacesResource {
		s.namespaces.Enqueue(transform.Namespace(*s.rule.Load(), key.Workspace.String(), key.Name))
		return
	}
	if oldObj != nil && hasFinalizer(oldObj, s.cluster) && (newObj == nil || !hasFinalizer(newObj, s.cluster)) {
		// It may have been the last of its workspace in the namespace.
		s.namespaces.Enqueue(transform.Namespace(*s.rule.Load(), key.Workspace.String(), key.Namespace))
	}
	if oldObj == nil || newObj == nil || !sameForSpec(oldObj, newObj, s.cluster) {
		s.specs.Enqueue(key)
		return // whose turn queues the status
	}
	annotation := v1alpha1.StatusAnnotation(s.cluster)
	if oldObj.GetAnnotations()[annotation] != newObj.GetAnnotations()[annotation] {
		s.statuses.Enqueue(key)
	}
}

// onDownstream queues what a change on the cluster concerns. A change of status
// alone, as most are, leaves the spec alone, unless copies wait for it elsewhere.
func (s *Syncer) onDownstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if newObj == nil {
		s.onGone(key, oldObj)
	}
	if oldObj == nil || newObj == nil || !sameButStatus(oldObj, newObj) || s.hasStrays(key) {
		s.specs.Enqueue(key)
	}
	s.statuses.Enqueue(key)
}

// onGone takes note of a copy that has gone.
func (s *Syncer) onGone(key kcp.ObjectKey, oldObj *unstructured.Unstructured) {
	s.namespaces.Enqueue(oldObj.GetNamespace())
	if hasEnded(oldObj) {
		s.memories.update(key, func(m *memory) { m.final = oldObj })
	}
	if s.kinds.IsWorkload(oldObj.GroupVersionKind().GroupKind()) {
		// What it used may have been waiting for that.
		s.eachKeyIn(oldObj.GetNamespace(), s.specs.Enqueue)
	}
}

func (s *Syncer) hasStrays(key kcp.ObjectKey) bool {
	return len(s.copies.of(key.Resource, s.originOf(key))) > 1
}

// eachKeyIn calls visit with the keys of all copies in a namespace.
func (s *Syncer) eachKeyIn(namespace string, visit func(kcp.ObjectKey)) {
	s.copies.eachIn(namespace, func(resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		if origin, ok := transform.OriginOf(downstreamObj); ok && origin.Cluster == s.cluster {
			visit(keyOf(resource, origin))
		}
		return true
	})
}

// onScaleTarget queues the workload that an autoscaler has begun or ceased to scale.
func (s *Syncer) onScaleTarget(target scaleTarget) {
	s.copies.eachIn(target.namespace, func(resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		if targetOf(downstreamObj) != target {
			return true
		}
		if origin, ok := transform.OriginOf(downstreamObj); ok && origin.Cluster == s.cluster {
			s.specs.Enqueue(keyOf(resource, origin))
		}
		return false
	})
}
