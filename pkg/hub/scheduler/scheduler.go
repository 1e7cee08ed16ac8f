package scheduler

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Reasons of events: on what was not heeded, and on what was done.
const (
	reasonBadTarget    = "InvalidTargetClusters"
	reasonBadPlacement = "PlacementNotHeeded"
	reasonNeverSynced  = "NeverSynced"
	reasonPlaced       = "Placed"
	reasonUnsatisfied  = "PlacementUnsatisfied"
	reasonLeftOut      = "ClusterLeftOut"
)

// Config is what a Scheduler needs.
type Config struct {
	// Upstream holds the caches of all objects.
	Upstream upstream
	// Inventory says how they relate.
	Inventory *inventory.Inventory
	// Notices tells users what is wrong with their objects.
	Notices notices
	// Registry knows the clusters.
	Registry registry
	// Paths knows the paths of workspaces.
	Paths paths
	// Bindings know what workspaces have bound.
	Bindings bindings
	// Kinds are the kinds that are known.
	Kinds kinds.Kinds
	// TenantType is the path of the WorkspaceType whose workspaces have all clusters bound.
	TenantType string
	// Default is where workloads go that nothing else places.
	Default placement.Default
	// FailoverAfter is how long a cluster may be silent before what can go elsewhere
	// does.
	FailoverAfter time.Duration
}

// registry is what the scheduler needs of the registry of clusters.
type registry interface {
	Clusters() []placement.Cluster
	// Cluster returns the zero value for one that is not registered.
	Cluster(name string) placement.Cluster
}

// bindings say why what is placed in a workspace would not be seen through an APIExport,
// empty when it would.
type bindings interface {
	LeftOut(workspace logicalcluster.Name, export string, resource schema.GroupResource) v1alpha1.LeftOut
}

// paths is what the scheduler needs to know of workspaces.
type paths interface {
	Path(workspace logicalcluster.Name) (path string, known bool)
	Ask(workspace logicalcluster.Name)
}

// upstream is what the scheduler needs of kcp.
type upstream interface {
	HasReadWorkspace(workspace logicalcluster.Name) bool
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Each(visit func(kcp.ObjectKey, *unstructured.Unstructured))
	EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	EachInWorkspace(workspace logicalcluster.Name, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
}

// notices writes events on upstream objects, each once.
type notices interface {
	Warn(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, reason string, messages ...string)
	Tell(upstreamObj *unstructured.Unstructured, reason, message string)
	Forget(key kcp.ObjectKey)
}

// Scheduler places objects on clusters.
type Scheduler struct {
	config Config
	loop   *controller.Controller[kcp.ObjectKey]
	// statuses works on the status of WorkloadPlacements.
	statuses *controller.Controller[kcp.ObjectKey]
	load     *load
	// written says when the status of a placement was last written.
	written sync.Map
	// now is the clock; tests replace it.
	now func() time.Time

	// mu makes decisions follow each other.
	mu      sync.Mutex
	decided map[kcp.ObjectKey]decided
}

// New returns a Scheduler.
func New(config Config) *Scheduler {
	s := &Scheduler{config: config, load: newLoad(), now: time.Now, decided: map[kcp.ObjectKey]decided{}}
	s.loop = controller.New("scheduler", s.sync)
	s.statuses = controller.New("placement", s.syncStatus)
	return s
}

// Run works until ctx ends and returns when all its work has.
func (s *Scheduler) Run(ctx context.Context, workers int) {
	var running sync.WaitGroup
	running.Go(func() { s.loop.Run(ctx, workers) })
	running.Go(func() { s.statuses.Run(ctx, 1) })
	running.Wait()
}

// OnCluster has everything decided again: a cluster came, went or changed.
func (s *Scheduler) OnCluster(string) {
	s.config.Upstream.Each(func(key kcp.ObjectKey, _ *unstructured.Unstructured) {
		if isPlaceable(key) {
			s.loop.Enqueue(key)
		}
	})
}

// isPlaceable reports whether objects of a key's resource are placed: placements and
// bindings are looked at, and stay where they are.
func isPlaceable(key kcp.ObjectKey) bool {
	return v1alpha1.IsWatched(key.Resource.GroupResource(), key.Namespace != "")
}

// OnUpstream queues a changed object, and what is placed after it; it is a
// upstream.Handler.
func (s *Scheduler) OnUpstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	switch {
	case !isPlaceable(key):
		s.onOther(key, oldObj, newObj)
		return
	case oldObj != nil && newObj != nil && samePlacement(s.config.Kinds, oldObj, newObj):
		if s.isMoving(key) {
			s.loop.Enqueue(key) // it may be available by now where it goes
		}
		return // a report, or a status
	case newObj == nil:
		s.forget(key)
	}
	s.loop.Enqueue(key)
	if key.Resource == v1alpha1.NamespacesResource {
		// What is in it may have waited for it.
		s.config.Upstream.EachIn(key.Workspace, key.Name, func(inside kcp.ObjectKey, _ *unstructured.Unstructured) { s.loop.Enqueue(inside) })
		return
	}
	for _, obj := range []*unstructured.Unstructured{oldObj, newObj} {
		if obj != nil {
			s.queueFollowers(key, obj)
			s.queueStatus(key, obj)
		}
	}
	// What needs it may have waited for it.
	s.config.Inventory.EachDependent(key, func(dependent kcp.ObjectKey, _ *unstructured.Unstructured) { s.loop.Enqueue(dependent) })
}

