package scheduler

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/hub/refusals"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/placement"
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
	// Views keep the APIBindings through which syncers see what is placed. Nil means that nothing need keep them.
	Views views
	// Kinds are the kinds that are known.
	Kinds kinds.Kinds
	// TenantType is the path of the WorkspaceType whose workspaces have all clusters bound.
	TenantType string
	// Default is where workloads go that nothing else places.
	Default placement.Default
	// Refused hears of objects whose problem among Scheduler.Refusals has changed; it may be nil.
	Refused func(key kcp.ObjectKey)
	// Revision returns the number of the revision that an object is to say that it is at, as it enters its first cluster: empty where
	// that is as it is. It may be nil.
	Revision func(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) string
	// FailoverAfter is how long a cluster may be silent before what can go elsewhere does.
	FailoverAfter time.Duration
}

// registry is what the scheduler needs of the registry of clusters.
type registry interface {
	// Fleet returns all clusters as they are now.
	Fleet() *placement.Fleet
	// Cluster returns the zero value for one that is not registered.
	Cluster(name string) placement.Cluster
}

// bindings say why what is placed in a workspace would not be seen through an APIExport, empty when it would.
type bindings interface {
	LeftOut(workspace logicalcluster.Name, export string, resource schema.GroupResource) v1alpha1.LeftOut
}

// views keep the APIBindings through which syncers see what is placed; see pkg/hub/protect.
type views interface {
	Keep(workspace logicalcluster.Name, exports []string) (areKept sets.Set[string], isSoon bool)
	Place(workspace logicalcluster.Name, exports []string) (done func(), may bool)
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
	Resources() map[schema.GroupVersionResource]kcp.Resource
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

// loop works on queued keys.
type loop interface {
	Enqueue(key kcp.ObjectKey)
	Run(ctx context.Context, workers int)
}

// Scheduler places objects on clusters.
type Scheduler struct {
	config Config
	// objects works on what is placed, statuses on the status of WorkloadPlacements.
	objects, statuses loop
	// nowhere are the objects that nothing sends to a cluster.
	nowhere nowhere
	// written says when the status of a placement was last written.
	written sync.Map
	// bares are the objects that an undo has taken the hub's annotations off.
	bares *bares
	// refusals are the writes that kcp refuses.
	refusals *refusals.Refusals
	// now is the clock; tests replace it.
	now func() time.Time

	// mu makes decisions follow each other. It guards ledger and seen.
	mu     sync.Mutex
	ledger *ledger
	// seen are the clusters as they were when OnCluster was called for them last.
	seen map[string]placement.Cluster
}

// New returns a Scheduler.
func New(config Config) *Scheduler {
	s := &Scheduler{config: config, ledger: newLedger(), seen: map[string]placement.Cluster{}, now: time.Now, bares: newBares()}
	s.refusals = refusals.New("what tmc has to write on the object for its placement", func() time.Time { return s.now() }, s.onRefusal)
	s.nowhere.since = map[kcp.ObjectKey]time.Time{}
	s.objects = controller.New("scheduler", s.sync)
	s.statuses = controller.New("placement", s.syncStatus)
	return s
}

// Run works until ctx ends and returns when all its work has.
func (s *Scheduler) Run(ctx context.Context, workers int) {
	s.nowhere.started = s.now()
	var running sync.WaitGroup
	running.Go(func() { s.objects.Run(ctx, workers) })
	running.Go(func() { s.statuses.Run(ctx, 1) })
	running.Wait()
}
