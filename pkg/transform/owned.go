package transform

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// removeOwned removes the fields that a cluster fills in and that mean nothing on another.
func removeOwned(desired *unstructured.Unstructured, kind *kinds.Kind) {
	for _, owned := range kind.Owned {
		// Whether the field is the user's is read before anything of it is removed.
		if owned.Unless == nil || !owned.Unless.IsIn(desired.Object) {
			removeField(desired.Object, owned)
		}
	}
	if kind.GroupKind() == secretKind {
		encodeStringData(desired)
	}
}

var secretKind = schema.GroupKind{Kind: "Secret"}

// removeField removes a field, or those that begin like it, and the map of labels that it was the last of.
func removeField(object map[string]any, owned kinds.Owned) {
	path, name := owned.Path.Last()
	parent := child(object, path...)
	before := len(parent)
	prefix, isPrefix := strings.CutSuffix(name, "*")
	maps.DeleteFunc(parent, func(key string, value any) bool {
		return (key == name || isPrefix && strings.HasPrefix(key, prefix)) && !isKept(value, owned.Keep)
	})
	if last := len(path) - 1; last > 0 && path[last] == "labels" && before > 0 && len(parent) == 0 {
		delete(child(object, path[:last]...), path[last])
	}
}

// isKept reports whether a value, or each of its items, is one that stays.
func isKept(value any, keep []string) bool {
	if len(keep) == 0 {
		return false
	}
	items, isList := value.([]any)
	if !isList {
		items = []any{value}
	}
	return !slices.ContainsFunc(items, func(item any) bool {
		text, isText := item.(string)
		return !isText || !slices.Contains(keep, text)
	})
}

// encodeStringData writes stringData into data, where it wins, as every API server does when it decodes a Secret
// (Convert_v1_Secret_To_core_Secret in k8s.io/kubernetes). So objects from kcp have no stringData left; those from a file
// may have some, and they are printed as they would be applied.
func encodeStringData(desired *unstructured.Unstructured) {
	plain := child(desired.Object, "stringData")
	if plain == nil {
		return
	}
	if _, present := desired.Object["data"]; !present {
		desired.Object["data"] = map[string]any{}
	}
	data := child(desired.Object, "data")
	if data == nil {
		return // no object: the cluster will say so
	}
	for key, value := range plain {
		if text, isString := value.(string); isString {
			data[key] = base64.StdEncoding.EncodeToString([]byte(text))
			delete(plain, key)
		}
	}
	if len(plain) == 0 {
		delete(desired.Object, "stringData")
	}
	if len(data) == 0 {
		delete(desired.Object, "data")
	}
}

// IsNeverSynced returns why an object is never synced, and "" when it may be: every cluster makes such objects for
// itself, or they are credentials of the server that they are on. An object's metadata alone will do.
func IsNeverSynced(obj *unstructured.Unstructured) (reason string) {
	switch obj.GroupVersionKind().GroupKind() {
	case secretKind:
		return neverSyncedSecret(obj)
	case schema.GroupKind{Kind: "ConfigMap"}:
		// Those that are published into every namespace: kube-root-ca.crt by Kubernetes (RootCACertConfigMapName in
		// k8s.io/kubernetes, pkg/controller/certificates/rootcacertpublisher), openshift-service-ca.crt by OpenShift
		// (ServiceCACertConfigMapName in github.com/openshift/kubernetes,
		// openshift-kube-controller-manager/servicecacertpublisher).
		if name := obj.GetName(); name == "kube-root-ca.crt" || name == "openshift-service-ca.crt" {
			return "every cluster publishes a certificate authority of its own under this name"
		}
	case schema.GroupKind{Kind: "ServiceAccount"}:
		if obj.GetName() == "default" {
			return "every namespace of a cluster has a ServiceAccount default of its own"
		}
	}
	return ""
}

func neverSyncedSecret(obj *unstructured.Unstructured) string {
	kind, _, _ := unstructured.NestedString(obj.Object, "type")
	_, ofAccount := obj.GetAnnotations()[corev1.ServiceAccountNameKey]
	// Where there is no type, bootstrap tokens are recognised by name and namespace (k8s.io/cluster-bootstrap/token/api).
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

// NeverSyncedError says that a copy would be an object that is never synced, though the upstream object is not.
type NeverSyncedError struct {
	// Reason is that of IsNeverSynced.
	Reason string
}

// Error returns the reason.
func (e *NeverSyncedError) Error() string {
	return "the copy would be what is never synced: " + e.Reason
}

// checkSynced returns an error when the copy, as it is to be applied, is never to be synced. It is an OverrideError where
// there is an override: without it, the upstream object would have been refused already.
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