// queueFollowers queues what goes where an object goes.
func (s *Scheduler) queueFollowers(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
	s.loop.Enqueue(namespaceOf(key))
	s.config.Inventory.EachFollower(key, upstreamObj, s.loop.Enqueue)
}

// onOther queues what a change of a placement concerns.
func (s *Scheduler) onOther(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if key.Resource.GroupResource() != v1alpha1.WorkloadPlacementsResource.GroupResource() {
		return
	}
	s.statuses.Enqueue(key)
	if oldObj != nil && newObj != nil && oldObj.GetGeneration() == newObj.GetGeneration() &&
		(oldObj.GetDeletionTimestamp() == nil) == (newObj.GetDeletionTimestamp() == nil) {
		return // its status
	}
	s.config.Upstream.EachIn(key.Workspace, key.Namespace, func(inside kcp.ObjectKey, _ *unstructured.Unstructured) {
		if isPlaceable(inside) {
			s.loop.Enqueue(inside)
		}
	})
}

// OnWorkspace has everything in a workspace decided again: its path has become known, or
// it has bound other APIExports.
func (s *Scheduler) OnWorkspace(workspace logicalcluster.Name) {
	s.config.Upstream.EachInWorkspace(workspace, func(key kcp.ObjectKey, _ *unstructured.Unstructured) {
		if isPlaceable(key) {
			s.loop.Enqueue(key)
		}
	})
}

func namespaceOf(key kcp.ObjectKey) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: key.Workspace, Resource: v1alpha1.NamespacesResource, Name: key.Namespace}
}

// samePlacement reports whether two states of an object are one to the scheduler:
// most changes are reports and merged statuses.
func samePlacement(known kinds.Kinds, oldObj, newObj *unstructured.Unstructured) bool {
	return oldObj.GetUID() == newObj.GetUID() &&
		oldObj.GetGeneration() == newObj.GetGeneration() &&
		(oldObj.GetDeletionTimestamp() == nil) == (newObj.GetDeletionTimestamp() == nil) &&
		reflect.DeepEqual(oldObj.GetFinalizers(), newObj.GetFinalizers()) &&
		reflect.DeepEqual(oldObj.GetLabels(), newObj.GetLabels()) &&
		reflect.DeepEqual(withoutReports(oldObj), withoutReports(newObj)) &&
		reflect.DeepEqual(known.Needs(oldObj), known.Needs(newObj))
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
	if !s.config.Upstream.HasReadWorkspace(key.Workspace) || !s.knowsWorkspace(key.Workspace) {
		return readRetry, nil
	}
	upstreamObj := s.config.Upstream.Cached(key)
	if upstreamObj == nil {
		s.config.Notices.Forget(key)
		s.forget(key) // a turn may have decided about it while it went
		return 0, nil
	}
	if !isPlaceable(key) {
		return 0, nil
	}
	if upstreamObj.GetDeletionTimestamp() != nil {
		return 0, s.seeOff(ctx, key, upstreamObj)
	}
	if key.Resource == v1alpha1.NamespacesResource {
		return 0, s.syncNamespace(ctx, key, upstreamObj)
	}
	decision := s.place(key, upstreamObj)
	change := placement.Plan(upstreamObj, decision, s.ready(key, upstreamObj, decision.Clusters), s.groupsOf, s.now())
	if change.IsEmpty() {
		return decision.Again, nil
	}
	klog.FromContext(ctx).V(2).Info("Placing", "clusters", decision.Clusters, "by", decision.By)
	if err := s.write(ctx, key, upstreamObj, change, placement.Holders(upstreamObj, change, s.isReady)); err != nil {
		return 0, err
	}
	s.tell(upstreamObj, decision, change)
	s.tellLeftOut(upstreamObj, change)
	return decision.Again, nil
}

