package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// The clusters of the installation that these tests share: two in one location, one in another.
const (
	fleetEast  = "fleet-" + east
	fleetNorth = "fleet-" + north
	fleetWest  = "fleet-" + west
)

// newFleet installs tmc on three clusters, with a hub that loses its patience sooner than it would.
func newFleet(t *testing.T, name string) *installation {
	t.Helper()
	locations := map[string]string{name + "-" + east: "eu", name + "-" + north: "eu", name + "-" + west: "us"}
	in := &installation{name: unique(name), clusters: clustersOf(slices.Collect(maps.Keys(locations))), byHand: true}
	in.installFor(t)
	in.controller.config.Args = append(in.controller.config.Args, "--cluster-silent-after=10s", "--failover-after=5s")
	for clusterName, syncer := range in.syncers {
		syncer.config.Args = append(syncer.config.Args, "--heartbeat-interval=1s", "--location="+locations[clusterName])
	}
	check(t, in.start(t.Context()))
	return in
}

// inProvider is the provider workspace, as its administrator sees it.
func (in *installation) inProvider(t *testing.T) side {
	t.Helper()
	kubeconfig, err := env.stack.KCP.Kubeconfig(in.provider)
	check(t, err)
	return side{"provider workspace", kubeconfig, "default"}
}

// plugin runs kubectl-tmc as the administrator.
func (in *installation) plugin(t *testing.T, args ...string) string {
	t.Helper()
	stdout, err := runPlugin(t.Context(), "root", append(args, "--provider-workspace="+in.provider)...)
	check(t, err)
	return stdout
}

// place makes a WorkloadPlacement from its spec in YAML.
func (u *tenant) place(t *testing.T, name, spec string) {
	t.Helper()
	u.inKCP().apply(t, fmt.Sprintf("{apiVersion: tmc.kcp.io/v1alpha1, kind: WorkloadPlacement, metadata: {name: %s}, spec: %s}", name, spec))
}

// shares returns how many replicas each cluster's copy asks for, such as "fleet-east=6 fleet-west=3".
func (u *tenant) shares(ctx context.Context, name string) (string, error) {
	var shares []string
	for _, clusterName := range slices.Sorted(maps.Keys(u.installation.clusters)) {
		copied, err := u.copyOn(clusterName, name)(ctx)
		switch {
		case err == nil:
			shares = append(shares, fmt.Sprintf("%s=%d", clusterName, *copied.Spec.Replicas))
		case !apierrors.IsNotFound(err):
			return "", err
		}
	}
	return strings.Join(shares, " "), nil
}

func (u *tenant) eventuallyShares(t *testing.T, name, want string) {
	t.Helper()
	eventually(t, "the copies of "+name+" to be "+want, soon, func(ctx context.Context) (bool, string, error) {
		shares, err := u.shares(ctx, name)
		return err == nil && shares == want, shares, err
	})
}

// record is what was seen of a Deployment, state after state.
type record struct {
	mu     sync.Mutex
	states []*appsv1.Deployment
}

// recordOf watches a Deployment until the test ends.
func recordOf(t *testing.T, client kubernetes.Interface, namespace, name string) *record {
	t.Helper()
	changes, err := client.AppsV1().Deployments(namespace).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	check(t, err)
	t.Cleanup(changes.Stop)
	r := &record{}
	go func() {
		for event := range changes.ResultChan() {
			if d, ok := event.Object.(*appsv1.Deployment); ok {
				r.mu.Lock()
				r.states = append(r.states, d)
				r.mu.Unlock()
			}
		}
	}()
	return r
}

// worst returns the largest badness of the states seen so far, and that state.
func (r *record) worst(badness func(*appsv1.Deployment) int32) (int32, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	worst, state := int32(0), ""
	for _, d := range r.states {
		if b := badness(d); b > worst {
			worst, state = b, describe(d)
		}
	}
	return worst, state
}

// uids returns by what the Deployments were known that were seen under the name.
func (r *record) uids() sets.Set[types.UID] {
	r.mu.Lock()
	defer r.mu.Unlock()
	uids := sets.New[types.UID]()
	for _, d := range r.states {
		uids.Insert(d.UID)
	}
	return uids
}

