package revisions

import (
	"maps"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Change is a change of a revision.
type Change struct {
	Of *Revision

	// number is the revision number afterwards.
	number      int64
	annotations map[string]any
	spec        map[string]any
	status      map[string]any
	// adopts is the workload that adopts the revision, nil where it has one.
	adopts *unstructured.Unstructured
	// revision is the number of a ControllerRevision, nil where that stays.
	revision *int64
}

func newChange(revision *Revision) *Change {
	return &Change{Of: revision, number: revision.Number, annotations: map[string]any{}, spec: map[string]any{}, status: map[string]any{}}
}

func (c *Change) isEmpty() bool {
	return len(c.annotations) == 0 && len(c.spec) == 0 && len(c.status) == 0 && c.adopts == nil && c.revision == nil
}

// setNumber gives the revision another number. A ReplicaSet notes those that it had before.
func (c *Change) setNumber(number int64, isReplicaSet bool) {
	c.number = number
	if !isReplicaSet {
		c.revision = &number
		return
	}
	c.annotations[revisionAnnotation] = strconv.FormatInt(number, 10)
	if c.Of.Number > 0 {
		c.annotations[historyAnnotation] = appendHistory(c.Of.Annotations[historyAnnotation], c.Of.Number)
	}
}

// copyFrom has a ReplicaSet follow its Deployment's annotations and minReadySeconds.
func (c *Change) copyFrom(deployment *unstructured.Unstructured) {
	maps.Copy(c.annotations, copied(deployment.GetAnnotations(), c.Of.Annotations))
	if seconds := number(deployment, "spec", "minReadySeconds"); seconds != c.Of.MinReadySeconds {
		c.spec["minReadySeconds"] = seconds
	}
}

// setNumbers sets the numbers of a ReplicaSet that differ.
func (c *Change) setNumbers(numbers Numbers) {
	if numbers.Wanted != c.Of.Numbers.Wanted {
		c.spec["replicas"] = numbers.Wanted
	}
	if has := c.Of.Numbers; numbers.Replicas != has.Replicas || numbers.Ready != has.Ready || numbers.Available != has.Available {
		c.status = statusOf(numbers)
	}
}

// statusOf returns the numbers as a ReplicaSet's status.
func statusOf(numbers Numbers) map[string]any {
	return map[string]any{
		"replicas": numbers.Replicas, "fullyLabeledReplicas": numbers.Replicas, "readyReplicas": numbers.Ready, "availableReplicas": numbers.Available,
	}
}

// Patch returns the change as a merge patch, of this very revision as it was read. In kcp a ReplicaSet has no status subresource, so
// spec and status are written at once, and the generation moves with either: the one that the write gives is the one observed.
func (c *Change) Patch() map[string]any {
	metadata := map[string]any{"uid": string(c.Of.UID), "resourceVersion": c.Of.ResourceVersion}
	patch := map[string]any{metadataField: metadata}
	if len(c.annotations) > 0 {
		metadata["annotations"] = c.annotations
	}
	if c.adopts != nil {
		metadata["ownerReferences"] = append(slices.Clip(c.Of.Orphan.OwnerReferences), ownerReference(c.adopts))
	}
	if c.revision != nil {
		patch["revision"] = *c.revision
	}
	if len(c.spec)+len(c.status) > 0 {
		status := maps.Clone(c.status)
		status["observedGeneration"] = c.Of.Generation + 1
		patch["status"] = status
	}
	if len(c.spec) > 0 {
		patch["spec"] = c.spec
	}
	return patch
}

// ownerReference returns the reference by which a workload controls its revisions.
func ownerReference(workload *unstructured.Unstructured) metav1.OwnerReference {
	return *metav1.NewControllerRef(workload, workload.GroupVersionKind())
}

// Adopts reports whether the revision gets a controller: the workload is to be read from kcp before.
func (c *Change) Adopts() bool { return c.adopts != nil }
