package main

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/hack/fakekcp"
)

// world is what there is.
type world struct {
	clusters, workloads, workspaces, namespaces int
	// scarce has each namespace's WorkloadPlacement choose among few clusters, and more workloads than it can satisfy.
	strategy string
	// companions is how many workloads share a ConfigMap that they name, and a Service; 0 for none.
	companions int
}

// copies is on how many clusters each workload is to be.
const copies = 3

// groupSize is how many clusters share an isolation group.
const groupSize = 50

func clusterName(i int) string   { return fmt.Sprintf("cluster-%03d", i) }
func groupName(i int) string     { return fmt.Sprintf("group-%d", i/groupSize) }
func workspaceName(i int) string { return fmt.Sprintf("ws%06d", i) }
func (w world) namespace(i int) (workspace, namespace string) {
	at := i % (w.workspaces * w.namespaces)
	return workspaceName(at % w.workspaces), fmt.Sprintf("shop-%d", at/w.workspaces)
}
func workloadName(i int) string { return fmt.Sprintf("web-%06d", i) }

func (w world) workload(i int) fakekcp.Place {
	workspace, namespace := w.namespace(i)
	return fakekcp.Place{Resource: deployments, Workspace: logicalcluster.Name(workspace), Namespace: namespace, Name: workloadName(i)}
}

const provider = "provider"

var (
	registrations = schema.GroupResource{Group: "tmc.kcp.io", Resource: "clusterregistrations"}
	leases        = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	deployments   = schema.GroupResource{Group: "apps", Resource: "deployments"}
	configMaps    = schema.GroupResource{Resource: "configmaps"}
	services      = schema.GroupResource{Resource: "services"}
	namespaces    = schema.GroupResource{Resource: "namespaces"}
	bindings      = schema.GroupResource{Group: "apis.kcp.io", Resource: "apibindings"}
	placements    = schema.GroupResource{Group: "tmc.kcp.io", Resource: "workloadplacements"}
)

type fields = map[string]any

// fill makes all of the world on the server.
func (w world) fill(s *fakekcp.Server) {
	for i := range w.clusters {
		w.fillCluster(s, i)
	}
	for i := range w.workspaces {
		w.fillWorkspace(s, workspaceName(i))
	}
	for i := range w.workloads {
		w.fillWorkload(s, i)
	}
}

func (w world) fillCluster(s *fakekcp.Server, i int) {
	name := clusterName(i)
	capacity := fields{"cpu": "640", "memory": "2560Gi", "pods": "11000"}
	s.Put(registrations, fields{
		"apiVersion": "tmc.kcp.io/v1alpha1", "kind": "ClusterRegistration",
		"metadata": fields{"name": name, "generation": int64(1), "finalizers": []any{"tmc.kcp.io/drain"}, "labels": fields{"tier": fmt.Sprintf("t%d", i%10)}, "annotations": fields{"kcp.io/cluster": provider}},
		"spec":     fields{"location": fmt.Sprintf("location-%d", i%20), "isolation": "Group", "isolationGroup": groupName(i)},
		"status": fields{
			"conditions": []any{fields{"type": "Ready", "status": "True", "reason": "HeartbeatReceived", "message": "its syncer sends heartbeats", "lastTransitionTime": "2026-11-29T10:00:00Z"}},
			"clusterUID": name, "export": "group-" + groupName(i), "allocatable": capacity, "requested": fields{"cpu": "100", "memory": "400Gi", "pods": "1000"},
			"resources": []any{"configmaps/v1", "secrets/v1", "serviceaccounts/v1", "services/v1", "persistentvolumeclaims/v1", "deployments.apps/v1", "statefulsets.apps/v1", "daemonsets.apps/v1"},
		},
	})
	s.Put(leases, lease(name))
}

