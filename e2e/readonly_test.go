package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Words of the policy tmc-read-only.
var (
	noPods    = []string{"tmc-read-only", "create a Deployment, a StatefulSet, a DaemonSet or a Job; kubectl tmc get workloads shows where they run"}
	keepsIt   = []string{"tmc-read-only", "ReplicaSet forged is a revision of ConfigMap keeper, which tmc keeps: change ConfigMap keeper instead"}
	goesAlong = []string{"tmc-read-only", "ReplicaSet forged is a revision of ConfigMap keeper, and goes with it"}
)

const (
	barePod = "{apiVersion: v1, kind: Pod, metadata: {name: bare}, spec: {containers: [{name: app, image: app}]}}"
	// aRevision is a ReplicaSet with labels that would place it on east, as one has whose pod template says so.
	aRevision = `
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: %s
  labels: &labels {app: other, cluster.tmc.kcp.io/east: sync}
  ownerReferences: [%s]
spec:
  selector: {matchLabels: {app: other}}
  template: {metadata: {labels: *labels}, spec: {containers: [{name: app, image: app}]}}
status: {replicas: 0}
`
	services = `
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
`
)

// withNulls has fields as charts leave them that have nothing to say. Server-side apply sends them as they are.
const withNulls = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: nulls}
spec:
  replicas: null
  selector: {matchLabels: {app: nulls}}
  template:
    metadata: {labels: {app: nulls}, annotations: null}
    spec:
      nodeSelector: null
      volumes: null
      containers:
      - {name: app, image: "app:1", env: null, resources: {limits: null, requests: {cpu: 1m}}, securityContext: null}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: nulls}
