package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

const (
	// providerEnv names the variable that says what the clusters are: "local", which is the default, for control planes on
	// this machine whose nodes are simulated, or "kind" for kind clusters, which are joined by their manifests alone.
	providerEnv   = "TMC_E2E_PROVIDER"
	localProvider = "local"
	kindProvider  = "kind"
	// imageEnv names the variable that says which image of tmc, that the local Docker has, kind clusters run.
	imageEnv = "TMC_E2E_IMAGE"
)

// sharedCases are the cases that run on kind clusters as well: those that need neither a third cluster, nor to kill a
// syncer, freeze a component or read an audit log, nor fractions of a second from nodes that are not simulated.
var sharedCases = []func(*testing.T){
	TestBoundWorkspaceBehavesAsCluster,
	TestDeploymentRunsOnEveryCluster,
	TestDeploymentDeletedEverywhere,
	TestNamespaceIsRemovedWhenEmpty,
	TestPlacementLabelIsRestored,
	TestReplicasOwnedByAutoscaler,
	TestConflictWithObjectOfOthers,
	TestOverrideChangesOneCluster,
	TestPlacementBadNamesInTargetClusters,
	TestConflictOfTwoWorkspacesIsToldToBoth,
	TestDeploymentChangesReachEveryCluster,
	TestDriftIsRepaired,
	TestInitAndBindAgainWriteNothing,
	TestPlacementByTargetClusters,
	TestRolloutStatusWaitsForSlowestCluster,
	TestReplicasScaledDownstream,
	TestDeploymentServerSideApplyReachesEveryCluster,
	TestNeverSyncedObjects,
	TestNamespaceBelongsToFirstWorkspace,
	TestTenancyConflictInSharedNamespace,
	TestTenancyOfTwoWorkspaces,
	TestStatusAvailableWaitsForLastCluster,
	TestDependenciesArePlacedBeforeWorkload,
	TestReplaceOfImmutableCopy,
}

// kindCases run on kind clusters alone.
var kindCases = []func(*testing.T){
	TestSyncerPodsMayBeReplaced,
	TestSyncerPodsMeetRestrictedStandard,
	TestCausesOfRealKubelets,
}

// named returns a pattern for the command line that selects the cases.
func named(cases ...func(*testing.T)) string {
	names := make([]string, len(cases))
	for i, test := range cases {
		name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
		names[i] = strings.TrimPrefix(filepath.Ext(name), ".")
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// provider returns which provider the environment asks for.
func provider() (string, error) {
	switch name := os.Getenv(providerEnv); name {
	case "", localProvider:
		return localProvider, nil
	case kindProvider:
		return kindProvider, nil
	default:
		return "", fmt.Errorf("%s is %q, expected %s or %s", providerEnv, name, localProvider, kindProvider)
	}
}

// selectCases leaves out the cases that are not for the provider, so that none has to skip itself. What the
// command line selects on its own comes first.
func selectCases(provider string) error {
	if provider == kindProvider {
		return setFlag("test.run", named(append(kindCases, sharedCases...)...))
	}
	return setFlag("test.skip", named(kindCases...))
}

// kindOptions are those of a stack of kcp and two kind clusters, whose pods reach it.
func kindOptions(ctx context.Context, dir string) (framework.Options, error) {
	var err error
	if env.kind, err = framework.NewKindProvider(filepath.Join(dir, kindProvider)); err != nil {
		return framework.Options{}, err
	}
	address, err := env.kind.HostAddress(ctx)
	return framework.Options{Clusters: []string{east, west}, KCPAddress: address, Provider: env.kind}, err
}

// loadImages gives each kind cluster the image of tmc, and those that the tests' pods run.
func loadImages(ctx context.Context) error {
	for name := range env.clusters {
		if err := env.kind.LoadImage(ctx, name, env.image); err != nil {
			return err
		}
		if err := env.kind.NamePause(ctx, name, image, newImage, overrideImage, "docker.io/library/"+wellKnownImage); err != nil {
			return err
		}
	}
	return nil
}

// TestSyncerPodsMayBeReplaced removes the pods of a syncer, as a drain of their node does.
func TestSyncerPodsMayBeReplaced(t *testing.T) {
	u := newTenant(t, env.shared, "replaced")
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", east, west)

	syncer := env.shared.joined[east]
	syncer.inCluster().kubectl(t, "delete", "pods", "--all", "--timeout=120s")
	u.apply(t, some(deployment("web", withNewImage)))
	u.rollOut(t, "web", east, west)
	check(t, syncer.waitReady(t.Context()))
}

// TestSyncerPodsMeetRestrictedStandard asks the API server whether it would still admit the pods under the strictest
// of the Pod Security Standards.
func TestSyncerPodsMeetRestrictedStandard(t *testing.T) {
	t.Parallel()
	for name, syncer := range env.shared.joined {
		_, warnings, err := framework.Kubectl(t.Context(), syncer.on.kubeconfig, "label", "namespace", syncer.namespace,
			"--overwrite", "--dry-run=server", "pod-security.kubernetes.io/enforce=restricted")
		check(t, err)
		if warnings != "" {
			t.Errorf("on %s: %s", name, warnings)
		}
	}
}
