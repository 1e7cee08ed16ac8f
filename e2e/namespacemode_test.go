package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// selecting is an application that selects its pods by a label that others may have as well: name, clusters and replicas.
const selecting = `
{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[1]s, annotations: {tmc.kcp.io/target-clusters: "%[2]s"}}, spec: {replicas: %[3]d, selector: {matchLabels: {app: web}},
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: "` + image + `"}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: %[1]s}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: %[1]s}, spec: {minAvailable: 1, selector: {matchLabels: {app: web}}, unhealthyPodEvictionPolicy: AlwaysAllow}}
`

// takeover is how long it takes at most until a namespace that is free is taken by those who wait for it: their
// turn comes by itself, and not with the next look (recheck in pkg/agent/syncer).
const takeover = 20 * time.Second

// sharedModes is held by a test that changes the namespaceMode of a cluster of the shared installation, and by one that needs the
// mode that is there without a rule.
var sharedModes sync.Mutex

// holdModes keeps other tests from changing a namespaceMode of the shared installation until the test is over.
func holdModes(t *testing.T) {
	t.Helper()
	sharedModes.Lock()
	t.Cleanup(sharedModes.Unlock)
}

// setMode sets the namespaceMode of a cluster, and takes it back with the test.
func (in *installation) setMode(t *testing.T, clusterName string, mode v1alpha1.NamespaceMode) {
	t.Helper()
	if in == env.shared {
		holdModes(t)
	}
	set := func(ctx context.Context, transform string) error {
		_, err := in.inProvider(t).try(ctx, "patch", "cr", clusterName, "--type=merge", `--patch={"spec":{"transform":`+transform+`}}`)
		return err
	}
	check(t, set(t.Context(), fmt.Sprintf(`{"namespaceMode":%q}`, mode)))
	t.Cleanup(func() {
		if err := set(context.WithoutCancel(t.Context()), "null"); err != nil {
			t.Error(err)
		}
	})
}

// at is a cluster, in the namespace that stands there for the tenant's, as the rule has it.
func (u *tenant) at(clusterName string, mode v1alpha1.NamespaceMode) side {
	rule := v1alpha1.TransformRule{NamespaceMode: mode}
	return u.onCluster(clusterName).in(transform.Namespace(rule, u.logicalCluster, u.namespace))
}

// eventuallySelects waits until the Service and the PodDisruptionBudget of that name select as many pods on a cluster,
// and fails the test when the pods are not those of the Deployment of the same name.
func (s side) eventuallySelects(t *testing.T, name string, pods int) {
	t.Helper()
	slices := "endpointslices --selector=kubernetes.io/service-name=" + name
	targets := "{.items[*].endpoints[*].targetRef.name}"
	s.eventuallyIs(t, slices, targets, fmt.Sprintf("to be %d pods", pods), func(got string) bool { return len(strings.Fields(got)) == pods })
	s.eventually(t, "poddisruptionbudget/"+name, "{.status.expectedPods}", fmt.Sprint(pods))
	s.selectsItsOwn(t, name)
}

// selectsItsOwn fails the test when the Service of that name has an endpoint that is no pod of its own Deployment.
func (s side) selectsItsOwn(t *testing.T, name string) {
	t.Helper()
	for pod := range strings.FieldsSeq(s.kubectl(t, "get", "endpointslices", "--selector=kubernetes.io/service-name="+name, "--output=jsonpath={.items[*].endpoints[*].targetRef.name}")) {
		if !strings.HasPrefix(pod, name+"-") {
			t.Errorf("%s, namespace %s: an endpoint of Service %s is pod %s", s.name, s.namespace, name, pod)
		}
	}
}

// isMarkedFor fails the test when a namespace of a cluster does not say that it is the tenant's.
func (s side) isMarkedFor(t *testing.T, u *tenant) {
	t.Helper()
	if got, want := s.marks(t), u.logicalCluster+" "+u.workspace; got != want {
		t.Errorf("namespace %s on %s says %q, want %q", s.namespace, s.name, got, want)
	}
}

// marks returns what a namespace of a cluster says of whose it is.
func (s side) marks(t *testing.T) string {
	t.Helper()
	got, err := s.get(t.Context(), "namespace/"+s.namespace, "{.metadata.annotations.tmc\\.kcp\\.io/source-cluster} {.metadata.annotations.tmc\\.kcp\\.io/source-path}")
	check(t, err)
	return got
}

