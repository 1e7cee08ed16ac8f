package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// clearTime is how long what is in the way of a copy may stay there.
const clearTime = 15 * time.Second

// clashing are the objects whose copies are to clash with what is on their clusters. Pods are none of it.
const clashing = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 1
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
      - name: main
        image: registry.k8s.io/pause:3.9
        env: [{name: MODE, value: safe}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}}
        volumeMounts: [{name: scratch, mountPath: /scratch}]
      volumes: [{name: scratch}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: unnamed}
spec:
  replicas: 0
  selector: {matchLabels: {app: unnamed}}
  template:
    metadata: {labels: {app: unnamed}}
    spec: {containers: [{name: main, image: "registry.k8s.io/pause:3.9", ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: unnamed}
spec: {selector: {app: app}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: turning, annotations: {tmc.kcp.io/target-clusters: "*"}}
spec: {selector: {app: app}, ports: [{port: 80}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: app}
spec: {selector: {matchLabels: {app: app}}, minAvailable: 1}
`

// clash is a change in kcp, or on east, after which the copies are to be as kcp says.
type clash struct {
	object        string
	inKCP, onEast string // JSON patches
	path, want    string
}

// TestClashesWithClustersAreCleared changes objects in kcp so that what the clusters have filled in excludes it, and copies on a
// cluster so that applying them again gives what no server takes. A sidecar that was put in stays.
func TestClashesWithClustersAreCleared(t *testing.T) {
	t.Parallel()
	const spec, main = "/spec/template/spec", "/spec/template/spec/containers/0"
	const ofMain = "{.spec.template.spec.containers[?(@.name=='main')]"
	u := newTenant(t, env.shared, "clash")
	_, _, err := framework.KubectlInput(t.Context(), strings.NewReader(clashing), u.kubeconfig, "--namespace="+u.namespace, "apply", "--server-side", "--filename=-")
	check(t, err)
	u.rollOut(t, "app", east, west)
	for _, object := range []string{"service/turning", "service/unnamed", "poddisruptionbudget/app", "deployment/unnamed"} {
		u.eventuallyOnBoth(t, object, "{.metadata.name}", object[strings.Index(object, "/")+1:], soon)
	}
	// It comes first in the list, and has a port of the same name.
	sidecar := `[{"op":"add","path":"` + main + `","value":{"name":"proxy","image":"registry.k8s.io/pause:3.9","ports":[{"name":"http","containerPort":15090}]}}]`
	u.patchOn(t, env.clusters[east], "deployment/app", sidecar)
	const mainOnEast = "/spec/template/spec/containers/1"
	u.eventuallyAt(t, env.clusters[east].kubeconfig, "deployment/app", "{.spec.template.spec.containers[1].name}", "main", soon)

	steps := []struct {
		name string
		is   clash
	}{
		{"a strategy", clash{"deployment/app", `[{"op":"replace","path":"/spec/strategy","value":{"type":"Recreate"}}]`, "", "{.spec.strategy}", `{"type":"Recreate"}`}},
		{"and back", clash{"deployment/app", `[{"op":"replace","path":"/spec/strategy","value":{"type":"RollingUpdate"}}]`, "", "{.spec.strategy.type}", "RollingUpdate"}},
		{"a volume without a source", clash{"deployment/app", `[{"op":"add","path":"` + spec + `/volumes/0/configMap","value":{"name":"settings"}}]`, "", "{.spec.template.spec.volumes}",
			`[{"configMap":{"defaultMode":420,"name":"settings"},"name":"scratch"}]`}},
		{"and back", clash{"deployment/app", `[{"op":"remove","path":"` + spec + `/volumes/0/configMap"}]`, "", "{.spec.template.spec.volumes}", `[{"emptyDir":{},"name":"scratch"}]`}},
		{"a probe", clash{"deployment/app", `[{"op":"replace","path":"` + main + `/readinessProbe","value":{"tcpSocket":{"port":"http"}}}]`, "", ofMain + ".readinessProbe.httpGet}/" + ofMain + ".readinessProbe.tcpSocket.port}", "/http"}},
		{"a probe that was turned into another", clash{"deployment/app", "", `[{"op":"remove","path":"` + mainOnEast + `/readinessProbe/tcpSocket"},{"op":"add","path":"` + mainOnEast + `/readinessProbe/exec","value":{"command":["x"]}}]`,
			ofMain + ".readinessProbe.exec}/" + ofMain + ".readinessProbe.tcpSocket.port}", "/http"}},
		{"a variable that was turned from value to valueFrom", clash{"deployment/app", "", `[{"op":"replace","path":"` + mainOnEast + `/env/0","value":{"name":"MODE","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}}]`,
			ofMain + ".env}", `[{"name":"MODE","value":"safe"}]`}},
		{"and a change in kcp", clash{"deployment/app", `[{"op":"replace","path":"` + main + `/image","value":"registry.k8s.io/pause:3.10"}]`, `[{"op":"replace","path":"` + mainOnEast + `/env/0","value":{"name":"MODE","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}}]`,
			ofMain + ".env}" + ofMain + ".image}", `[{"name":"MODE","value":"safe"}]registry.k8s.io/pause:3.10`}},
		{"a variable that is from elsewhere in kcp", clash{"deployment/app", `[{"op":"replace","path":"` + main + `/env/0","value":{"name":"MODE","valueFrom":{"configMapKeyRef":{"name":"settings","key":"a"}}}}]`, "",
			ofMain + ".env[0].value}/" + ofMain + ".env[0].valueFrom.configMapKeyRef.key}", "/a"}},
		{"a port of a container that was renumbered", clash{"deployment/app", "", `[{"op":"replace","path":"` + mainOnEast + `/ports/0/containerPort","value":9090}]`, ofMain + ".ports[*].containerPort}", "8080"}},
		{"one without a name", clash{"deployment/unnamed", "", `[{"op":"replace","path":"` + main + `/ports/0/containerPort","value":9090}]`, ofMain + ".ports[*].containerPort}", "8080"}},
		{"a port of a Service that was renumbered", clash{"service/app", "", `[{"op":"replace","path":"/spec/ports/0/port","value":83},{"op":"replace","path":"/spec/ports/0/targetPort","value":99}]`, "{.spec.ports[*].port}", "80"}},
		{"one without a name", clash{"service/unnamed", "", `[{"op":"replace","path":"/spec/ports/0/port","value":83}]`, "{.spec.ports[*].port}", "80"}},
		{"a Service of another type", clash{"service/turning", `[{"op":"replace","path":"/spec","value":{"type":"ExternalName","externalName":"example.org"}}]`, "", "{.spec.type}{.spec.clusterIP}", "ExternalName"}},
		{"and back", clash{"service/turning", `[{"op":"replace","path":"/spec","value":{"type":"ClusterIP","selector":{"app":"app"},"ports":[{"port":80}]}}]`, "", "{.spec.type}{.spec.externalName}", "ClusterIP"}},
		{"a budget", clash{"poddisruptionbudget/app", `[{"op":"remove","path":"/spec/minAvailable"},{"op":"add","path":"/spec/maxUnavailable","value":1}]`, "", "{.spec.minAvailable}/{.spec.maxUnavailable}", "/1"}},
		{"a budget that was turned around", clash{"poddisruptionbudget/app", "", `[{"op":"remove","path":"/spec/maxUnavailable"},{"op":"add","path":"/spec/minAvailable","value":1}]`, "{.spec.minAvailable}/{.spec.maxUnavailable}", "/1"}},
	}
	for i, step := range steps {
		t.Run(fmt.Sprintf("%02d %s", i, step.name), func(t *testing.T) { u.clears(t, step.is) })
	}
	u.eventuallyAt(t, env.clusters[east].kubeconfig, "deployment/app", "{.spec.template.spec.containers[0]['name','image']}{.spec.template.spec.containers[0].ports[0].containerPort}",
		"proxy registry.k8s.io/pause:3.915090", soon)
	for _, object := range []string{"deployment/app", "deployment/unnamed", "service/app", "service/unnamed", "service/turning", "poddisruptionbudget/app"} {
		u.eventuallyAt(t, u.kubeconfig, object, `{.status.conditions[?(@.type=="Synced")].status}`, "True", soon)
		u.eventuallyStill(t, object)
	}
}

// clears is one step: the copies, which stay the same objects, are soon as kcp says.
func (u *tenant) clears(t *testing.T, c clash) {
	t.Helper()
	uids := map[string]string{}
	for name, on := range u.installation.clusters {
		uid, err := u.read(t.Context(), on.kubeconfig, c.object, "{.metadata.uid}")
		check(t, err)
		uids[name] = uid
	}
	trail, start := auditFromNow(t), time.Now()
	if c.onEast != "" {
		u.patchOn(t, env.clusters[east], c.object, c.onEast)
	}
	if c.inKCP != "" {
		u.kubectl(t, "patch", c.object, "--type=json", "--field-manager=user", "--patch="+c.inKCP)
	}
	for name, on := range u.installation.clusters {
		u.eventuallyAt(t, on.kubeconfig, c.object, "{.metadata.uid} "+c.path, uids[name]+" "+c.want, clearTime)
	}
	took := time.Since(start).Round(time.Millisecond)
	u.eventuallyAt(t, u.kubeconfig, c.object, `{.status.conditions[?(@.type=="Synced")].status}`, "True", clearTime)
	var asked []string
	overtaken := 0
	for _, r := range trail.requests(t) {
		if isWatching(r) || !strings.HasPrefix(r.log, east) || !strings.Contains(r.URI, "/namespaces/"+u.namespace+"/deployments") {
			continue
		}
		if asked = append(asked, fmt.Sprintf("%s %d", r.Verb, r.Response.Code)); r.Verb == "patch" && r.Response.Code == http.StatusUnprocessableEntity && !strings.Contains(r.URI, "force=true") {
			// What the patch of managedFields tests was not so any more: a controller of the cluster has written in between. The syncer begins anew.
			t.Logf("overtaken after %s", strings.Join(asked, ", "))
			asked, overtaken = nil, overtaken+1
		}
	}
	if overtaken > 2 {
		t.Errorf("overtaken %d times", overtaken)
	}
	t.Logf("after %s; requests about Deployments to east: %s", took, strings.Join(asked, ", "))
	if most := 6; len(asked) > most {
		t.Errorf("%d requests to one cluster, want at most %d: %v", len(asked), most, asked)
	}
}

// patchOn has somebody on a cluster change a copy.
func (u *tenant) patchOn(t *testing.T, c *cluster, object, patch string) {
	t.Helper()
	check(t, c.kubectl(t, "--namespace="+u.namespace, "patch", object, "--type=json", "--field-manager=somebody", "--patch="+patch))
}

// read reads something of an object of the tenant's namespace.
func (u *tenant) read(ctx context.Context, kubeconfig, object, path string) (string, error) {
	stdout, _, err := framework.Kubectl(ctx, kubeconfig, "--namespace="+u.namespace, "get", object, "--output=jsonpath="+path)
	return stdout, err
}

// eventuallyAt waits until an object has something.
func (u *tenant) eventuallyAt(t *testing.T, kubeconfig, object, path, want string, timeout time.Duration) {
	t.Helper()
	eventually(t, object+" to have "+want, timeout, func(ctx context.Context) (bool, string, error) {
		got, err := u.read(ctx, kubeconfig, object, path)
		return err == nil && got == want, got, err // it may not be there yet
	})
}

// eventuallyOnBoth is eventuallyAt for the copies on all clusters.
func (u *tenant) eventuallyOnBoth(t *testing.T, object, path, want string, timeout time.Duration) {
	t.Helper()
	for _, on := range u.installation.clusters {
		u.eventuallyAt(t, on.kubeconfig, object, path, want, timeout)
	}
}

// eventuallyStill waits until nobody has written to an object on east for some seconds.
func (u *tenant) eventuallyStill(t *testing.T, object string) {
	t.Helper()
	const still = 3 * time.Second
	version, since := "", time.Now()
	eventually(t, "nobody to write to "+object, soon, func(ctx context.Context) (bool, string, error) {
		now, err := u.read(ctx, env.clusters[east].kubeconfig, object, "{.metadata.resourceVersion}")
		if now != version {
			version, since = now, time.Now()
		}
		return time.Since(since) > still, "resource version " + now, err
	})
}
