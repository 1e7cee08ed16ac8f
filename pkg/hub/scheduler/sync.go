package scheduler

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// readRetry is after how long an object has its next turn when not all of its workspace has been read: what is not seen yet
// must not look as if nobody needed it.
const readRetry = time.Second

// sync takes a turn for an object.
func (s *Scheduler) sync(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	if !s.config.Upstream.HasReadWorkspace(key.Workspace) || !s.knowsWorkspace(key.Workspace) {
		return readRetry, nil
	}
	upstreamObj := s.config.Upstream.Cached(key)
	switch {
	case upstreamObj == nil:
		s.config.Notices.Forget(key)
		s.nowhere.forget(key)
		s.forget(key) // a turn may have decided about it while it went
		s.refusals.Written(key)
		return 0, nil
	case !isPlaceable(key):
		return 0, nil
	case upstreamObj.GetDeletionTimestamp() != nil:
		// Its syncers see by themselves when they have to let go of it, and the views of their groups have to show it. It enters no
		// cluster any more, and leaves none before that: nobody can hold an object that is being deleted.
		return 0, s.retire(ctx, key, upstreamObj)
	case key.Resource == v1alpha1.NamespacesResource:
		return s.syncNamespace(ctx, key, upstreamObj)
	}
	return s.move(ctx, key, upstreamObj)
}

// move writes what places an object where it is to be, or takes it from where it is not to be any more.
func (s *Scheduler) move(ctx context.Context, key kcp.ObjectKey, cached *unstructured.Unstructured) (time.Duration, error) {
	upstreamObj, regained := s.restored(key, cached)
	stays := s.staysFor(key, upstreamObj)
	decision := s.stay(upstreamObj, s.place(key, upstreamObj), stays)
	if wait := s.untilReported(key, cached, decision); wait > 0 {
		return wait, nil
	}
	viewed, again := s.viewed(key, upstreamObj, decision.Clusters)
	decision.Again = controller.Sooner(decision.Again, again)
	change := placement.Plan(upstreamObj, decision, s.ready(key, upstreamObj, viewed), s.groupsOf, s.now())
	change.StayFor(stays)
	if change.IsEmpty() && len(regained) == 0 {
		s.refusals.Written(key)
		return decision.Again, nil
	}
	s.enter(key, upstreamObj, change)
	placed, may := s.throughViews(key, change)
	if !may {
		return readRetry, nil
	}
	defer placed()
	klog.FromContext(ctx).V(2).Info("Placing", "clusters", decision.Clusters, "by", decision.By)
	if written, again, err := s.carryOut(ctx, key, change.Regaining(protocol.Read(cached), regained)); !written || err != nil {
		return again, err
	}
	s.tell(upstreamObj, decision, change)
	s.tellLeftOut(upstreamObj, change)
	return decision.Again, nil
}

// enter adds to a change what goes with entering clusters, if it has the object enter any.
func (s *Scheduler) enter(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, change *protocol.Change) {
	entered := change.Entered()
	// A syncer sets its finalizer itself where it is missing. In one write with the label, the syncers of an object need not
	// race for its list. What never got to a cluster that is silent must not wait for its syncer.
	change.Hold(slices.DeleteFunc(slices.Clone(entered), func(cluster string) bool { return !s.config.Registry.Cluster(cluster).Ready })...)
	if len(entered) > 0 && s.config.Revision != nil {
		change.SetRevision(s.config.Revision(key, upstreamObj)) // would be a write of its own
	}
}

// syncNamespace labels a namespace for the clusters that anything in it is on, or is to be: their syncers see by it what its
// user chose for it.
func (s *Scheduler) syncNamespace(ctx context.Context, key kcp.ObjectKey, upstreamNamespace *unstructured.Unstructured) (time.Duration, error) {
	s.decideAll(key, func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
		s.config.Upstream.EachIn(key.Workspace, key.Name, visit)
	})
	clusters := sets.List(s.membersOf(key).clusters)
	s.viewed(key, upstreamNamespace, clusters) // nobody holds namespaces: it is labelled while the bindings come to be kept
	change := placement.Plan(upstreamNamespace, placement.Decision{Follows: true, Clusters: clusters}, clusters, s.groupsOf, s.now())
	if !change.IsEmpty() {
		klog.FromContext(ctx).V(2).Info("Labelling the namespace", "clusters", clusters)
	}
	_, again, err := s.carryOut(ctx, key, change)
	return again, err
}

