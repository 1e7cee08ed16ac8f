package protocol

import (
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func isReport(key string) bool { return strings.HasPrefix(key, v1alpha1.StatusAnnotationPrefix) }

// SameButReports reports whether two states of an object say the same, reports aside: most changes are reports.
func (o Object) SameButReports(other Object) bool {
	return o.IsDeleting() == other.IsDeleting() && slices.Equal(o.object.GetFinalizers(), other.object.GetFinalizers()) &&
		o.labels.same(other.labels, isReport) && o.annotations.same(other.annotations, isReport)
}

// SaysSameTo reports whether labels and annotations of two states of an object say the same to one cluster. What names another
// cluster does not count, nor do reports.
func (o Object) SaysSameTo(cluster string, other Object) bool {
	isOthers := func(key string) bool {
		domain, name, _ := strings.Cut(key, "/")
		return strings.HasSuffix(domain, "."+v1alpha1.GroupName) && (name != cluster || isReport(key))
	}
	return o.labels.same(other.labels, isOthers) && o.annotations.same(other.annotations, isOthers)
}

// same reports whether both have the same entries, those aside whose keys do not count.
func (p pairs) same(other pairs, doesNotCount func(key string) bool) bool {
	for _, one := range [][2]pairs{{p, other}, {other, p}} {
		for key, value := range one[0].all() {
			if otherValue, found := one[1].get(key); (!found || otherValue != value) && !doesNotCount(key) {
				return false
			}
		}
	}
	return true
}

// KeepFor removes from an upstream object the annotations that a cluster's syncer does not read: the reports of other clusters,
// and why the object is placed.
func KeepFor(cluster string, upstreamObj metav1.Object) {
	annotations := upstreamObj.GetAnnotations()
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		return key == v1alpha1.PlacementAnnotation || isReport(key) && key != v1alpha1.StatusAnnotation(cluster)
	})
	upstreamObj.SetAnnotations(annotations)
}