// seeOff has the views of groups show an object that is on its way out, for their syncers
// to let go of it: they see that themselves.
func (s *Scheduler) seeOff(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) error {
	change := placement.Regroup(upstreamObj, s.groupsOf)
	if change.IsEmpty() {
		return nil
	}
	return s.write(ctx, key, upstreamObj, change, nil)
}

// groupsOf returns the isolation groups whose views show what is placed on a cluster.
func (s *Scheduler) groupsOf(cluster string) []string {
	return s.config.Registry.Cluster(cluster).Groups
}

// leftOut returns why the cluster's syncer would not see an object, empty when it would.
func (s *Scheduler) leftOut(key kcp.ObjectKey, cluster placement.Cluster) v1alpha1.LeftOut {
	return cluster.WhyLeftOut(s.config.Bindings.LeftOut(key.Workspace, cluster.Export, key.Resource.GroupResource()), key.Resource)
}

// isLeftOut reports whether an object is not on a cluster, and cannot enter it.
func (s *Scheduler) isLeftOut(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, cluster string) bool {
	return !placement.IsThere(upstreamObj, cluster) && s.leftOut(key, s.config.Registry.Cluster(cluster)) != ""
}

// knowsWorkspace reports whether it is known which clusters a workspace may use. While its
// path is not, those that are for some workspaces would look forbidden. Where all are
// for all, the path does not matter.
func (s *Scheduler) knowsWorkspace(workspace logicalcluster.Name) bool {
	isRestricted := func(cluster placement.Cluster) bool { return len(cluster.AllowedWorkspaces) > 0 }
	if _, known := s.config.Paths.Path(workspace); known || !slices.ContainsFunc(s.config.Registry.Clusters(), isRestricted) {
		return true
	}
	s.config.Paths.Ask(workspace)
	return false
}

// place returns where the object is to be, and tells its user what was not heeded.
func (s *Scheduler) place(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) placement.Decision {
	decision, isNews := s.decide(key, upstreamObj)
	if isNews {
		s.queueFollowers(key, upstreamObj)
	}
	never := transform.IsNeverSynced(upstreamObj)
	s.warn(key, upstreamObj, decision)
	switch {
	case never == "" && decision.Follows:
		clusters := sets.List(s.leaders(key, upstreamObj, 0))
		// It would be held there for ever: its syncer would never see it.
		clusters = slices.DeleteFunc(clusters, func(cluster string) bool { return s.isLeftOut(key, upstreamObj, cluster) })
		return placement.Decision{Follows: true, Clusters: clusters}
	case never == "":
		return decision
	case len(decision.Clusters) > 0:
		s.config.Notices.Warn(key, upstreamObj, reasonNeverSynced, never)
	}
	return placement.Decision{}
}

// warn tells the user of an object what was not heeded, and what cannot be had.
func (s *Scheduler) warn(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, decision placement.Decision) {
	reason := reasonBadPlacement
	if _, named := upstreamObj.GetAnnotations()[v1alpha1.TargetClustersAnnotation]; named {
		reason = reasonBadTarget
	}
	s.config.Notices.Warn(key, upstreamObj, reason, decision.Problems...)
	unsatisfied := []string{}
	if decision.Unsatisfied != "" && decision.Placement != "" {
		unsatisfied = append(unsatisfied, decision.Unsatisfied)
	}
	s.config.Notices.Warn(key, upstreamObj, reasonUnsatisfied, unsatisfied...)
}

// tell records, of what a placement has decided, which clusters the object has been sent
// to or from. (What goes everywhere by default needs no telling: an event is a write.)
func (s *Scheduler) tell(upstreamObj *unstructured.Unstructured, decision placement.Decision, change placement.Change) {
	if decision.Placement == "" || !change.MovesPlaces() {
		return
	}
	var places []string
	for _, cluster := range decision.Clusters {
		place := cluster
		if share, divided := decision.Shares[cluster]; divided {
			place += fmt.Sprintf(" (%d)", share)
		}
		places = append(places, place)
	}
	message := "placement " + decision.Placement + ": on " + strings.Join(places, ", ")
	if len(places) == 0 {
		message = "placement " + decision.Placement + ": nowhere"
	}
	s.config.Notices.Tell(upstreamObj, reasonPlaced, message)
}

