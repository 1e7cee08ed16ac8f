package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestIsolationHidesWhatIsPlacedElsewhere reads with east's credentials what is placed on west alone, in each way and
// through each view that there is.
func TestIsolationHidesWhatIsPlacedElsewhere(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "private")
	u.kubectl(t, "create", "secret", "generic", "ours", "--from-literal=password=confidential")
	u.kubectl(t, "create", "secret", "generic", "theirs", "--from-literal=password=confidential")
	u.kubectl(t, "create", "secret", "generic", "nobodys", "--from-literal=password=confidential")
	u.apply(t, some(deployment("ours", on(east), withSecret("ours")), deployment("theirs", on(west), withSecret("theirs"))))
	u.rollOut(t, "ours", east)
	u.rollOut(t, "theirs", west)
	s := newThief(t, env.shared, east)

	own := s.view + "/clusters/" + u.logicalCluster
	kinds := map[string]string{"deployments": "/apis/apps/v1", "secrets": "/api/v1"}
	for kind, api := range kinds {
		in := func(view string) string { return view + api + "/namespaces/" + u.namespace + "/" + kind }
		// Where this does not pass, the refusals say nothing.
		s.answers(t, in(own)+"/ours", http.StatusOK)
		s.answers(t, in(own)+"/theirs", http.StatusNotFound)
		s.answers(t, in(own)+"/nobodys", http.StatusNotFound)
		for _, list := range []string{in(own), own + api + "/" + kind, s.view + "/clusters/*" + api + "/" + kind} {
			s.listsOnly(t, list, u, "ours")
			s.watchesOnly(t, list, u, "ours")
		}
		for name, view := range map[string]string{
			"all clusters": env.shared.viewURL(t, v1alpha1.APIExportName), "west": env.shared.viewURL(t, v1alpha1.ClusterExport(west)),
		} {
			t.Run("by the view of "+name+", "+kind, func(t *testing.T) {
				for _, workspace := range []string{u.logicalCluster, "*"} {
					list := view + "/clusters/" + workspace + api + "/" + kind
					s.answers(t, list, http.StatusForbidden)
					s.answers(t, list+"?watch=true", http.StatusForbidden)
				}
				for _, name := range []string{"ours", "theirs", "nobodys"} {
					s.answers(t, in(view+"/clusters/"+u.logicalCluster)+"/"+name, http.StatusForbidden)
				}
			})
		}
		// Not in the workspace itself either, right after its view was used.
		for _, name := range []string{"ours", "theirs", "nobodys"} {
			s.answers(t, in(s.server+"/clusters/"+u.workspace)+"/"+name, http.StatusForbidden)
		}
	}
}

// answers fails the test unless kcp answers a GET with the code.
func (s thief) answers(t *testing.T, url string, want int) {
	t.Helper()
	status, answer, err := s.try(t.Context(), attempt{method: http.MethodGet, url: url})
	if err != nil || status != want {
		t.Errorf("GET %s: kcp answers %d, want %d (%v):\n%.300s", url, status, want, err, answer)
	}
}

// listsOnly fails the test unless a list has, of the tenant's, only the object of the name.
func (s thief) listsOnly(t *testing.T, url string, u *tenant, name string) {
	t.Helper()
	status, answer, err := s.try(t.Context(), attempt{method: http.MethodGet, url: url})
	if check(t, err); status != http.StatusOK {
		t.Fatalf("GET %s: kcp answers %d:\n%.300s", url, status, answer)
	}
	var list metav1.PartialObjectMetadataList
	check(t, json.Unmarshal([]byte(answer), &list))
	found := false
	for _, item := range list.Items {
		if item.Labels[v1alpha1.PlacementLabel(east)] != v1alpha1.PlacementLabelValue {
			t.Errorf("GET %s: it has %s/%s, which is not placed on east", url, item.Namespace, item.Name)
		}
		found = found || item.Namespace == u.namespace && item.Name == name
	}
	if !found {
		t.Errorf("GET %s: it has no %s", url, name)
	}
}

// watchesOnly fails the test unless a watch from the beginning shows only what is placed on east, the object of the
// name included. It reads until the bookmark that ends what there is at first.
func (s thief) watchesOnly(t *testing.T, url string, u *tenant, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		url+"?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", nil)
	check(t, err)
	response, err := s.client.Do(request)
	check(t, err)
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("watching %s: kcp answers %d", url, response.StatusCode)
		return
	}
	events := bufio.NewScanner(response.Body)
	events.Buffer(nil, 1<<24)
	found := false
	for events.Scan() {
		var event struct {
			Type   string                       `json:"type"`
			Object metav1.PartialObjectMetadata `json:"object"`
		}
		check(t, json.Unmarshal(events.Bytes(), &event))
		if event.Type == "BOOKMARK" {
			break
		}
		if event.Object.Labels[v1alpha1.PlacementLabel(east)] != v1alpha1.PlacementLabelValue {
			t.Errorf("watching %s: %s of %s/%s, which is not placed on east", url, event.Type, event.Object.Namespace, event.Object.Name)
		}
		found = found || event.Object.Namespace == u.namespace && event.Object.Name == name
	}
	if check(t, events.Err()); !found {
		t.Errorf("watching %s: no %s", url, name)
	}
}