// knowsWorkspace reports whether it is known which clusters a workspace may use. While its path is not known, clusters that
// are for some workspaces would look forbidden. Where all are for all, the path does not matter.
func (s *Scheduler) knowsWorkspace(workspace logicalcluster.Name) bool {
	if _, known := s.config.Paths.Path(workspace); known || !s.config.Registry.Fleet().IsRestricted() {
		return true
	}
	s.config.Paths.Ask(workspace)
	return false
}

// groupsOf returns the isolation groups whose views show what is placed on a cluster.
func (s *Scheduler) groupsOf(cluster string) []string {
	return s.config.Registry.Cluster(cluster).Groups
}

// place returns where the object is to be, and tells its user what was ignored.
func (s *Scheduler) place(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) placement.Decision {
	decision, isNews := s.decide(key, upstreamObj)
	if isNews {
		s.enqueueFollowers(key, upstreamObj)
	}
	s.warn(key, upstreamObj, decision)
	never := transform.IsNeverSynced(upstreamObj)
	switch {
	case never == "" && decision.Follows:
		follows := s.leaders(key, upstreamObj, 0)
		if s.isNewsOf(key, follows) {
			s.enqueueFollowers(key, upstreamObj) // they go where it goes, and it may wait for them
		}
		// A cluster that is left out would hold it for ever: its syncer would never see it.
		clusters := slices.DeleteFunc(sets.List(follows.clusters), func(cluster string) bool { return s.isLeftOut(key, upstreamObj, cluster) })
		return placement.Decision{Follows: true, Clusters: clusters, Again: s.untilTold(key, upstreamObj, follows)}
	case never == "":
		s.isSomewhere(key, upstreamObj)
		return decision
	case len(decision.Clusters) > 0:
		s.config.Notices.Warn(key, upstreamObj, reasonNeverSynced, never)
	}
	return placement.Decision{}
}

// isLeftOut reports whether an object is not on a cluster, and cannot enter it.
func (s *Scheduler) isLeftOut(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, cluster string) bool {
	return !protocol.Read(upstreamObj).HasEntered(cluster) && s.leftOut(key, s.config.Registry.Cluster(cluster)) != ""
}

// longestChain is how far objects follow each other: a Secret follows an Ingress, that a Service, that a Deployment. The
// bound ends circles.
const longestChain = 6

// leaders returns what the object follows.
func (s *Scheduler) leaders(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, depth int) led {
	found := led{clusters: sets.New[string]()}
	if depth > longestChain {
		return found
	}
	further := func(leaderKey kcp.ObjectKey, leader *unstructured.Unstructured) {
		further := s.leaders(leaderKey, leader, depth+1)
		found.clusters, found.isPlaced = found.clusters.Union(further.clusters), found.isPlaced || further.isPlaced
	}
	s.decideAll(key, func(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
		s.config.Inventory.EachDependent(key, visit)
	})
	named := s.membersOf(key)
	found.clusters, found.isPlaced = named.clusters, named.isPlaced
	for _, leaderKey := range named.followers {
		if leader := s.config.Upstream.Cached(leaderKey); leader != nil && leader.GetDeletionTimestamp() == nil {
			further(leaderKey, leader)
		}
	}
	s.config.Inventory.EachFollowed(key, upstreamObj, func(leaderKey kcp.ObjectKey, leader *unstructured.Unstructured) {
		decision := s.lastDecision(leaderKey, leader)
		found.clusters = found.clusters.Union(placement.Occupied(leader, decision))
		found.isPlaced = found.isPlaced || !decision.Follows
		if decision.Follows && leader.GetDeletionTimestamp() == nil {
			further(leaderKey, leader)
		}
	})
	return found
}

