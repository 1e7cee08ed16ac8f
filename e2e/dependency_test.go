package e2e

import (
	"fmt"
	"testing"
	"time"
)

// deploymentNaming returns a Deployment whose pods take a ConfigMap's keys as their environment.
func deploymentNaming(name, configMap string, optional bool) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
      - name: web
        image: example.com/web:1
        envFrom: [{configMapRef: {name: %[2]s, optional: %[3]t}}]
`, name, configMap, optional)
}

// TestDependenciesArePlacedBeforeWorkload checks that what a workload needs is placed where the workload is, and
// before it.
func TestDependenciesArePlacedBeforeWorkload(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "needs")
	kcp, atEast, atWest := u.inKCP(), u.onCluster(east), u.onCluster(west)
	kcp.apply(t, deploymentNaming("web", "settings", false))

	kcp.eventuallyHas(t, "deployment/web", syncedPath, "False", "MissingDependency", "settings")
	kcp.kubectl(t, "create", "configmap", "settings", "--from-literal=mode=fast")
	kcp.kubectl(t, "create", "configmap", "unneeded", "--from-literal=a=b")
	kcp.eventuallyHas(t, "deployment/web", syncedPath, "True")
	atEast.eventually(t, "configmap/settings", "{.data}", `{"mode":"fast"}`)

	kcp.kubectl(t, "patch", "configmap", "settings", "--type=merge", `--patch={"data":{"mode":"slow"}}`)
	atWest.eventually(t, "configmap/settings", "{.data}", `{"mode":"slow"}`)
	atWest.kubectl(t, "patch", "configmap", "settings", "--type=merge", `--patch={"data":{"mode":"hacked","other":"kept"}}`)
	atWest.eventually(t, "configmap/settings", "{.data}", `{"mode":"slow","other":"kept"}`)
	atEast.isNotThere(t, "configmap/unneeded")

	// A second one whose ConfigMap is there from the start: it is made after it.
	kcp.kubectl(t, "create", "configmap", "first", "--from-literal=a=b")
	kcp.apply(t, deploymentNaming("second", "first", false))
	u.rollOut(t, "second", east, west)
	for _, on := range []side{atEast, atWest} {
		made := func(object string) time.Time {
			at, err := time.Parse(time.RFC3339, on.kubectl(t, "get", object, "--output=jsonpath={.metadata.creationTimestamp}"))
			check(t, err)
			return at
		}
		if made("configmap/first").After(made("deployment/second")) {
			t.Errorf("on %s the ConfigMap came after the Deployment that names it", on.name)
		}
	}

	// An optional one may be missing.
	kcp.apply(t, deploymentNaming("optional", "nowhere", true))
	u.rollOut(t, "optional", east, west)
	kcp.eventuallyHas(t, "deployment/optional", syncedPath, "True")

	// It leaves with the last that needs it.
	kcp.apply(t, deploymentNaming("third", "first", false))
	u.rollOut(t, "third", east, west)
	kcp.kubectl(t, "delete", "deployment", "second", "--timeout=120s")
	u.rollOut(t, "third", east, west)
	atEast.eventuallyThere(t, "configmap/first")
	kcp.kubectl(t, "delete", "deployment", "third", "--timeout=120s")
	atEast.eventuallyGone(t, "configmap/first")
	atWest.eventuallyGone(t, "configmap/first")
	kcp.eventually(t, "configmap/first", "{.metadata.finalizers}", "")
}

// TestNeverSyncedObjects creates objects that every cluster makes for itself.
func TestNeverSyncedObjects(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "never")
	kcp, atEast := u.inKCP(), u.onCluster(east)
	kcp.apply(t, `{apiVersion: v1, kind: Secret, metadata: {name: token, annotations: {kubernetes.io/service-account.name: default, tmc.kcp.io/target-clusters: "*"}}, type: kubernetes.io/service-account-token}`)
	kcp.eventuallyThere(t, "serviceaccount/default")
	kcp.eventuallyThere(t, "configmap/kube-root-ca.crt")
	kcp.kubectl(t, "annotate", "serviceaccount/default", "configmap/kube-root-ca.crt", "tmc.kcp.io/target-clusters=*")
	for _, name := range []string{"token", "default", "kube-root-ca.crt"} {
		u.eventuallyEvent(t, name, "NeverSynced")
	}
	// What is synced after them shows that they had their turn.
	kcp.apply(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: last, annotations: {tmc.kcp.io/target-clusters: "*"}}, data: {a: b}}`)
	atEast.eventuallyThere(t, "configmap/last")
	atEast.isNotThere(t, "secret/token")
	for _, object := range []string{"secret/token", "serviceaccount/default", "configmap/kube-root-ca.crt"} {
		if labels := kcp.kubectl(t, "get", object, "--output=jsonpath={.metadata.labels}"); hasWords(labels, []string{"cluster.tmc.kcp.io"}) {
			t.Errorf("%s is placed: %s", object, labels)
		}
	}
}
