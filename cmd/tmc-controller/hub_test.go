package main

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const (
	// registration is an isolated cluster that takes Deployments.
	registration = `
metadata: {name: east, annotations: {kcp.io/cluster: provider}}
spec: {isolation: Cluster}
status: {clusterUID: abc, export: cluster-east, resources: [deployments.apps/v1]}`

	// binding is that of a workspace which accepts all that tmc claims for itself.
	binding = `
metadata: {name: tmc.kcp.io}
spec: {reference: {export: {path: root:tmc, name: tmc.kcp.io}}}
status:
  apiExportClusterName: provider
  phase: Bound
  appliedPermissionClaims:
  - {group: apis.kcp.io, resource: apibindings, verbs: ["*"], selector: {matchAll: true}}
  - {group: admissionregistration.k8s.io, resource: validatingadmissionpolicies, verbs: ["*"], selector: {matchAll: true}}
  - {group: admissionregistration.k8s.io, resource: validatingadmissionpolicybindings, verbs: ["*"], selector: {matchAll: true}}`

	// view is the binding through which the cluster sees what is placed on it.
	view = `
metadata: {name: tmc-cluster-east}
spec: {reference: {export: {path: root:tmc, name: cluster-east}}}
status:
  apiExportClusterName: provider
  phase: Bound
  appliedPermissionClaims: [{group: apps, resource: deployments, verbs: ["*"], selector: {matchLabels: {cluster.tmc.kcp.io/east: sync}}}]`

	deployment = `
metadata: {name: web, namespace: shop, generation: 1, uid: web-uid}
spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}}`
)

