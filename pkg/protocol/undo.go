package protocol

import (
	"maps"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// What is in this file is about `kubectl rollout undo` of a Deployment. It replaces all annotations by those of the ReplicaSet
// (k8s.io/kubectl, pkg/polymorphichelpers/rollback.go), so what the hub and the syncers have written is gone: shares of the
// replicas, who is to leave, reports. Labels and finalizers stay. The hub writes the annotations again, from what it saw of the
// object last. Until then the object is bare, and no syncer acts on it: without its share, a cluster would run all replicas.

// RevisionAnnotation says the number of a Deployment's revision, which the hub writes. An undo leaves one there, and the policy
// tmc-consumers lets no write pass that takes it away with the rest.
const RevisionAnnotation = deploymentDomain + "revision"

// IsBare reports whether the object has labels of clusters, and none of the annotations that the hub writes with them. The hub says
// why an object is placed in the same write as the label; where that has no room, KeepFor says that it could not. An object without
// a number of its revision cannot have been undone: where there is no hub, people label what is to be on a cluster.
func (o Object) IsBare() bool {
	if _, hasRevision := o.annotations.get(RevisionAnnotation); !hasRevision {
		return false
	}
	if _, isExplained := o.annotations.get(v1alpha1.PlacementAnnotation); isExplained {
		return false
	}
	for key := range o.annotations.all() {
		if isHubs(key) {
			return false
		}
	}
	return len(o.Labelled()) > 0
}

// isHubs reports whether the hub writes an annotation for a cluster.
func isHubs(key string) bool {
	for _, prefix := range []string{v1alpha1.DeletionAnnotationPrefix, v1alpha1.ReplicasAnnotationPrefix, v1alpha1.PartitionAnnotationPrefix} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// Lost returns the annotations of the protocol that the object had in an earlier state, if it is bare now and was not then; nil
// otherwise.
func (o Object) Lost(earlier Object) map[string]string {
	if o.object.GetUID() != earlier.object.GetUID() || earlier.IsBare() || !o.IsBare() {
		return nil
	}
	lost := map[string]string{}
	for key, value := range earlier.annotations.all() {
		if isHubs(key) || isReport(key) || key == v1alpha1.PlacementAnnotation {
			lost[key] = value
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return lost
}

// Regained returns those of the annotations, as Lost returns them, that are to be written on the object again: not those of clusters
// that have been taken off it since, nor those that it has.
func (o Object) Regained(lost map[string]string) map[string]string {
	present := map[string]bool{}
	for _, cluster := range o.Present() {
		present[cluster] = true
	}
	regained := maps.Clone(lost)
	maps.DeleteFunc(regained, func(key, _ string) bool {
		_, has := o.annotations.get(key)
		_, cluster, _ := strings.Cut(key, "/")
		return has || key != v1alpha1.PlacementAnnotation && !present[cluster]
	})
	return regained
}

// FromReports returns the shares of the replicas, as annotations, that the reports of clusters on a bare object tell of: their copies
// are still as they were. It is for a hub that has not seen what the object has lost. The clusters that the object is placed on and that
// have not reported how many replicas they run are in silent.
func (o Object) FromReports() (shares map[string]string, silent []string) {
	shares = map[string]string{}
	for _, cluster := range o.Placed() {
		report, err := o.Report(cluster)
		if err != nil || report.Replicas == nil {
			silent = append(silent, cluster)
			continue
		}
		shares[v1alpha1.ReplicasAnnotation(cluster)] = strconv.FormatInt(*report.Replicas, 10)
	}
	return shares, silent
}

// WithAnnotations returns a copy of an object that has these annotations as well.
func WithAnnotations(upstreamObj *unstructured.Unstructured, more map[string]string) *unstructured.Unstructured {
	changed := upstreamObj.DeepCopy()
	annotations := changed.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(annotations, more)
	changed.SetAnnotations(annotations)
	return changed
}

// Regaining returns a change of the bare object that gives it the annotations, as Regained returns them, and changes what this change
// does, which was made of the object with them (WithAnnotations).
func (c *Change) Regaining(bare Object, regained map[string]string) *Change {
	if len(regained) == 0 {
		return c
	}
	whole := *c
	whole.of = bare
	whole.Annotations = map[string]*string{}
	for key, value := range regained {
		whole.Annotations[key] = &value
	}
	maps.Copy(whole.Annotations, c.Annotations)
	for key, value := range c.Annotations {
		if _, has := bare.annotations.get(key); value == nil && !has {
			delete(whole.Annotations, key)
		}
	}
	return &whole
}

// explanationTrace stands, in the cache of a syncer, for why an object is placed.
const explanationTrace = "{}"

// roomOfExplanation is how many bytes the shortest explanation takes that the hub writes (Change.Shortened), with its key.
const roomOfExplanation = 512

// traceExplanation leaves of the annotation that says why an object is placed that it is there. Where it is not, and there is no room
// for it, that is nothing that anybody has taken away.
func traceExplanation(annotations map[string]string) {
	if _, isExplained := annotations[v1alpha1.PlacementAnnotation]; isExplained {
		annotations[v1alpha1.PlacementAnnotation] = explanationTrace
		return
	}
	size := 0
	for key, value := range annotations {
		size += len(key) + len(value)
	}
	if size+roomOfExplanation > validation.TotalAnnotationSizeLimitB {
		annotations[v1alpha1.PlacementAnnotation] = explanationTrace
	}
}

// KeepFor leaves of an upstream object the annotations that a cluster's syncer reads: not the reports of other clusters, and of why
// the object is placed only whether that is said (see IsBare).
func KeepFor(cluster string, upstreamObj metav1.Object) {
	annotations := upstreamObj.GetAnnotations()
	traceExplanation(annotations)
	maps.DeleteFunc(annotations, func(key, _ string) bool { return isReport(key) && key != v1alpha1.StatusAnnotation(cluster) })
	upstreamObj.SetAnnotations(annotations)
}
