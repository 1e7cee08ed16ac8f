package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// kstatusApp has an object of each kind of which kstatus has a rule, for pods of the app %[1]s. None of them comes to west while it
// has the override.
const kstatusApp = `
{apiVersion: v1, kind: List, items: [
{apiVersion: apps/v1, kind: Deployment, metadata: {name: kst, annotations: {%[2]s}}, spec: {replicas: 4, selector: {matchLabels: {app: web}},
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: "example.com/web:1"}]}}}},
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: kst, annotations: {%[2]s}}, spec: {replicas: 4, serviceName: db, selector: {matchLabels: {app: db}},
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: main, image: "example.com/db:1"}]}}}},
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: kst, annotations: {%[2]s}}, spec: {selector: {matchLabels: {app: agent}},
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: main, image: "example.com/agent:1"}]}}}},
{apiVersion: batch/v1, kind: Job, metadata: {name: kst, annotations: {%[2]s}}, spec: {completions: 2, parallelism: 2,
  template: {metadata: {labels: {app: once}}, spec: {restartPolicy: Never, containers: [{name: main, image: "example.com/once:1"}]}}}},
{apiVersion: v1, kind: Service, metadata: {name: kst, annotations: {%[2]s}}, spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}},
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: kst, annotations: {%[2]s}}, spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}},
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: kst, annotations: {tmc.kcp.io/target-clusters: "*", %[2]s}},
  spec: {storageClassName: %[1]s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}`

// kstatusObjects are those of kstatusApp.
var kstatusObjects = []string{"deployment/kst", "statefulset/kst", "daemonset/kst", "job/kst", "service/kst", "poddisruptionbudget/kst", "persistentvolumeclaim/kst"}

// kstatusSays returns what kstatus, by which Helm 4, Flux and kapply wait, concludes of the objects in kcp.
func (u *tenant) kstatusSays(ctx context.Context) (statuses []string, said string, err error) {
	output, err := u.inKCP().try(ctx, append([]string{"get", "--output=json"}, kstatusObjects...)...)
	if err != nil {
		return nil, "", err
	}
	var list struct {
		Items []map[string]any `json:"items"`
	}
	if err := json.Unmarshal([]byte(output), &list); err != nil {
		return nil, "", err
	}
	for _, item := range list.Items {
		object := &unstructured.Unstructured{}
		encoded, err := json.Marshal(item)
		if err != nil {
			return nil, "", err
		}
		if err := object.UnmarshalJSON(encoded); err != nil {
			return nil, "", err
		}
		result, err := status.Compute(object)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", object.GetKind(), err)
		}
		statuses = append(statuses, result.Status.String())
		said += fmt.Sprintf("%s is %s: %s\n", object.GetKind(), result.Status, result.Message)
	}
	return statuses, said, nil
}

// eventuallyAll waits until kstatus concludes the same of all objects.
func (u *tenant) eventuallyAll(t *testing.T, want status.Status, timeout time.Duration) {
	t.Helper()
	eventually(t, "everything to be "+want.String(), timeout, func(ctx context.Context) (bool, string, error) {
		statuses, said, err := u.kstatusSays(ctx)
		isOther := func(is string) bool { return is != want.String() }
		return len(statuses) == len(kstatusObjects) && !slices.ContainsFunc(statuses, isOther), said, err
	})
}

// TestKstatusWaitsForAllClusters has kstatus look at one application on two clusters: in progress while one of them has nothing of
// it, and current soon after both have all, whether each has all replicas or both together.
func TestKstatusWaitsForAllClusters(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ placement, replicas string }{
		"duplicated": {"{replicas: Duplicated, statusCounters: PerCluster}", "4 4"},
		"divided":    {"{replicas: Divided}", "2 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newTenant(t, env.shared, "kst-"+name)
			kcp := u.inKCP()
			for _, clusterName := range []string{east, west} {
				u.createOn(t, env.clusters[clusterName], fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolume, metadata: {name: %[1]s}, spec: {storageClassName: %[1]s,
					capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, hostPath: {path: /tmp}}}`, u.namespace))
			}
			kcp.apply(t, fmt.Sprintf("{apiVersion: tmc.kcp.io/v1alpha1, kind: WorkloadPlacement, metadata: {name: all}, spec: %s}", tc.placement))
			held := v1alpha1.OverrideAnnotation(west) + `: '[{"op": "test", "path": "/metadata/name", "value": "nobody"}]'`
			kcp.apply(t, fmt.Sprintf(kstatusApp, u.namespace, held))

			t.Run("in progress while west is held back", func(t *testing.T) {
				for _, object := range []string{"deployment/kst", "statefulset/kst", "daemonset/kst"} {
					u.onCluster(east).eventuallyThere(t, object)
					u.onCluster(east).kubectl(t, "rollout", "status", object, "--timeout=60s")
				}
				u.onCluster(east).kubectl(t, "wait", "--for=condition=Complete", "job/kst", "--timeout=60s")
				u.eventuallyAll(t, status.InProgressStatus, soon)
				if _, err := kcp.try(t.Context(), "rollout", "status", "deployment/kst", "--timeout=1s"); err == nil {
					t.Error("kubectl says that it is rolled out, and west has nothing of it")
				}
			})
			t.Run("current when both have all", func(t *testing.T) {
				kcp.kubectl(t, slices.Concat([]string{"annotate"}, kstatusObjects, []string{v1alpha1.OverrideAnnotation(west) + "-"})...)
				for _, object := range []string{"deployment/kst", "statefulset/kst", "daemonset/kst"} {
					kcp.kubectl(t, "rollout", "status", object, "--timeout=120s")
				}
				kcp.kubectl(t, "wait", "--for=condition=Complete", "job/kst", "--timeout=60s")
				u.eventuallyAll(t, status.CurrentStatus, 30*time.Second)
				kcp.eventually(t, "deployment/kst", "{.status.replicas} {.status.readyReplicas}", "4 4")
				var replicas []string
				for _, clusterName := range []string{east, west} {
					replicas = append(replicas, u.onCluster(clusterName).kubectl(t, "get", "deployment/kst", "--output=jsonpath={.spec.replicas}"))
				}
				if got := strings.Join(replicas, " "); got != tc.replicas {
					t.Errorf("the clusters run %s, want %s", got, tc.replicas)
				}
			})
			t.Run("in progress while a new version cannot start", func(t *testing.T) {
				u.denyBroken(t, west)
				kcp.kubectl(t, "set", "image", "deployment/kst", "main=broken")
				kcp.eventuallyIs(t, "deployment/kst", "{.status.updatedReplicas}", "to be behind", func(got string) bool { return got != "4" })
				u.onCluster(east).kubectl(t, "rollout", "status", "deployment/kst", "--timeout=60s")
				statuses, said, err := u.kstatusSays(t.Context())
				if err != nil || statuses[0] != status.InProgressStatus.String() {
					t.Errorf("%v: %s", err, said)
				}
				kcp.kubectl(t, "set", "image", "deployment/kst", "main=example.com/web:2")
				kcp.kubectl(t, "rollout", "status", "deployment/kst", "--timeout=120s")
				u.eventuallyAll(t, status.CurrentStatus, 30*time.Second)
			})
			kcp.kubectl(t, "delete", "persistentvolumeclaim/kst") // which holds the volumes
		})
	}
}
