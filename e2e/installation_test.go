package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// installation is one tmc: a provider workspace, the controller next to kcp and a syncer for each cluster.
// Several of them stand side by side on one stack, for the tests that kill programs.
type installation struct {
	// name is unique in the suite; provider is the path of the provider workspace.
	name, provider string
	controller     *program
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
	// pristine is what the provider workspace had before the test, and tenants are the workspaces that were made since.
	pristine string
	mu       sync.Mutex
	tenants  []string
}

// vacateTimeout bounds how long a provider workspace may take to be as before. One that takes longer is used no more.
const vacateTimeout = time.Minute

// part is one of an installation's programs, wherever it runs.
type part interface {
	name() string
	waitReady(ctx context.Context) error
	stop(ctx context.Context) error
	// log returns what it has logged, or why there is nothing.
	log() string
}

// settingUp is held while kcp establishes the kinds of an export: when a provider workspace is installed, and when its
// first consumer is bound. kcp does it one kind after the other; several exports at a time only make each wait longer.
// It is held for every other bind, too: kcp may end when it compiles policies with variables side by side, and
// tmc-patches has some left (manifests/inline.go).
var settingUp sync.Mutex

// vacant are provider workspaces that tests have left as `kubectl tmc init` had made them. Another test that needs an
// installation of its own takes one over: installing, and establishing the kinds, takes kcp half a minute.
var vacant = make(chan vacancy, 100)

// vacancy is a provider workspace without an installation.
type vacancy struct{ provider, repairAddress, pristine string }

// install sets up the kcp side in the provider workspace, has the clusters join and prepares the programs, without
// starting them.
func (in *installation) install(ctx context.Context) error {
	if in.provider == "" {
		in.takeOver()
	}
	if in.pristine == "" {
		if err := in.setUpProvider(ctx); err != nil {
			return err
		}
	}
	var err error
	in.syncers, in.joined = map[string]*program{}, map[string]*joined{}
	if in.controller, err = in.newController(in.logName("controller"), "--repair-bind-address="+in.repairAddress); err != nil {
		return err
	}
	for name, on := range in.clusters {
		if err := in.prepareSyncer(ctx, name, on); err != nil {
			return err
		}
	}
	return nil
}

// takeOver gives the installation a provider workspace: one that another test has left, or else the path of a new one.
func (in *installation) takeOver() {
	select {
	case v := <-vacant:
		in.provider, in.repairAddress, in.pristine = v.provider, v.repairAddress, v.pristine
	default:
		in.provider = "root:" + in.name
	}
}

// setUpProvider has `kubectl tmc init` make and fill the provider workspace.
func (in *installation) setUpProvider(ctx context.Context) error {
	var err error
	if in.repairAddress, err = env.stack.FreeAddress(); err != nil {
		return err
	}
	settingUp.Lock()
	_, err = runPlugin(ctx, "root", "init", "--provider-workspace="+in.provider, "--repair-url=https://"+in.repairAddress)
	settingUp.Unlock()
	if err != nil {
		return err
	}
	in.pristine, err = in.contents(ctx)
	return err
}

// bind binds a workspace to the installation.
func (in *installation) bind(ctx context.Context, workspace string) error {
	settingUp.Lock()
	defer settingUp.Unlock()
	_, err := runPlugin(ctx, workspace, "bind", "--provider-workspace="+in.provider)
	return err
}

// contents returns what of the provider workspace a test may leave behind.
func (in *installation) contents(ctx context.Context) (string, error) {
	kubeconfig, err := env.stack.KCP.Kubeconfig(in.provider)
	if err != nil {
		return "", err
	}
	return side{"provider workspace", kubeconfig, "default"}.try(ctx, "get", "apiexports,clusterregistrations,clusterroles,clusterrolebindings",
		`--output=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.spec.resources}{.spec.permissionClaims}{"\n"}{end}`)
}

// vacate removes the clusters and the tenants of a test. It fails when the provider workspace then is not as it was
// before the test, and when there is no hub to let go of what was placed.
func (in *installation) vacate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, vacateTimeout)
	defer cancel()
	if in.controller.process == nil || in.controller.process.Exited() {
		return errors.New("no hub runs")
	}
	for _, name := range slices.Sorted(maps.Keys(in.clusters)) {
		if _, err := runPlugin(ctx, "root", "unjoin", name, "--provider-workspace="+in.provider, "--force", "--yes"); err != nil {
			return err
		}
	}
	kubeconfig, err := env.stack.KCP.Kubeconfig("root")
	if err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.tenants) > 0 {
		_, _, err := framework.Kubectl(ctx, kubeconfig, append([]string{"delete", "workspaces", "--ignore-not-found", "--timeout=" + vacateTimeout.String()}, in.tenants...)...)
		if err != nil {
			return err
		}
	}
	left, err := in.contents(ctx)
	if err == nil && left != in.pristine {
		err = fmt.Errorf("the provider workspace has\n%s\nand had before\n%s", left, in.pristine)
	}
	return err
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
	return in.name + "-" + program
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

// newInstallation installs tmc for one test. Each of its cluster names, such as "crash-east", stands for the cluster of
// the stack that it ends in. What it starts is stopped with the test. The provider workspace may have served another
// test before.
func newInstallation(t *testing.T, name string, clusterNames ...string) *installation {
	t.Helper()
	in := &installation{name: unique(name), clusters: clustersOf(clusterNames)}
	in.installFor(t)
	return in
}

// newSeparateInstallation is newInstallation for a test that changes what init has made, or is about it: the provider
// workspace is its own, before and after.
func newSeparateInstallation(t *testing.T, name string, clusterNames ...string) *installation {
	t.Helper()
	name = unique(name)
	in := &installation{name: name, provider: "root:" + name, clusters: clustersOf(clusterNames)}
	in.installFor(t)
	return in
}

// clustersOf returns the clusters of the stack that names end in.
func clustersOf(names []string) map[string]*cluster {
	clusters := map[string]*cluster{}
	for _, name := range names {
		for physical, on := range env.clusters {
			if strings.HasSuffix(name, physical) {
				clusters[name] = on
			}
		}
	}
	return clusters
}

// installFor installs tmc until the test ends. Then the provider workspace becomes vacant, if the test has passed and the
// provider workspace is not the test's own. Such a test runs beside others.
func (in *installation) installFor(t *testing.T) {
	t.Helper()
	if env.kind != nil {
		t.Fatal("a kind cluster has one syncer, that of the shared installation: the case is not for kind")
	}
	isSeparate := in.provider != ""
	check(t, in.install(t.Context()))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if isSeparate || t.Failed() {
			if err := in.stop(ctx); err != nil {
				t.Error(err)
			}
			return
		}
		env.leaving.Go(func() { in.leave(ctx) })
	})
}

// leave makes the provider workspace vacant, if it can be as it was, and stops the programs. It works while the next tests
// run; the end of the suite waits for it, and fails when a program does not end as it should.
func (in *installation) leave(ctx context.Context) {
	began := time.Now()
	vacateErr := in.vacate(ctx)
	if err := in.stop(ctx); err != nil {
		env.note(fmt.Errorf("after the test of %s: %w", in.name, err))
		return
	}
	if vacateErr != nil {
		fmt.Fprintf(os.Stderr, "the provider workspace %s is not used again: %v\n", in.provider, vacateErr)
		return
	}
	fmt.Fprintf(os.Stderr, "the provider workspace %s is vacant after %s\n", in.provider, time.Since(began).Round(100*time.Millisecond))
	vacant <- vacancy{in.provider, in.repairAddress, in.pristine}
}