// TestPlacement tests what WorkloadPlacements decide, and what follows when they, the clusters or the workloads
// change.
func TestPlacement(t *testing.T) {
	t.Parallel()
	in := newFleet(t, "fleet")

	t.Run("spread over two locations", func(t *testing.T) {
		u := newTenant(t, in, "spread")
		u.place(t, "spread", "{numberOfClusters: 2, strategy: Spread}")
		u.apply(t, some(deployment("a"), deployment("b"), deployment("c"), deployment("d")))
		for _, name := range []string{"a", "b", "c", "d"} {
			eventuallyIs(t, name+" to be on two clusters", u.upstream(name), isRolledOutOn(2))
			// In eu it is one of two, in us there is but one.
			get(t, u.copyOn(fleetWest, name))
		}
		u.inKCP().eventually(t, "wp spread", "{.status.workloads} {.status.conditions[0].status}", "4 True")
		u.inKCP().eventuallyHas(t, "wp spread", "{.status.decisions[*].clusters[*].reason}", "eu", "us")
	})
	t.Run("weights 2:1 over 9 replicas", func(t *testing.T) {
		u := newTenant(t, in, "weights")
		u.place(t, "weights", fmt.Sprintf("{clusterSelector: {clusterNames: [%[1]s, %[2]s]}, replicas: Divided, weights: [{clusterNames: [%[1]s], weight: 2}]}", fleetEast, fleetWest))
		onEast := recordOf(t, env.clusters[east].client, u.namespace, "web")
		onWest := recordOf(t, env.clusters[west].client, u.namespace, "web")
		u.apply(t, some(deployment("web", withReplicas(9))))
		u.rollOut(t, "web", fleetEast, fleetWest)
		u.eventuallyShares(t, "web", fleetEast+"=6 "+fleetWest+"=3")
		if d := get(t, u.upstream("web")); d.Status.Replicas != 9 || d.Status.AvailableReplicas != 9 {
			t.Errorf("rolled out it has not 9 of 9: %s", describe(d))
		}
		for recorded, share := range map[*record]int32{onEast: 6, onWest: 3} {
			if more, state := recorded.worst(func(d *appsv1.Deployment) int32 { return *d.Spec.Replicas - share }); more > 0 {
				t.Errorf("a copy had %d replicas more than its share: %s", more, state)
			}
		}
		u.kubectl(t, "scale", "deployment", "web", "--replicas=10")
		u.rollOut(t, "web", fleetEast, fleetWest)
		u.eventuallyShares(t, "web", fleetEast+"=7 "+fleetWest+"=3")
		u.kubectl(t, "scale", "deployment", "web", "--replicas=3")
		u.rollOut(t, "web", fleetEast, fleetWest)
		u.eventuallyShares(t, "web", fleetEast+"=2 "+fleetWest+"=1")
	})
	t.Run("the older of two placements decides", func(t *testing.T) {
		u := newTenant(t, in, "two")
		u.place(t, "old", fmt.Sprintf("{clusterSelector: {clusterNames: [%s]}}", fleetWest))
		u.inKCP().eventuallyThere(t, "wp/old")
		eventually(t, "the second that kcp counts to be over", soon, reads(u.inKCP(), "wp old", "{.status.workloads}", "0"))
		created, err := u.inKCP().get(t.Context(), "wp old", "{.metadata.creationTimestamp}")
		check(t, err)
		u.placeLaterThan(t, created, "young", fmt.Sprintf("{clusterSelector: {clusterNames: [%s]}}", fleetEast))
		u.apply(t, some(deployment("web")))
		u.eventuallyShares(t, "web", fleetWest+"=1")
		u.eventuallyEvent(t, "web", "PlacementNotHeeded", "old", "young")
	})
	t.Run("a kind that a placement names goes by itself", func(t *testing.T) {
		u := newTenant(t, in, "kinds")
		u.place(t, "settings", "{workloadSelector: {kinds: [ConfigMap], labelSelector: {matchLabels: {shared: yes-please}}}, clusterSelector: {locations: [us]}}")
		u.inKCP().apply(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: shared, labels: {shared: yes-please}}, data: {a: b}}")
		u.onCluster(fleetWest).eventuallyThere(t, "configmap/shared")
		u.onCluster(fleetEast).isNotThere(t, "configmap/shared")
	})
	t.Run("what cannot be had is said", func(t *testing.T) {
		u := newTenant(t, in, "unsatisfied")
		u.place(t, "many", "{numberOfClusters: 2, clusterSelector: {locations: [us]}}")
		u.apply(t, some(deployment("web")))
		u.eventuallyShares(t, "web", fleetWest+"=1")
		u.inKCP().eventuallyHas(t, "wp many", "{.status.conditions[0].status} {.status.conditions[0].message}", "False", "Deployment web", "2")
		u.eventuallyEvent(t, "web", "PlacementUnsatisfied", "many", "2")
		if _, err := u.inKCP().try(t.Context(), "patch", "wp", "many", "--type=merge", `--patch={"spec":{"weights":[{"weight":1}]}}`); err == nil || !strings.Contains(err.Error(), "spec.weights") {
			t.Errorf("weights without Divided: %v, want an error that names spec.weights", err)
		}
	})
	t.Run("a cordoned cluster gets nothing new and keeps what it has", func(t *testing.T) {
		u := newTenant(t, in, "cordon")
		u.apply(t, some(deployment("before")))
		eventuallyIs(t, "it to be everywhere", u.upstream("before"), isRolledOutOn(3))
		in.plugin(t, "cordon", fleetNorth)
		u.apply(t, some(deployment("after")))
		eventuallyIs(t, "it to be on two clusters", u.upstream("after"), isRolledOutOn(2))
		isGone(t, "the copy on the cordoned cluster", u.copyOn(fleetNorth, "after"))
		get(t, u.copyOn(fleetNorth, "before"))
		in.plugin(t, "uncordon", fleetNorth)
		eventuallyIs(t, "it to be everywhere", u.upstream("after"), isRolledOutOn(3))
	})
	t.Run("a taint sends away what does not tolerate it", func(t *testing.T) {
		u := newTenant(t, in, "taint")
		u.place(t, "tolerant", "{workloadSelector: {labelSelector: {matchLabels: {app: tolerant}}}, tolerations: [{key: maintenance, operator: Exists}]}")
		u.apply(t, some(deployment("tolerant"), deployment("other")))
		eventuallyIs(t, "it to be everywhere", u.upstream("other"), isRolledOutOn(3))
		eventuallyIs(t, "it to be everywhere", u.upstream("tolerant"), isRolledOutOn(3))
		in.inProvider(t).kubectl(t, "patch", "cr", fleetNorth, "--type=merge", `--patch={"spec":{"taints":[{"key":"maintenance","effect":"NoExecute"}]}}`)
		eventuallyGone(t, "the copy on the tainted cluster", u.copyOn(fleetNorth, "other"))
		get(t, u.copyOn(fleetNorth, "tolerant"))
		in.inProvider(t).kubectl(t, "patch", "cr", fleetNorth, "--type=merge", `--patch={"spec":{"taints":null}}`)
		eventuallyIs(t, "it to be everywhere again", u.upstream("other"), isRolledOutOn(3))
	})
	t.Run("a cluster is for the workspaces that it names", func(t *testing.T) {
		one, other := newTenant(t, in, "allowed"), newTenant(t, in, "others")
		in.inProvider(t).kubectl(t, "patch", "cr", fleetNorth, "--type=merge", fmt.Sprintf(`--patch={"spec":{"allowedWorkspaces":[%q]}}`, one.workspace))
		for _, u := range []*tenant{other, one} {
			u.apply(t, some(deployment("web")))
		}
		eventuallyIs(t, "the workspace that is named to be everywhere", one.upstream("web"), isRolledOutOn(3))
		eventuallyIs(t, "the other one to be on two", other.upstream("web"), isRolledOutOn(2))
		isGone(t, "the copy of the other one", other.copyOn(fleetNorth, "web"))
		other.target(t, "web", fleetNorth)
		other.eventuallyEvent(t, "web", "InvalidTargetClusters", fleetNorth, "not for this workspace")
		eventuallyIs(t, "it to be nowhere", other.upstream("web"), isRolledOutOn(0))
		// Nobody holds an administrator of kcp back who places it himself: it is put right.
		label := v1alpha1.PlacementLabel(fleetNorth)
		other.kubectl(t, "label", "deployment", "web", label+"="+v1alpha1.PlacementLabelValue)
		eventuallyIs(t, "the forged placement to be taken back", other.upstream("web"), func(d *appsv1.Deployment) bool { return d.Labels[label] == "" })
		eventuallyGone(t, "what the cluster made of it", other.copyOn(fleetNorth, "web"))
		in.inProvider(t).kubectl(t, "patch", "cr", fleetNorth, "--type=merge", `--patch={"spec":{"allowedWorkspaces":null}}`)
		eventuallyIs(t, "it to be where it names", other.upstream("web"), isRolledOutOn(1))
	})
	t.Run("the rule of a cluster is in its registration", func(t *testing.T) { hasItsRule(t, in) })
	t.Run("a drain without a dip", func(t *testing.T) { drainsWithoutADip(t, in) })
	t.Run("what a person sees", func(t *testing.T) { showsWhatRunsWhere(t, in) })
	t.Run("a cluster that is removed is drained first", func(t *testing.T) {
		u := newTenant(t, in, "removed")
		u.apply(t, some(deployment("web")))
		eventuallyIs(t, "it to be everywhere", u.upstream("web"), isRolledOutOn(3))
		in.plugin(t, "remove", fleetNorth, "--timeout=120s")
		in.inProvider(t).isNotThere(t, "cr/"+fleetNorth)
		isGone(t, "the copy on the removed cluster", u.copyOn(fleetNorth, "web"))
		// It does not come back by itself, but with its next start.
		in.syncers[fleetNorth].eventuallyLogs(t, "registration")
		check(t, in.syncers[fleetNorth].stop(t.Context()))
		check(t, in.syncers[fleetNorth].startReady(t.Context()))
		eventuallyIs(t, "it to be everywhere again", u.upstream("web"), isRolledOutOn(3))
	})
}

