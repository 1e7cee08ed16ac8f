package scheduler

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

// reasonBadTarget is the reason of the events on names that were not heeded.
const reasonBadTarget = "InvalidTargetClusters"

// Config is what a Scheduler needs.
type Config struct {
	// Upstream holds the caches of all workloads.
	Upstream upstream
	// Notices tells users what is wrong with their objects.
	Notices notices
	// Clusters are all that there are.
	Clusters []string
	// Default is where workloads go that name no clusters.
	Default placement.Default
}

// upstream is what the scheduler needs of kcp.
type upstream interface {
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
}

// notices writes events on upstream objects, each once.
type notices interface {
	Warn(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, reason string, messages ...string)
	Forget(key kcp.ObjectKey)
}

// Scheduler places workloads on clusters.
type Scheduler struct {
	config Config
	loop   *controller.Controller[kcp.ObjectKey]
	// now is the clock; tests replace it.
	now func() time.Time
}

// New returns a Scheduler.
func New(config Config) *Scheduler {
	s := &Scheduler{config: config, now: time.Now}
	s.loop = controller.New("scheduler", s.sync)
	return s
}

// OnUpstream queues a changed object; it is a kcp.Handler.
func (s *Scheduler) OnUpstream(key kcp.ObjectKey, _, _ *unstructured.Unstructured) {
	s.loop.Enqueue(key)
}

// Run works until ctx ends and returns when all its work has.
func (s *Scheduler) Run(ctx context.Context, workers int) { s.loop.Run(ctx, workers) }

func (s *Scheduler) sync(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	upstreamObj := s.config.Upstream.Cached(key)
	if upstreamObj == nil {
		s.config.Notices.Forget(key)
		return 0, nil
	}
	if upstreamObj.GetDeletionTimestamp() != nil {
		return 0, nil // its syncers see that themselves
	}
	decision := placement.Decide(upstreamObj.GetAnnotations(), s.config.Clusters, s.config.Default)
	s.config.Notices.Warn(key, upstreamObj, reasonBadTarget, decision.Problems...)
	change := placement.Plan(upstreamObj, decision.Clusters, s.now())
	if change.IsEmpty() {
		return 0, nil
	}
	klog.FromContext(ctx).V(2).Info("Placing", "clusters", decision.Clusters)
	return 0, s.write(ctx, key, upstreamObj, change)
}

// write patches the labels and annotations of the change. A finalizer that a
// syncer sets meanwhile refuses it: its cluster would be forgotten too early.
func (s *Scheduler) write(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, change placement.Change) error {
	patch, err := kcp.MetadataPatch{
		Of:               upstreamObj,
		Labels:           change.Labels,
		Annotations:      change.Annotations,
		IfUnchangedSince: true,
	}.Encode()
	if err != nil {
		return err
	}
	_, err = s.config.Upstream.Patch(ctx, key, types.MergePatchType, patch)
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	return err
}
