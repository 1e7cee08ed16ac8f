package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
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
	// SilentAfter is how long nothing may be heard of a cluster before it no longer
	// counts.
	SilentAfter time.Duration
	// Placed knows what is on clusters.
	Placed placed
	// OnChange is told of a cluster that came, went, or changed in what placement and
	// merging look at, capacity aside. It must not block.
	OnChange func(cluster string)
}

// placed knows what is on clusters, and takes it off them.
type placed interface {
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
	leases        leases
	informers     []cache.SharedIndexInformer
	// handed tells of each informer whether all that was there has been handed on.
	handed []cache.InformerSynced
	loop   *controller.Controller[string]
	// now is the clock; tests replace it.
	now func() time.Time

	mu       sync.RWMutex
	clusters map[string]*cluster
	// deaf is when kcp last did not let us watch: who cannot hear must not take that for
	// silence.
	deaf time.Time
}

// leases is what the registry does about Leases.
type leases interface {
	Delete(ctx context.Context, name string, options metav1.DeleteOptions) error
}

// cluster is what is known of one cluster.
type cluster struct {
	// registration is nil when there is none: a Lease may come first.
	registration *v1alpha1.ClusterRegistration
	// resources are those that its registration says it serves.
	resources sets.Set[string]
	// renewed is the renewTime of its Lease, nil when there is none.
	renewed *metav1.MicroTime
	// heard is when, by our clock, the Lease was seen to be renewed.
	heard time.Time
	// isDoubtful is set when that was the first look at what had been there before: it
	// may have been renewed long ago.
	isDoubtful bool
	// readiness is the verdict; silentSince is from when it was not True.
	readiness   readiness
	silentSince time.Time
	// taintedSince says, for each taint without a time, when it was first seen.
	taintedSince map[string]time.Time
}

// New returns a Registry that has not yet connected to kcp.
func New(config Config) (*Registry, error) {
	dynamicClient, err := kcp.NewClient(config.KCP, config.ProviderWorkspace, dynamic.NewForConfig)
	if err != nil {
		return nil, err
	}
	client, err := kcp.NewClient(config.KCP, config.ProviderWorkspace, kubernetes.NewForConfig)
	if err != nil {
		return nil, err
	}
	r := newRegistry(config, dynamicClient.Resource(v1alpha1.ClusterRegistrationsResource), client.CoordinationV1().Leases(v1alpha1.HeartbeatNamespace))
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

func newRegistry(config Config, registrations dynamic.NamespaceableResourceInterface, leases leases) *Registry {
	r := &Registry{config: config, registrations: registrations, leases: leases, now: time.Now, clusters: map[string]*cluster{}}
	r.loop = controller.New("registry", r.sync)
	return r
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
			r.noteDeaf()
		}
		kcp.LogReadError(ctx, "the registry of clusters", r.config.ProviderWorkspace.String(), err)
	})
	if err != nil {
		return fmt.Errorf("watching the registry: %w", err)
	}
	r.informers, r.handed = append(r.informers, informer), append(r.handed, registration.HasSynced)
	return nil
}

// noteDeaf takes note that nothing could be heard until now.
func (r *Registry) noteDeaf() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf = r.now()
}

// Run watches until ctx ends, and returns when everything that it started has ended.
func (r *Registry) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, informer := range r.informers {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	running.Wait()
}

// HasSynced reports whether the registry has been read: before, a cluster that is not known
// yet would look removed.
func (r *Registry) HasSynced() bool {
	return !slices.ContainsFunc(r.handed, func(hasSynced cache.InformerSynced) bool { return !hasSynced() })
}

// Work judges clusters and sees them off until ctx ends; one hub at a time does.
func (r *Registry) Work(ctx context.Context) {
	r.loop.Run(ctx, 1)
}

// Clusters returns all clusters that are registered, sorted by name.
func (r *Registry) Clusters() []placement.Cluster {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var clusters []placement.Cluster
	for _, c := range r.clusters {
		if c.registration != nil {
			clusters = append(clusters, c.view())
		}
	}
	slices.SortFunc(clusters, func(a, b placement.Cluster) int { return strings.Compare(a.Name, b.Name) })
	return clusters
}

// Cluster returns a registered cluster, the zero value of one that is not.
func (r *Registry) Cluster(name string) placement.Cluster {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c := r.clusters[name]; c != nil {
		return c.view()
	}
	return placement.Cluster{}
}

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

// Silent says, for people, that nothing is heard of a cluster, and since when; empty
// of one that is heard of.
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
	return c.readiness.what
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
	r.update(name, func(c *cluster) {
		if registration != nil && (c.registration == nil || c.registration.UID != registration.UID) {
			c.readiness, c.silentSince = storedReadiness(registration), silentSince(registration)
		}
		c.registration, c.resources = registration, nil
		if registration != nil {
			c.resources = sets.New(registration.Status.Resources...)
		}
		c.noteTaints(r.now())
	})
}

// onLease takes note of a heartbeat. What counts is when it is seen, by our clock: the
// clocks of clusters are their own.
func (r *Registry) onLease(name string, obj any, isListed bool) {
	lease, _ := obj.(*coordinationv1.Lease)
	r.update(name, func(c *cluster) {
		if lease == nil || lease.Spec.RenewTime == nil {
			c.renewed = nil
			return
		}
		if c.renewed == nil || !c.renewed.Equal(lease.Spec.RenewTime) {
			c.renewed, c.heard, c.isDoubtful = lease.Spec.RenewTime, r.now(), isListed
		}
	})
}

// update changes what is known of a cluster, and tells of it.
func (r *Registry) update(name string, change func(*cluster)) {
	r.mu.Lock()
	c := r.clusters[name]
	if c == nil {
		c = &cluster{taintedSince: map[string]time.Time{}}
		r.clusters[name] = c
	}
	before := c.view()
	change(c)
	if c.registration == nil && c.renewed == nil {
		delete(r.clusters, name)
	}
	isNews := !sameForPlacement(before, c.view())
	r.mu.Unlock()
	r.loop.Enqueue(name)
	if isNews {
		r.config.OnChange(name)
	}
}