// showsWhatRunsWhere checks the tables of the plugin, and the JSON that programs read instead.
func showsWhatRunsWhere(t *testing.T, in *installation) {
	u := newTenant(t, in, "seen")
	u.place(t, "weights", fmt.Sprintf("{clusterSelector: {clusterNames: [%[1]s, %[2]s]}, replicas: Divided, weights: [{clusterNames: [%[1]s], weight: 2}]}", fleetEast, fleetWest))
	u.apply(t, some(deployment("web", withReplicas(3))))
	u.rollOut(t, "web", fleetEast, fleetWest)
	saw := func(shown string, words ...string) {
		t.Helper()
		if !hasWords(shown, words) {
			t.Errorf("there are not the words %q in:\n%s", words, shown)
		}
	}
	clusters := in.plugin(t, "get", "clusters")
	saw(clusters, "HEARTBEAT", "WORKLOADS", fleetEast, fleetNorth, fleetWest, "eu", "us", "True", "v1.")
	var list struct {
		Items []struct {
			Metadata metav1.ObjectMeta
			Summary  struct{ Workloads int }
		}
	}
	check(t, json.Unmarshal([]byte(in.plugin(t, "get", "clusters", "--output=json")), &list))
	for _, item := range list.Items {
		if item.Metadata.Name == fleetEast && item.Summary.Workloads == 0 {
			t.Errorf("%s has no workloads, it is said", fleetEast)
		}
	}
	workloads, err := runPlugin(t.Context(), u.workspace, "get", "workloads", "--namespace="+u.namespace)
	check(t, err)
	saw(workloads, "Deployment", "web", "3/3", "2/2", "1/1", strings.ToUpper(fleetEast), strings.ToUpper(fleetWest))
	described, err := runPlugin(t.Context(), u.workspace, "describe", "deploy/web", "--namespace="+u.namespace)
	check(t, err)
	saw(described, "placement weights", fleetEast, fleetWest, "2 of the replicas", "nothing")
}

