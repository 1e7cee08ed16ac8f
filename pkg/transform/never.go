package transform

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// IsNeverSynced says why an object is never to be synced, and "" when it may be:
// every cluster makes such objects for itself, or they are credentials of the
// server that they are on. It does with an object's metadata alone as well.
func IsNeverSynced(obj *unstructured.Unstructured) (reason string) {
	switch obj.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Kind: "Secret"}:
		return neverSyncedSecret(obj)
	case schema.GroupKind{Kind: "ConfigMap"}:
		return neverSyncedConfigMap(obj.GetName())
	case schema.GroupKind{Kind: "ServiceAccount"}:
		if obj.GetName() == "default" {
			return "every namespace of a cluster has a ServiceAccount default of its own"
		}
	}
	return ""
}

// NeverSyncedError says that a copy would be what is never synced, though the upstream
// object is not.
type NeverSyncedError struct {
	// Reason is that of IsNeverSynced.
	Reason string
}

// Error says why.
func (e *NeverSyncedError) Error() string {
	return "the copy would be what is never synced: " + e.Reason
}

// checkSynced returns an error when the copy, as it is to be applied, is never to be synced:
// in an OverrideError where there is an override, without which the upstream object would
// have been refused already.
func checkSynced(desired *unstructured.Unstructured, in Input) error {
	reason := IsNeverSynced(desired)
	if reason == "" {
		return nil
	}
	err := &NeverSyncedError{Reason: reason}
	key := v1alpha1.OverrideAnnotation(in.Origin.Cluster)
	if _, present := in.Object.GetAnnotations()[key]; present && IsNeverSynced(in.Object) == "" {
		return &OverrideError{Annotation: key, Err: err}
	}
	return err
}

func neverSyncedSecret(obj *unstructured.Unstructured) string {
	kind, _, _ := unstructured.NestedString(obj.Object, "type")
	_, ofAccount := obj.GetAnnotations()[corev1.ServiceAccountNameKey]
	// Bootstrap tokens are told by name and place where there is no type
	// (k8s.io/cluster-bootstrap/token/api).
	isBootstrap := obj.GetNamespace() == "kube-system" && strings.HasPrefix(obj.GetName(), "bootstrap-token-")
	switch {
	case kind == string(corev1.SecretTypeServiceAccountToken), kind == "" && ofAccount:
		return "it holds a token of a ServiceAccount, which is good for the server that made it alone"
	case kind == string(corev1.SecretTypeBootstrapToken), kind == "" && isBootstrap:
		return "it holds a bootstrap token, with which nodes join the server that it is on"
	default:
		return ""
	}
}

// neverSyncedConfigMap knows the ConfigMaps that are published into every namespace:
// kube-root-ca.crt by Kubernetes (RootCACertConfigMapName in k8s.io/kubernetes,
// pkg/controller/certificates/rootcacertpublisher), openshift-service-ca.crt by
// OpenShift (ServiceCACertConfigMapName in github.com/openshift/kubernetes,
// openshift-kube-controller-manager/servicecacertpublisher).
func neverSyncedConfigMap(name string) string {
	switch name {
	case "kube-root-ca.crt", "openshift-service-ca.crt":
		return "every cluster publishes a certificate authority of its own under this name"
	default:
		return ""
	}
}
