package main

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
)

// kind is one entry of the table of served kinds.
type kind struct {
	// group, version, resource and kind name the API; the core group is "".
	group, version, resource, kind string
	// crdFile is the path, from the repository's root, of the CustomResourceDefinition
	// to take everything below from but the overlay. Empty for a built-in kind, whose
	// schema comes from a kube-apiserver.
	crdFile string
	// scope is Namespaced or Cluster.
	scope apiextensionsv1.ResourceScope
	// singular, shortNames and categories are what kubectl takes in place of resource.
	singular               string
	shortNames, categories []string
	// subresources are those that kcp can serve. The status subresource also makes
	// the generation count spec changes only.
	subresources apiextensionsv1.CustomResourceSubresources
	// columns are what `kubectl get` prints, unless the server knows better: kcp prints
	// kinds that Kubernetes has with Kubernetes' own columns (kcp,
	// pkg/server/crd_table_converter_provider.go). A column is one JSONPath, and only
	// its first match is printed (apiextensions-apiserver, tableconvertor.go), so
	// a column over a list, such as CONTAINERS, would lie.
	columns []apiextensionsv1.CustomResourceColumnDefinition
	// overlay is a JSON schema, in YAML, of what to lay over the published one: the
	// defaults and the validation that a kube-apiserver has in code. See overlay.go.
	overlay string
	// immutable are the properties of spec, as paths with dots, that nobody may add,
	// remove or change once the object is made. See immutable.go.
	immutable []string
	// immutableMessage is what Kubernetes says when it refuses the change of the spec as
	// a whole. When it is empty, each property is refused by itself.
	immutableMessage string
	// opaque are the properties, as paths with dots, of which the schema says nothing, and
	// defaultsOnly those of which it says what is filled in and nothing else. See slim.go.
	opaque, defaultsOnly []string
}

// kinds is the table of what tmc serves in kcp: a new kind is a new entry here. What
// every kcp workspace has anyway (configmaps, secrets, …) cannot be served, and is
// claimed below instead.
var kinds = []kind{
	deployments, statefulSets, daemonSets,
	replicaSets, controllerRevisions, pods,
	jobs, cronJobs,
	services, persistentVolumeClaims,
	ingresses, networkPolicies,
	podDisruptionBudgets,
	horizontalPodAutoscalers,
	workloadPlacements,
}

// definitions is the table of what the provider workspace has for itself: kinds that
// are installed as CustomResourceDefinitions. They all have a crdFile.
var definitions = []kind{clusterRegistrations}

// Subresources that several kinds have.
var (
	statusOnly = apiextensionsv1.CustomResourceSubresources{
		Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
	}
	statusAndScale = apiextensionsv1.CustomResourceSubresources{
		Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
		// The status holds no selector in string form, so labelSelectorPath stays empty.
		Scale: &apiextensionsv1.CustomResourceSubresourceScale{
			SpecReplicasPath:   ".spec.replicas",
			StatusReplicasPath: ".status.replicas",
		},
	}
)

// ageColumn is the last column of every kind.
var ageColumn = apiextensionsv1.CustomResourceColumnDefinition{
	Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp",
	Description: "Time since the object was made",
}

// follow are the verbs on what served kinds refer to and what is synced along with
// them: the hub and the syncers read it, and patch it: the hub's labels, the syncers'
// finalizers and their reports, which are annotations. Nobody makes or deletes it.
var follow = []string{"get", "list", "watch", "patch"}

// keep are the verbs on the policies by which kcp guards what is tmc's in a consumer's workspace: the hub puts them in and
// puts them back. Syncers have patch through the same virtual workspace, and RBAC knows no resources there: so nobody
// patches them, nor deletes them.
var keep = []string{"get", "list", "watch", "create", "update"}

// permissionClaims are what tmc asks consumers for beyond the kinds it serves. Each
// consumer has to accept each claim. Kinds that are built into every workspace can only
// be claimed, not served.
var permissionClaims = []apisv1alpha2.PermissionClaim{
	// To tell users what went wrong, with the verbs of client-go's event recorder (it
	// never updates, and kcp wants no get for a patch).
	{GroupResource: apisv1alpha2.GroupResource{Resource: "events"}, Verbs: []string{"create", "patch"}},
	// What pods mount and take their environment from.
	{GroupResource: apisv1alpha2.GroupResource{Resource: "configmaps"}, Verbs: follow},
	{GroupResource: apisv1alpha2.GroupResource{Resource: "secrets"}, Verbs: follow},
	// What pods run as.
	{GroupResource: apisv1alpha2.GroupResource{Resource: "serviceaccounts"}, Verbs: follow},
	// What all of it lives in.
	{GroupResource: apisv1alpha2.GroupResource{Resource: "namespaces"}, Verbs: follow},
	// Which isolated clusters are bound, and so may be placed on. The hub holds those that are used, by a finalizer. A
	// syncer has patch in the same virtual workspace, and no policy is asked there: it must not have it on these.
	{GroupResource: apisv1alpha2.GroupResource{Group: "apis.kcp.io", Resource: "apibindings"}, Verbs: []string{"get", "list", "watch", "update"}},
	// Who may write what is tmc's, kcp itself checks by these.
	{GroupResource: apisv1alpha2.GroupResource{Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies"}, Verbs: keep},
	{GroupResource: apisv1alpha2.GroupResource{Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicybindings"}, Verbs: keep},
}