// placeLaterThan makes a placement of a later second than that given: by those kcp knows which is the older.
func (u *tenant) placeLaterThan(t *testing.T, created, name, spec string) {
	t.Helper()
	eventually(t, "a later placement", soon, func(ctx context.Context) (bool, string, error) {
		if _, err := u.inKCP().try(ctx, "delete", "wp", name, "--ignore-not-found"); err != nil {
			return false, "", err
		}
		u.place(t, name, spec)
		now, err := u.inKCP().get(ctx, "wp "+name, "{.metadata.creationTimestamp}")
		return now > created, now, err
	})
}

// isRolledOutOn reports whether a Deployment of one replica is on so many clusters, and done.
func isRolledOutOn(clusters int32) func(*appsv1.Deployment) bool {
	return func(d *appsv1.Deployment) bool {
		return d.Status.AvailableReplicas == clusters && d.Status.ObservedGeneration == d.Generation
	}
}

// drainsWithoutADip drains a cluster that a divided Deployment and one on one cluster are on.
func drainsWithoutADip(t *testing.T, in *installation) {
	u := newTenant(t, in, "drain")
	u.place(t, "divided", fmt.Sprintf("{workloadSelector: {labelSelector: {matchLabels: {app: divided}}}, clusterSelector: {clusterNames: [%s, %s]}, replicas: Divided}", fleetEast, fleetWest))
	u.place(t, "one", fmt.Sprintf("{workloadSelector: {labelSelector: {matchLabels: {app: one}}}, numberOfClusters: 1, strategy: Affinity, preferences: [{clusterNames: [%s]}]}", fleetEast))
	u.apply(t, some(deployment("divided", withReplicas(8)), deployment("one", withReplicas(3))))
	u.eventuallyShares(t, "divided", fleetEast+"=4 "+fleetWest+"=4")
	u.eventuallyShares(t, "one", fleetEast+"=3")
	u.rollOut(t, "divided", fleetEast, fleetWest)
	u.rollOut(t, "one", fleetEast)

	u.inKCP().apply(t, "{apiVersion: batch/v1, kind: Job, metadata: {name: once, labels: {app: one}}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: once, image: once}]}}}}")
	const isComplete = `{.status.conditions[?(@.type=="Complete")].status}`
	u.inKCP().eventually(t, "job/once", isComplete, "True")

	divided, one := recordOf(t, u.client, u.namespace, "divided"), recordOf(t, u.client, u.namespace, "one")
	in.plugin(t, "drain", fleetEast, "--timeout=120s")
	u.eventuallyShares(t, "divided", fleetWest+"=8")
	u.rollOut(t, "divided", fleetWest)
	isGone(t, "the copy on the drained cluster", u.copyOn(fleetEast, "one"))
	// What has run is not run again, and has run.
	for clusterName := range in.clusters {
		u.onCluster(clusterName).isNotThere(t, "job/once")
	}
	u.inKCP().eventually(t, "job/once", isComplete, "True")
	for recorded, replicas := range map[*record]int32{divided: 8, one: 3} {
		if dip, state := recorded.worst(func(d *appsv1.Deployment) int32 { return replicas - d.Status.AvailableReplicas }); dip > 0 {
			t.Errorf("there were %d fewer available during the drain: %s", dip, state)
		}
	}
	in.plugin(t, "uncordon", fleetEast)
	u.kubectl(t, "scale", "deployment", "divided", "--replicas=12")
	u.rollOut(t, "divided", fleetEast, fleetWest)
	u.eventuallyShares(t, "divided", fleetEast+"=6 "+fleetWest+"=6")
}