// TestNamespaceBelongsToFirstWorkspace has two workspaces use the same namespaces and the same labels: a namespace
// that every cluster has, one that an operator made, and one that tmc makes. Of the tests that run beside others, it
// alone uses the first.
func TestNamespaceBelongsToFirstWorkspace(t *testing.T) {
	t.Parallel()
	holdModes(t)
	made, operators := unique("made"), unique("listed-operators")
	for _, clusterName := range []string{east, west} {
		check(t, env.clusters[clusterName].kubectl(t, "create", "namespace", operators))
	}
	for _, namespace := range []string{metav1.NamespaceDefault, operators, made} {
		t.Run(namespace, func(t *testing.T) { hasIt(t, namespace, namespace == made) })
	}
}

// hasIt has a use the namespace before b, and has both leave it in that order.
func hasIt(t *testing.T, namespace string, isMade bool) {
	a, b := newTenantIn(t, env.shared, unique("a"), namespace), newTenantIn(t, env.shared, unique("b"), namespace)
	a.inKCP().apply(t, fmt.Sprintf(selecting, "web-a", "east,west", 2))
	a.rollOut(t, "web-a", east, west)
	b.inKCP().apply(t, fmt.Sprintf(selecting, "web-b", "east,west", 1))
	hasItAlone(t, a, b)
	isNotToldOf(t, a, b)

	a.kubectl(t, "delete", "deployment,service,poddisruptionbudget", "web-a", "--timeout=120s")
	hasItNext(t, b)

	b.kubectl(t, "delete", "deployment,service,poddisruptionbudget", "web-b", "--timeout=120s")
	if isMade {
		isRemoved(t, b)
	} else {
		isFree(t, b)
	}
}

// hasItAlone waits until the namespace is a's on both clusters and b is refused it, and fails the test when it is not
// marked for a.
func hasItAlone(t *testing.T, a, b *tenant) {
	t.Helper()
	for _, clusterName := range []string{east, west} {
		b.eventuallyRefused(t, "web-b", "NamespaceTaken", clusterName, takenWords(b.namespace)...)
		a.onCluster(clusterName).eventuallySelects(t, "web-a", 2)
		a.onCluster(clusterName).isMarkedFor(t, a)
	}
	for _, object := range []string{"service/web-b", "poddisruptionbudget/web-b"} {
		b.inKCP().eventuallyHas(t, object, syncedPath, "False", "NamespaceTaken")
	}
	a.inKCP().eventually(t, "poddisruptionbudget/web-a", "{.status.expectedPods}", "4")
}

// takenWords are what a user is told whose workspace does not have the namespace.
func takenWords(namespace string) []string {
	return []string{"namespace " + namespace, "another workspace's", "use another namespace", "namespaceMode: Isolated"}
}

// isNotToldOf fails the test when `kubectl tmc describe` does not tell b why it does not have the namespace, or when
// anything tells b that it is a who has it.
func isNotToldOf(t *testing.T, a, b *tenant) {
	t.Helper()
	described, err := runPlugin(t.Context(), b.workspace, "describe", "deploy/web-b", "--namespace="+b.namespace)
	check(t, err)
	if !hasWords(described, append(takenWords(b.namespace), "NamespaceTaken")) {
		t.Errorf("kubectl tmc describe does not say it:\n%s", described)
	}
	told := described + b.kubectl(t, "get", "deployment/web-b", "service/web-b", "--output=yaml") + b.kubectl(t, "get", "events", "--output=yaml")
	for _, secret := range []string{a.logicalCluster, a.workspace, "web-a"} {
		if strings.Contains(told, secret) {
			t.Errorf("b is told of %s", secret)
		}
	}
}

// hasItNext waits until b has got the namespace on both clusters, and fails the test when it is not marked for b.
func hasItNext(t *testing.T, b *tenant) {
	t.Helper()
	for _, clusterName := range []string{east, west} {
		eventually(t, "b to get the namespace on "+clusterName, takeover, is(b.copyOn(clusterName, "web-b"), func(*appsv1.Deployment) bool { return true }))
		b.onCluster(clusterName).eventuallySelects(t, "web-b", 1)
		b.onCluster(clusterName).isMarkedFor(t, b)
	}
	b.rollOut(t, "web-b", east, west)
	b.eventuallySynced(t, "web-b")
}

