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

// missedHeartbeats is how many heartbeats the lease lasts, unless Config says otherwise.
const missedHeartbeats = 4

// Config is what an Agent needs. A time of 0 stands for its default.
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
	// SelfRegister has Claim create the registration when there is none, with Location, Labels
	// and AllowedNamespaces. After that, only people change those.
	SelfRegister      bool
	Location          string
	Labels            map[string]string
	AllowedNamespaces []string
	// OnRule is called with the registration's rule, nil for none: by Claim before it returns,
	// then by Run whenever the rule changes.
	OnRule func(*v1alpha1.TransformRule)
	// OnDenied is called, before OnRule, with the namespaces that nothing may come into.
	OnDenied func(patterns []string)
	// OnAllowed is called, before OnRule, with the namespaces that copies come into although
	// tmc did not make them.
	OnAllowed func(patterns []string)
	// OnProvided is called, before OnRule, with the objects that something on the cluster makes.
	OnProvided func(texts []string)
	// OnExport is called, before OnRule, with the APIExport of the registration's spec, through
	// which the syncer is to see its objects.
	OnExport func(export string)
	// Reports reports whether a namespaced resource that can be synced is reported; if not set,
	// those are that belong to the groups which Kubernetes' workloads need.
	Reports func(group, resource string) bool
}

// Agent keeps the registration of one cluster, and tells the syncer what it says.
type Agent struct {
	config       Config
	registration *registrationClient
	// watched is the cache of the registration; changed holds an element after it has changed.
	watched cache.SharedIndexInformer
	changed chan struct{}
	lease   *lease
	cluster *cluster
	// uid is the cluster's own; Claim reads it.
	uid types.UID
	// claimed is set while the registration is this cluster's.
	claimed atomic.Bool
	// rule is what OnRule was called with last, once told is set.
	rule *v1alpha1.TransformRule
	told bool
	// unread lasts while the registration cannot be read.
	unread controller.Outage
	// invalid is the error of the rule that was logged last.
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
		config:       config,
		registration: &registrationClient{clients.registrations, config.Cluster},
		changed:      make(chan struct{}, 1),
		unread:       controller.Outage{Begins: "Cannot read the cluster's registration, will try again", Ends: "Read the cluster's registration again"},
	}
	a.lease = &lease{
		client: clients.upstream.CoordinationV1().Leases(v1alpha1.HeartbeatNamespace),
		name:   config.Cluster, duration: config.LeaseDuration, now: time.Now,
	}
	var err error
	if a.cluster, err = newCluster(clients); err != nil {
		return nil, err
	}
	if a.watched, err = a.registration.informer(a.wake); err != nil {
		return nil, err
	}
	return a, nil
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.LeaseDuration == 0 {
		c.LeaseDuration = missedHeartbeats * c.Interval
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
	if c.OnProvided == nil {
		c.OnProvided = func([]string) {}
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

// IsRegistered reports whether there is a registration of that name. It fails when kcp does
// not answer that.
func (a *Agent) IsRegistered(ctx context.Context, cluster string) (bool, error) {
	registration, err := a.registration.getOf(ctx, cluster)
	return registration != nil, err
}

// Run sends heartbeats and keeps the registration's status until ctx ends, and returns when
// everything it started has ended. It is called after Claim, and fails with a ClaimedError
// when another cluster has taken the name.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.follow(ctx) })
	for _, work := range []func(context.Context){a.watched.RunWithContext, a.cluster.run, a.sender().run, a.report} {
		group.Go(func() error { work(ctx); return nil })
	}
	return group.Wait()
}

func (a *Agent) sender() *sender {
	return newSender(a.config.Interval, a.Claimed, a.cluster.answers, func(ctx context.Context) error { return a.lease.renew(ctx, a.uid) })
}

// wake has follow read the registration.
func (a *Agent) wake() {
	select {
	case a.changed <- struct{}{}:
	default: // follow will read it anyway
	}
}

// sleep waits, and reports whether ctx has not ended.
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
