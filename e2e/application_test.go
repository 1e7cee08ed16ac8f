package e2e

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

//go:embed testdata/application.yaml
var applicationYAML string

// application is a tenant whose application runs on two clusters with different rules.
type application struct {
	*tenant

	// rules are the files of the clusters' rules.
	rules map[string]string
	kcp   side
}

const (
	appEast = "app-" + east
	appWest = "app-" + west
)

// prefixRule is the rule of the cluster east: another registry, caps, a label, and namespaces with a prefix.
func prefixRule(prefix, registry string) string {
	return "namespacePrefix: " + prefix + "\nimageRegistry: " + registry +
		"\nresourceLimits: {cpu: 500m, memory: 1Gi}\nlabels: {region: east}\nnamespaceLabels: [pod-security.kubernetes.io/*]\n"
}

const isolatedRule = "namespaceMode: Isolated\nannotations: {example.com/operator: west}\n"

// TestApplicationOfManyKindsOnTwoClusters runs an application of many kinds on two different clusters, changes it,
// moves it and deletes it. It compares all that the clusters have before and after, so it does not run beside other
// tests.
func TestApplicationOfManyKindsOnTwoClusters(t *testing.T) {
	app := newApplication(t)
	before := map[string][]string{}
	for name, on := range env.clusters {
		before[name] = listing(t, on)
	}
	t.Run("up", app.comesUp)
	t.Run("changed", app.changes)
	t.Run("moved by its cluster", app.movesToAnotherNamespace)
	t.Run("moved by its user", app.leavesACluster)
	t.Run("deleted", func(t *testing.T) {
		app.kcp.kubectl(t, "delete", "namespace", app.namespace, "--timeout=120s")
		for name, on := range env.clusters {
			eventually(t, "cluster "+name+" to have what it had before", soon, func(context.Context) (bool, string, error) {
				diff := cmp.Diff(before[name], listing(t, on))
				return diff == "", diff, nil
			})
		}
	})
}

func newApplication(t *testing.T) *application {
	t.Helper()
	in := newSeparateInstallation(t, "app", appEast, appWest)
	app := &application{rules: map[string]string{}}
	for name, rule := range map[string]string{appEast: prefixRule("eu-", "registry.example.com/mirror"), appWest: isolatedRule} {
		app.rules[name] = filepath.Join(t.TempDir(), "rule.yaml")
		app.setRule(t, name, rule)
		in.syncers[name].config.Args = append(in.syncers[name].config.Args, "--transform-config="+app.rules[name])
	}
	check(t, in.start(t.Context()))
	for name, on := range in.clusters {
		app.provideVolumes(t, name, on)
	}
	app.tenant = newTenant(t, in, "app")
	app.kcp = app.inKCP()
	return app
}

func (app *application) setRule(t *testing.T, clusterName, rule string) {
	t.Helper()
	check(t, os.WriteFile(app.rules[clusterName], []byte(rule), 0o600))
}

