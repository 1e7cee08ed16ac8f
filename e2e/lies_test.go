package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestNamespaceTerminatingOnOneCluster deletes the tenant's namespace on east, where something of a third party has a finalizer: what
// is to be there says so, the syncer tries next to nothing, west is untouched, and all is back when the finalizer goes.
func TestNamespaceTerminatingOnOneCluster(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "terminating")
	kcp, atEast, atWest := u.inKCP(), u.onCluster(east), u.onCluster(west)
	names := []string{"one", "two", "three"}
	for _, name := range names {
		kcp.apply(t, deploymentOf(name))
		u.rollOut(t, name, east, west)
	}
	uid := atWest.eventuallyThere(t, "deployment/one")
	atEast.apply(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, finalizers: [example.com/hold]}}")
	atEast.kubectl(t, "delete", "namespace", u.namespace, "--wait=false")
	begin := time.Now()
	for _, name := range names {
		kcp.eventuallyHas(t, "deployment/"+name, syncedPath, "False NamespaceTerminating", east+": namespace "+u.namespace)
	}
	t.Logf("told of three Deployments after %s", time.Since(begin).Round(time.Second))
	kcp.eventuallyHas(t, "deployment/one", syncedPath, "example.com/hold")
	kcp.eventuallyHas(t, "deployment/one", `{.status.conditions[?(@.type=="Available")].status}`, "False")

	kcp.apply(t, deploymentOf("late"))
	kcp.eventuallyHas(t, "deployment/late", syncedPath, "False NamespaceTerminating")
	trail := auditFromNow(t)
	time.Sleep(15 * time.Second) // what is counted is what is not done
	if attempts := trail.attempts(t, u.namespace); attempts > 3 {
		t.Errorf("%d writes to the namespace in 15 s, want one in 5 s at most", attempts)
	}
	if got, err := atWest.get(t.Context(), "deployment/one", uidPath); err != nil || got != uid {
		t.Errorf("west has another copy: %s, %v", got, err)
	}
	ending := atEast.eventuallyThere(t, "namespace/"+u.namespace)
	atEast.kubectl(t, "patch", "configmap", "theirs", "--type=merge", `--patch={"metadata":{"finalizers":null}}`)
	begin = time.Now()
	atEast.eventuallyIs(t, "namespace/"+u.namespace, uidPath, "to be another one", func(got string) bool { return got != ending && got != "" })
	t.Logf("the namespace is there anew after %s", time.Since(begin).Round(time.Second))
	for _, name := range append(names, "late") {
		kcp.eventuallyHas(t, "deployment/"+name, syncedPath, "True Synced In place in 2 clusters.")
	}
	t.Logf("four Deployments are back after %s", time.Since(begin).Round(time.Second))
}

