package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// server is one of those that are not tmc's: kcp, its etcd, and those of the clusters.
type server struct {
	name string
	kill func(context.Context) error
	run  func(context.Context) error
	// signal freezes it, or thaws it.
	freeze, thaw func(context.Context) error

	// turn is held while it is killed or started: faults overlap.
	turn  sync.Mutex
	downs int
	stops int
	// isNew is whether it was started anew, or accepts writes again, since the nodes of its cluster were started.
	isNew bool
}

// The names of the servers of kcp. Those of a cluster are its name, a slash, and the component's.
const (
	kcpServer     = "kcp"
	kcpEtcdServer = "kcp-etcd"
	apiServer     = "kube-apiserver"
	etcdServer    = "etcd"
	nodesServer   = "kwok-controller"
)

// addServers notes how servers are killed and started.
func (g *Ground) addServers() error {
	kcp, etcd := g.stack.KCP, g.stack.KCPEtcd
	add := func(s *server) { g.servers[s.name] = s }
	add(&server{
		name: kcpServer,
		kill: func(context.Context) error { return kcp.Kill() }, run: kcp.Start,
		freeze: func(context.Context) error { return kcp.Process().Freeze() },
		thaw:   func(context.Context) error { return kcp.Process().Thaw() },
	})
	add(&server{
		name: kcpEtcdServer,
		kill: func(context.Context) error { return etcd.Kill() }, run: etcd.Start,
		freeze: func(context.Context) error { return etcd.Process().Freeze() },
		thaw:   func(context.Context) error { return etcd.Process().Thaw() },
	})
	for _, name := range ClusterNames {
		cluster, err := g.stack.Cluster(name)
		if err != nil {
			return err
		}
		for _, component := range []string{apiServer, etcdServer} {
			add(&server{
				name:   name + "/" + component,
				kill:   func(ctx context.Context) error { return cluster.StopComponent(ctx, component) },
				run:    func(ctx context.Context) error { return cluster.StartComponent(ctx, component) },
				freeze: func(ctx context.Context) error { return cluster.FreezeComponent(ctx, component) },
				thaw:   func(ctx context.Context) error { return cluster.ThawComponent(ctx, component) },
			})
		}
	}
	return nil
}

// takeDown kills the server, which does not run until bringUp has been called as often.
func (s *server) takeDown(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.downs++
	s.isNew = true
	if s.downs > 1 {
		return nil
	}
	return s.kill(ctx)
}

// bringUp starts the server that takeDown has killed, and waits until it serves.
func (s *server) bringUp(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.downs--
	if s.downs > 0 {
		return nil
	}
	return s.runUntilUp(ctx)
}

// runUntilUp starts the server, again where it ends at once, as it does while its own etcd is away.
func (s *server) runUntilUp(ctx context.Context) error {
	return framework.Eventually(ctx, s.name+" to run", healTimeout, func(ctx context.Context) (bool, string, error) {
		err := s.run(ctx)
		if err != nil {
			_ = s.kill(ctx)
		}
		return err == nil, "", err
	})
}

// stop stops the server in its tracks, until resume has been called as often.
func (s *server) stop(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.stops++
	if s.downs == 0 {
		_ = s.freeze(ctx) // it may have ended by itself
	}
	return nil
}

// resume lets the server run on.
func (s *server) resume(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.stops--
	if s.stops == 0 && s.downs == 0 {
		_ = s.thaw(ctx) // it may have ended by itself
	}
	return nil
}

// restartNodes starts anew what simulates the nodes of clusters whose servers were: of a pod that kwok has missed meanwhile, it learns
// nothing more, and the pod never runs.
func (g *Ground) restartNodes(ctx context.Context) error {
	g.reviving.Lock()
	defer g.reviving.Unlock()
	var group errgroup.Group
	for _, name := range ClusterNames {
		isNew := false
		for _, component := range []string{apiServer, etcdServer} {
			s := g.servers[name+"/"+component]
			s.turn.Lock()
			isNew = isNew || s.isNew
			s.isNew = false
			s.turn.Unlock()
		}
		if !isNew {
			continue
		}
		cluster, err := g.stack.Cluster(name)
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(g.Clusters[name])
		if err != nil {
			return err
		}
		group.Go(func() error {
			// It may have ended by itself.
			_ = cluster.StopComponent(ctx, nodesServer)
			// Another kwok would leave nodes alone whose Leases are not its own.
			err := client.CoordinationV1().Leases(corev1.NamespaceNodeLease).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
			return errors.Join(err, cluster.StartComponent(ctx, nodesServer))
		})
	}
	return group.Wait()
}

