package fakekcp

import (
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is a resource that kcp serves. A group has one version.
type Resource struct {
	Group, Version, Resource, Kind string
	Namespaced, HasStatus          bool
}

// Resources are what tmc's APIExport serves and claims.
var Resources = []Resource{
	{"", "v1", "configmaps", "ConfigMap", true, false},
	{"", "v1", "secrets", "Secret", true, false},
	{"", "v1", "serviceaccounts", "ServiceAccount", true, false},
	{"", "v1", "services", "Service", true, true},
	{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true, true},
	{"", "v1", "namespaces", "Namespace", false, true},
	{"apps", "v1", "deployments", "Deployment", true, true},
	{"apps", "v1", "statefulsets", "StatefulSet", true, true},
	{"apps", "v1", "daemonsets", "DaemonSet", true, true},
	{"apps", "v1", "replicasets", "ReplicaSet", true, true},
	{"apps", "v1", "controllerrevisions", "ControllerRevision", true, false},
	{"batch", "v1", "jobs", "Job", true, true},
	{"batch", "v1", "cronjobs", "CronJob", true, true},
	{"autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true, true},
	{"networking.k8s.io", "v1", "ingresses", "Ingress", true, true},
	{"networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true, false},
	{"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true, true},
	{"tmc.kcp.io", "v1alpha1", "workloadplacements", "WorkloadPlacement", true, true},
	{"apis.kcp.io", "v1alpha2", "apibindings", "APIBinding", false, true},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false, false},
	{"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", false, false},
}

var endpointSlices = Resource{"apis.kcp.io", "v1alpha1", "apiexportendpointslices", "APIExportEndpointSlice", false, true}

// ofProvider are those of the provider workspace.
var ofProvider = []Resource{
	endpointSlices,
	{"tmc.kcp.io", "v1alpha1", "clusterregistrations", "ClusterRegistration", false, true},
	{"coordination.k8s.io", "v1", "leases", "Lease", true, false},
}

func (r Resource) groupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: r.Group, Version: r.Version}
}

func (r Resource) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Resource}
}

// kindOf returns the kind of a resource; of one that is not served, whose collections are empty, something that is none.
func (s *Server) kindOf(resource schema.GroupResource) string {
	for _, known := range slices.Concat(ofProvider, s.served) {
		if known.groupResource() == resource {
			return known.Kind
		}
	}
	return "Unknown"
}

// discover says what the virtual workspace serves below a path.
func (s *Server) discover(w http.ResponseWriter, path string) {
	groups := metav1.APIGroupList{}
	resources := metav1.APIResourceList{}
	for _, r := range s.served {
		prefix, version := "/api/"+r.Version, metav1.GroupVersionForDiscovery{GroupVersion: r.groupVersion().String(), Version: r.Version}
		if r.Group != "" {
			prefix = "/apis/" + version.GroupVersion
			if !slices.ContainsFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == r.Group }) {
				groups.Groups = append(groups.Groups, metav1.APIGroup{Name: r.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version})
			}
		}
		if prefix != path {
			continue
		}
		resources.GroupVersion = version.GroupVersion
		one := metav1.APIResource{
			Name: r.Resource, Kind: r.Kind, Namespaced: r.Namespaced, Verbs: metav1.Verbs{"get", "list", "watch", "create", "update", "patch", "delete"},
		}
		resources.APIResources = append(resources.APIResources, one)
		if r.HasStatus {
			one.Name += "/status"
			resources.APIResources = append(resources.APIResources, one)
		}
	}
	switch {
	case path == "/api":
		answer(w, http.StatusOK, metav1.APIVersions{Versions: []string{"v1"}})
	case path == "/apis":
		answer(w, http.StatusOK, groups)
	case resources.GroupVersion != "":
		answer(w, http.StatusOK, resources)
	default:
		refuse(w, apierrors.NewGenericServerResponse(http.StatusNotFound, "get", schema.GroupResource{}, "", path, 0, true))
	}
}
