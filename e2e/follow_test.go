package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// front is a Deployment with the marks of several tools.
const front = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: front
  labels: {app: front, app.kubernetes.io/instance: front, kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}
  annotations: {argocd.argoproj.io/tracking-id: "front:apps/Deployment:default/front"}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front, app.kubernetes.io/instance: front}}
    spec: {containers: [{name: main, image: example.com/web:1}]}
`

// ownFront is what a set of the same name on the cluster consists of.
const ownFront = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: theirs}
spec:
  selector: {matchLabels: {app: theirs}}
  template:
    metadata: {labels: {app: theirs}}
    spec: {containers: [{name: main, image: example.com/web:1}]}
`

// applySet has kubectl apply all that an applyset consists of, and prune what is none of it any more.
func (s side) applySet(t *testing.T, set, manifest string) {
	t.Helper()
	_, _, err := framework.KubectlInput(t.Context(), strings.NewReader(manifest), s.kubeconfig,
		"--namespace="+s.namespace, "apply", "--server-side", "--prune", "--applyset="+set, "--filename=-")
	check(t, err)
}

// TestMarksOfDeploymentToolsStayUpstream has somebody on a cluster use a set of the name that the tenant uses: it does not prune
// the copy.
func TestMarksOfDeploymentToolsStayUpstream(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "marks")
	kcp, atEast := u.inKCP(), u.onCluster(east)
	kcp.applySet(t, "front", front)
	u.rollOut(t, "front", east, west)
	copied := get(t, u.copyOn(east, "front"))
	for key := range copied.Labels {
		if strings.HasPrefix(key, "applyset.kubernetes.io/") || strings.Contains(key, "fluxcd.io/") {
			t.Errorf("the copy has the label %s", key)
		}
	}
	if id := copied.Annotations["argocd.argoproj.io/tracking-id"]; id != "" || copied.Labels["app.kubernetes.io/instance"] != "front" {
		t.Errorf("the copy has the tracking id %q and the labels %v", id, copied.Labels)
	}
	// The second time kubectl looks for what is in its set: then its parent names the kind.
	for range 2 {
		atEast.applySet(t, "front", ownFront)
	}
	u.rollOut(t, "front", east, west)
	if now := get(t, u.copyOn(east, "front")); now.UID != copied.UID || now.Generation != copied.Generation {
		t.Errorf("the copy was %s, generation %d, and is %s, generation %d", copied.UID, copied.Generation, now.UID, now.Generation)
	}
	// What the tenant leaves out of the set goes, on the clusters too.
	kcp.applySet(t, "front", strings.ReplaceAll(ownFront, "theirs", "other"))
	atEast.eventuallyGone(t, "deployment/front")
	atEast.eventuallyThere(t, "deployment/other")
}

// lonely are objects that nothing names, and an Ingress that names two Secrets in annotations.
const lonely = `
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {type: ExternalName, externalName: db.example.com}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: by-api}, data: {a: b}}
---
{apiVersion: v1, kind: Secret, metadata: {name: basic-auth}, stringData: {auth: "user:hash"}}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {nginx.ingress.kubernetes.io/auth-secret: basic-auth, nginx.ingress.kubernetes.io/proxy-ssl-secret: made}}
spec:
  rules: [{host: web.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
`

// TestWhatNothingPlacesSaysSo checks what is told of objects that go nowhere, that what an annotation of an Ingress names goes
// along, and that what clusters make themselves is not missed.
func TestWhatNothingPlacesSaysSo(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "nowhere")
	kcp, atEast := u.inKCP(), u.onCluster(east)
	kcp.apply(t, deploymentNaming("web", "none", true)+"---"+lonely)
	u.rollOut(t, "web", east, west)
	atEast.eventuallyThere(t, "ingress/web")
	atEast.eventuallyThere(t, "secret/basic-auth")

	kcp.eventuallyHas(t, "ingress/web", syncedPath, "False", "MissingDependency", `"made"`)
	kcp.kubectl(t, "annotate", "ingress/web", "tmc.kcp.io/provided-by-cluster=secret/ma*,nonsense")
	u.eventuallyEvent(t, "web", "InvalidProvidedByCluster", `"nonsense"`, "KIND/NAME")
	kcp.eventuallyHas(t, "ingress/web", syncedPath, "True")

	rows := func(want map[string]string) {
		t.Helper()
		eventually(t, "the table to say where each is", soon, func(ctx context.Context) (bool, string, error) {
			table, err := runPlugin(ctx, u.workspace, "get", "workloads", "--all-kinds", "--namespace="+u.namespace)
			found := 0
			for line := range strings.Lines(table) {
				if fields := strings.Fields(line); len(fields) > 1 && want[fields[0]+"/"+fields[1]] != "" && strings.Contains(line, want[fields[0]+"/"+fields[1]]) {
					found++
				}
			}
			return found == len(want), table, err
		})
	}
	rows(map[string]string{
		"Deployment/web": "east, west", "Ingress/web": "east, west", "Secret/basic-auth": "east, west",
		"Service/db": "nothing places it", "ConfigMap/by-api": "nothing places it",
	})
	for _, object := range []string{"service/db", "configmap/by-api"} {
		text, err := runPlugin(t.Context(), u.workspace, "describe", object, "--namespace="+u.namespace)
		if _, wrong, _ := strings.Cut(text, "What is wrong:"); err != nil || !strings.Contains(wrong, "tmc.kcp.io/target-clusters") {
			t.Errorf("%s is described so, error %v:\n%s", object, err, text)
		}
	}
	u.eventuallyEvent(t, "db", "NotPlaced", "kubectl annotate", "service/db")
	kcp.kubectl(t, "annotate", "service/db", "configmap/by-api", "tmc.kcp.io/target-clusters=*")
	rows(map[string]string{"Service/db": "east, west", "ConfigMap/by-api": "east, west"})
	atEast.eventuallyThere(t, "service/db")
	atEast.eventuallyThere(t, "configmap/by-api")
}
