package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

// Config is what a Registry needs.
type Config struct {
	// KCP leads to kcp, ProviderWorkspace is where the registrations and Leases are.
	KCP               *rest.Config
	ProviderWorkspace logicalcluster.Path
	// SilentAfter is how long a cluster may send no heartbeat before it no longer counts.
	SilentAfter time.Duration
}

// Placed knows what is on clusters, and takes it off them.
type Placed interface {
	// HasSynced reports whether all of it is known.
	HasSynced() bool
	// Keys returns the objects that are placed on the cluster, or held by its syncer.
	Keys(cluster string) []kcp.ObjectKey
	// Release takes everything of the cluster off an object.
	Release(ctx context.Context, key kcp.ObjectKey, cluster string) error
}

// Registry knows the clusters.
type Registry struct {
	config        Config
	registrations dynamic.NamespaceableResourceInterface
	leases        coordinationclient.LeaseInterface
	informers     []cache.SharedIndexInformer
	// handlersSynced report of each informer whether all that was there has been handed on.
	handlersSynced []cache.InformerSynced
	handlers       []func(cluster string)
	// placed is set by Work.
	placed Placed
	// now is the clock; tests replace it.
	now func() time.Time

	// fleet is what the clusters come to, nil when one has changed since that was asked for. It is written with mu held.
	fleet atomic.Pointer[placement.Fleet]

	mu       sync.RWMutex
	clusters map[string]*cluster
	// loop is that of the present Work, nil before the first.
	loop *controller.Controller[string]
	// watchFailed is when kcp last did not let us watch registrations or Leases.
	watchFailed time.Time
}

// New returns a Registry that has not yet connected to kcp. It fails when no client can be
// made from Config.
func New(config Config) (*Registry, error) {
	dynamicClient, err := kcp.NewClient(config.KCP, config.ProviderWorkspace, dynamic.NewForConfig)
	if err != nil {
		return nil, err
	}
	client, err := kcp.NewClient(config.KCP, config.ProviderWorkspace, kubernetes.NewForConfig)
	if err != nil {
		return nil, err
	}
	return newRegistry(config, dynamicClient, client)
}

func newRegistry(config Config, dynamicClient dynamic.Interface, client kubernetes.Interface) (*Registry, error) {
	r := &Registry{
		config:        config,
		registrations: dynamicClient.Resource(v1alpha1.ClusterRegistrationsResource),
		leases:        client.CoordinationV1().Leases(v1alpha1.HeartbeatNamespace),
		now:           time.Now,
		clusters:      map[string]*cluster{},
	}
	registrations := dynamicinformer.NewDynamicSharedInformerFactory(dynamicClient, 0)
	if err := r.watch(registrations.ForResource(v1alpha1.ClusterRegistrationsResource).Informer(), r.onRegistration); err != nil {
		return nil, err
	}
	heartbeats := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(v1alpha1.HeartbeatNamespace))
	if err := r.watch(heartbeats.Coordination().V1().Leases().Informer(), r.onLease); err != nil {
		return nil, err
	}
	return r, nil
}

// Handle has the handlers told, in this order, of each cluster that came, went, or changed in
// what placing and merging read, capacity aside. It is called before Run. Handlers must not
// block.
func (r *Registry) Handle(handlers ...func(cluster string)) {
	r.handlers = append(r.handlers, handlers...)
}

func (r *Registry) notify(cluster string) {
	for _, handler := range r.handlers {
		handler(cluster)
	}
}

// watch has an informer's objects handed to handle, gone ones as nil. isListed is set
// for those that were there when watching began.
func (r *Registry) watch(informer cache.SharedIndexInformer, handle func(name string, obj any, isListed bool)) error {
	hand := func(obj any, isListed, isGone bool) {
		name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
		if err != nil {
			return // a cache holds nothing without a name
		}
		if isGone {
			obj = nil
		}
		handle(name[strings.LastIndex(name, "/")+1:], obj, isListed)
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(obj any, isInInitialList bool) { hand(obj, isInInitialList, false) },
		UpdateFunc: func(_, obj any) { hand(obj, false, false) },
		DeleteFunc: func(obj any) { hand(obj, false, true) },
	})
	if err != nil {
		return fmt.Errorf("watching the registry: %w", err)
	}
	err = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if !errors.Is(err, io.EOF) { // the regular end of a watch
			r.noteWatchFailed()
		}
		kcp.LogReadError(ctx, "the registry of clusters", r.config.ProviderWorkspace.String(), err)
	})
	if err != nil {
		return fmt.Errorf("watching the registry: %w", err)
	}
	r.informers, r.handlersSynced = append(r.informers, informer), append(r.handlersSynced, registration.HasSynced)
	return nil
}

func (r *Registry) noteWatchFailed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchFailed = r.now()
}

