package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// installation is one tmc: a provider workspace, the controller next to kcp and a syncer for each cluster.
// Several of them stand side by side on one stack, for the tests that kill programs.
type installation struct {
	provider   string
	controller *program
	// repairAddress is where the controller repairs patches.
	repairAddress string
	// syncers are those that run as processes, and joined those that run in their clusters.
	syncers map[string]*program
	joined  map[string]*joined
	// clusters are those that the installation's cluster names stand for.
	clusters map[string]*cluster
	// byHand has syncers register their clusters themselves, with an administrator's credentials on both sides,
	// instead of with what joining gives them.
	byHand bool
	// policyNamespaces are those, of the namespaces that tmc has not made, that the clusters' own policies let copies
	// into, if not those that any case has kcp allow.
	policyNamespaces string
}

// part is one of an installation's programs, wherever it runs.
type part interface {
	name() string
	waitReady(ctx context.Context) error
	stop(ctx context.Context) error
	// log returns what it has logged, or why there is nothing.
	log() string
}

// settingUp is held while a provider workspace is installed or a consumer bound: kcp establishes the kinds of an
// export one after the other, and several that wait for it at a time only make each wait longer.
var settingUp sync.Mutex

// setUpKCP runs one of kubectl-tmc's commands that have kcp establish kinds.
func setUpKCP(ctx context.Context, workspace string, args ...string) error {
	settingUp.Lock()
	defer settingUp.Unlock()
	_, err := runPlugin(ctx, workspace, args...)
	return err
}

// install sets up the kcp side in a provider workspace, has the clusters join and prepares the programs, without
// starting them.
func install(ctx context.Context, provider string, clusters map[string]*cluster) (*installation, error) {
	return (&installation{provider: provider, clusters: clusters}).install(ctx)
}

func (in *installation) install(ctx context.Context) (*installation, error) {
	port, err := env.stack.FreePort()
	if err != nil {
		return nil, err
	}
	in.repairAddress = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := setUpKCP(ctx, "root", "init", "--provider-workspace="+in.provider, "--repair-url=https://"+in.repairAddress); err != nil {
		return nil, err
	}
	in.syncers, in.joined = map[string]*program{}, map[string]*joined{}
	if in.controller, err = in.newController(in.logName("controller"), "--repair-bind-address="+in.repairAddress); err != nil {
		return nil, err
	}
	for name, on := range in.clusters {
		if err := in.prepareSyncer(ctx, name, on); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// prepareSyncer prepares the syncer of one cluster: in the cluster if it can run there, or else as a process.
func (in *installation) prepareSyncer(ctx context.Context, name string, on *cluster) (err error) {
	switch {
	case env.kind != nil:
		in.joined[name], err = in.join(ctx, name, on, bootstrap.DefaultNamespace)
	case in.byHand:
		in.syncers[name], err = in.newSyncer(in.logName("syncer-"+name), name, on)
	default:
		in.syncers[name], err = in.newJoinedSyncer(ctx, name, on)
	}
	return err
}

// logName names the log of one of the installation's programs: root:tmc's are tmc-controller and so on.
func (in *installation) logName(program string) string {
	_, name := logicalcluster.NewPath(in.provider).Split()
	return name + "-" + program
}

// newController prepares a controller of the installation.
func (in *installation) newController(logName string, args ...string) (*program, error) {
	kubeconfig, err := env.stack.KCP.Kubeconfig("root")
	if err != nil {
		return nil, err
	}
	return newProgram(logName, controllerBinary, append([]string{
		"--kcp-kubeconfig=" + kubeconfig,
		"--provider-workspace=" + in.provider,
	}, args...)...)
}

// newSyncer prepares the syncer of one cluster as somebody does by hand who may do everything on both sides.
func (in *installation) newSyncer(logName, name string, on *cluster) (*program, error) {
	kubeconfig, err := env.stack.KCP.Kubeconfig("root")
	if err != nil {
		return nil, err
	}
	return newProgram(logName, syncerBinary,
		"--kcp-kubeconfig="+kubeconfig,
		"--provider-workspace="+in.provider,
		"--cluster-name="+name,
		"--kubeconfig="+on.kubeconfig,
		"--allow-namespaces="+listedNamespaces,
	)
}

// programs returns all of the installation that runs as processes.
func (in *installation) programs() []*program {
	return append(slices.Collect(maps.Values(in.syncers)), in.controller)
}

// parts returns all of the installation.
func (in *installation) parts() []part {
	var all []part
	for _, p := range in.programs() {
		all = append(all, p)
	}
	for _, j := range in.joined {
		all = append(all, j)
	}
	return all
}

// start runs all programs and waits until they are ready.
func (in *installation) start(ctx context.Context) error {
	for _, p := range in.programs() {
		if err := p.start(); err != nil {
			return err
		}
	}
	for _, j := range in.joined {
		if err := j.start(ctx); err != nil {
			return err
		}
	}
	for _, p := range in.parts() {
		if err := p.waitReady(ctx); err != nil {
			return err
		}
	}
	return in.waitClusters(ctx, slices.Collect(maps.Keys(in.clusters))...)
}

// waitClusters waits until the hub hears of the clusters.
func (in *installation) waitClusters(ctx context.Context, names ...string) error {
	kubeconfig, err := env.stack.KCP.Kubeconfig(in.provider)
	if err != nil {
		return err
	}
	for _, name := range names {
		_, _, err := framework.Kubectl(ctx, kubeconfig, "wait", "--for=condition=Ready", "clusterregistration/"+name, "--timeout=120s")
		if err != nil {
			return fmt.Errorf("waiting for cluster %s to be Ready: %w", name, err)
		}
	}
	return nil
}

// stop ends all programs; it fails when one does not end as it should.
func (in *installation) stop(ctx context.Context) error {
	var errs []error
	for _, p := range in.parts() {
		errs = append(errs, p.stop(ctx))
	}
	return errors.Join(errs...)
}

// newInstallation installs tmc for one test. Each of its cluster names, such as "crash-east", stands for
// the cluster of the stack that it ends in. What it starts is stopped with the test.
func newInstallation(t *testing.T, name string, clusterNames ...string) *installation {
	t.Helper()
	return newInstallationOf(t, name, false, clusterNames...)
}

// newInstallationOf is newInstallation, by hand or not.
func newInstallationOf(t *testing.T, name string, byHand bool, clusterNames ...string) *installation {
	t.Helper()
	if env.kind != nil {
		t.Fatal("a kind cluster has one syncer, that of the shared installation: the case is not for kind")
	}
	clusters := map[string]*cluster{}
	for _, clusterName := range clusterNames {
		for physical, on := range env.clusters {
			if strings.HasSuffix(clusterName, physical) {
				clusters[clusterName] = on
			}
		}
	}
	in, err := (&installation{provider: "root:" + unique(name), clusters: clusters, byHand: byHand}).install(t.Context())
	check(t, err)
	t.Cleanup(func() {
		if err := in.stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return in
}
