package revisions

import (
	"context"
	"reflect"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/hub/refusals"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/revisions"
)

const (
	// readRetry is how long a workload waits while not all of its workspace, or not all revisions, have been read.
	readRetry = time.Second
	// unservedRetry is how long a workload waits whose workspace serves no revisions: its binding has not followed the APIExport, or
	// has something else of that name.
	unservedRetry = 30 * time.Second
	// fallGrace is how long the numbers of a ReplicaSet may be too high while its roll-out is under way or pods have failed: most come
	// back sooner. settledGrace is how long they may be so when the roll-out is complete: surplus pods of a Deployment that is scaled
	// in go one after the other.
	fallGrace    = 10 * time.Second
	settledGrace = 2 * time.Second
	// firstGrace is how long the first ReplicaSet of a Deployment may wait for its roll-out to be done, so that it is written once, with
	// its numbers. There is nothing to undo to yet.
	firstGrace = 2 * time.Second
)

// upstream is what a Keeper needs of kcp: the caches of workloads, and writes to single objects.
type upstream interface {
	HasReadWorkspace(workspace logicalcluster.Name) bool
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	Live(ctx context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error)
	Create(ctx context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error)
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
	Delete(ctx context.Context, key kcp.ObjectKey, preconditions metav1.Preconditions) error
}

// caches are those of revisions.
type caches interface {
	HasReadAll(resource schema.GroupVersionResource) bool
	EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
}

// notices writes events on workloads, each once.
type notices interface {
	Warn(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, reason string, messages ...string)
}

// Config is what a Keeper needs.
type Config struct {
	// Upstream holds the caches of workloads, slimmed by revisions.Slim.
	Upstream upstream
	// Revisions holds those of revisions, with Indexers and Slim.
	Revisions caches
	// Notices tells users what kcp refuses.
	Notices notices
}

// Keeper keeps the revisions of workloads.
type Keeper struct {
	config Config
	loop   *controller.Controller[kcp.ObjectKey]
	memory *memory
	// refusals are the writes that kcp refuses.
	refusals *refusals.Refusals
	// unserved are the workspaces of which it was logged that they serve no revisions.
	unserved sync.Map
	// now is the clock, and firstGrace the constant; tests replace them.
	now        func() time.Time
	firstGrace time.Duration
}

// New returns a Keeper.
func New(config Config) *Keeper {
	k := &Keeper{config: config, now: time.Now, firstGrace: firstGrace}
	k.memory = newMemory(func() time.Time { return k.now() })
	k.refusals = refusals.New("the revisions that tmc keeps of the workload", func() time.Time { return k.now() }, k.onRefusal)
	k.loop = controller.New("revisions", k.sync)
	return k
}

// OnUpstream queues a workload that has come or changed; it is an upstream.Handler.
func (k *Keeper) OnUpstream(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if _, has := revisions.ResourceOf(key.Resource.GroupResource()); !has {
		return
	}
	if oldObj != nil && newObj != nil &&
		(revisions.DigestOf(oldObj) != revisions.DigestOf(newObj) || !protocol.Read(oldObj).SameButReports(protocol.Read(newObj))) {
		k.refusals.Changed(key)
	}
	if oldObj == nil || newObj == nil || !k.isReport(oldObj, newObj) {
		k.loop.Enqueue(key)
	}
}

// isReport reports whether a change of a workload is of reports alone, as most are.
func (k *Keeper) isReport(oldObj, newObj *unstructured.Unstructured) bool {
	return oldObj.GetGeneration() == newObj.GetGeneration() && protocol.Read(oldObj).SameButReports(protocol.Read(newObj)) &&
		reflect.DeepEqual(oldObj.Object["status"], newObj.Object["status"])
}

// Revision returns the number that a workload's annotation is to say, empty where it has none, or says so already. What writes to the
// workload in any case can write it as well.
func (k *Keeper) Revision(key kcp.ObjectKey, workload *unstructured.Unstructured) string {
	if _, has := revisions.ResourceOf(key.Resource.GroupResource()); !has || !k.hasRead() {
		return ""
	}
	plan := revisions.Evaluate(revisions.Input{Workload: workload, Revisions: k.memory.overlay(key, k.cached(key, workload)), MayCreate: true})
	return plan.Annotation
}

