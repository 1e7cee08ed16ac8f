package kinds

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// digestField is where SlimRevision puts the digest of what it takes away.
const digestField = "digest"

// SlimRevision drops from a revision, in place, what it is of, so that caches need not hold it: of a ReplicaSet the
// template, of a ControllerRevision the data. A digest stays in its place (see DigestOf). Every other field stays but
// managedFields; nothing happens to what has neither. To slim twice changes nothing.
func SlimRevision(obj *unstructured.Unstructured) {
	obj.SetManagedFields(nil)
	if spec, isObject := obj.Object["spec"].(map[string]any); isObject && spec["template"] != nil {
		spec["template"] = map[string]any{digestField: DigestOf(spec["template"])}
	}
	if obj.Object["data"] != nil {
		obj.Object["data"] = map[string]any{digestField: DigestOf(obj.Object["data"])}
	}
}

// DigestOf returns a text that is the same for what is the same: of a pod template, or of the data of a ControllerRevision,
// whole or slimmed by SlimRevision. Pod templates may differ in the label pod-template-hash, as in kubectl's and
// Kubernetes' comparison of them (EqualIgnoreHash in k8s.io/kubectl, pkg/util/deployment/deployment.go), and in whether
// empty metadata are there. Equal digests mean equal templates. Different ones may belong to templates that Kubernetes
// takes for equal as well, such as those with `cpu: 1` and `cpu: "1"`: only the templates themselves tell.
func DigestOf(value any) string {
	template, _ := value.(map[string]any)
	if digest, isSlim := template[digestField].(string); isSlim && len(template) == 1 {
		return digest
	}
	if _, hasSpec := template["spec"].(map[string]any); hasSpec {
		value = withoutHash(template)
	}
	text, err := json.Marshal(value) // the keys are sorted
	if err != nil {
		return "" // JSON from a server can be encoded
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// withoutHash returns a pod template without the label pod-template-hash, and without metadata that say nothing.
func withoutHash(template map[string]any) map[string]any {
	metadata, hasMetadata := template[metadataField].(map[string]any)
	if !hasMetadata {
		return template
	}
	metadata = maps.Clone(metadata)
	if labels, hasLabels := metadata["labels"].(map[string]any); hasLabels {
		labels = maps.Clone(labels)
		delete(labels, appsv1.DefaultDeploymentUniqueLabelKey)
		metadata["labels"] = labels
	}
	maps.DeleteFunc(metadata, func(_ string, value any) bool {
		fields, isObject := value.(map[string]any)
		return value == nil || isObject && len(fields) == 0
	})
	template = maps.Clone(template)
	if template[metadataField] = metadata; len(metadata) == 0 {
		delete(template, metadataField)
	}
	return template
}