// Run watches until ctx ends, and returns when everything that it started has ended.
func (r *Registry) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, informer := range r.informers {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	running.Wait()
}

// HasSynced reports whether registrations and Leases have been read. Until then, a cluster
// that is not known yet looks removed.
func (r *Registry) HasSynced() bool {
	return !slices.ContainsFunc(r.handlersSynced, func(hasSynced cache.InformerSynced) bool { return !hasSynced() })
}

// Judge evaluates whether each cluster is ready. A hub that has stood by calls it before anything decides: until then it knows
// of a cluster what its registration said when it was first seen.
func (r *Registry) Judge(ctx context.Context) {
	for _, name := range r.names() {
		r.evaluate(ctx, name)
	}
}

// Work keeps the Ready conditions, and lets registrations go whose clusters are empty
// according to placed, until ctx ends. Only the hub that leads calls it, and may do so again after it has returned.
func (r *Registry) Work(ctx context.Context, placed Placed) {
	r.placed = placed
	loop := controller.New("registry", r.sync)
	r.mu.Lock()
	r.loop = loop // from now on, changes are queued
	r.mu.Unlock()
	for _, name := range r.names() {
		loop.Enqueue(name)
	}
	loop.Run(ctx, 1)
}

// names returns the names of all clusters of which anything is known.
func (r *Registry) names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.clusters))
}

// Fleet returns all clusters that are registered, as they are now. It is made once for each change: all who ask in between share it.
func (r *Registry) Fleet() *placement.Fleet {
	if fleet := r.fleet.Load(); fleet != nil {
		return fleet
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if fleet := r.fleet.Load(); fleet != nil {
		return fleet
	}
	clusters := make([]placement.Cluster, 0, len(r.clusters))
	for _, c := range r.clusters {
		if c.registration != nil {
			clusters = append(clusters, c.view())
		}
	}
	fleet := placement.NewFleet(clusters)
	r.fleet.Store(fleet)
	return fleet
}

// Cluster returns a registered cluster, the zero value of one that is not.
func (r *Registry) Cluster(name string) placement.Cluster { return r.Fleet().Cluster(name) }

// ExportsOf returns the APIExports through which the syncer of a cluster sees its objects: the
// one that its registration names and, until it runs with the manifest for that, the one that
// it says it uses. Of a cluster that is not registered there are none.
func (r *Registry) ExportsOf(name string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := r.clusters[name]
	if c == nil || c.registration == nil {
		return nil
	}
	exports := []string{c.registration.Spec.ExportFor(name)}
	if present := c.registration.Status.Export; present != "" && present != exports[0] {
		exports = append(exports, present)
	}
	return exports
}

// Silent says, for people, that a cluster sends no heartbeats, and since when; empty of one
// that does.
func (r *Registry) Silent(name string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := r.clusters[name]
	if c == nil || c.registration == nil {
		return "is not registered"
	}
	if c.readiness.status == metav1.ConditionTrue {
		return ""
	}
	return c.readiness.message
}

// onRegistration takes note of a registration, nil when it has gone.
func (r *Registry) onRegistration(name string, obj any, _ bool) {
	var registration *v1alpha1.ClusterRegistration
	if content, ok := obj.(*unstructured.Unstructured); ok {
		var err error
		if registration, err = v1alpha1.RegistrationOf(content); err != nil {
			return // its schema does not let it be
		}
	}
	r.update(name, func(c *cluster) { c.register(registration, r.now()) })
}

// onLease takes note of a heartbeat. What counts is when we see it, by our clock: the clock of
// the cluster may be wrong.
func (r *Registry) onLease(name string, obj any, isListed bool) {
	lease, _ := obj.(*coordinationv1.Lease)
	r.update(name, func(c *cluster) {
		if lease == nil || lease.Spec.RenewTime == nil {
			c.renewed = nil
			return
		}
		if c.renewed == nil || !c.renewed.Equal(lease.Spec.RenewTime) {
			c.renewed, c.heard, c.mayBeOld = lease.Spec.RenewTime, r.now(), isListed
		}
	})
}

// update changes what is known of a cluster, and tells the handlers when that matters to them.
func (r *Registry) update(name string, change func(*cluster)) {
	r.mu.Lock()
	c := r.clusters[name]
	if c == nil {
		c = &cluster{}
		r.clusters[name] = c
	}
	before := c.view()
	change(c)
	if c.registration == nil && c.renewed == nil {
		delete(r.clusters, name)
	}
	after, loop := c.view(), r.loop
	isNews := !sameForPlacement(before, after)
	if isNews || !sameCapacity(before, after) {
		r.fleet.Store(nil)
	}
	r.mu.Unlock()
	if loop != nil {
		loop.Enqueue(name)
	}
	if isNews {
		r.notify(name)
	}
}