// OnRevision queues the workload of a revision that has changed; it is an upstream.Handler. One that nothing controls any more may be of
// any workload of its namespace.
func (k *Keeper) OnRevision(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	if newObj == nil && oldObj != nil {
		revision := revisions.Of(oldObj)
		k.memory.gone(ownerOf(key, revision), revision)
	}
	isOwned := false
	for _, obj := range []*unstructured.Unstructured{oldObj, newObj} {
		if obj == nil || revisions.Of(obj).Owner == "" {
			continue
		}
		isOwned = isOwned || obj == oldObj
		k.loop.Enqueue(ownerOf(key, revisions.Of(obj)))
	}
	if isOwned && newObj != nil && revisions.Of(newObj).Owner == "" {
		k.config.Upstream.EachIn(key.Workspace, key.Namespace, func(workload kcp.ObjectKey, _ *unstructured.Unstructured) { k.OnUpstream(workload, nil, nil) })
	}
}

// ownerOf returns the key of the workload that controls a revision.
func ownerOf(key kcp.ObjectKey, revision *revisions.Revision) kcp.ObjectKey {
	key.Resource = schema.GroupVersionResource{Group: key.Resource.Group, Version: key.Resource.Version, Resource: revision.Of.Resource}
	key.Name = revision.Of.Name
	return key
}

// Run works until ctx ends and returns when all its work has. Nothing is done before the revisions have been read: what is not seen
// yet would be made a second time.
func (k *Keeper) Run(ctx context.Context, workers int) {
	if cache.WaitForCacheSync(ctx.Done(), k.hasRead) {
		k.loop.Run(ctx, workers)
	}
}

func (k *Keeper) hasRead() bool {
	return k.config.Revisions.HasReadAll(v1alpha1.ReplicaSetsResource) && k.config.Revisions.HasReadAll(v1alpha1.ControllerRevisionsResource)
}

func (k *Keeper) sync(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	if !k.config.Upstream.HasReadWorkspace(key.Workspace) || !k.hasRead() {
		return readRetry, nil
	}
	workload := k.config.Upstream.Cached(key)
	if workload == nil || k.isEnding(key, workload) {
		k.memory.forget(key)
		k.refusals.Written(key)
		return 0, nil
	}
	if k.memory.isStale(key, workload) {
		return readRetry, nil // the event of our own write is on its way
	}
	plan, again := k.evaluate(key, workload)
	if plan.IsEmpty() {
		k.refusals.Written(key)
		return again, nil
	}
	if wait := k.refusals.Wait(key); wait > 0 {
		return wait, nil
	}
	if err := k.carryOut(ctx, key, workload, plan); err != nil {
		return k.failed(ctx, key, err)
	}
	k.refusals.Written(key)
	return again, nil
}

// failed returns when to try again what kcp has not taken, or the error where that is as for any other.
func (k *Keeper) failed(ctx context.Context, key kcp.ObjectKey, err error) (again time.Duration, _ error) {
	switch {
	case kcp.IsRefusal(err):
		return k.refusals.Refused(key, err), nil
	case kcp.IsNotServed(err):
		if _, told := k.unserved.LoadOrStore(key.Workspace, true); !told {
			klog.FromContext(ctx).Info("The workspace serves no revisions, or not yet, so none are kept there; will try again", "reason", err.Error())
		}
		return unservedRetry, nil
	default:
		return 0, err
	}
}

// evaluate returns what is to be done for a workload, and when to look again, 0 for not before the next event.
func (k *Keeper) evaluate(key kcp.ObjectKey, workload *unstructured.Unstructured) (plan revisions.Plan, again time.Duration) {
	plan = revisions.Evaluate(revisions.Input{
		Workload:  workload,
		Revisions: k.memory.overlay(key, k.cached(key, workload)),
		MayCreate: len(protocol.Read(workload).Present()) > 0,
		MayFall:   k.memory.hasFallen(key),
	})
	if again = k.memory.falls(key, plan); plan.Waits {
		again = readRetry
	}
	if wait := k.memory.untilFirst(key, plan, k.firstGrace); wait > 0 {
		plan.Create, plan.Annotation = nil, "" // together
		again = controller.Sooner(again, wait)
	}
	return plan, again
}

// isEnding reports whether a workload or its namespace is going, and the revisions with it.
func (k *Keeper) isEnding(key kcp.ObjectKey, workload *unstructured.Unstructured) bool {
	if workload.GetDeletionTimestamp() != nil && !revisions.IsLeaving(workload) {
		return true
	}
	namespace := k.config.Upstream.Cached(kcp.ObjectKey{Workspace: key.Workspace, Resource: v1alpha1.NamespacesResource, Name: key.Namespace})
	return namespace != nil && namespace.GetDeletionTimestamp() != nil
}

// onRefusal tells the user of a workload whose revisions kcp does not let us write.
func (k *Keeper) onRefusal(key kcp.ObjectKey) {
	problem, _ := k.refusals.Problem(key)
	if workload := k.config.Upstream.Cached(key); workload != nil {
		k.config.Notices.Warn(key, workload, protocol.ReasonWriteRefused, problem.Message)
	}
}