// etcdURL returns where an etcd serves its clients: that of kcp, or of a cluster.
func (g *Ground) etcdURL(name string) (string, error) {
	if name == kcpServer {
		return g.stack.KCPEtcd.URL(), nil
	}
	cluster, err := g.stack.Cluster(name)
	if err != nil {
		return "", err
	}
	local, ok := cluster.(interface{ EtcdURL() string })
	if !ok {
		return "", fmt.Errorf("cluster %s does not tell of its etcd", name)
	}
	return local.EtcdURL(), nil
}

// revive starts the servers that have ended by themselves, as some do without what they need.
func (g *Ground) revive(ctx context.Context) error {
	g.reviving.Lock()
	defer g.reviving.Unlock()
	processes, err := framework.Status(g.stack.Dir())
	if err != nil {
		return err
	}
	for _, process := range processes {
		if process.State != "stopped" {
			continue
		}
		if err := g.startServer(ctx, process.Name); err != nil {
			return err
		}
	}
	return nil
}

// tend revives servers until the ground ends: they are not tmc's, so that they end is nobody's fault.
func (g *Ground) tend() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-time.After(tendInterval):
			_ = g.revive(ctx) // it is tried again
		case <-g.ending:
			return
		}
	}
}

// tendInterval is how often servers are looked after.
const tendInterval = 3 * time.Second

// startServer starts any of the stack's processes, by its name there, unless a fault has taken it down.
func (g *Ground) startServer(ctx context.Context, name string) error {
	if s := g.servers[name]; s != nil {
		// What takes it down or brings it up is at it.
		if !s.turn.TryLock() {
			return nil
		}
		defer s.turn.Unlock()
		if s.downs > 0 {
			return nil
		}
		_, _ = fmt.Fprintf(g.options.Progress, "  %s has ended, and is started again\n", name)
		return s.run(ctx)
	}
	_, _ = fmt.Fprintf(g.options.Progress, "  %s has ended, and is started again\n", name)
	clusterName, component, _ := strings.Cut(name, "/")
	cluster, err := g.stack.Cluster(clusterName)
	if err != nil {
		return err
	}
	return cluster.StartComponent(ctx, component)
}

// waitServers waits until kcp and all clusters say that they are ready.
func (g *Ground) waitServers(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return waitServer(ctx, g.KCP) })
	for _, config := range g.Clusters {
		group.Go(func() error { return waitServer(ctx, config) })
	}
	return group.Wait()
}

func waitServer(ctx context.Context, config *rest.Config) error {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	return framework.WaitHTTP(ctx, client, config.Host+"/readyz", healTimeout)
}

// refuseWrites has the etcd of kcp or of a cluster refuse what would take space, or accept it again.
func (g *Ground) refuseWrites(ctx context.Context, of string, refuse bool) error {
	etcdURL, err := g.etcdURL(of)
	if err != nil {
		return err
	}
	if !refuse {
		// It may just be away.
		err := framework.Eventually(ctx, "the etcd of "+of+" to accept writes", healTimeout, func(ctx context.Context) (bool, string, error) {
			err := framework.RefuseWrites(ctx, etcdURL, false)
			return err == nil, "", err
		})
		if s := g.servers[of+"/"+etcdServer]; s != nil {
			s.turn.Lock()
			s.isNew = true // kwok does not try again what was refused, and the pod never ends
			s.turn.Unlock()
		}
		return err
	}
	_ = framework.RefuseWrites(ctx, etcdURL, true) // it may be away
	return nil
}
