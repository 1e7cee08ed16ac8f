package aggregator

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/aggregate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/events"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/hub/refusals"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// reasonBadStrategy is the reason of the events on strategies that do not exist.
const reasonBadStrategy = "InvalidStatusStrategy"

// reasonBadCounters is the reason of the events on annotations status-counters that say nothing that there is.
const reasonBadCounters = "InvalidStatusCounters"

// placementGrace is how long the placement of a new workload may take before its status says that it is placed nowhere. It counts
// from when the hub first saw it.
const placementGrace = 2 * time.Second

// changeGrace is how long clusters may take to take up a change of an object before a condition Synced that is true becomes false:
// most do within a second, and each change would be two more writes of the status. It counts from when the hub first finds that one
// lags behind.
const changeGrace = 2 * time.Second

// nobodysGrace is how long an object that is no workload may be placed nowhere before its status says so: what names it may be
// applied after it. It counts as placementGrace does.
const nobodysGrace = 15 * time.Second

// readRetry is how long an object waits of whose workspace not all has been read: what is not seen yet is not missing.
const readRetry = time.Second

// upstream is what the aggregator needs of kcp.
type upstream interface {
	HasReadWorkspace(workspace logicalcluster.Name) bool
	Resources() map[schema.GroupVersionResource]kcp.Resource
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	EachInWorkspace(workspace logicalcluster.Name, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
	Delete(ctx context.Context, key kcp.ObjectKey, preconditions metav1.Preconditions) error
}

// notices writes events on upstream objects, each once.
type notices interface {
	Warn(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, reason string, messages ...string)
	WarnOfAll(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, found []events.Notice)
	WarnOfSpread(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, found []events.Spread, isTold bool)
	Forget(key kcp.ObjectKey)
}

// registry knows the clusters, and which of them are heard of.
type registry interface {
	Silent(cluster string) string
	// Cluster returns the zero value for one that is not registered.
	Cluster(name string) placement.Cluster
}

// bindings say why what is placed in a workspace would not be seen through an APIExport, empty when it would.
type bindings interface {
	LeftOut(workspace logicalcluster.Name, export string, resource schema.GroupResource) v1alpha1.LeftOut
}

// Config is what an Aggregator needs.
type Config struct {
	// Upstream holds the caches of all objects.
	Upstream upstream
	// Inventory says how they relate.
	Inventory *inventory.Inventory
	// Registry says which clusters count.
	Registry registry
	// Bindings know what workspaces have bound.
	Bindings bindings
	// Notices tells users what is wrong with their objects.
	Notices notices
	// Refusals are the scheduler's: the objects that kcp does not let it write to. It may be nil.
	Refusals *refusals.Refusals
	// Kinds are the kinds that are known.
	Kinds kinds.Kinds
	// Counters says whose numbers statuses show where neither the object nor its placement says so: one of the Counters constants
	// of v1alpha1, empty for the sums.
	Counters string
	// TenantType is the path of the WorkspaceType whose workspaces have all clusters bound.
	TenantType string
}

// Aggregator merges reports into the status of upstream objects, and deletes those that have ended when their time is over.
type Aggregator struct {
	config Config

	loop *controller.Controller[kcp.ObjectKey]
	seen *seen
	// refusals are the statuses that kcp refuses.
	refusals *refusals.Refusals
	// endings say since when objects with a time to live have ended.
	endings *endings
	// spoken is what was written of objects that do not run as they should.
	spoken *spoken
	// paces say when statuses are written that have changed; heard is theirs, and tests replace it.
	paces *paces
	heard func(key kcp.ObjectKey, news aggregate.News, now time.Time) (wait time.Duration)
	// now is the clock; tests replace it.
	now func() time.Time
}

// New returns an Aggregator.
func New(config Config) *Aggregator {
	a := &Aggregator{config: config, seen: newSeen(), endings: newEndings(), spoken: newSpoken(), paces: newPaces(), now: time.Now}
	a.refusals = refusals.New("the status that tmc has to write", func() time.Time { return a.now() }, a.onStatusRefusal)
	a.heard = a.paces.heard
	a.loop = controller.New("aggregator", a.sync)
	return a
}

// OnUpstream queues a changed object, and what needs it; it is an upstream.Handler.
func (a *Aggregator) OnUpstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if key.Resource.GroupResource() == v1alpha1.WorkloadPlacementsResource.GroupResource() {
		a.onPlacement(key, oldObj, newObj)
		return
	}
	if newObj != nil {
		if oldObj != nil && !protocol.Read(oldObj).SameButReports(protocol.Read(newObj)) {
			a.refusals.Changed(key)
		}
		a.loop.Enqueue(key)
	}
	if oldObj == nil || newObj == nil || !maps.Equal(oldObj.GetLabels(), newObj.GetLabels()) {
		a.config.Inventory.EachDependent(key, func(dependent kcp.ObjectKey, _ *unstructured.Unstructured) { a.loop.Enqueue(dependent) })
	}
}

// onPlacement queues what a placement that has changed may say of how reports become a status. Its own status says nothing of that.
func (a *Aggregator) onPlacement(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	isOnlyStatus := oldObj != nil && newObj != nil && oldObj.GetGeneration() == newObj.GetGeneration() &&
		(oldObj.GetDeletionTimestamp() == nil) == (newObj.GetDeletionTimestamp() == nil)
	if !isOnlyStatus {
		a.config.Upstream.EachIn(key.Workspace, key.Namespace, func(inside kcp.ObjectKey, _ *unstructured.Unstructured) { a.loop.Enqueue(inside) })
	}
}

