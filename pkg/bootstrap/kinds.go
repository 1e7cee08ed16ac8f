package bootstrap

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The resources that rules are about even when they are not synced.
var (
	nodes       = schema.GroupResource{Resource: "nodes"}
	pods        = schema.GroupResource{Resource: "pods"}
	events      = schema.GroupResource{Resource: "events"}
	namespaces  = schema.GroupResource{Resource: "namespaces"}
	secrets     = schema.GroupResource{Resource: "secrets"}
	autoscalers = schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}
	leases      = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
)

// inNamespaces are the kinds that lie in namespaces of a plain Kubernetes 1.36 (the versions that are served by
// default, see api/discovery in k8s.io/kubernetes) and can be listed. Secrets are not among them: whoever may list them
// may read them. Events do not count.
var inNamespaces = []schema.GroupResource{
	{Resource: "configmaps"},
	{Resource: "endpoints"},
	{Resource: "limitranges"},
	{Resource: "persistentvolumeclaims"},
	{Resource: "podtemplates"},
	{Resource: "replicationcontrollers"},
	{Resource: "resourcequotas"},
	{Resource: "serviceaccounts"},
	{Resource: "services"},
	{Group: "apps", Resource: "controllerrevisions"},
	{Group: "apps", Resource: "daemonsets"},
	{Group: "apps", Resource: "deployments"},
	{Group: "apps", Resource: "replicasets"},
	{Group: "apps", Resource: "statefulsets"},
	{Group: "batch", Resource: "cronjobs"},
	{Group: "batch", Resource: "jobs"},
	{Group: "coordination.k8s.io", Resource: "leases"},
	{Group: "discovery.k8s.io", Resource: "endpointslices"},
	{Group: "networking.k8s.io", Resource: "ingresses"},
	{Group: "networking.k8s.io", Resource: "networkpolicies"},
	{Group: "policy", Resource: "poddisruptionbudgets"},
	{Group: "rbac.authorization.k8s.io", Resource: "rolebindings"},
	{Group: "rbac.authorization.k8s.io", Resource: "roles"},
	{Group: "resource.k8s.io", Resource: "resourceclaims"},
	{Group: "resource.k8s.io", Resource: "resourceclaimtemplates"},
	{Group: "storage.k8s.io", Resource: "csistoragecapacities"},
}

// ofCluster are the resources of a plain Kubernetes 1.36 that lie in no namespace, by group (api/discovery in
// k8s.io/kubernetes). None of them is ever synced: a right to one could only do harm. This package does not know where
// resources lie that others define.
var ofCluster = map[string][]string{
	"":                             {"componentstatuses", "namespaces", "nodes", "persistentvolumes"},
	"admissionregistration.k8s.io": {"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations"},
	"apiextensions.k8s.io":         {"customresourcedefinitions"},
	"apiregistration.k8s.io":       {"apiservices"},
	"authentication.k8s.io":        {"selfsubjectreviews", "tokenreviews"},
	"authorization.k8s.io":         {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"},
	"certificates.k8s.io":          {"certificatesigningrequests", "clustertrustbundles"},
	"flowcontrol.apiserver.k8s.io": {"flowschemas", "prioritylevelconfigurations"},
	"internal.apiserver.k8s.io":    {"storageversions"},
	"networking.k8s.io":            {"ingressclasses", "ipaddresses", "servicecidrs"},
	"node.k8s.io":                  {"runtimeclasses"},
	"rbac.authorization.k8s.io":    {"clusterrolebindings", "clusterroles"},
	"resource.k8s.io":              {"deviceclasses", "devicetaintrules", "resourcepoolstatusrequests", "resourceslices"},
	"scheduling.k8s.io":            {"priorityclasses"},
	"storage.k8s.io":               {"csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"},
	"storagemigration.k8s.io":      {"storageversionmigrations"},
}

func isOfCluster(kind schema.GroupResource) bool {
	return slices.Contains(ofCluster[kind.Group], kind.Resource)
}
