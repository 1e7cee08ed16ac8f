package main

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/hack/fakekcp"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	clusterName = "east"
	// workspace is that of all own objects.
	workspace = logicalcluster.Name("2ha7qlbqnn0oyk5f")
	provider  = "provider0000000"
	// perNamespace is how many own objects are in a namespace.
	perNamespace = 100
)

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

// served are the resources that kcp serves: those that the workspaces of users have most of, and some that they have none of.
func served() []fakekcp.Resource {
	names := []string{
		"namespaces", "services", "configmaps", "secrets", "serviceaccounts", "persistentvolumeclaims", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs",
		"ingresses", "horizontalpodautoscalers",
	}
	return slices.DeleteFunc(slices.Clone(fakekcp.Resources), func(r fakekcp.Resource) bool { return !slices.Contains(names, r.Resource) })
}

// own is an object of a user, and the resource that it is of.
type own struct {
	resource schema.GroupVersionResource
	obj      *unstructured.Unstructured
}

// ownObjects returns the namespaces, and as many objects in them as Helm charts make. Of four of a mix, one is a Deployment, one a
// Service, one a ConfigMap and one a Secret.
func ownObjects(count int, onlyDeployments bool) (namespaces, objects []own) {
	for i := range count {
		namespace := fmt.Sprintf("team-%03d", i/perNamespace)
		if i%perNamespace == 0 {
			namespaces = append(namespaces, own{v1alpha1.NamespacesResource, placed(fmt.Sprintf(
				`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q},"status":{"phase":"Active"}}`, namespace), 0, count+i)})
		}
		objects = append(objects, ownObject(i, namespace, onlyDeployments))
	}
	return namespaces, objects
}

func ownObject(i int, namespace string, onlyDeployments bool) own {
	name := fmt.Sprintf("app-%05d-web", i)
	switch {
	case onlyDeployments || i%4 == 0:
		return own{deployments, placed(deployment(name, namespace, i), 1, i)}
	case i%4 == 1:
		return own{services, placed(fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"name":%q,"namespace":%q,"labels":%s},"spec":{"type":"ClusterIP",
			"ports":[{"name":"http","port":80,"targetPort":"http","protocol":"TCP"},{"name":"metrics","port":9090,"targetPort":"metrics","protocol":"TCP"}],
			"selector":{"app.kubernetes.io/name":"web","app.kubernetes.io/instance":%q}}}`, name, namespace, labelsOf(name), name), 1, i)}
	case i%4 == 2:
		return own{configMaps, placed(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":%q,"labels":%s},"data":{"application.yaml":%q}}`,
			name, namespace, labelsOf(name), strings.Repeat(fmt.Sprintf("setting-%d: value of this application\n", i), 25)), 0, i)}
	default:
		return own{secrets, placed(fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","type":"Opaque","metadata":{"name":%q,"namespace":%q,"labels":%s},
			"data":{"username":"YWRtaW4=","password":"cGFzc3dvcmQtb2YtJWQtdGhhdC1pcy1sb25n"}}`, name, namespace, labelsOf(name)), 0, i)}
	}
}

func labelsOf(name string) string {
	return fmt.Sprintf(`{"app.kubernetes.io/name":"web","app.kubernetes.io/instance":%q,"app.kubernetes.io/version":"1.4.2","app.kubernetes.io/managed-by":"Helm","helm.sh/chart":"web-0.8.1"}`, name)
}

// deployment is one as a Helm chart of some standing makes it.
func deployment(name, namespace string, i int) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%[1]q,"namespace":%[2]q,"labels":%[3]s,
"annotations":{"meta.helm.sh/release-name":%[1]q,"meta.helm.sh/release-namespace":%[2]q}},
"spec":{"replicas":2,"revisionHistoryLimit":10,"progressDeadlineSeconds":600,"selector":{"matchLabels":{"app.kubernetes.io/name":"web","app.kubernetes.io/instance":%[1]q}},
"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":"25%%","maxUnavailable":"25%%"}},
"template":{"metadata":{"annotations":{"checksum/config":"6f1d%060[4]d","prometheus.io/scrape":"true","prometheus.io/port":"9090"},
"labels":%[3]s},
"spec":{"serviceAccountName":"default","restartPolicy":"Always","dnsPolicy":"ClusterFirst","schedulerName":"default-scheduler","terminationGracePeriodSeconds":30,
"securityContext":{"runAsNonRoot":true,"fsGroup":2000},
"containers":[{"name":"web","image":"registry.example.com/shop/web:1.4.2","imagePullPolicy":"IfNotPresent",
"securityContext":{"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,"capabilities":{"drop":["ALL"]}},
"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"},{"name":"metrics","containerPort":9090,"protocol":"TCP"}],
"env":[{"name":"APP_INSTANCE","value":%[1]q},{"name":"LOG_LEVEL","value":"info"},{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},
{"name":"DATABASE_URL","value":"postgres://db.%[2]s.svc:5432/%[1]s"}],
"livenessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"initialDelaySeconds":10,"periodSeconds":10,"timeoutSeconds":1,"successThreshold":1,"failureThreshold":3},
"readinessProbe":{"httpGet":{"path":"/readyz","port":"http","scheme":"HTTP"},"periodSeconds":5,"timeoutSeconds":1,"successThreshold":1,"failureThreshold":3},
"resources":{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"memory":"256Mi"}},
"volumeMounts":[{"name":"tmp","mountPath":"/tmp"}],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"},
{"name":"proxy","image":"registry.example.com/shop/proxy:2.1.0","imagePullPolicy":"IfNotPresent","args":["--upstream=http://127.0.0.1:8080","--listen=:8443"],
"ports":[{"name":"https","containerPort":8443,"protocol":"TCP"}],"resources":{"requests":{"cpu":"20m","memory":"32Mi"}},
"volumeMounts":[{"name":"tmp","mountPath":"/tmp"}],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],
"volumes":[{"name":"tmp","emptyDir":{}}]}}}}`, name, namespace, labelsOf(name), i)
}