// isRemoved waits until no cluster has the tenant's namespace.
func isRemoved(t *testing.T, u *tenant) {
	t.Helper()
	for _, clusterName := range []string{east, west} {
		u.onCluster(clusterName).eventuallyGone(t, "namespace/"+u.namespace)
	}
}

// isFree waits until the tenant's namespace is on both clusters and has no mark of tmc.
func isFree(t *testing.T, u *tenant) {
	t.Helper()
	const path = "{.status.phase} {.metadata.labels} {.metadata.annotations}"
	for _, clusterName := range []string{east, west} {
		u.onCluster(clusterName).eventuallyIs(t, "namespace/"+u.namespace, path, "to have no mark of tmc", func(got string) bool {
			return strings.HasPrefix(got, "Active") && !strings.Contains(got, v1alpha1.GroupName)
		})
	}
}

// TestNamespacesIsolatedByWorkspace does the same where each workspace has namespaces of its own.
func TestNamespacesIsolatedByWorkspace(t *testing.T) {
	t.Parallel()
	apart := "apart-" + north
	in := newInstallation(t, "apart", apart)
	check(t, in.start(t.Context()))
	in.setMode(t, apart, v1alpha1.NamespaceModeIsolated)
	for _, namespace := range []string{metav1.NamespaceDefault, unique("team")} {
		a, b := newTenantIn(t, in, unique("apart-a"), namespace), newTenantIn(t, in, unique("apart-b"), namespace)
		atA, atB := a.at(apart, v1alpha1.NamespaceModeIsolated), b.at(apart, v1alpha1.NamespaceModeIsolated)
		a.inKCP().apply(t, fmt.Sprintf(selecting, "web-a", apart, 2))
		b.inKCP().apply(t, fmt.Sprintf(selecting, "web-b", apart, 1))
		atA.eventuallyThere(t, "deployment/web-a") // the rule has been taken up
		a.kubectl(t, "rollout", "status", "deployment/web-a", "--timeout=120s")
		b.kubectl(t, "rollout", "status", "deployment/web-b", "--timeout=120s")
		atA.eventuallySelects(t, "web-a", 2)
		atB.eventuallySelects(t, "web-b", 1)
		a.inKCP().eventually(t, "poddisruptionbudget/web-a", "{.status.expectedPods}", "2")
		b.inKCP().eventually(t, "poddisruptionbudget/web-b", "{.status.expectedPods}", "1")
		atA.selectsItsOwn(t, "web-a")
		a.eventuallySynced(t, "web-a")
		b.eventuallySynced(t, "web-b")
		atA.isMarkedFor(t, a)
	}
}

