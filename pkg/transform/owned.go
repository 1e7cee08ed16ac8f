package transform

import (
	"encoding/base64"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ownedByCluster removes, for the kinds that have any, the fields that a cluster
// fills in and that mean nothing on another.
var ownedByCluster = map[schema.GroupKind]func(desired *unstructured.Unstructured){
	{Kind: "Service"}:               removeAddresses,
	{Kind: "PersistentVolumeClaim"}: removeBinding,
	{Kind: "ServiceAccount"}:        removeTokens,
	{Kind: "Secret"}:                encodeStringData,
	{Group: "batch", Kind: "Job"}:   removeGeneratedSelector,
}

func removeOwned(desired *unstructured.Unstructured) {
	if remove, found := ownedByCluster[desired.GroupVersionKind().GroupKind()]; found {
		remove(desired)
	}
}

// removeAddresses takes out the addresses that a cluster allocates. That there be
// none is the user's word. A node port can only be the user's here: what a cluster
// allocates by itself, nobody applies.
func removeAddresses(desired *unstructured.Unstructured) {
	spec := child(desired.Object, "spec")
	if isAddress(spec["clusterIP"]) {
		delete(spec, "clusterIP")
	}
	if addresses, _ := spec["clusterIPs"].([]any); slices.ContainsFunc(addresses, isAddress) {
		delete(spec, "clusterIPs")
	}
}

func isAddress(value any) bool { return value != corev1.ClusterIPNone && value != "" }

// removeBinding takes out which volume a claim was bound to, and what the volume
// controllers (k8s.io/component-helpers/storage/volume) and the scheduler note on it.
func removeBinding(desired *unstructured.Unstructured) {
	delete(child(desired.Object, "spec"), "volumeName")
	annotations := child(desired.Object, "metadata", "annotations")
	for key := range annotations {
		switch {
		case strings.HasPrefix(key, "pv.kubernetes.io/"),
			key == "volume.kubernetes.io/selected-node",
			key == "volume.kubernetes.io/storage-provisioner",
			key == "volume.beta.kubernetes.io/storage-provisioner":
			delete(annotations, key)
		}
	}
}

// removeTokens takes out the list of secrets, into which token controllers write
// those that they make (OpenShift's still does, Kubernetes' did until 1.24), unless
// the list means something: it says which secrets pods may mount where the account
// has the annotation for that, and nothing otherwise (ServiceAccount.Secrets in
// k8s.io/api/core/v1). Secrets for pulling images are the user's.
func removeTokens(desired *unstructured.Unstructured) {
	if desired.GetAnnotations()["kubernetes.io/enforce-mountable-secrets"] != "true" {
		delete(desired.Object, "secrets")
	}
}

// encodeStringData writes stringData into data and wins there, as every API server
// does when it decodes a Secret (Convert_v1_Secret_To_core_Secret in
// k8s.io/kubernetes). So objects from kcp have none left; those from a file may,
// and they are to be printed as they would be applied.
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
		return // not an object: the cluster will say so
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

// removeGeneratedSelector takes out the selector that the server generated from the
// upstream object's UID, and the labels that go with it (generateSelector in
// k8s.io/kubernetes/pkg/registry/batch/job), unless the user has asked to choose
// them.
func removeGeneratedSelector(desired *unstructured.Unstructured) {
	spec := child(desired.Object, "spec")
	if spec["manualSelector"] == true {
		return
	}
	delete(spec, "selector")
	for _, metadata := range []map[string]any{child(desired.Object, "metadata"), child(spec, "template", "metadata")} {
		removeLabels(metadata, "controller-uid", batchv1.ControllerUidLabel, "job-name", batchv1.JobNameLabel)
	}
}

// removeLabels takes labels out, and their map with the last one.
func removeLabels(metadata map[string]any, keys ...string) {
	labels := child(metadata, "labels")
	before := len(labels)
	for _, key := range keys {
		delete(labels, key)
	}
	if before > 0 && len(labels) == 0 {
		delete(metadata, "labels")
	}
}