spec: {ingressClassName: null, tls: null, defaultBackend: {service: {name: plain, port: {number: 80}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: nulls}
spec: {maxReplicas: 3, metrics: null, behavior: null, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: nulls}}
---
apiVersion: v1
kind: Service
metadata: {name: nulls}
spec: {loadBalancerIP: null, selector: {app: nulls}, ports: [{port: 80, nodePort: null, targetPort: null}]}
`

// TestWorkspaceServesWhatIsOnlyRead asks for pods and revisions as clients of one cluster do, and tries to write them. What
// keeps the revision here is a ConfigMap, so that nothing but kcp and the policies deals with it.
func TestWorkspaceServesWhatIsOnlyRead(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "read-only")
	u.apply(t, some(deployment("web")))
	user := u.asConsumer(t)
	kcp := u.inKCP()
	t.Run("there are no pods", user.hasNoPods)
	t.Run("nobody makes one", func(t *testing.T) {
		for _, who := range []side{user, kcp} {
			who.checkDenied(t, noPods, "run", "bare", "--image=app")
			who.checkInputDenied(t, barePod, noPods, "create", "--filename=-")
			who.checkInputDenied(t, barePod, noPods, "apply", "--server-side", "--filename=-")
			who.isNotThere(t, "pod/bare")
		}
	})

	user.kubectl(t, "create", "configmap", "keeper")
	owner := fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, name: keeper, uid: %s, controller: true, blockOwnerDeletion: true}", user.kubectl(t, "get", "configmap", "keeper", "--output=jsonpath="+uidPath))
	// With the label, another policy may be the one that answers.
	user.checkInputDenied(t, strings.ReplaceAll(fmt.Sprintf(aRevision, "forged", owner), ", cluster.tmc.kcp.io/east: sync", ""),
		[]string{"tmc-read-only", "create or change a Deployment instead"}, "create", "--filename=-")
	u.createAsHub(t, fmt.Sprintf(aRevision, "forged", owner))
	kcp.apply(t, fmt.Sprintf(aRevision, "orphan", ""))
	version := kcp.kubectl(t, "get", "replicaset", "forged", "--output=jsonpath={.metadata.resourceVersion}")
	t.Run("a tenant writes no revision", func(t *testing.T) {
		user.checkDenied(t, keepsIt, "label", "replicaset", "forged", "a=b")
		user.checkDenied(t, keepsIt, "patch", "replicaset", "forged", "--type=merge", `--patch={"spec":{"replicas":3}}`)
		user.checkDenied(t, goesAlong, "delete", "replicaset", "forged")
		user.checkInputDenied(t, "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: forged}, revision: 1}",
			[]string{"tmc-read-only", "create or change a StatefulSet or DaemonSet instead"}, "create", "--filename=-")
	})
	t.Run("nothing follows from its labels", func(t *testing.T) {
		u.rollOut(t, "web", east, west)
		for _, clusterName := range []string{east, west} {
			u.onCluster(clusterName).isNotThere(t, "replicaset/forged")
		}
		if got := kcp.kubectl(t, "get", "replicaset", "forged", "--output=jsonpath={.metadata.resourceVersion}"); got != version {
			t.Errorf("it was written to: %s", kcp.kubectl(t, "get", "replicaset", "forged", "--output=yaml"))
		}
		all, err := runPlugin(t.Context(), u.workspace, "get", "workloads", "--all-kinds", "--namespace="+u.namespace)
		check(t, err)
		if strings.Contains(all, "forged") || !strings.Contains(all, "web") {
			t.Errorf("kubectl tmc get workloads says\n%s", all)
		}
	})
	t.Run("it goes with its owner, and an orphan when it is deleted", func(t *testing.T) {
		user.kubectl(t, "delete", "configmap", "keeper", "--timeout=60s")
		user.eventuallyGone(t, "replicaset/forged")
		user.kubectl(t, "delete", "replicaset", "orphan", "--timeout=60s")
	})
	t.Run("Services have an address", u.servicesHaveAddresses)
	t.Run("nulls mean absent", func(t *testing.T) {
		u.inKCP().apply(t, withNulls)
		u.rollOut(t, "nulls", east, west)
		u.eventuallySynced(t, "nulls")
		user.kubectl(t, "set", "env", "deployment/nulls", "--containers=app", "A=b")
		for _, clusterName := range []string{east, west} {
			u.onCluster(clusterName).eventually(t, "deployment/nulls", "{.spec.template.spec.containers[0].env[0].value}", "b")
		}
		u.inKCP().apply(t, strings.ReplaceAll(withNulls, "app:1", "app:2"))
		u.rollOut(t, "nulls", east, west)
	})
	t.Run("namespaces go with revisions in them", func(t *testing.T) {
		other := unique("read-only-other")
		user.kubectl(t, "create", "namespace", other)
		kcp.in(other).apply(t, fmt.Sprintf(aRevision, "forged", "{apiVersion: v1, kind: ConfigMap, name: keeper, uid: 0f3e, controller: true}"))
		user.kubectl(t, "delete", "namespace", other, "--timeout=60s")
	})
}

// hasNoPods asks for pods and revisions as people do.
func (s side) hasNoPods(t *testing.T) {
	for _, args := range [][]string{{"get", "pods"}, {"get", "pods", "--all-namespaces", "--output=wide"}, {"get", "po", "--selector=app=web"}, {"get", "rs,controllerrevisions", "--selector=app=other"}} {
		stdout, stderr, err := framework.Kubectl(t.Context(), s.kubeconfig, append([]string{"--namespace=" + s.namespace}, args...)...)
		if err != nil || stdout != "" || !strings.HasPrefix(stderr, "No resources found") {
			t.Errorf("kubectl %s says %q %q (%v)", strings.Join(args, " "), stdout, stderr, err)
		}
	}
	if all := s.kubectl(t, "get", "all"); !strings.Contains(all, "deployment.apps/web") {
		t.Errorf("kubectl get all says\n%s", all)
	}
}

// createAsHub makes an object in the tenant's namespace through the virtual workspace of the export, with the account that is
// for tmc-controller.
func (u *tenant) createAsHub(t *testing.T, manifest string) {
	t.Helper()
	_, _, err := framework.KubectlInput(t.Context(), strings.NewReader(manifest), u.installation.hubsKubeconfig(t),
		"--server="+u.installation.viewURL(t, v1alpha1.APIExportName)+"/clusters/"+u.logicalCluster,
		"--namespace="+u.namespace, "create", "--validate=false", "--filename=-")
	check(t, err)
}

// servicesHaveAddresses: in kcp the unspecified one, and on each cluster its own.
func (u *tenant) servicesHaveAddresses(t *testing.T) {
	u.inKCP().apply(t, services)
	for name, want := range map[string]string{"plain": "0.0.0.0", "balanced": "0.0.0.0", "headless": "None"} {
		u.inKCP().eventually(t, "service/"+name, "{.spec.clusterIP}", want)
		for _, clusterName := range []string{east, west} {
			u.onCluster(clusterName).eventuallyIs(t, "service/"+name, "{.spec.clusterIP}", "to be its own", func(got string) bool {
				return got != "" && got != "0.0.0.0" && (got == "None") == (want == "None")
			})
		}
	}
	eventually(t, "an update without the address to be taken", soon, func(ctx context.Context) (bool, string, error) {
		err := u.inKCP().tryApply(ctx, strings.ReplaceAll(strings.ReplaceAll(services, "clusterIP: None, ", ""), "port: 80", "port: 81"))
		return err == nil, "", err
	})
	u.onCluster(east).eventually(t, "service/headless", "{.spec.clusterIP} {.spec.ports[0].port}", "None 81")
}
