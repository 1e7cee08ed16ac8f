package heartbeat

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// The defaults of Config.
const (
	DefaultInterval       = 10 * time.Second
	DefaultStatusInterval = 30 * time.Second
)

// missedBeats is how many beats the lease lasts, unless Config says otherwise.
const missedBeats = 4

// Config is what an Agent needs. Of its times, 0 is the default.
type Config struct {
	// Cluster is the name under which the cluster is known upstream.
	Cluster string
	// Upstream leads to kcp, Downstream to the cluster.
	Upstream   *rest.Config
	Downstream *rest.Config
	// ProviderWorkspace holds the registry.
	ProviderWorkspace logicalcluster.Path
	// Export is the APIExport through which the syncer sees its objects; the registration's
	// status says it.
	Export string
	// Interval is the time between two heartbeats.
	Interval time.Duration
	// LeaseDuration is what the Lease says of itself: four intervals, if not set.
	LeaseDuration time.Duration
	// StatusInterval is the least time between two reports of the cluster's size.
	StatusInterval time.Duration
	// SelfRegister has the registration made when there is none, with Location, Labels and
	// AllowedNamespaces. Once it is there, only people change those.
	SelfRegister      bool
	Location          string
	Labels            map[string]string
	AllowedNamespaces []string
	// OnRule is told the registration's rule, nil for none: by Claim before it
	// returns, then by Run whenever it changes.
	OnRule func(*v1alpha1.TransformRule)
	// OnDenied is told, before OnRule, the namespaces that nothing may come into.
	OnDenied func(patterns []string)
	// OnAllowed is told, before OnRule, the namespaces that copies come into although tmc did
	// not make them.
	OnAllowed func(patterns []string)
	// OnExport is told, before OnRule, the APIExport through which the syncer is to see its
	// objects, as the registration's spec has it.
	OnExport func(export string)
	// Reports tells which of the namespaced resources that can be synced are
	// reported; if not set, those of the groups that Kubernetes' workloads need.
	Reports func(group, resource string) bool
}

// Agent is the registry's view of one cluster, and its cluster's of the registry.
type Agent struct {
	config   Config
	registry *registry
	// watched is the cache of the one registration, changed says that it has.
	watched cache.SharedIndexInformer
	changed chan struct{}
	lease   *lease
	cluster *cluster
	// uid is the cluster's own; Claim reads it.
	uid types.UID
	// claimed is set while the registration is this cluster's.
	claimed atomic.Bool
	// rule is what OnRule was told last, once told is set.
	rule *v1alpha1.TransformRule
	told bool
	// unread lasts while kcp does not give the registration.
	unread controller.Outage
	// invalid is what was said last of a rule that cannot be used.
	invalid string
}

// New returns an Agent that has not yet connected to anything. It fails when a
// client cannot be made from its configuration.
func New(config Config) (*Agent, error) {
	registrations, err := kcp.NewClient(config.Upstream, config.ProviderWorkspace, dynamic.NewForConfig)
	if err != nil {
		return nil, err
	}
	upstream, err := kcp.NewClient(config.Upstream, config.ProviderWorkspace, kubernetes.NewForConfig)
	if err != nil {
		return nil, err
	}
	downstream, err := kubernetes.NewForConfig(config.Downstream)
	if err != nil {
		return nil, fmt.Errorf("client for cluster %s at %s: %w", config.Cluster, config.Downstream.Host, err)
	}
	return newAgent(config, clients{
		registrations: registrations,
		upstream:      upstream,
		downstream:    downstream,
		answers:       answers(downstream.Discovery().RESTClient()),
		discover:      func(ctx context.Context) (served, error) { return discover(ctx, config.Downstream) },
	})
}

// clients are the ways to both sides; tests replace them.
type clients struct {
	// registrations and upstream lead to the provider workspace.
	registrations dynamic.Interface
	upstream      kubernetes.Interface
	downstream    kubernetes.Interface
	// answers asks the cluster whether it is ready.
	answers func(context.Context) error
	// discover asks the cluster what it is.
	discover func(context.Context) (served, error)
}

func newAgent(config Config, clients clients) (*Agent, error) {
	config = config.withDefaults()
	a := &Agent{
		config:   config,
		registry: newRegistry(clients.registrations, config.Cluster),
		changed:  make(chan struct{}, 1),
		unread:   controller.Outage{Begins: "Cannot read the cluster's registration, will try again", Ends: "Read the cluster's registration again"},
	}
	a.lease = &lease{
		client: clients.upstream.CoordinationV1().Leases(v1alpha1.HeartbeatNamespace),
		name:   config.Cluster, duration: config.LeaseDuration, now: time.Now,
	}
	var err error
	if a.cluster, err = newCluster(clients); err != nil {
		return nil, err
	}
	if a.watched, err = a.registry.informer(a.wake); err != nil {
		return nil, err
	}
	return a, nil
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.LeaseDuration == 0 {
		c.LeaseDuration = missedBeats * c.Interval
	}
	if c.StatusInterval == 0 {
		c.StatusInterval = DefaultStatusInterval
	}
	if c.OnRule == nil {
		c.OnRule = func(*v1alpha1.TransformRule) {}
	}
	if c.OnDenied == nil {
		c.OnDenied = func([]string) {}
	}
	if c.OnAllowed == nil {
		c.OnAllowed = func([]string) {}
	}
	if c.OnExport == nil {
		c.OnExport = func(string) {}
	}
	if c.Reports == nil {
		c.Reports = isOfWorkloads
	}
	return c
}

// Claimed reports whether the registration is this cluster's.
func (a *Agent) Claimed() bool { return a.claimed.Load() }

// IsRegistered reports whether there is a registration of that name. It fails when kcp
// does not say.
func (a *Agent) IsRegistered(ctx context.Context, cluster string) (bool, error) {
	registration, err := a.registry.getOf(ctx, cluster)
	return registration != nil, err
}

// Run keeps the registry informed until ctx ends, and returns when everything it
// started has ended. It takes an Agent that has claimed its cluster, and fails with
// a ClaimedError when another cluster has taken the name.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.follow(ctx) })
	for _, work := range []func(context.Context){a.watched.RunWithContext, a.cluster.run, a.beats().run, a.report} {
		group.Go(func() error { work(ctx); return nil })
	}
	return group.Wait()
}

func (a *Agent) beats() *pulse {
	return newPulse(a.config.Interval, a.Claimed, a.cluster.answers, func(ctx context.Context) error { return a.lease.renew(ctx, a.uid) })
}

// wake has the registration looked at.
func (a *Agent) wake() {
	select {
	case a.changed <- struct{}{}:
	default: // it will be, anyway
	}
}

// sleep waits, and tells whether ctx is still going on.
func sleep(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