// withSecret has the pods of a Deployment take their environment from a Secret.
func withSecret(name string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		container := &d.Spec.Template.Spec.Containers[0]
		container.EnvFrom = append(container.EnvFrom, corev1.EnvFromSource{
			SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}},
		})
	}
}

// withConfigMap has them take it from a ConfigMap.
func withConfigMap(name string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		container := &d.Spec.Template.Spec.Containers[0]
		container.EnvFrom = append(container.EnvFrom, corev1.EnvFromSource{
			ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}},
		})
	}
}

// The cluster of the installation whose isolation changes.
const changing = "changing-" + east

// isolations are the ways in which a cluster may be joined, in the order in which the test goes through them.
var isolations = []struct {
	args   []string
	export string
}{
	{[]string{"--shared"}, v1alpha1.APIExportName},
	{nil, v1alpha1.ClusterExport(changing)},
	{[]string{"--group=eu-prod"}, v1alpha1.GroupExport("eu-prod")},
	{[]string{"--group=us-prod"}, v1alpha1.GroupExport("us-prod")},
	{[]string{"--shared"}, v1alpha1.APIExportName},
}

// TestIsolationChangesByJoiningAgain joins a cluster with one isolation after the other. Nothing that runs on it
// moves.
func TestIsolationChangesByJoiningAgain(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "changing", changing)
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "changing")
	before := u.rollOutWeb(t, changing)
	former := v1alpha1.ClusterExport(changing)
	for i, to := range isolations {
		t.Run(fmt.Sprintf("%d to %s", i, to.export), func(t *testing.T) {
			in.rejoin(t, u, to.args...)
			u.checkUntouched(t, changing, before)
			in.inProvider(t).eventually(t, "clusterregistration/"+changing, "{.status.export}", to.export)
			// What nobody uses any more goes.
			in.plugin(t, "init")
			if former != v1alpha1.APIExportName {
				in.inProvider(t).isNotThere(t, "apiexport/"+former)
				in.inProvider(t).isNotThere(t, "clusterrole/tmc-bind-"+former)
				eventually(t, "the binding of "+former+" to be gone", soon, func(ctx context.Context) (bool, string, error) { // the hub lets it go
					bound, err := u.inKCP().try(ctx, "get", "apibindings", "--output=name")
					return !strings.Contains(bound, former), bound, err
				})
			}
			role := in.inProvider(t).kubectl(t, "get", "clusterrole", "tmc-syncer-"+changing, "--output=jsonpath={.rules[1].resourceNames}")
			if want := `["` + to.export + `"]`; role != want {
				t.Errorf("the account may use %s, want %s", role, want)
			}
			former = to.export

			// It works, and has not made anything anew.
			image := fmt.Sprintf("example.com/web:%d", i)
			u.kubectl(t, "patch", "deployment", "web", "--type=json", `--patch=[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"`+image+`"}]`)
			u.rollOut(t, "web", changing)
			eventuallyIs(t, "its controller to be through with it", u.copyOn(changing, "web"), isThrough)
			after := get(t, u.copyOn(changing, "web"))
			if after.UID != before.UID || after.Spec.Template.Spec.Containers[0].Image != image {
				t.Errorf("the copy was %s, and is %s", describe(before), describe(after))
			}
			before = after
		})
	}
	u.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	isGone(t, "the copy", u.copyOn(changing, "web"))
}

// rejoin has the cluster join again with the flags, binds the tenant's workspace, and restarts the syncer with the manifest.
func (in *installation) rejoin(t *testing.T, u *tenant, args ...string) {
	t.Helper()
	j, err := in.join(t.Context(), changing, in.clusters[changing], namespaceOfSyncer(changing), args...)
	check(t, err)
	u.bind(t)
	check(t, j.start(t.Context()))
	flags, err := j.arguments(t.Context())
	check(t, err)
	syncer := in.syncers[changing]
	check(t, syncer.stop(t.Context()))
	syncer.runWith(flags)
	check(t, syncer.startReady(t.Context()))
}

// joinAgain has a cluster whose syncer does not run join with other flags: it starts with those of the manifest.
func (in *installation) joinAgain(t *testing.T, name string, args ...string) {
	t.Helper()
	j, err := in.join(t.Context(), name, in.clusters[name], namespaceOfSyncer(name), args...)
	check(t, err)
	check(t, j.start(t.Context()))
	flags, err := j.arguments(t.Context())
	check(t, err)
	in.syncers[name].runWith(flags)
}

