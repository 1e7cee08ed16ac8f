package scheduler

import (
	"context"
	"strings"
	"sync"
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
	// Recorder tells users what is wrong with their objects.
	Recorder recorder
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

// recorder writes events on upstream objects.
type recorder interface {
	Warning(upstreamObj *unstructured.Unstructured, reason, message string)
}

// Scheduler places workloads on clusters.
type Scheduler struct {
	config Config
	loop   *controller.Controller[kcp.ObjectKey]
	// now is the clock; tests replace it.
	now func() time.Time

	mu sync.Mutex
	// told holds the problems that each object's user has been told of.
	told map[kcp.ObjectKey]string
}

// New returns a Scheduler.
func New(config Config) *Scheduler {
	s := &Scheduler{config: config, now: time.Now, told: map[kcp.ObjectKey]string{}}
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
		s.isNews(key, nil)
		return 0, nil
	}
	if upstreamObj.GetDeletionTimestamp() != nil {
		return 0, nil // its syncers see that themselves
	}
	decision := placement.Decide(upstreamObj.GetAnnotations(), s.config.Clusters, s.config.Default)
	if s.isNews(key, decision.Problems) {
		for _, problem := range decision.Problems {
			s.config.Recorder.Warning(upstreamObj, reasonBadTarget, problem)
		}
	}
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

// isNews remembers the problems of an object and tells whether its user has not
// been told of them yet.
func (s *Scheduler) isNews(key kcp.ObjectKey, problems []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := strings.Join(problems, "\n")
	news := now != "" && s.told[key] != now
	if now == "" {
		delete(s.told, key)
	} else {
		s.told[key] = now
	}
	return news
}