// deploymentOf is a Deployment that names nothing.
func deploymentOf(name string) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[1]s}, spec: {selector: {matchLabels: {app: %[1]s}},
  template: {metadata: {labels: {app: %[1]s}}, spec: {containers: [{name: web, image: "example.com/web:1"}]}}}}`, name)
}

// attempts counts the writes of syncers to the Deployments of a namespace of clusters.
func (trail auditTrail) attempts(t *testing.T, namespace string) int {
	t.Helper()
	count := 0
	for _, r := range trail.requests(t) {
		isWrite := !isWatching(r) && r.Verb != "get"
		if isWrite && strings.HasPrefix(r.UserAgent, "tmc-syncer") && !strings.Contains(r.log, "kcp") && strings.Contains(r.URI, "/namespaces/"+namespace+"/") {
			count++
		}
	}
	return count
}

// TestStatusOfWhatIsNotInPlace has objects that go nowhere, or that a cluster refuses: each says why, and what is mended is tried soon.
func TestStatusOfWhatIsNotInPlace(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "lies")
	kcp, atEast, atWest := u.inKCP(), u.onCluster(east), u.onCluster(west)
	kcp.apply(t, deploymentOf("first")) // the namespace is there then
	u.rollOut(t, "first", east, west)

	t.Run("a placement that matches no cluster", func(t *testing.T) {
		u.place(t, "mars", "{workloadSelector: {labelSelector: {matchLabels: {goes: nowhere}}}, clusterSelector: {locations: [mars]}}")
		kcp.apply(t, strings.Replace(deploymentOf("lost"), "metadata: {name: lost}", "metadata: {name: lost, labels: {goes: nowhere}}", 1))
		kcp.eventuallyHas(t, "deployment/lost", syncedPath, "False NoClusters Placed on no cluster")
	})
	t.Run("a Service that nothing names", func(t *testing.T) {
		kcp.apply(t, "{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {type: ExternalName, externalName: db.example.com}}")
		kcp.eventuallyHas(t, "service/db", syncedPath, "False NotPlaced", "tmc.kcp.io/target-clusters")
		kcp.kubectl(t, "annotate", "service/db", "tmc.kcp.io/target-clusters=*")
		kcp.eventuallyHas(t, "service/db", syncedPath, "True Synced In place in 2 clusters.")
	})
	t.Run("annotations without room", func(t *testing.T) {
		const key, limit = "deployment.kubernetes.io/x", 262144 // a key that does not go down
		big := func(left int, more string) string {
			fat := strings.Repeat("x", limit-left-len(key)-len("kcp.io/cluster")-len(u.logicalCluster))
			return fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: big, annotations: {%s: %s%s}}}", key, fat, more)
		}
		kcp.apply(t, big(5, ""))
		kcp.apply(t, deploymentNaming("needs-big", "big", false))
		kcp.eventuallyHas(t, "deployment/needs-big", syncedPath, "True Synced In place in 2 clusters.")
		kcp.kubectl(t, "delete", "deployment", "needs-big", "--timeout=120s")
		kcp.apply(t, big(60, `, tmc.kcp.io/target-clusters: east`))
		u.eventuallyEvent(t, "big", "WriteRefused", "Too long")
		kcp.apply(t, big(400, `, tmc.kcp.io/target-clusters: east`))
		atWest.eventuallyGone(t, "configmap/big")
	})
	t.Run("a quota that is lifted", func(t *testing.T) {
		atEast.apply(t, "{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {count/deployments.apps: 1}}}")
		atEast.eventuallyHas(t, "resourcequota/none", "{.status.used}", "1")
		kcp.apply(t, deploymentOf("quota"))
		kcp.eventuallyHas(t, "deployment/quota", syncedPath, "False Forbidden", "exceeded quota")
		atEast.kubectl(t, "delete", "resourcequota", "none")
		begin := time.Now()
		kcp.eventuallyHas(t, "deployment/quota", syncedPath, "True Synced In place in 2 clusters.")
		t.Logf("in place %s after the quota was lifted", time.Since(begin).Round(time.Second))
	})
	t.Run("another try that is asked for", func(t *testing.T) {
		const taken = "30555"
		service := "{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: {type: NodePort, selector: {app: nobody}, ports: [{port: 80, nodePort: " + taken + "}]}}"
		atEast.apply(t, fmt.Sprintf(service, "theirs"))
		kcp.apply(t, fmt.Sprintf(service, "ours"))
		kcp.kubectl(t, "annotate", "service/ours", "tmc.kcp.io/target-clusters=east")
		kcp.eventuallyHas(t, "service/ours", syncedPath, "False Invalid", "provided port is already allocated")
		atEast.kubectl(t, "delete", "service", "theirs")
		said, err := runPlugin(t.Context(), u.workspace, "retry", "service/ours", "--namespace="+u.namespace)
		check(t, err)
		if want := "services/ours: asked east to try again\n"; said != want {
			t.Errorf("the plugin says %q, want %q", said, want)
		}
		eventually(t, "the Service to be in place at once", repairTime*3, func(ctx context.Context) (bool, string, error) {
			got, err := kcp.get(ctx, "service/ours", syncedPath)
			return err == nil && strings.HasPrefix(got, "True"), got, err
		})
	})
}