// hasItsRule changes the rule of a cluster.
func hasItsRule(t *testing.T, in *installation) {
	u := newTenant(t, in, "rule")
	u.apply(t, some(deployment("web", on(fleetNorth))))
	u.rollOut(t, "web", fleetNorth)
	in.inProvider(t).kubectl(t, "patch", "cr", fleetNorth, "--type=merge", `--patch={"spec":{"transform":{"labels":{"region":"eu"}}}}`)
	u.onCluster(fleetNorth).eventually(t, "deployment/web", "{.metadata.labels.region}", "eu")
	if _, err := in.inProvider(t).try(t.Context(), "patch", "cr", fleetNorth, "--type=merge", `--patch={"spec":{"transform":{"namespaceMode":"Own"}}}`); err == nil || !strings.Contains(err.Error(), "spec.transform.namespaceMode") {
		t.Errorf("a mode that does not exist: %v, want an error that names spec.transform.namespaceMode", err)
	}
	// The level of a namespace is the operator's to say, and holds against overrides, which come last.
	in.inProvider(t).kubectl(t, "patch", "cr", fleetNorth, "--type=merge", `--patch={"spec":{"transform":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}}`)
	u.onCluster(fleetNorth).eventually(t, "namespace/"+u.namespace, "{.metadata.labels.pod-security\\.kubernetes\\.io/enforce}", "baseline")
	u.apply(t, some(deployment("escape", on(fleetNorth), withOverride(fleetNorth,
		`[{"op":"add","path":"/spec/template/spec/volumes","value":[{"name":"host","hostPath":{"path":"/"}}]}]`))))
	eventuallyIs(t, "the cluster to refuse the node's files", u.upstream("escape"), func(d *appsv1.Deployment) bool {
		failure := condition(d, "ReplicaFailure")
		return failure.Status == "True" && hasWords(failure.Message, []string{fleetNorth, "hostPath", "baseline"})
	})
	in.inProvider(t).kubectl(t, "patch", "cr", fleetNorth, "--type=merge", `--patch={"spec":{"transform":null}}`)
	u.onCluster(fleetNorth).eventually(t, "deployment/web", "{.metadata.labels.region}", "")
}