// provideVolumes makes what claims of the class bind to: one volume for each place that the application lives in.
func (app *application) provideVolumes(t *testing.T, name string, on *cluster) {
	t.Helper()
	volumes := &tenant{namespace: metav1.NamespaceDefault}
	volumes.createOn(t, on, `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: application}, provisioner: kubernetes.io/no-provisioner}`)
	for i := range 3 {
		volumes.createOn(t, on, fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolume, metadata: {name: %s-%d}, spec: {storageClassName: application,
			capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, hostPath: {path: /tmp}}}`, name, i))
	}
}

// atEast and atWest are the clusters, in the application's namespace there.
func (app *application) atEast(prefix string) side {
	return app.onCluster(appEast).in(prefix + app.namespace)
}

func (app *application) atWest(t *testing.T) side {
	t.Helper()
	at := app.onCluster(appWest)
	var isolated string
	eventually(t, "a namespace of its own on west", soon, func(ctx context.Context) (bool, string, error) {
		all, err := at.try(ctx, "get", "namespaces", "--output=name")
		for name := range strings.FieldsSeq(all) {
			if rest, ok := strings.CutPrefix(name, "namespace/"+app.namespace+"-"); ok && rest != "" {
				isolated = app.namespace + "-" + rest
			}
		}
		return isolated != "", all, err
	})
	return at.in(isolated)
}

// withStatus are the objects that say in kcp whether they are in place.
var withStatus = []string{"deployment/web", "hpa/web", "pdb/web", "service/web", "ingress/web", "networkpolicy/web", "statefulset/db", "service/db", "cronjob/report"}

func (app *application) isInPlace(t *testing.T, clusters string) {
	t.Helper()
	for _, object := range withStatus {
		app.kcp.eventuallyHas(t, object, syncedPath, "True Synced In place in "+clusters)
	}
}

func (app *application) comesUp(t *testing.T) {
	app.kcp.kubectl(t, "label", "namespace", app.namespace, "pod-security.kubernetes.io/enforce=privileged")
	app.kcp.apply(t, applicationYAML)
	app.kubectl(t, "rollout", "status", "deployment/web", "--timeout=120s")
	app.kubectl(t, "rollout", "status", "statefulset/db", "--timeout=120s")
	app.isInPlace(t, "2 clusters.")
	// The autoscalers take the Deployment from two replicas to three, and nobody fights them.
	app.kcp.eventually(t, "deployment/web", "{.status.availableReplicas}", "6")
	app.kcp.eventually(t, "statefulset/db", "{.status.availableReplicas}", "2")

	atEast, atWest := app.atEast("eu-"), app.atWest(t)
	// The rule of one lets the level of the user's namespace go down, that of the other does not.
	const level = `{.metadata.labels.tmc\.kcp\.io/managed-by} {.metadata.labels.pod-security\.kubernetes\.io/enforce}`
	atEast.eventually(t, "namespace/"+atEast.namespace, level, "tmc-syncer privileged")
	atWest.eventually(t, "namespace/"+atWest.namespace, level, "tmc-syncer")
	for _, on := range []side{atEast, atWest} {
		on.eventually(t, "pvc/data-db-0", "{.status.phase}", "Bound")
		on.eventually(t, "secret/credentials", "{.data.password}", "c2VjcmV0")
		on.eventually(t, "service/db", "{.spec.clusterIP}", "None")
		on.eventually(t, "deployment/web", "{.spec.selector.matchLabels}", `{"app":"web"}`)
		on.eventuallyThere(t, "secret/pull")
		on.eventuallyThere(t, "secret/certificate")
		on.isNotThere(t, "configmap/unneeded")
	}
	atEast.eventually(t, "deployment/web", "{.spec.template.spec.initContainers[0].image} "+imagePath,
		"registry.example.com/mirror/library/busybox:1.36 registry.example.com/mirror/library/nginx:1.27")
	atEast.eventually(t, "deployment/web", "{.spec.template.spec.containers[0].resources}", `{"limits":{"cpu":"500m","memory":"64Mi"},"requests":{"cpu":"100m"}}`)
	atEast.eventuallyHas(t, "statefulset/db", imagePath, "registry.example.com/mirror/team/db@sha256:")
	atEast.eventually(t, "cronjob/report", "{.spec.jobTemplate.spec.template.spec.containers[0].image} {.metadata.labels.region}", "registry.example.com/mirror/report east")
	atEast.eventuallyHas(t, "networkpolicy/web", "{.spec.ingress}", "eu-partner")
	atWest.eventually(t, "deployment/web", imagePath+` {.metadata.annotations.example\.com/operator}`, "nginx:1.27 west")
}

func (app *application) changes(t *testing.T) {
	atEast, atWest := app.atEast("eu-"), app.atWest(t)
	address := atEast.kubectl(t, "get", "service/web", "--output=jsonpath={.spec.clusterIP}")
	autoscalerUID := atEast.kubectl(t, "get", "hpa/web", "--output=jsonpath={.metadata.uid}")
	changed := strings.NewReplacer("nginx:1.27", "nginx:1.28", "mode: fast", "mode: slow", "0 3 * * *", "0 4 * * *",
		"port: 80, targetPort: http}]", "port: 80, targetPort: http}, {name: admin, port: 81}]").Replace(applicationYAML)
	app.kcp.apply(t, changed)
	app.setRule(t, appEast, prefixRule("eu-", "other.example.com"))
	app.kubectl(t, "rollout", "status", "deployment/web", "--timeout=120s")
	atEast.eventually(t, "deployment/web", imagePath, "other.example.com/library/nginx:1.28")
	atWest.eventually(t, "deployment/web", imagePath, "nginx:1.28")
	for _, on := range []side{atEast, atWest} {
		on.eventually(t, "configmap/settings", "{.data.mode}", "slow")
		on.eventually(t, "cronjob/report", "{.spec.schedule}", "0 4 * * *")
		on.eventually(t, "service/web", "{.spec.ports[*].name}", "http admin")
		on.eventually(t, "deployment/web", replicasPath, "3")
	}
	app.isInPlace(t, "2 clusters.")
	if now := atEast.kubectl(t, "get", "service/web", "--output=jsonpath={.spec.clusterIP}"); now != address || now == "" {
		t.Errorf("the Service had the address %q and has %q", address, now)
	}
	atEast.eventually(t, "hpa/web", uidPath, autoscalerUID)

	app.setRule(t, appEast, "namespacePrefix: [")
	app.installation.syncers[appEast].eventuallyLogs(t, "The rule is not usable", "the one before is kept", "not a transform rule")
}

func (app *application) movesToAnotherNamespace(t *testing.T) {
	oldPlace, newPlace := app.atEast("eu-"), app.atEast("moved-")
	app.setRule(t, appEast, prefixRule("moved-", "other.example.com"))
	// Wherever the Deployment is, its pods are available in one place or the other.
	eventually(t, "the old namespace to be gone", 2*soon, func(ctx context.Context) (bool, string, error) {
		const available = "{.status.availableReplicas}"
		before, errBefore := oldPlace.get(ctx, "deployment/web", available)
		after, errAfter := newPlace.get(ctx, "deployment/web", available)
		if errBefore == nil && errAfter == nil && before == "" && after == "" {
			return true, "", fmt.Errorf("no pod of the Deployment is available in either namespace")
		}
		there, err := oldPlace.get(ctx, "namespace/"+oldPlace.namespace, "{.status.phase}")
		return err == nil && there == "", fmt.Sprintf("available %q and %q, namespace %q", before, after, there), err
	})
	app.isInPlace(t, "2 clusters.")
	newPlace.eventually(t, "pvc/data-db-0", "{.status.phase}", "Bound")
	newPlace.eventuallyHas(t, "networkpolicy/web", "{.spec.ingress}", "moved-partner")
	newPlace.eventuallyThere(t, "configmap/settings")
}

func (app *application) leavesACluster(t *testing.T) {
	atEast := app.atEast("moved-")
	app.kcp.kubectl(t, "annotate", "deployment/web", "statefulset/db", "cronjob/report", "tmc.kcp.io/target-clusters="+appWest)
	atEast.eventuallyGone(t, "namespace/"+atEast.namespace)
	app.isInPlace(t, "1 cluster.")
	app.kcp.eventually(t, "configmap/settings", "{.metadata.finalizers}", `["syncer.tmc.kcp.io/`+appWest+`"]`)

	app.kcp.kubectl(t, "annotate", "deployment/web", "statefulset/db", "cronjob/report", "tmc.kcp.io/target-clusters-")
	app.kubectl(t, "rollout", "status", "deployment/web", "--timeout=120s")
	app.isInPlace(t, "2 clusters.")
	atEast.eventuallyThere(t, "secret/credentials")
}

// listing returns all objects of a cluster that can be listed, but for events and leases, which come and go.
func listing(t *testing.T, on *cluster) []string {
	t.Helper()
	config, err := on.RESTConfig()
	check(t, err)
	config.WarningHandler = rest.NoWarnings{} // what is deprecated counts, too
	client, err := metadata.NewForConfig(config)
	check(t, err)
	lists, err := on.client.Discovery().ServerPreferredResources()
	check(t, err)
	var all []string
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "watch"}}, lists) {
		groupVersion, err := schema.ParseGroupVersion(list.GroupVersion)
		check(t, err)
		for _, resource := range list.APIResources {
			if resource.Name == "events" || resource.Name == "leases" {
				continue
			}
			objects, err := client.Resource(groupVersion.WithResource(resource.Name)).List(t.Context(), metav1.ListOptions{})
			check(t, err)
			for _, object := range objects.Items {
				all = append(all, resource.Name+"."+groupVersion.Group+" "+object.Namespace+"/"+object.Name)
			}
		}
	}
	slices.Sort(all)
	return all
}
