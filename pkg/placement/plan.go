package placement

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Change is a change of metadata: a value sets the key, nil removes it.
type Change struct {
	Labels      map[string]*string
	Annotations map[string]*string
}

// IsEmpty tells whether there is nothing to write.
func (c Change) IsEmpty() bool { return len(c.Labels) == 0 && len(c.Annotations) == 0 }

// Plan returns what to write on the upstream object so that it moves to the
// selected clusters. A cluster is entered by its label. It is left in two steps:
// an annotation asks its syncer to clean up, and once the syncer's finalizer is
// gone, label and annotations go; for without the label the syncer would not see
// the object any more.
func Plan(upstreamObj metav1.Object, selected []string, now time.Time) Change {
	change := Change{Labels: map[string]*string{}, Annotations: map[string]*string{}}
	wanted := sets.New(selected...)
	for _, cluster := range touched(upstreamObj, wanted) {
		if wanted.Has(cluster) {
			change.enter(upstreamObj, cluster)
			continue
		}
		if slices.Contains(upstreamObj.GetFinalizers(), v1alpha1.Finalizer(cluster)) {
			change.askToLeave(upstreamObj, cluster, now)
			continue
		}
		change.forget(upstreamObj, cluster)
	}
	return change
}

// touched returns the clusters that are selected or have left anything of theirs
// on the object, sorted.
func touched(upstreamObj metav1.Object, wanted sets.Set[string]) []string {
	clusters := wanted.Clone()
	for key := range upstreamObj.GetLabels() {
		addCluster(clusters, key, v1alpha1.PlacementLabelPrefix)
	}
	for key := range upstreamObj.GetAnnotations() {
		addCluster(clusters, key, v1alpha1.DeletionAnnotationPrefix)
		addCluster(clusters, key, v1alpha1.StatusAnnotationPrefix)
	}
	for _, finalizer := range upstreamObj.GetFinalizers() {
		addCluster(clusters, finalizer, v1alpha1.FinalizerPrefix)
	}
	return sets.List(clusters)
}

func addCluster(clusters sets.Set[string], key, prefix string) {
	if cluster, ok := strings.CutPrefix(key, prefix); ok {
		clusters.Insert(cluster)
	}
}

func (c Change) enter(upstreamObj metav1.Object, cluster string) {
	c.label(upstreamObj, cluster)
	removeIfThere(c.Annotations, upstreamObj.GetAnnotations(), v1alpha1.DeletionAnnotation(cluster))
}

func (c Change) label(upstreamObj metav1.Object, cluster string) {
	label := v1alpha1.PlacementLabel(cluster)
	if upstreamObj.GetLabels()[label] != v1alpha1.PlacementLabelValue {
		c.Labels[label] = new(v1alpha1.PlacementLabelValue)
	}
}

func (c Change) askToLeave(upstreamObj metav1.Object, cluster string, now time.Time) {
	// A label that somebody took away comes back: its syncer has to see the
	// object to clean up.
	c.label(upstreamObj, cluster)
	annotation := v1alpha1.DeletionAnnotation(cluster)
	if _, asked := upstreamObj.GetAnnotations()[annotation]; !asked {
		c.Annotations[annotation] = new(now.UTC().Format(time.RFC3339))
	}
}

func (c Change) forget(upstreamObj metav1.Object, cluster string) {
	removeIfThere(c.Labels, upstreamObj.GetLabels(), v1alpha1.PlacementLabel(cluster))
	removeIfThere(c.Annotations, upstreamObj.GetAnnotations(), v1alpha1.DeletionAnnotation(cluster))
	removeIfThere(c.Annotations, upstreamObj.GetAnnotations(), v1alpha1.StatusAnnotation(cluster))
}

func removeIfThere(change map[string]*string, present map[string]string, key string) {
	if _, there := present[key]; there {
		change[key] = nil
	}
}
