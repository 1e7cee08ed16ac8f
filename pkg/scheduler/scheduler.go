package scheduler

import (
	"context"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/dependency"
	"github.com/kcp-tmc/tmc/pkg/inventory"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Reasons of the events on what was not heeded.
const (
	reasonBadTarget   = "InvalidTargetClusters"
	reasonNeverSynced = "NeverSynced"
)

// Config is what a Scheduler needs.
type Config struct {
	// Upstream holds the caches of all objects.
	Upstream upstream
	// Inventory says how they relate.
	Inventory *inventory.Inventory
	// Notices tells users what is wrong with their objects.
	Notices notices
	// Clusters are all that there are.
	Clusters []string
	// Default is where workloads go that name no clusters.
	Default placement.Default
}

// upstream is what the scheduler needs of kcp.
type upstream interface {
	HasReadWorkspace(workspace logicalcluster.Name) bool
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
}

// notices writes events on upstream objects, each once.
type notices interface {
	Warn(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, reason string, messages ...string)
	Forget(key kcp.ObjectKey)
}

// Scheduler places objects on clusters.
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

// Run works until ctx ends and returns when all its work has.
func (s *Scheduler) Run(ctx context.Context, workers int) { s.loop.Run(ctx, workers) }

// OnUpstream queues a changed object, and what is placed after it; it is a
// kcp.Handler.
func (s *Scheduler) OnUpstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if oldObj != nil && newObj != nil && samePlacement(oldObj, newObj) {
		return // a report, or a status
	}
	s.loop.Enqueue(key)
	if key.Resource == v1alpha1.NamespacesResource {
		// What is in it may have waited for it.
		s.config.Upstream.EachIn(key.Workspace, key.Name, func(inside kcp.ObjectKey, _ *unstructured.Unstructured) { s.loop.Enqueue(inside) })
		return
	}
	s.loop.Enqueue(namespaceOf(key))
	for _, obj := range []*unstructured.Unstructured{oldObj, newObj} {
		if obj != nil {
			s.config.Inventory.EachFollower(key, obj, s.loop.Enqueue)
		}
	}
	// What needs it may have waited for it.
	s.config.Inventory.EachDependent(key, func(dependent kcp.ObjectKey, _ *unstructured.Unstructured) { s.loop.Enqueue(dependent) })
}

func namespaceOf(key kcp.ObjectKey) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: key.Workspace, Resource: v1alpha1.NamespacesResource, Name: key.Namespace}
}

// samePlacement tells whether two states of an object are one to the scheduler:
// most changes are reports and merged statuses.
func samePlacement(oldObj, newObj *unstructured.Unstructured) bool {
	return oldObj.GetUID() == newObj.GetUID() &&
		oldObj.GetGeneration() == newObj.GetGeneration() &&
		(oldObj.GetDeletionTimestamp() == nil) == (newObj.GetDeletionTimestamp() == nil) &&
		reflect.DeepEqual(oldObj.GetFinalizers(), newObj.GetFinalizers()) &&
		reflect.DeepEqual(oldObj.GetLabels(), newObj.GetLabels()) &&
		reflect.DeepEqual(withoutReports(oldObj), withoutReports(newObj)) &&
		reflect.DeepEqual(dependency.References(oldObj), dependency.References(newObj))
}

func withoutReports(obj *unstructured.Unstructured) map[string]string {
	annotations := obj.GetAnnotations()
	for key := range annotations {
		if strings.HasPrefix(key, v1alpha1.StatusAnnotationPrefix) {
			delete(annotations, key)
		}
	}
	return annotations
}

// readRetry is how often an object is looked at of whose workspace not all has been
// read: what is not seen yet must not look as if nobody needed it.
const readRetry = time.Second

