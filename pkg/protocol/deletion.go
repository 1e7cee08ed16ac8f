package protocol

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// What is in this file is about objects that are being deleted. Their metadata.deletionTimestamp never goes away again.

// IsDeleting reports whether the object is being deleted. Its copies may run on for a while: see IsEnding.
func (o Object) IsDeleting() bool { return o.object.GetDeletionTimestamp() != nil }

// IsEnding reports whether the object is being deleted and nobody but tmc and the API server holds it: its copies go now. Until
// then they run on, as a workload on one cluster does while somebody's finalizer is on it.
func (o Object) IsEnding() bool { return o.IsDeleting() && len(o.Holders()) == 0 }

// Holders returns the finalizers, in their order, that are neither tmc's or kcp's (v1alpha1.IsOwnKey) nor the API server's.
func (o Object) Holders() []string {
	var holders []string
	for _, finalizer := range o.object.GetFinalizers() {
		if !v1alpha1.IsOwnKey(finalizer) && !isServers(finalizer) {
			holders = append(holders, finalizer)
		}
	}
	return holders
}

// isServers reports whether a finalizer is one that API servers set by themselves: for the garbage collector, as whoever deletes
// the object asks for, and on namespaces.
func isServers(finalizer string) bool {
	return finalizer == metav1.FinalizerOrphanDependents || finalizer == metav1.FinalizerDeleteDependents || finalizer == "kubernetes"
}

// Propagation returns what is to become of what belongs to an object that is being deleted, as whoever deleted it has asked for.
// The API server shows the wish as a finalizer for kcp's garbage collector, and the hub notes it in an annotation before the
// collector may take the finalizer off. It is Background for an object that is not being deleted.
func (o Object) Propagation() metav1.DeletionPropagation {
	if !o.IsDeleting() {
		return metav1.DeletePropagationBackground
	}
	finalizers := o.object.GetFinalizers()
	noted, _ := o.annotations.get(v1alpha1.PropagationAnnotation)
	wishes := func(wish metav1.DeletionPropagation, finalizer string) bool {
		return noted == string(wish) || slices.Contains(finalizers, finalizer)
	}
	switch {
	case wishes(metav1.DeletePropagationOrphan, metav1.FinalizerOrphanDependents):
		return metav1.DeletePropagationOrphan
	case wishes(metav1.DeletePropagationForeground, metav1.FinalizerDeleteDependents):
		return metav1.DeletePropagationForeground
	default:
		return metav1.DeletePropagationBackground
	}
}

// NotePropagation notes Propagation on an object that is being deleted, unless it is Background.
func (c *Change) NotePropagation() {
	if wish := c.of.Propagation(); wish != metav1.DeletePropagationBackground {
		set(c.Annotations, c.of.annotations, v1alpha1.PropagationAnnotation, new(string(wish)))
	}
}

// Where Helm notes whose an object is (helm, pkg/action/validate.go), and what stands there while the object goes.
const (
	helmLabel, helmValue = "app.kubernetes.io/managed-by", "Helm"
	helmRelease          = "meta.helm.sh/release-name"
	helmGoing            = "being deleted, and its clusters are letting go of it; try again in a moment"
)

// Disown notes on an object of a Helm release that is being deleted, that it is no release's any more. Helm takes over what bears
// its release's name. Of what is as in its manifest it then writes nothing, so that nothing could refuse it: Helm would say that all
// is deployed, and the object would go. With another name there it refuses, and shows what stands there.
func (c *Change) Disown() {
	label, _ := c.of.labels.get(helmLabel)
	if _, isHelms := c.of.annotations.get(helmRelease); isHelms && label == helmValue && c.of.IsDeleting() {
		set(c.Annotations, c.of.annotations, helmRelease, new(helmGoing))
	}
}

// StaysFor returns what an object stays for where it is (v1alpha1.StaysForAnnotation), in the order of the annotation.
func (o Object) StaysFor() []string {
	value, _ := o.annotations.get(v1alpha1.StaysForAnnotation)
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
}

// StayFor has the object stay where it is for these, and for nothing else.
func (c *Change) StayFor(orphaned []string) {
	var value *string
	if len(orphaned) > 0 {
		value = new(strings.Join(orphaned, ","))
	}
	set(c.Annotations, c.of.annotations, v1alpha1.StaysForAnnotation, value)
}
