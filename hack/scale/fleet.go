package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/agent/heartbeat"
	"github.com/kcp-tmc/tmc/pkg/agent/syncer"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const (
	// workers is how many objects each syncer works on at a time.
	workers = 2
	// locations is in how many places the clusters are.
	locations = 5
	// ownerLabel is on every copy, with the name of the cluster that it is for.
	ownerLabel = "scale.example.com/cluster"
)

// clusterName returns the name of a cluster by its number.
func clusterName(i int) string { return fmt.Sprintf("c%03d", i) }

// fleet is the syncers, of which each is what tmc-syncer is.
type fleet struct {
	members []*member
	stop    context.CancelFunc
	running sync.WaitGroup
}

type member struct {
	name      string
	syncer    *syncer.Syncer
	heartbeat *heartbeat.Agent
}

// newFleet prepares the syncers; none has connected to anything yet.
func (m *measurement) newFleet(ctx context.Context) (*fleet, error) {
	nodes, err := m.nodeNames(ctx)
	if err != nil {
		return nil, err
	}
	f := &fleet{}
	for i := range m.syncers {
		name := clusterName(i)
		agent := v1alpha1.FieldManager + "/scale (cluster " + name + ")"
		upstream, err := kcp.LoadConfig(m.root, agent)
		if err != nil {
			return nil, err
		}
		downstream, err := kcp.LoadConfig(m.cluster.Kubeconfig(), agent)
		if err != nil {
			return nil, err
		}
		if !m.wholeView {
			narrow(downstream, name, nodes[i%len(nodes)])
		}
		ownConnection(upstream, name)
		ownConnection(downstream, name)
		one, err := newMember(name, fmt.Sprintf("place-%d", i%locations), upstream, downstream)
		if err != nil {
			return nil, err
		}
		f.members = append(f.members, one)
	}
	return f, nil
}

// nodeNames lists the nodes of the cluster.
func (m *measurement) nodeNames(ctx context.Context) ([]string, error) {
	config, err := m.cluster.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for the cluster: %w", err)
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, nil
}

// newMember puts a syncer together as cmd/tmc-syncer does.
func newMember(name, location string, upstream, downstream *rest.Config) (*member, error) {
	one := &member{name: name}
	provider := logicalcluster.NewPath(v1alpha1.DefaultProviderWorkspace)
	var err error
	one.syncer, err = syncer.New(syncer.Config{
		Cluster:           name,
		Upstream:          upstream,
		Downstream:        downstream,
		ProviderWorkspace: provider,
		Rule:              v1alpha1.TransformRule{NamespacePrefix: name + "-", Labels: map[string]string{ownerLabel: name}},
		IsRegistered: func(ctx context.Context, cluster string) (bool, error) {
			return one.heartbeat.IsRegistered(ctx, cluster)
		},
		Workers: workers,
	})
	if err != nil {
		return nil, err
	}
	one.heartbeat, err = heartbeat.New(heartbeat.Config{
		Cluster:           name,
		Upstream:          upstream,
		Downstream:        downstream,
		ProviderWorkspace: provider,
		Interval:          heartbeat.DefaultInterval,
		SelfRegister:      true,
		Location:          location,
		Labels:            map[string]string{"location": location},
	})
	return one, err
}

// ownConnection keeps client-go from sharing one connection among all syncers: it does where the configurations of
// TLS are the same. What stands between certificates is not looked at.
func ownConnection(config *rest.Config, name string) {
	config.CAData = fmt.Appendf(nil, "%s\n# %s\n", config.CAData, name)
}

// start runs the syncers, so many at a time, and gives how long each took to have read both sides. When one fails
// it gives up.
func (f *fleet) start(ctx context.Context, atATime int, timeout time.Duration, giveUp context.CancelCauseFunc) ([]time.Duration, error) {
	running, stop := context.WithCancel(ctx)
	f.stop = stop
	took := make([]time.Duration, len(f.members))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atATime)
	for i, one := range f.members {
		group.Go(func() error {
			start := time.Now()
			f.running.Go(func() {
				if err := one.run(running); err != nil && running.Err() == nil {
					giveUp(fmt.Errorf("syncer %s: %w", one.name, err))
				}
			})
			err := framework.Eventually(ctx, "syncer "+one.name+" to have read both sides", timeout, one.hasRead)
			took[i] = time.Since(start)
			return err
		})
	}
	return took, group.Wait()
}

func (s *member) run(ctx context.Context) error {
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithValues("cluster", s.name))
	if err := s.heartbeat.Claim(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.syncer.Run(ctx) })
	group.Go(func() error { return s.heartbeat.Run(ctx) })
	return group.Wait()
}

// hasRead reports whether the syncer has read both sides.
func (s *member) hasRead(context.Context) (bool, string, error) {
	return s.syncer.HasSynced(), fmt.Sprintf("claimed: %v", s.heartbeat.Claimed()), nil
}

// stopAll ends the syncers and waits for them. There may be none yet.
func (f *fleet) stopAll(ctx context.Context) error {
	if f == nil || f.stop == nil {
		return nil
	}
	f.stop()
	ended := make(chan struct{})
	go func() {
		f.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return errors.New("the syncers did not end in time")
	}
}