// members is what the members of a group come to.
type members struct {
	clusters sets.Set[string]
	// isPlaced is set when something places any of them. followers are the others, those aside that are being deleted.
	isPlaced  bool
	followers []kcp.ObjectKey
}

// membersOf returns what the members of a group come to: those of a namespace, or those that name an object.
func (s *Scheduler) membersOf(key kcp.ObjectKey) members {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.ledger.groups[key]
	if g == nil {
		return members{clusters: sets.New[string]()}
	}
	m := members{clusters: sets.KeySet(g.clusters), isPlaced: g.led > 0}
	if key.Resource != v1alpha1.NamespacesResource {
		for r := range g.followers {
			m.followers = append(m.followers, r.key)
		}
	}
	return m
}

// ready returns those of the clusters that the object is on, or may enter now: it enters one after its namespace and all
// that it names. The event of the last of them brings its next turn.
func (s *Scheduler) ready(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, clusters []string) []string {
	object := protocol.Read(upstreamObj)
	if !slices.ContainsFunc(clusters, func(cluster string) bool { return !object.IsPlaced(cluster) }) {
		return clusters
	}
	others := append(s.config.Inventory.NeedKeys(key, upstreamObj), namespaceOf(key))
	s.waitFor(key, others)
	first := map[kcp.ObjectKey]*unstructured.Unstructured{}
	for _, need := range s.config.Inventory.Needs(key, upstreamObj) {
		if need.Object != nil && s.lastDecision(need.Key, need.Object).Follows && transform.IsNeverSynced(need.Object) == "" {
			first[need.Key] = need.Object
		}
	}
	namespace := s.config.Upstream.Cached(namespaceOf(key))
	var ready []string
	for _, cluster := range clusters {
		if object.IsPlaced(cluster) || isOpenOn(namespace, cluster) && s.allOn(first, cluster) {
			ready = append(ready, cluster)
		}
	}
	if len(ready) == len(clusters) {
		s.waitNoMore(key, others)
	}
	return ready
}

// isOpenOn reports whether objects of a namespace, nil for one that is not known, may enter the cluster. Nothing waits for a namespace
// that is being deleted.
func isOpenOn(namespace *unstructured.Unstructured, cluster string) bool {
	return namespace == nil || namespace.GetDeletionTimestamp() != nil || protocol.Read(namespace).IsPlaced(cluster)
}

// allOn reports whether the objects are on the cluster. Those that are being deleted do not count, nor those that cannot go
// there: nobody waits for what never comes.
func (s *Scheduler) allOn(objects map[kcp.ObjectKey]*unstructured.Unstructured, cluster string) bool {
	for key, obj := range objects {
		if object := protocol.Read(obj); !object.IsDeleting() && !object.IsPlaced(cluster) && !s.isLeftOut(key, obj, cluster) {
			return false
		}
	}
	return true
}

// write writes the change, if there is any. A finalizer that a syncer sets meanwhile refuses it: the hub would forget its
// cluster too early.
func (s *Scheduler) write(ctx context.Context, key kcp.ObjectKey, change *protocol.Change) error {
	change.IfUnchanged = true
	return s.patch(ctx, key, change)
}

func (s *Scheduler) patch(ctx context.Context, key kcp.ObjectKey, change *protocol.Change) error {
	if change.IsEmpty() {
		return nil
	}
	_, err := s.config.Upstream.Patch(ctx, key, types.MergePatchType, change.Patch())
	if kcp.IsMissingObject(err, key.Name) {
		return nil // deleted meanwhile
	}
	return err
}

// Release takes everything of a cluster off an object: the cluster never comes back to let go of it. It returns the errors
// of kcp but that the object is gone.
func (s *Scheduler) Release(ctx context.Context, key kcp.ObjectKey, cluster string) error {
	upstreamObj := s.config.Upstream.Cached(key)
	if upstreamObj == nil {
		return nil
	}
	return s.patch(ctx, key, placement.Forget(upstreamObj, cluster, s.groupsOf))
}