// placed returns the object as kcp has it when it is placed on the cluster, and held for it.
func placed(content string, generation int64, i int) *unstructured.Unstructured {
	obj := parsed(content)
	obj.SetUID(uidOf(1, i))
	obj.SetGeneration(generation)
	labels, annotations := obj.GetLabels(), obj.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels[v1alpha1.PlacementLabel(clusterName)] = v1alpha1.PlacementLabelValue
	annotations[logicalcluster.AnnotationKey] = workspace.String()
	obj.SetLabels(labels)
	obj.SetAnnotations(annotations)
	obj.SetFinalizers([]string{v1alpha1.Finalizer(clusterName)})
	fields := map[string]any{"f:spec": map[string]any{"f:replicas": map[string]any{}, "f:template": map[string]any{"f:spec": map[string]any{"f:containers": map[string]any{}}}}}
	_ = unstructured.SetNestedSlice(obj.Object, []any{map[string]any{
		"manager": "helm", "operation": "Update", "apiVersion": obj.GetAPIVersion(), "time": "2026-11-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields,
	}}, "metadata", "managedFields")
	return obj
}

func parsed(content string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON([]byte(content)); err != nil {
		panic(fmt.Sprintf("%s: %v", content, err)) // it is in this file
	}
	return obj
}

// foreignObjects returns Deployments and ConfigMaps that are nobody's of ours, as etcd has them.
func foreignObjects(count int) []pair {
	pairs := make([]pair, 0, count)
	for i := range count {
		namespace, name := fmt.Sprintf("foreign-%03d", i/perNamespace), fmt.Sprintf("other-%05d", i)
		content, registry := deployment(name, namespace, i), "/registry/deployments/"
		if i%2 == 0 {
			content, registry = fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":%q},"data":{"a":%q}}`,
				name, namespace, strings.Repeat("some text ", 80)), "/registry/configmaps/"
		}
		pairs = append(pairs, inEtcd(registry+namespace+"/"+name, content, 2, i))
	}
	return pairs
}

// foreignPods returns pods of others that run on nodes, as etcd has them.
func foreignPods(count, nodes int) []pair {
	pairs := make([]pair, 0, count)
	for i := range count {
		namespace, name := fmt.Sprintf("foreign-%03d", i/perNamespace), fmt.Sprintf("other-%05d-7d4b9c6f5d-%05x", i/3, i)
		template := parsed(deployment(fmt.Sprintf("other-%05d", i/3), namespace, i))
		spec, _, _ := unstructured.NestedMap(template.Object, "spec", "template", "spec")
		spec["nodeName"] = nodeName(i % nodes)
		labels, _, _ := unstructured.NestedMap(template.Object, "metadata", "labels")
		pod := map[string]any{
			"apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": map[string]any{"name": name, "namespace": namespace, "labels": labels},
			"status": map[string]any{
				"phase": "Running", "podIP": fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), "hostIP": "10.0.0.1", "qosClass": "Burstable", "startTime": "2026-11-01T00:00:00Z",
				"conditions": []any{map[string]any{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T00:00:00Z"}},
				"containerStatuses": []any{
					map[string]any{"name": "web", "ready": true, "started": true, "restartCount": int64(0), "image": "registry.example.com/shop/web:1.4.2", "imageID": "sha256:1", "containerID": "containerd://1"},
					map[string]any{"name": "proxy", "ready": true, "started": true, "restartCount": int64(0), "image": "registry.example.com/shop/proxy:2.1.0", "imageID": "sha256:2", "containerID": "containerd://2"},
				},
			},
		}
		encoded, _ := (&unstructured.Unstructured{Object: pod}).MarshalJSON() // it came from JSON
		pairs = append(pairs, inEtcd("/registry/pods/"+namespace+"/"+name, string(encoded), 3, i))
	}
	return pairs
}

func nodeName(i int) string { return fmt.Sprintf("node-%03d", i) }

// nodes returns nodes that take pods, as etcd has them.
func nodes(count int) []pair {
	pairs := make([]pair, 0, count)
	for i := range count {
		content := fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","metadata":{"name":%q},"status":{"allocatable":{"cpu":"64","memory":"256Gi","pods":"250"},
			"capacity":{"cpu":"64","memory":"256Gi","pods":"250"},"conditions":[{"type":"Ready","status":"True"}]}}`, nodeName(i))
		pairs = append(pairs, inEtcd("/registry/minions/"+nodeName(i), content, 4, i))
	}
	return pairs
}

func inEtcd(key, content string, series, i int) pair {
	obj := parsed(content)
	obj.SetUID(uidOf(series, i))
	obj.Object["metadata"].(map[string]any)["creationTimestamp"] = "2026-11-01T00:00:00Z"
	encoded, _ := obj.MarshalJSON() // it came from JSON
	return pair{[]byte(key), encoded}
}

func uidOf(series, i int) types.UID {
	return types.UID(fmt.Sprintf("%08d-0000-4000-8000-%012d", series, i))
}