// TestTenantTypeBindsEveryCluster joins one cluster before a workspace of the tenants' type is made, and another
// after.
func TestTenantTypeBindsEveryCluster(t *testing.T) {
	t.Parallel()
	const first, second = "typed-" + east, "typed-" + west
	in := newSeparateInstallation(t, "typed", first)
	u := newTypedTenant(t, in, "typed")
	inForce := func(export string) {
		t.Helper()
		eventually(t, "kcp to have "+export+" bound", soon, func(ctx context.Context) (bool, string, error) {
			got, err := u.inKCP().try(ctx, "get", "apibindings", `--output=jsonpath={range .items[*]}{.spec.reference.export.name}={.status.phase}/{.status.conditions[?(@.type=="PermissionClaimsApplied")].status} {end}`)
			return strings.Contains(got+" ", export+"=Bound/True "), got, err
		})
	}
	inForce(v1alpha1.APIExportName)
	inForce(v1alpha1.ClusterExport(first))
	in.clusters[second] = env.clusters[west]
	check(t, in.prepareSyncer(t.Context(), second, env.clusters[west]))
	check(t, in.start(t.Context()))
	inForce(v1alpha1.ClusterExport(second))
	u.apply(t, some(deployment("web", on(first+","+second))))
	u.rollOut(t, "web", first, second)

	// Binding adds nothing where all is bound, and the hub has held what is used.
	u.areHeld(t, v1alpha1.APIExportName, v1alpha1.ClusterExport(first), v1alpha1.ClusterExport(second))
	versions := func() string {
		return u.inKCP().kubectl(t, "get", "apibindings", `--output=jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)
	}
	before := versions()
	u.bind(t)
	if after := versions(); after != before {
		t.Errorf("binding has written:\n%s\nbefore:\n%s", after, before)
	}

	// With a cluster, its binding goes.
	in.plugin(t, "unjoin", second)
	eventually(t, "the binding to be gone", soon, func(ctx context.Context) (bool, string, error) {
		got, err := u.inKCP().try(ctx, "get", "apibindings", "--output=jsonpath={.items[*].spec.reference.export.name}")
		return !strings.Contains(got, second), got, err
	})
	isGone(t, "the copy", u.copyOn(second, "web"))
}

// TestBindOfManyClustersTakesLittleLonger binds five clusters that have joined and never run.
func TestBindOfManyClustersTakesLittleLonger(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "many")
	for i := range 5 {
		_, err := runPlugin(t.Context(), "root", "join", fmt.Sprintf("many-%d", i), "--provider-workspace="+in.provider, "--image="+env.image)
		check(t, err)
	}
	u := newUnboundTenant(t, in, unique("many"), metav1.NamespaceDefault)
	begin := time.Now()
	u.bind(t)
	t.Logf("binding tmc and five clusters took %s", time.Since(begin).Round(100*time.Millisecond))
	versions := func() string {
		return u.inKCP().kubectl(t, "get", "apibindings", `--output=jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)
	}
	before := versions()
	if count := strings.Count(before, "cluster-many-"); count != 5 {
		t.Errorf("%d clusters are bound:\n%s", count, before)
	}
	u.bind(t)
	if after := versions(); after != before {
		t.Errorf("binding again has written:\n%s\nbefore:\n%s", after, before)
	}
	in.plugin(t, "unjoin", "many-0", "--force")
	if got := versions(); strings.Contains(got, "cluster-many-0") || !strings.Contains(got, "cluster-many-1") {
		t.Errorf("once many-0 is taken out, there are\n%s", got)
	}
}

// TestClusterWithSomeKindsGetsNoOthers joins a cluster with Deployments and Secrets alone. Objects of other kinds
// come and go as if the cluster were not there.
func TestClusterWithSomeKindsGetsNoOthers(t *testing.T) {
	t.Parallel()
	const name = "some-" + north
	in := newInstallation(t, "some", name)
	in.joinAgain(t, name, "--kinds=deployments,secrets")
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "some")
	in.inProvider(t).eventuallyIs(t, "clusterregistration/"+name, "{.status.resources}", "to have Deployments and Secrets alone", func(got string) bool {
		return strings.Contains(got, "deployments.apps") && strings.Contains(got, "secrets") && strings.Count(got, ",") == 1
	})
	u.kubectl(t, "create", "configmap", "settings", "--from-literal=a=b")
	u.kubectl(t, "create", "job", "once", "--image="+image)
	u.apply(t, some(deployment("web", withConfigMap("settings"))))
	u.rollOut(t, "web", name)
	for _, object := range []string{"configmap/settings", "job/once"} {
		if got := u.kubectl(t, "get", object, "--output=jsonpath={.metadata.finalizers}{.metadata.labels}"); strings.Contains(got, name) {
			t.Errorf("%s is placed on a cluster that does not take it: %s", object, got)
		}
		u.kubectl(t, "delete", object, "--timeout=60s")
	}
	u.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	isGone(t, "the copy", u.copyOn(name, "web"))
}