func lease(cluster string) fields {
	return fields{
		"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
		"metadata": fields{"name": cluster, "namespace": "tmc-heartbeats", "annotations": fields{"kcp.io/cluster": provider}},
		"spec":     fields{"holderIdentity": cluster, "renewTime": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")},
	}
}

func leaseOf(cluster string) fakekcp.Place {
	return fakekcp.Place{Resource: leases, Workspace: provider, Namespace: "tmc-heartbeats", Name: cluster}
}

func bindingOf(workspace, name, export string, claims []any) fields {
	return fields{
		"apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding",
		"metadata": fields{"name": name, "generation": int64(1), "finalizers": []any{"tmc.kcp.io/in-use", "apis.kcp.io/apibinding-finalizer"}, "annotations": fields{"kcp.io/cluster": workspace}},
		"spec":     fields{"reference": fields{"export": fields{"path": "root:tmc", "name": export}}},
		"status":   fields{"apiExportClusterName": provider, "phase": "Bound", "appliedPermissionClaims": claims},
	}
}

func (w world) fillWorkspace(s *fakekcp.Server, workspace string) {
	claim := func(group, resource string, selector fields) fields {
		return fields{"group": group, "resource": resource, "verbs": []any{"*"}, "selector": selector}
	}
	all := fields{"matchAll": true}
	s.Put(bindings, bindingOf(workspace, "tmc.kcp.io", "tmc.kcp.io", []any{
		claim("apis.kcp.io", "apibindings", all), claim("admissionregistration.k8s.io", "validatingadmissionpolicies", all),
		claim("admissionregistration.k8s.io", "validatingadmissionpolicybindings", all),
	}))
	for i := 0; i < w.clusters; i += groupSize {
		selected := fields{"matchLabels": fields{"group.tmc.kcp.io/" + groupName(i): "sync"}}
		var claims []any
		for _, kind := range fakekcp.Resources {
			if kind.Namespaced && !strings.Contains(kind.Group, "kcp.io") || kind.Resource == "namespaces" {
				claims = append(claims, claim(kind.Group, kind.Resource, selected))
			}
		}
		s.Put(bindings, bindingOf(workspace, "tmc-group-"+groupName(i), "group-"+groupName(i), claims))
	}
	for i := range w.namespaces {
		namespace := fmt.Sprintf("shop-%d", i)
		s.Put(namespaces, fields{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": fields{"name": namespace, "annotations": fields{"kcp.io/cluster": workspace}, "labels": fields{"kubernetes.io/metadata.name": namespace}},
		})
		s.Put(placements, fields{
			"apiVersion": "tmc.kcp.io/v1alpha1", "kind": "WorkloadPlacement",
			"metadata": fields{"name": "three", "namespace": namespace, "generation": int64(1), "annotations": fields{"kcp.io/cluster": workspace}},
			"spec":     fields{"numberOfClusters": int64(copies), "strategy": w.strategy},
		})
	}
}

// fillWorkload makes a Deployment as kubectl apply and kcp would have it, and what goes with it.
func (w world) fillWorkload(s *fakekcp.Server, i int) {
	workspace, namespace := w.namespace(i)
	name, group := workloadName(i), i
	if w.companions > 0 {
		group = i / (w.workspaces * w.namespaces) / w.companions
		if i/(w.workspaces*w.namespaces)%w.companions == 0 {
			s.Put(configMaps, fields{
				"apiVersion": "v1", "kind": "ConfigMap", "data": fields{"settings": strings.Repeat("x", 1000)},
				"metadata": fields{"name": fmt.Sprintf("settings-%d", group), "namespace": namespace, "annotations": fields{"kcp.io/cluster": workspace}, "managedFields": managedFields(fields{"f:data": fields{}})},
			})
			s.Put(services, fields{
				"apiVersion": "v1", "kind": "Service", "spec": fields{"selector": fields{"part-of": fmt.Sprintf("app-%d", group)}, "type": "ClusterIP", "clusterIP": "0.0.0.0", "ports": []any{fields{"port": int64(80), "protocol": "TCP", "targetPort": int64(8080)}}},
				"metadata": fields{"name": fmt.Sprintf("svc-%d", group), "namespace": namespace, "generation": int64(1), "annotations": fields{"kcp.io/cluster": workspace}, "managedFields": managedFields(fields{"f:spec": fields{}})},
			})
		}
	}
	s.Put(deployments, w.deployment(workspace, namespace, name, group))
}

func managedFields(of fields) []any {
	return []any{fields{"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "apps/v1", "time": "2026-11-29T10:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": of}}
}

func (w world) deployment(workspace, namespace, name string, group int) fields {
	labels := fields{"app": name, "part-of": fmt.Sprintf("app-%d", group), "app.kubernetes.io/managed-by": "kubectl"}
	var env []any
	for i := range 8 {
		env = append(env, fields{"name": fmt.Sprintf("SETTING_%d", i), "value": "some value of some length"})
	}
	container := fields{
		"name": "web", "image": "registry.example.com/shop/web:v1.2.3", "imagePullPolicy": "IfNotPresent", "env": env,
		"ports":                  []any{fields{"containerPort": int64(8080), "name": "http", "protocol": "TCP"}},
		"resources":              fields{"requests": fields{"cpu": "100m", "memory": "128Mi"}, "limits": fields{"memory": "256Mi"}},
		"readinessProbe":         fields{"httpGet": fields{"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": int64(5), "timeoutSeconds": int64(1), "successThreshold": int64(1), "failureThreshold": int64(3)},
		"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
	}
	if w.companions > 0 {
		container["envFrom"] = []any{fields{"configMapRef": fields{"name": fmt.Sprintf("settings-%d", group)}}}
	}
	template := fields{"metadata": fields{"labels": labels}, "spec": fields{
		"containers": []any{container}, "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": fields{}, "terminationGracePeriodSeconds": int64(30),
	}}
	owned := fields{"f:metadata": fields{"f:labels": fields{".": fields{}, "f:app": fields{}}}, "f:spec": fields{"f:replicas": fields{}, "f:selector": fields{}, "f:strategy": fields{"f:type": fields{}},
		"f:template": fields{"f:spec": fields{"f:containers": fields{`k:{"name":"web"}`: fields{".": fields{}, "f:image": fields{}, "f:env": fields{}, "f:ports": fields{}, "f:resources": fields{}, "f:readinessProbe": fields{}}}}}}}
	return fields{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": fields{
			"name": name, "namespace": namespace, "generation": int64(1), "labels": labels, "managedFields": managedFields(owned),
			"annotations": fields{"kcp.io/cluster": workspace, "kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("y", 900)},
		},
		"spec": fields{
			"replicas": int64(2), "revisionHistoryLimit": int64(10), "progressDeadlineSeconds": int64(600), "selector": fields{"matchLabels": fields{"app": name}}, "template": template,
			"strategy": fields{"type": "RollingUpdate", "rollingUpdate": fields{"maxSurge": "25%", "maxUnavailable": "25%"}},
		},
	}
}
