package syncer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
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
	// SingleWorkspace serves only the workspace that Upstream points at.
	SingleWorkspace bool
	// Resources are synced.
	Resources []schema.GroupVersionResource
	// Workers is how many keys each of the two loops works on at a time.
	Workers int
}

// Syncer keeps one cluster in step with kcp.
type Syncer struct {
	cluster    string
	workers    int
	upstream   *kcp.Upstream
	downstream *downstream
	memories   *memories
	recorder   *kcp.Recorder
	specs      *controller.Controller[kcp.ObjectKey]
	statuses   *controller.Controller[kcp.ObjectKey]
	// now is the clock; tests replace it.
	now func() time.Time
}

// New returns a Syncer that has not yet connected to anything. It fails when a
// client cannot be made from its configuration.
func New(config Config) (*Syncer, error) {
	s := &Syncer{cluster: config.Cluster, workers: config.Workers, memories: newMemories(), now: time.Now}
	s.specs = controller.New("spec", s.syncSpec)
	s.statuses = controller.New("status", s.syncStatus)
	var err error
	s.upstream, err = kcp.New(kcp.Options{
		Config:            config.Upstream,
		SingleWorkspace:   config.SingleWorkspace,
		ProviderWorkspace: config.ProviderWorkspace,
		Export:            v1alpha1.APIExportName,
		Resources:         config.Resources,
		Selector:          v1alpha1.PlacementLabel(config.Cluster) + "=" + v1alpha1.PlacementLabelValue,
		Transform:         stripUpstream(config.Cluster),
		FieldManager:      v1alpha1.FieldManager,
	})
	if err != nil {
		return nil, err
	}
	s.upstream.Handle(s.onUpstream)
	s.recorder = kcp.NewRecorder(s.upstream, v1alpha1.FieldManager+"-"+config.Cluster)
	s.downstream, err = newDownstream(config.Downstream, config.Cluster, config.Resources, s.onDownstream)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Run syncs until ctx ends, and returns when everything it started has ended. It
// waits, however long it takes, until both sides have been read: with half a
// picture it would take what it does not see yet for gone.
func (s *Syncer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.recorder.Start(ctx)

	var running sync.WaitGroup
	defer running.Wait()
	failed := make(chan error, 1)
	running.Go(func() {
		defer cancel()
		failed <- s.upstream.Run(ctx)
	})
	running.Go(func() { s.downstream.run(ctx) })

	logger := klog.FromContext(ctx)
	logger.Info("Waiting for kcp and the cluster")
	if cache.WaitForCacheSync(ctx.Done(), s.HasSynced) {
		logger.Info("Syncing", "workers", s.workers)
		running.Go(func() { s.specs.Run(ctx, s.workers) })
		running.Go(func() { s.statuses.Run(ctx, s.workers) })
	}
	<-ctx.Done()
	running.Wait()
	return <-failed
}

// HasSynced tells whether both sides have been read in full.
func (s *Syncer) HasSynced() bool { return s.upstream.HasSynced() && s.downstream.hasSynced() }

// syncSpec is a turn of the spec loop.
func (s *Syncer) syncSpec(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	st, err := s.gather(key)
	if err != nil {
		return 0, err
	}
	if st.upstreamObj == nil && st.downstreamObj == nil {
		s.memories.forget(key)
		return 0, nil
	}
	done, err := s.act(ctx, key, st)
	if err != nil {
		return 0, err
	}
	s.memories.update(key, func(m *memory) { m.seen, m.problems = true, done.problems })
	s.statuses.Enqueue(key)
	return done.again, nil
}

// gather reads both sides from the caches.
func (s *Syncer) gather(key kcp.ObjectKey) (state, error) {
	st := state{origin: s.originOf(key), upstreamObj: s.upstream.Cached(key)}
	namespace, name := st.origin.Target(v1alpha1.TransformRule{})
	st.downstreamObj = s.downstream.cached(key.Resource, namespace, name)
	if st.upstreamObj == nil || !isPlaced(st.upstreamObj, s.cluster) {
		return st, nil
	}
	desired, err := transform.Desired(transform.Input{Object: st.upstreamObj, Origin: st.origin})
	if err != nil {
		return state{}, fmt.Errorf("transforming for cluster %s: %w", s.cluster, err)
	}
	st.desired = desired
	remembered := s.memories.get(key)
	st.settled = st.downstreamObj != nil &&
		remembered.settledHash == desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation] &&
		remembered.settledState == transform.Fingerprint(st.downstreamObj)
	return st, nil
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
// alone, as most are, leaves the spec alone.
func (s *Syncer) onDownstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if oldObj == nil || newObj == nil || !sameButStatus(oldObj, newObj) {
		s.specs.Enqueue(key)
	}
	s.statuses.Enqueue(key)
}