// tellLeftOut records, once, which clusters an object cannot enter: when they are noted on
// it. Of those that its annotation names, a warning tells.
func (s *Scheduler) tellLeftOut(upstreamObj *unstructured.Unstructured, change placement.Change) {
	written := change.Annotations[v1alpha1.PlacementAnnotation]
	if written == nil {
		return
	}
	before := reasonOf(upstreamObj).LeftOut
	named := strings.Split(upstreamObj.GetAnnotations()[v1alpha1.TargetClustersAnnotation], ",")
	isNamed := func(cluster string) bool {
		return slices.ContainsFunc(named, func(name string) bool { return strings.TrimSpace(name) == cluster })
	}
	news := map[string]v1alpha1.LeftOut{}
	for cluster, why := range parseReason(*written).LeftOut {
		if before[cluster] != why && !isNamed(cluster) {
			news[cluster] = why
		}
	}
	for _, message := range placement.SayAllLeftOut(news, upstreamObj.GroupVersionKind().GroupKind(), s.config.TenantType) {
		s.config.Notices.Tell(upstreamObj, reasonLeftOut, message)
	}
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
		decision := s.recall(leaderKey, leader)
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
	before := map[kcp.ObjectKey]*unstructured.Unstructured{}
	for _, need := range s.config.Inventory.Needs(key, upstreamObj) {
		if need.Object != nil && s.recall(need.Key, need.Object).Follows && transform.IsNeverSynced(need.Object) == "" {
			before[need.Key] = need.Object
		}
	}
	namespace := s.config.Upstream.Cached(namespaceOf(key))
	var ready []string
	for _, cluster := range clusters {
		hasNamespace := namespace == nil || namespace.GetDeletionTimestamp() != nil || placement.IsOn(namespace, cluster)
		if placement.IsOn(upstreamObj, cluster) || hasNamespace && s.allOn(before, cluster) {
			ready = append(ready, cluster)
		}
	}
	return ready
}

// allOn reports whether the objects are on the cluster, those aside that are on their way
// out, and those that cannot go there: nobody waits for what never comes.
func (s *Scheduler) allOn(objects map[kcp.ObjectKey]*unstructured.Unstructured, cluster string) bool {
	for key, obj := range objects {
		if obj.GetDeletionTimestamp() == nil && !placement.IsOn(obj, cluster) && !s.isLeftOut(key, obj, cluster) {
			return false
		}
	}
	return true
}

// syncNamespace labels a namespace for the clusters that anything in it is on, or is
// to be: their syncers see by it what its user chose for it.
func (s *Scheduler) syncNamespace(ctx context.Context, key kcp.ObjectKey, upstreamNamespace *unstructured.Unstructured) error {
	clusters := sets.New[string]()
	s.config.Upstream.EachIn(key.Workspace, key.Name, func(inside kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		if !isPlaceable(inside) {
			return
		}
		decision := s.recall(inside, upstreamObj)
		clusters = clusters.Union(placement.Held(upstreamObj, decision))
	})
	change := placement.Plan(upstreamNamespace, placement.Decision{Follows: true, Clusters: sets.List(clusters)}, sets.List(clusters), s.groupsOf, s.now())
	if change.IsEmpty() {
		return nil
	}
	klog.FromContext(ctx).V(2).Info("Labelling the namespace", "clusters", sets.List(clusters))
	return s.write(ctx, key, upstreamNamespace, change, nil)
}

// isReady reports whether a cluster is heard of. The finalizer of one that is not is left to
// its syncer: what never got there must not wait for it.
func (s *Scheduler) isReady(cluster string) bool {
	return slices.ContainsFunc(s.config.Registry.Clusters(), func(c placement.Cluster) bool { return c.Name == cluster && c.Ready })
}

// write patches the labels and annotations of the change, and the finalizers unless they
// are nil. A finalizer that a syncer sets meanwhile refuses it: its cluster would be
// forgotten too early.
func (s *Scheduler) write(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, change placement.Change, finalizers []string) error {
	patch, err := kcp.MetadataPatch{
		Of:               upstreamObj,
		Labels:           change.Labels,
		Annotations:      change.Annotations,
		Finalizers:       finalizers,
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

// Release takes everything of a cluster off an object: the cluster will never come back
// to let go of it.
func (s *Scheduler) Release(ctx context.Context, key kcp.ObjectKey, cluster string) error {
	upstreamObj := s.config.Upstream.Cached(key)
	if upstreamObj == nil {
		return nil
	}
	change := placement.Forget(upstreamObj, cluster, s.groupsOf)
	patch, err := kcp.MetadataPatch{
		Of:          upstreamObj,
		Labels:      change.Labels,
		Annotations: change.Annotations,
		Finalizers:  without(upstreamObj.GetFinalizers(), v1alpha1.Finalizer(cluster)),
	}.Encode()
	if err != nil {
		return err
	}
	_, err = s.config.Upstream.Patch(ctx, key, types.MergePatchType, patch)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