func (s *Scheduler) sync(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	if !s.config.Upstream.HasReadWorkspace(key.Workspace) {
		return readRetry, nil
	}
	upstreamObj := s.config.Upstream.Cached(key)
	if upstreamObj == nil {
		s.config.Notices.Forget(key)
		return 0, nil
	}
	if upstreamObj.GetDeletionTimestamp() != nil {
		return 0, nil // its syncers see that themselves
	}
	if key.Resource == v1alpha1.NamespacesResource {
		return 0, s.syncNamespace(ctx, key, upstreamObj)
	}
	clusters := s.place(key, upstreamObj)
	change := placement.Plan(upstreamObj, s.ready(key, upstreamObj, clusters), s.now())
	if change.IsEmpty() {
		return 0, nil
	}
	klog.FromContext(ctx).V(2).Info("Placing", "clusters", clusters)
	return 0, s.write(ctx, key, upstreamObj, change)
}

// place returns where the object is to be, and tells its user what was not heeded.
func (s *Scheduler) place(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) []string {
	decision := s.decide(upstreamObj)
	never := transform.IsNeverSynced(upstreamObj)
	s.config.Notices.Warn(key, upstreamObj, reasonBadTarget, decision.Problems...)
	switch {
	case never == "" && decision.Follows:
		return sets.List(s.leaders(key, upstreamObj, 0))
	case never == "":
		return decision.Clusters
	case len(decision.Clusters) > 0:
		s.config.Notices.Warn(key, upstreamObj, reasonNeverSynced, never)
	}
	return nil
}

func (s *Scheduler) decide(upstreamObj *unstructured.Unstructured) placement.Decision {
	isWorkload := dependency.IsWorkload(upstreamObj.GroupVersionKind().GroupKind())
	return placement.Decide(upstreamObj, isWorkload, s.config.Clusters, s.config.Default)
}

// longestChain is how far objects follow each other: a Secret follows an Ingress,
// that a Service, that a Deployment. The bound is against circles.
const longestChain = 6

// leaders returns the clusters of all that the object follows.
func (s *Scheduler) leaders(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, depth int) sets.Set[string] {
	clusters := sets.New[string]()
	if depth > longestChain {
		return clusters
	}
	s.config.Inventory.EachLeader(key, upstreamObj, func(leaderKey kcp.ObjectKey, leader *unstructured.Unstructured) {
		decision := s.decide(leader)
		clusters = clusters.Union(placement.Held(leader, decision))
		if decision.Follows && leader.GetDeletionTimestamp() == nil {
			clusters = clusters.Union(s.leaders(leaderKey, leader, depth+1))
		}
	})
	return clusters
}

// ready returns those of the clusters that the object may enter now, or is on: it
// enters one after its namespace and all that it names. The event of the last of
// them brings its next turn.
func (s *Scheduler) ready(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, clusters []string) []string {
	var before []*unstructured.Unstructured
	if namespace := s.config.Upstream.Cached(namespaceOf(key)); namespace != nil {
		before = append(before, namespace)
	}
	for _, need := range s.config.Inventory.Needs(key, upstreamObj) {
		if need.Object != nil && s.decide(need.Object).Follows && transform.IsNeverSynced(need.Object) == "" {
			before = append(before, need.Object)
		}
	}
	var ready []string
	for _, cluster := range clusters {
		if placement.IsOn(upstreamObj, cluster) || allOn(before, cluster) {
			ready = append(ready, cluster)
		}
	}
	return ready
}

// allOn tells whether the objects are on the cluster, those that are on their way
// out aside.
func allOn(objects []*unstructured.Unstructured, cluster string) bool {
	for _, obj := range objects {
		if obj.GetDeletionTimestamp() == nil && !placement.IsOn(obj, cluster) {
			return false
		}
	}
	return true
}

// syncNamespace labels a namespace for the clusters that anything in it is on, or is
// to be: their syncers see by it what its user chose for it.
func (s *Scheduler) syncNamespace(ctx context.Context, key kcp.ObjectKey, upstreamNamespace *unstructured.Unstructured) error {
	clusters := sets.New[string]()
	s.config.Upstream.EachIn(key.Workspace, key.Name, func(_ kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		decision := s.decide(upstreamObj)
		clusters = clusters.Union(placement.Held(upstreamObj, decision))
	})
	change := placement.Plan(upstreamNamespace, sets.List(clusters), s.now())
	if change.IsEmpty() {
		return nil
	}
	klog.FromContext(ctx).V(2).Info("Labelling the namespace", "clusters", sets.List(clusters))
	return s.write(ctx, key, upstreamNamespace, change)
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
