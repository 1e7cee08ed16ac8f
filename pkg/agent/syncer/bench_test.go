package syncer

import (
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// BenchmarkStatusChange is one change of the status of a Deployment's copy, from the event of the cluster's cache to the report
// in kcp and the event of that.
func BenchmarkStatusChange(b *testing.B) {
	h := newHarness(b, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(b, madeNamespace("ws"))
	upstreamObj := deploymentOfSomeSize(b)
	key := h.place(upstreamObj)
	desired, err := transform.Desired(transform.Input{Object: upstreamObj, Origin: h.gather(key).Origin})
	if err != nil {
		b.Fatal(err)
	}
	w := h.caches.watchedFor(deployments)
	change := func(raw *unstructured.Unstructured) {
		oldObj := w.get(app, "web")
		(&caches{}).stripCopy(oldObj, raw)
		if err := w.informer.GetStore().Add(raw); err != nil {
			b.Fatal(err)
		}
		h.onDownstream(key, oldObj, raw)
		h.time = h.time.Add(time.Minute)
		for range 2 { // the second one is that of the report
			if _, err := h.syncStatus(b.Context(), key); err != nil {
				b.Fatal(err)
			}
		}
	}
	change(onCluster(desired, 0))
	if _, err := h.syncSpec(b.Context(), key); err != nil {
		b.Fatal(err)
	}
	change(onCluster(desired, 1))
	h.specs.take()
	h.kcp.patches = nil
	for i := range b.N {
		b.StopTimer()
		raw := onCluster(desired, int64(i+2))
		b.StartTimer()
		change(raw)
	}
	if len(h.kcp.patches) != b.N || len(h.specs.take()) > 0 {
		b.Errorf("%d reports of %d changes, and turns of the spec loop", len(h.kcp.patches), b.N)
	}
}

// deploymentOfSomeSize returns a Deployment as users have them.
func deploymentOfSomeSize(b *testing.B) *unstructured.Unstructured {
	b.Helper()
	obj := &unstructured.Unstructured{}
	err := obj.UnmarshalJSON([]byte(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {
		"name": "web", "namespace": "app", "uid": "up-1", "generation": 3, "resourceVersion": "7",
		"labels": {"cluster.tmc.kcp.io/east": "sync", "app": "web", "team": "a"}, "annotations": {"kcp.io/cluster": "ws", "note": "hi"},
		"finalizers": ["syncer.tmc.kcp.io/east"]
	}, "spec": {
		"replicas": 5, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10, "selector": {"matchLabels": {"app": "web"}},
		"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
		"template": {"metadata": {"labels": {"app": "web", "x": "y"}}, "spec": {
			"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "volumes": [{"name": "v", "emptyDir": {}}],
			"containers": [{
				"name": "web", "image": "nginx:1.2", "ports": [{"containerPort": 80, "protocol": "TCP"}],
				"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
				"env": [{"name": "A", "value": "b"}, {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}],
				"livenessProbe": {"httpGet": {"path": "/", "port": 80}, "timeoutSeconds": 1, "periodSeconds": 10}
			}, {"name": "side", "image": "busy:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]
		}}
	}}`))
	if err != nil {
		b.Fatal(err)
	}
	return obj
}

// onCluster returns the copy as the cluster has it, with a status of its own and the entry of who wrote it.
func onCluster(desired *unstructured.Unstructured, i int64) *unstructured.Unstructured {
	obj := desired.DeepCopy()
	obj.SetUID("down-1")
	obj.SetGeneration(4)
	obj.SetResourceVersion(strconv.FormatInt(100+i, 10))
	condition := func(conditionType string) map[string]any {
		return map[string]any{"type": conditionType, "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"}
	}
	status := map[string]any{
		"observedGeneration": int64(4), "replicas": int64(5), "readyReplicas": i % 6, "availableReplicas": i % 6, "updatedReplicas": int64(5),
		"conditions": []any{condition("Available"), condition("Progressing")},
	}
	metadata, _ := desired.Object["metadata"].(map[string]any)
	entry := func(manager, operation, subresource string, at int64, fields map[string]any) map[string]any {
		return map[string]any{
			"manager": manager, "operation": operation, "subresource": subresource, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
			"time": time.Unix(at, 0).UTC().Format(time.RFC3339), "fieldsV1": fields,
		}
	}
	stored, _ := obj.Object["metadata"].(map[string]any)
	stored["managedFields"] = []any{
		entry(v1alpha1.FieldManager, "Apply", "", 1000, map[string]any{
			"f:metadata": map[string]any{"f:labels": fieldsOf(metadata["labels"]), "f:annotations": fieldsOf(metadata["annotations"])}, "f:spec": fieldsOf(desired.Object["spec"]),
		}),
		entry("kube-controller-manager", "Update", "status", 1000+i, map[string]any{"f:status": fieldsOf(status)}),
	}
	obj.Object["status"] = status
	return obj
}

// fieldsOf returns the FieldsV1 of a value.
func fieldsOf(value any) any {
	all := map[string]any{}
	fields, _ := value.(map[string]any)
	for name, field := range fields {
		all["f:"+name] = fieldsOf(field)
	}
	return all
}