// TestNamespaceModeChangeStopsNothing has two workspaces share a namespace, as all did by default before, when their
// cluster changes to today's default.
func TestNamespaceModeChangeStopsNothing(t *testing.T) {
	t.Parallel()
	upgraded := "upgraded-" + north
	in := newInstallation(t, "upgraded", upgraded)
	syncer := in.syncers[upgraded]
	check(t, in.start(t.Context()))
	in.setMode(t, upgraded, v1alpha1.NamespaceModeShared)
	operators := unique("listed-operators")
	check(t, env.clusters[north].kubectl(t, "create", "namespace", operators))
	for _, namespace := range []string{unique("made"), operators} {
		t.Run(namespace, func(t *testing.T) {
			a, b := newTenantIn(t, in, unique("first"), namespace), newTenantIn(t, in, unique("second"), namespace)
			a.apply(t, some(deployment("web-a")))
			a.rollOut(t, "web-a", upgraded)
			time.Sleep(time.Until(get(t, a.copyOn(upgraded, "web-a")).CreationTimestamp.Add(time.Second))) // times have seconds
			b.apply(t, some(deployment("web-b")))
			b.rollOut(t, "web-b", upgraded)
			b.eventuallySynced(t, "web-b")
			uid := get(t, b.copyOn(upgraded, "web-b")).UID

			in.inProvider(t).kubectl(t, "patch", "cr", upgraded, "--type=merge", `--patch={"spec":{"transform":null}}`)
			b.eventuallyRefused(t, "web-b", "NamespaceTaken", upgraded, "another workspace's", "is kept up", "nothing new comes in")
			a.eventuallySynced(t, "web-a")
			b.apply(t, some(deployment("web-b", withNewImage)))
			b.rollOut(t, "web-b", upgraded)
			b.apply(t, some(deployment("more-b")))
			b.eventuallyRefused(t, "more-b", "NamespaceTaken", upgraded, "another workspace's")
			isGone(t, "what is new", b.copyOn(upgraded, "more-b"))

			check(t, syncer.kill())
			check(t, syncer.startReady(t.Context()))
			if got := get(t, b.copyOn(upgraded, "web-b")); got.UID != uid {
				t.Errorf("b's copy is another object: %s", describe(got))
			}
			a.eventuallySynced(t, "web-a")

			a.kubectl(t, "delete", "deployment", "web-a", "--timeout=120s")
			eventually(t, "b to get the namespace", takeover, is(b.copyOn(upgraded, "more-b"), func(*appsv1.Deployment) bool { return true }))
			b.eventuallySynced(t, "web-b")
			b.eventuallySynced(t, "more-b")
			if got := get(t, b.copyOn(upgraded, "web-b")); got.UID != uid {
				t.Errorf("b's copy is another object: %s", describe(got))
			}
			if got := b.onCluster(upgraded).marks(t); !strings.HasPrefix(got, b.logicalCluster+" ") {
				t.Errorf("the namespace says %q, want %q", got, b.logicalCluster)
			}
			in.inProvider(t).kubectl(t, "patch", "cr", upgraded, "--type=merge", `--patch={"spec":{"transform":{"namespaceMode":"Shared"}}}`)
		})
	}
}

// TestNamespaceTakesNoWriteOfItsOwn counts what a cluster is asked to write for one Deployment from its creation to
// its deletion, in a namespace that tmc makes and in one of an operator.
func TestNamespaceTakesNoWriteOfItsOwn(t *testing.T) {
	t.Parallel()
	counted := "counted-" + east // others add kinds to north, which its account may not list
	in := newInstallation(t, "counted", counted)
	check(t, in.start(t.Context()))
	made, operators := unique("counted-made"), unique("listed-counted")
	check(t, env.clusters[east].kubectl(t, "create", "namespace", operators))
	for namespace, want := range map[string]struct{ coming, going string }{
		made:      {"patch namespaces 201, patch deployments 201", "delete deployments 200, delete namespaces 200"},
		operators: {"patch namespaces 200, patch deployments 201", "delete deployments 200, patch namespaces 200"},
	} {
		u := newTenantIn(t, in, unique("counted"), namespace)
		trail := auditFromNow(t)
		u.apply(t, some(deployment("web")))
		u.rollOut(t, "web", counted)
		eventually(t, "the writes of its coming to be "+want.coming, soon, trail.writes(t, namespace, want.coming))

		trail = auditFromNow(t)
		check(t, in.syncers[counted].kill())
		check(t, in.syncers[counted].startReady(t.Context()))
		u.kubectl(t, "scale", "deployment", "web", "--replicas=2") // when this has come down, all else has been looked at
		u.rollOut(t, "web", counted)
		eventually(t, "the writes of a restart to be that of the new scale", soon, trail.writes(t, namespace, "patch deployments 200"))

		trail = auditFromNow(t)
		u.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
		eventually(t, "the writes of its going to be "+want.going, soon, trail.writes(t, namespace, want.going))
	}
}

// writes polls whether the syncers' writes to a cluster that have to do with a namespace are as wanted, in their order.
func (trail auditTrail) writes(t *testing.T, namespace, want string) func(context.Context) (bool, string, error) {
	t.Helper()
	return func(context.Context) (bool, string, error) {
		var writes []string
		for _, r := range trail.requests(t) {
			isWrite := !isWatching(r) && r.Verb != "get"
			if isWrite && strings.HasPrefix(r.UserAgent, "tmc-syncer") && !strings.Contains(r.log, "kcp") && strings.Contains(r.URI, "/namespaces/"+namespace) {
				writes = append(writes, fmt.Sprintf("%s %s %d", r.Verb, r.Object.Resource, r.Response.Code))
			}
		}
		got := strings.Join(writes, ", ")
		return got == want, "they are " + got, nil
	}
}
