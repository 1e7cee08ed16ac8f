package revisions

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/dump"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Creation is a revision that a workload lacks.
type Creation struct {
	Number int64
	// Numbers are those of a ReplicaSet. They are zeros unless the roll-out has ended before there was a revision.
	Numbers Numbers
}

// hashLabel is on the revisions of StatefulSets (ControllerRevisionHashLabel in pkg/controller/history).
const hashLabel = "controller.kubernetes.io/hash"

// longestPrefix is how much of a workload's name a ControllerRevision's has (ControllerRevisionName in pkg/controller/history).
const longestPrefix = 223

// Make returns the revision that a workload lacks. The workload is to be as kcp has it, not slim. Collisions says how many names
// were taken by others: each time, the name is another one. It fails where the template is none, or has quantities that cannot be
// read.
func Make(workload *unstructured.Unstructured, creation Creation, collisions int32) (*unstructured.Unstructured, error) {
	content, _, err := unstructured.NestedMap(workload.Object, "spec", "template")
	if err != nil {
		return nil, fmt.Errorf("spec.template: %w", err)
	}
	if Digest(content) == "" {
		return nil, fmt.Errorf("spec.template: expected quantities that can be read")
	}
	template := &corev1.PodTemplateSpec{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, template); err != nil {
		return nil, fmt.Errorf("spec.template: %w", err)
	}
	if workload.GetKind() == deploymentKind {
		return makeReplicaSet(workload, content, computeHash(template, collisions), creation), nil
	}
	return makeControllerRevision(workload, template, creation, collisions)
}

// makeReplicaSet is getNewReplicaSet of pkg/controller/deployment/sync.go.
func makeReplicaSet(deployment *unstructured.Unstructured, template map[string]any, hash string, creation Creation) *unstructured.Unstructured {
	selector, _, _ := unstructured.NestedMap(deployment.Object, "spec", "selector") // a map, or the schema does not let it be
	withLabel(&selector, "matchLabels", hash)
	metadata, _ := template[metadataField].(map[string]any)
	withLabel(&metadata, "labels", hash)
	template[metadataField] = metadata
	annotations := copied(deployment.GetAnnotations(), nil)
	annotations[revisionAnnotation] = strconv.FormatInt(creation.Number, 10)
	status := statusOf(creation.Numbers)
	status["observedGeneration"] = int64(1)

	labels := metadata["labels"].(map[string]any)
	name := deployment.GetName()
	replicaSet := newRevision(deployment, replicaSetKind, name[:min(len(name), validation.DNS1123SubdomainMaxLength-1-len(hash))]+"-"+hash, labels)
	replicaSet.Object["spec"] = map[string]any{
		"replicas": creation.Numbers.Wanted, "minReadySeconds": number(deployment, "spec", "minReadySeconds"), "selector": selector, "template": template,
	}
	replicaSet.Object["status"] = status
	setAnnotations(replicaSet, annotations)
	return replicaSet
}

// withLabel adds the label pod-template-hash to those in a field of an object.
func withLabel(object *map[string]any, field, hash string) {
	if *object == nil {
		*object = map[string]any{}
	}
	labels, _ := (*object)[field].(map[string]any)
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]any{}
	}
	labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	(*object)[field] = labels
}

// makeControllerRevision is newRevision of pkg/controller/statefulset/stateful_set_utils.go, and snapshot of
// pkg/controller/daemon/update.go. The annotation of kubectl apply is left out: nobody reads it there, and it would hold the template
// once more.
func makeControllerRevision(workload *unstructured.Unstructured, template *corev1.PodTemplateSpec, creation Creation, collisions int32) (*unstructured.Unstructured, error) {
	data, encoded, err := patchOf(template)
	if err != nil {
		return nil, err
	}
	labels := map[string]any{}
	for key, value := range template.Labels {
		labels[key] = value
	}
	var name string
	if workload.GetKind() == daemonSetKind {
		hash := computeHash(template, collisions)
		labels[appsv1.DefaultDaemonSetUniqueLabelKey] = hash
		name = workload.GetName() + "-" + hash
	} else {
		labels[hashLabel] = hashOf(encoded, 0)
		name = workload.GetName()[:min(len(workload.GetName()), longestPrefix)] + "-" + hashOf(encoded, collisions)
	}
	revision := newRevision(workload, controllerRevisionKind, name, labels)
	revision.Object["revision"] = creation.Number
	revision.Object["data"] = data
	setAnnotations(revision, copied(workload.GetAnnotations(), nil))
	return revision, nil
}

// patchOf returns the data of a ControllerRevision, and its JSON: a strategic merge patch that restores the template (getPatch of the
// same files). It is what kubectl makes of the workload to see whether the two are alike, byte by byte: so it is made of the typed
// template, in which empty structs are written out.
func patchOf(template *corev1.PodTemplateSpec) (data map[string]any, encoded []byte, err error) {
	content, err := json.Marshal(template)
	if err != nil {
		return nil, nil, fmt.Errorf("spec.template: %w", err)
	}
	var untyped map[string]any
	if err := utiljson.Unmarshal(content, &untyped); err != nil {
		return nil, nil, fmt.Errorf("spec.template: %w", err)
	}
	untyped["$patch"] = "replace"
	data = map[string]any{"spec": map[string]any{"template": untyped}}
	encoded, err = json.Marshal(data)
	return data, encoded, err
}

// newRevision returns a revision of a workload with that name and those labels. Labels of tmc and kcp stay in the template: on the
// revision itself they would place it.
func newRevision(workload *unstructured.Unstructured, kind, name string, labels map[string]any) *unstructured.Unstructured {
	labels = maps.Clone(labels)
	maps.DeleteFunc(labels, func(key string, _ any) bool { return v1alpha1.IsOwnKey(key) })
	revision := &unstructured.Unstructured{Object: map[string]any{metadataField: map[string]any{"labels": labels}}}
	revision.SetAPIVersion(appsv1.SchemeGroupVersion.String())
	revision.SetKind(kind)
	revision.SetNamespace(workload.GetNamespace())
	revision.SetName(name)
	reference, _ := runtime.DefaultUnstructuredConverter.ToUnstructured(new(ownerReference(workload))) // texts and truth values
	revision.Object[metadataField].(map[string]any)["ownerReferences"] = []any{reference}
	return revision
}

func setAnnotations(revision *unstructured.Unstructured, annotations map[string]any) {
	if len(annotations) > 0 {
		revision.Object[metadataField].(map[string]any)["annotations"] = annotations
	}
}

// computeHash is ComputeHash of pkg/controller/controller_utils.go: 0 collisions are none at all there.
func computeHash(template *corev1.PodTemplateSpec, collisions int32) string {
	hashed := []byte(dump.ForHash(*template))
	if collisions > 0 {
		hashed = append(binary.LittleEndian.AppendUint32(hashed, uint32(collisions)), 0, 0, 0, 0)
	}
	return encodeHash(fnv.New32a(), hashed)
}

// hashOf is HashControllerRevision of pkg/controller/history/controller_history.go.
func hashOf(data []byte, collisions int32) string {
	return encodeHash(fnv.New32(), strconv.AppendInt(slices.Clip(data), int64(collisions), 10))
}

func encodeHash(hasher hash.Hash32, hashed []byte) string {
	_, _ = hasher.Write(hashed) // never fails
	return rand.SafeEncodeString(fmt.Sprint(hasher.Sum32()))
}
