package protocol

import (
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// SaysSameTo reports whether labels and annotations of two states of an object say the same to one cluster. What names another
// cluster does not count, nor do reports.
func (o Object) SaysSameTo(cluster string, other Object) bool {
	return maps.Equal(o.labels.concerning(cluster), other.labels.concerning(cluster)) &&
		maps.Equal(o.annotations.concerning(cluster), other.annotations.concerning(cluster))
}

func (p pairs) concerning(cluster string) map[string]string {
	kept := map[string]string{}
	for key, value := range p.all() {
		domain, name, _ := strings.Cut(key, "/")
		isForOne := strings.HasSuffix(domain, "."+v1alpha1.GroupName)
		if !isForOne || name == cluster && !strings.HasPrefix(key, v1alpha1.StatusAnnotationPrefix) {
			kept[key] = value
		}
	}
	return kept
}

// KeepFor removes from an upstream object the annotations that a cluster's syncer does not read: the reports of other clusters,
// and why the object is placed.
func KeepFor(cluster string, upstreamObj metav1.Object) {
	annotations := upstreamObj.GetAnnotations()
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		return key == v1alpha1.PlacementAnnotation || strings.HasPrefix(key, v1alpha1.StatusAnnotationPrefix) && key != v1alpha1.StatusAnnotation(cluster)
	})
	upstreamObj.SetAnnotations(annotations)
}
