package e2e

import (
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

const (
	widgetVersions = `
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: `
	widgetSchema = `{type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}, status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`
	widgetNames = `
  group: example.com
  scope: Namespaced
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}`
	widgetResourceSchema = `
apiVersion: apis.kcp.io/v1alpha1
kind: APIResourceSchema
metadata: {name: v1.widgets.example.com}
spec:` + widgetNames + widgetVersions + widgetSchema
	// widgetPermission is what consumers may do with widgets at most.
	widgetPermission = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: widgets}
rules:
- {apiGroups: [example.com], resources: [widgets], verbs: ["*"]}
- {apiGroups: [example.com], resources: [widgets/status], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: widgets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: widgets}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "apis.kcp.io:binding:system:authenticated"}]
`
	widgetDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:` + widgetNames + widgetVersions + "{openAPIV3Schema: " + widgetSchema + "}\n"
)

// noticed is how long it takes at most until a new kind is noticed: the programs ask once a minute what is served.
const noticed = 90 * time.Second

// TestKindAddedToExportIsSynced adds a kind to the APIExport while the programs run. Of the two clusters, one serves
// it: the one on which no joined cluster runs, since a syncer that may not read the new kind would keep its
// namespaces.
func TestKindAddedToExportIsSynced(t *testing.T) {
	t.Parallel()
	name := unique("kinds")
	in := &installation{name: name, provider: "root:" + name, clusters: clustersOf([]string{"kinds-" + north, "kinds-" + west}), byHand: true}
	in.installFor(t)
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "kinds")
	u.createOn(t, env.clusters[north], widgetDefinition)

	kubeconfig, err := env.stack.KCP.Kubeconfig(in.provider)
	check(t, err)
	provider := side{"the provider workspace", kubeconfig, "default"}
	provider.apply(t, widgetResourceSchema)
	provider.apply(t, widgetPermission)
	provider.kubectl(t, "patch", "apiexport", "tmc.kcp.io", "--type=json", `--patch=[{"op":"add","path":"/spec/resources/-","value":
		{"group":"example.com","name":"widgets","schema":"v1.widgets.example.com","storage":{"crd":{}}}}]`)
	kcp := u.asConsumer(t)
	check(t, framework.Eventually(t.Context(), "kcp to serve widgets", soon, served(u, "widgets.example.com")))
	kcp.apply(t, `{apiVersion: example.com/v1, kind: Widget, metadata: {name: one, annotations: {tmc.kcp.io/target-clusters: "*"}}, spec: {size: 3, deep: {list: [{a: 1}]}}}`)

	check(t, framework.Eventually(t.Context(), "north to have the widget", noticed, reads(u.onCluster("kinds-"+north), "widget.example.com/one", "{.spec}", `{"deep":{"list":[{"a":1}]},"size":3}`)))
	kcp.eventuallyHas(t, "widget.example.com/one", syncedPath, "False", "NotServed", "kinds-"+west, "widgets.example.com")
	kcp.kubectl(t, "annotate", "--overwrite", "widget.example.com/one", "tmc.kcp.io/target-clusters=kinds-"+north)
	kcp.eventuallyHas(t, "widget.example.com/one", syncedPath, "True")
	kcp.kubectl(t, "delete", "widget.example.com/one", "--timeout=120s")
	u.onCluster("kinds-"+north).isNotThere(t, "widget.example.com/one")
}