// heartbeat is the Lease that a cluster's syncer renews.
func heartbeat() string {
	return `{metadata: {name: east, namespace: tmc-heartbeats}, spec: {holderIdentity: east, leaseDurationSeconds: 40, renewTime: "` +
		time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}`
}

// configFor returns the configuration of a hub for the fake.
func configFor(t *testing.T, f *fakeKCP) hubConfig {
	t.Helper()
	o := newOptions()
	o.common.KCPKubeconfig = f.kubeconfig()
	config, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// runHub runs a hub until the returned function is called, which returns its error.
func runHub(t *testing.T, config hubConfig) (*hub, func() error) {
	t.Helper()
	h, err := newHub(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.run(ctx) }()
	stop := func() error {
		cancel()
		select {
		case err := <-ended:
			ended <- err
			return err
		case <-time.After(30 * time.Second):
			return errors.New("it does not end")
		}
	}
	t.Cleanup(func() { _ = stop() })
	return h, stop
}

// TestHub follows one Deployment through all that the hub does for it, from one event to the next: each step fails when one
// of the parts does not run, or is not told of what another does.
func TestHub(t *testing.T) {
	f := newFakeKCP(t)
	f.set(t, workspaceType, "provider", `{metadata: {name: tmc-tenant}, spec: {}}`)
	f.set(t, deployments, "ws", deployment)
	const web = "ws/web"
	config := configFor(t, f)
	config.repairAddress = "127.0.0.1:0"
	h, stop := runHub(t, config)

	t.Run("it leads once it has read kcp", func(t *testing.T) {
		f.eventually(t, leases, "provider/tmc-controller", "held", func(lease *unstructured.Unstructured) bool {
			holder, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
			return holder != "" && h.hasSynced()
		})
	})
	t.Run("the initializer turns on what kcp waits for", func(t *testing.T) {
		f.eventually(t, workspaceType, "provider/tmc-tenant", "with an initializer", func(obj *unstructured.Unstructured) bool {
			on, _, _ := unstructured.NestedBool(obj.Object, "spec", "initializer")
			return on
		})
	})
	t.Run("the registry judges a cluster that registers", func(t *testing.T) {
		f.set(t, registrations, "provider", registration)
		f.set(t, leases, "provider", heartbeat())
		f.eventually(t, registrations, "provider/east", "Ready", func(obj *unstructured.Unstructured) bool {
			return conditionOf(obj, v1alpha1.ConditionReady) == "True"
		})
	})
	t.Run("the guard puts policies into a workspace that is bound", func(t *testing.T) {
		f.set(t, bindings, "ws", view)
		f.set(t, bindings, "ws", binding)
		f.eventually(t, policies, "ws/tmc-consumers", "there", func(*unstructured.Unstructured) bool { return true })
	})
	t.Run("the scheduler places it once the policies are there", func(t *testing.T) {
		f.eventually(t, deployments, web, "placed", func(obj *unstructured.Unstructured) bool {
			return obj.GetLabels()[v1alpha1.PlacementLabel("east")] == v1alpha1.PlacementLabelValue
		})
		if got, want := f.get(deployments, web).GetFinalizers(), []string{v1alpha1.Finalizer("east")}; !cmp.Equal(got, want) {
			t.Errorf("its finalizers are %v, want %v", got, want)
		}
	})
	t.Run("the protector holds the binding through which a cluster sees it", func(t *testing.T) {
		f.eventually(t, bindings, "ws/tmc-cluster-east", "held", func(obj *unstructured.Unstructured) bool { return len(obj.GetFinalizers()) > 0 })
	})
	t.Run("the aggregator merges a report", func(t *testing.T) {
		report, err := protocol.Report{
			Version: protocol.ReportVersion, Cluster: "east", Generation: 1, LocalGeneration: 1, LocalObservedGeneration: 1,
			Inputs:   protocol.Read(f.get(deployments, web)).Inputs("east"),
			Replicas: new(int64(2)), Counters: map[string]int64{"replicas": 2},
		}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		f.change(t, deployments, web, func(obj *unstructured.Unstructured) {
			annotations := obj.GetAnnotations()
			annotations[v1alpha1.StatusAnnotation("east")] = report
			obj.SetAnnotations(annotations)
		})
		f.eventually(t, deployments, web, "merged", func(obj *unstructured.Unstructured) bool {
			replicas, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "status", "replicas")
			return replicas == int64(2) || replicas == float64(2)
		})
	})
	t.Run("a cluster that is drained is left", func(t *testing.T) {
		f.change(t, registrations, "provider/east", func(obj *unstructured.Unstructured) {
			obj.SetDeletionTimestamp(new(metav1.Now()))
		})
		f.eventually(t, deployments, web, "leaving", func(obj *unstructured.Unstructured) bool {
			return obj.GetAnnotations()[v1alpha1.DeletionAnnotation("east")] != ""
		})
	})
	t.Run("a cluster that is released is taken off all objects, and goes", func(t *testing.T) {
		f.change(t, registrations, "provider/east", func(obj *unstructured.Unstructured) {
			annotations := obj.GetAnnotations()
			annotations[v1alpha1.ReleaseAnnotation] = "true"
			obj.SetAnnotations(annotations)
		})
		f.eventually(t, deployments, web, "nowhere", func(obj *unstructured.Unstructured) bool {
			return len(obj.GetFinalizers()) == 0 && obj.GetLabels()[v1alpha1.PlacementLabel("east")] == ""
		})
		f.eventually(t, registrations, "provider/east", "let go", func(obj *unstructured.Unstructured) bool { return len(obj.GetFinalizers()) == 0 })
	})
	if err := stop(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	f.eventually(t, leases, "provider/tmc-controller", "given back", func(lease *unstructured.Unstructured) bool {
		holder, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
		return holder == ""
	})
}

// conditionOf returns the status of a condition, empty when there is none.
func conditionOf(obj *unstructured.Unstructured, conditionType string) string {
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == conditionType {
			status, _ := c["status"].(string)
			return status
		}
	}
	return ""
}

// TestHubStandsByAgain takes the lease from a hub 50 times. Each time it steps back and leads again when it can, in the same process,
// with caches that stay, and other parts, of which nothing is left.
func TestHubStandsByAgain(t *testing.T) {
	const (
		rounds = 50
		// passing are goroutines that come and go, of requests and timers. What a round leaves behind shows in each of the rounds.
		passing = 5
	)
	f := newFakeKCP(t)
	f.set(t, workspaceType, "provider", `{metadata: {name: tmc-tenant}, spec: {initializer: true}}`)
	f.set(t, deployments, "ws", deployment)
	f.set(t, bindings, "ws", view)
	f.set(t, bindings, "ws", binding)
	f.set(t, registrations, "provider", registration)
	f.set(t, leases, "provider", heartbeat())
	config := configFor(t, f)
	config.lease = daemon.Lease{Duration: time.Second, RenewDeadline: 800 * time.Millisecond, RetryPeriod: 10 * time.Millisecond}
	config.repairAddress = "127.0.0.1:0"
	h, stop := runHub(t, config)
	isHeld := func(lease *unstructured.Unstructured) bool {
		holder, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
		return holder != "" && holder != "another"
	}
	f.eventually(t, deployments, "ws/web", "placed", func(obj *unstructured.Unstructured) bool { return len(obj.GetFinalizers()) > 0 })
	time.Sleep(50 * time.Millisecond) // what else there is to write is written
	isWorking := func() {
		f.change(t, deployments, "ws/web", func(obj *unstructured.Unstructured) { obj.SetLabels(nil) })
		f.eventually(t, deployments, "ws/web", "placed again", func(obj *unstructured.Unstructured) bool {
			return obj.GetLabels()[v1alpha1.PlacementLabel("east")] == v1alpha1.PlacementLabelValue
		})
	}
	goroutines, memory, caches := 0, uint64(0), h.upstream
	for round := range rounds {
		before := h.current()
		f.change(t, leases, "provider/tmc-controller", func(lease *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(lease.Object, "another", "spec", "holderIdentity")
			_ = unstructured.SetNestedField(lease.Object, int64(0), "spec", "leaseDurationSeconds")
		})
		f.eventually(t, leases, "provider/tmc-controller", "held again", func(lease *unstructured.Unstructured) bool {
			return isHeld(lease) && h.current() != before
		})
		if !h.hasSynced() || h.upstream != caches {
			t.Fatalf("round %d: the caches were dropped", round)
		}
		if round == 4 {
			isWorking()
			goroutines, memory = settled(0), heap()
		}
	}
	isWorking()
	if now := settled(goroutines); now > goroutines+passing {
		t.Errorf("%d goroutines after %d rounds, %d after the fifth", now, rounds, goroutines)
	}
	if now := heap(); now > memory+memory/2 {
		t.Errorf("%d bytes of memory after %d rounds, %d after the fifth", now, rounds, memory)
	}
	if err := stop(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// current returns the parts of a hub.
func (h *hub) current() *parts {
	h.listening.RLock()
	defer h.listening.RUnlock()
	return h.parts
}

// settled returns how many goroutines there are when they are no more than wanted, or have become no fewer for a while.
func settled(wanted int) int {
	least := working()
	for quiet := 0; quiet < 50 && least > wanted; quiet++ {
		time.Sleep(10 * time.Millisecond)
		if now := working(); now < least {
			least, quiet = now, 0
		}
	}
	return least
}

// working returns how many goroutines there are besides those of connections, which are kept for a while.
func working() int {
	stacks := make([]byte, 16<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	count := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if !strings.Contains(stack, "net/http.(*persistConn)") && !strings.Contains(stack, "net/http.(*conn)") {
			count++
		}
	}
	return count
}

// heap returns how much memory is in use.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestHubWithoutLeaderElection(t *testing.T) {
	f := newFakeKCP(t)
	f.set(t, workspaceType, "provider", `{metadata: {name: tmc-tenant}, spec: {}}`)
	config := configFor(t, f)
	config.leaderElect = false
	_, stop := runHub(t, config)
	f.eventually(t, workspaceType, "provider/tmc-tenant", "with an initializer", func(obj *unstructured.Unstructured) bool {
		on, _, _ := unstructured.NestedBool(obj.Object, "spec", "initializer")
		return on
	})
	if err := stop(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if lease := f.get(leases, "provider/tmc-controller"); lease != nil {
		t.Errorf("it has taken the lease: %v", lease)
	}
}

func TestHubRefusesOldKCP(t *testing.T) {
	f := newFakeKCP(t)
	f.gitVersion = "v1.33.3+kcp-v0.28.1"
	h, err := newHub(configFor(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.run(t.Context()); !errors.Is(err, kcp.ErrTooOld) {
		t.Errorf("it ends with %v, want %v", err, kcp.ErrTooOld)
	}
}

func TestHubEndsBeforeKCPAnswers(t *testing.T) {
	f := newFakeKCP(t)
	config := configFor(t, f)
	config.providerWorkspace = logicalcluster.NewPath("root:tmc")
	_, stop := runHub(t, config)
	if err := stop(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

func TestStripKeepsWhatTheHubReads(t *testing.T) {
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s", "labels": map[string]any{"a": "b"}, "managedFields": []any{map[string]any{}}},
		"data": map[string]any{"password": "c2VjcmV0"},
	}}
	want := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s", "labels": map[string]any{"a": "b"}}}
	got, err := strip(secret)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.(*unstructured.Unstructured).Object); diff != "" {
		t.Errorf("the caches would hold (-want +got):\n%s", diff)
	}
	if other, err := strip("no object"); other != "no object" || err != nil {
		t.Errorf("what is no object becomes %v (%v)", other, err)
	}
}