// OnCluster queues what is on a cluster that came, went or changed.
func (a *Aggregator) OnCluster(cluster string) {
	a.config.Inventory.EachOn(cluster, func(key kcp.ObjectKey, _ *unstructured.Unstructured) { a.loop.Enqueue(key) })
}

// OnWorkspace queues what is placed in a workspace: what it has bound has changed.
func (a *Aggregator) OnWorkspace(workspace logicalcluster.Name) {
	a.config.Upstream.EachInWorkspace(workspace, func(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		if len(protocol.Read(upstreamObj).Labelled()) > 0 {
			a.loop.Enqueue(key)
		}
	})
}

// Run works until ctx ends and returns when all its work has.
func (a *Aggregator) Run(ctx context.Context, workers int) { a.loop.Run(ctx, workers) }

func (a *Aggregator) sync(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	if !a.config.Upstream.HasReadWorkspace(key.Workspace) {
		return readRetry, nil
	}
	upstreamObj := a.config.Upstream.Cached(key)
	if upstreamObj == nil {
		a.config.Notices.Forget(key)
		a.seen.forget(key)
		a.refusals.Written(key)
		a.endings.forget(key)
		a.spoken.forget(key)
		a.paces.forget(key)
		return 0, nil
	}
	if wait := a.untilRestored(key, upstreamObj); wait > 0 {
		return wait, nil
	}
	hasCauses := a.tellProblems(key, upstreamObj)
	a.config.Notices.Warn(key, upstreamObj, reasonBadProvided, a.badProvided(upstreamObj)...)
	resource := a.config.Upstream.Resources()[key.Resource]
	if !resource.HasStatus || !v1alpha1.IsSynced(resource.GroupResource(), resource.Namespaced) {
		return 0, nil
	}
	if wait := max(a.untilPlaced(key, upstreamObj), a.untilGone(key, upstreamObj)); wait > 0 {
		return wait, nil
	}
	now := a.now()
	lag := &lagging{of: a.seen, key: key, now: now}
	in := a.input(key, upstreamObj, lag)
	merged, problem := aggregate.Status(in)
	again := lag.end()
	a.config.Notices.Warn(key, upstreamObj, reasonBadStrategy, problem)
	_, problem = aggregate.CountersOf(protocol.Read(upstreamObj), in.Counters)
	a.config.Notices.Warn(key, upstreamObj, reasonBadCounters, problem)
	present, _, _ := unstructured.NestedMap(upstreamObj.Object, "status")
	isWritten := len(present) == 0 && len(merged) == 0 || apiequality.Semantic.DeepEqual(present, merged)
	a.tellCauses(key, in, hasCauses, isWritten)
	if isWritten {
		a.paces.rests(key)
		expiry, err := a.expire(ctx, key, upstreamObj)
		return controller.Sooner(again, expiry), err
	}
	if wait := a.heard(key, aggregate.NewsOf(in, merged), now); wait > 0 {
		return controller.Sooner(again, wait), nil
	}
	wait, err := a.carryOut(ctx, key, utteranceOf(in, hasCauses), upstreamObj, merged)
	return controller.Sooner(again, wait), err
}

// input is what the merged status of an object depends on.
func (a *Aggregator) input(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, lag *lagging) aggregate.Input {
	strategy, counters := a.asPlaced(key, upstreamObj)
	return aggregate.Input{
		Object:    upstreamObj,
		Kinds:     a.config.Kinds,
		Silent:    a.config.Registry.Silent,
		FirstSeen: func(report protocol.Report) time.Time { return a.seen.first(key, report, lag.now) },
		Strategy:  strategy,
		Counters:  counters,
		Problems:  slices.Concat(a.refused(key, upstreamObj), a.unseen(key, upstreamObj), a.missing(key, upstreamObj)),
		Waits:     lag.waits,
		Now:       metav1.NewTime(lag.now),
	}
}

// untilPlaced returns how long to leave an object alone that has no status and is placed nowhere: one that has just come is about to
// be placed, and a status that says otherwise would be a write for nothing.
func (a *Aggregator) untilPlaced(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) time.Duration {
	_, hasStatus := upstreamObj.Object["status"]
	if hasStatus || len(protocol.Read(upstreamObj).Labelled()) > 0 {
		a.seen.placed(key)
		return 0
	}
	grace := nobodysGrace
	if a.config.Kinds.IsWorkload(upstreamObj.GroupVersionKind().GroupKind()) {
		grace = placementGrace
	}
	now := a.now()
	return grace - now.Sub(a.seen.unplaced(key, now))
}

// endingGrace is how long the clusters of a deleted object may take to let go of it before its status says what is missing.
const endingGrace = 2 * time.Second

// untilGone returns how long to leave an object alone that its clusters are letting go of. Each takes its report with it, and a status
// that says so would be a write for nothing, which makes the next cluster's write fail.
func (a *Aggregator) untilGone(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) time.Duration {
	if !protocol.Read(upstreamObj).IsEnding() {
		return 0
	}
	now := a.now()
	return endingGrace - now.Sub(a.seen.since(a.seen.ending, key, now))
}

// asPlaced returns how the reports become a status and whose numbers that shows, as the object's placement has it: empty, and as
// the configuration has it, where that does not say so.
func (a *Aggregator) asPlaced(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) (strategy, counters string) {
	isWorkload := a.config.Kinds.IsWorkload(upstreamObj.GroupVersionKind().GroupKind())
	chosen, _, _ := placement.Of(a.config.Inventory.Placements(key.Workspace, key.Namespace), upstreamObj, isWorkload)
	if chosen == nil {
		return "", a.config.Counters
	}
	return strings.ToLower(string(chosen.Spec.StatusStrategy)), cmp.Or(chosen.Spec.StatusCounters.Annotation(), a.config.Counters)
}
