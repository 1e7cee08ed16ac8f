package placement

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Of returns which of the placements of its namespace decides about an object: the oldest that selects it, nil when none does.
// ignored are the names of the others that select it, the older first. problems say, for people, what of the placements could
// not be read.
func Of(placements []*v1alpha1.WorkloadPlacement, upstreamObj *unstructured.Unstructured, isWorkload bool) (chosen *v1alpha1.WorkloadPlacement, ignored, problems []string) {
	var selecting []*v1alpha1.WorkloadPlacement
	for _, placement := range placements {
		selected, err := selects(placement, upstreamObj, isWorkload)
		if err != nil {
			problems = append(problems, problemOf(placement, "spec.workloadSelector.labelSelector", err))
		}
		if selected {
			selecting = append(selecting, placement)
		}
	}
	if len(selecting) == 0 {
		return nil, nil, problems
	}
	slices.SortFunc(selecting, byAge)
	for _, placement := range selecting[1:] {
		ignored = append(ignored, placement.Name)
	}
	return selecting[0], ignored, problems
}

// selects reports whether the placement selects the object. One that is being deleted selects nothing, and neither does one
// whose selector cannot be read, for which there is an error.
func selects(placement *v1alpha1.WorkloadPlacement, upstreamObj *unstructured.Unstructured, isWorkload bool) (bool, error) {
	selector := placement.Spec.WorkloadSelector
	if placement.DeletionTimestamp != nil || !selectsKind(selector.Kinds, upstreamObj, isWorkload) {
		return false, nil
	}
	if selector.LabelSelector == nil {
		return true, nil
	}
	byLabels, err := metav1.LabelSelectorAsSelector(selector.LabelSelector)
	if err != nil {
		return false, err
	}
	return byLabels.Matches(labels.Set(upstreamObj.GetLabels())), nil
}

func selectsKind(kinds []string, upstreamObj *unstructured.Unstructured, isWorkload bool) bool {
	if len(kinds) == 0 {
		return isWorkload
	}
	kind := upstreamObj.GroupVersionKind().GroupKind()
	return slices.Contains(kinds, kind.Kind) || slices.Contains(kinds, kind.String())
}

func byAge(a, b *v1alpha1.WorkloadPlacement) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

func problemOf(placement *v1alpha1.WorkloadPlacement, field string, err error) string {
	return fmt.Sprintf("placement %s: %s: %v; it selects nothing", placement.Name, field, err)
}

// clusterSelector is a ClusterSelector that has been read. The zero value selects everything.
type clusterSelector struct {
	v1alpha1.ClusterSelector

	labels  labels.Selector
	invalid bool
}

func (c clusterSelector) selects(cluster *Cluster) bool {
	return !c.invalid &&
		(len(c.ClusterNames) == 0 || slices.Contains(c.ClusterNames, cluster.Name)) &&
		(len(c.Locations) == 0 || slices.Contains(c.Locations, cluster.Location)) &&
		(c.labels == nil || c.labels.Matches(labels.Set(cluster.Labels)))
}

// clusterWeight is a ClusterWeight that has been read.
type clusterWeight struct {
	clusterSelector

	weight int64
}

// terms are what a placement asks of clusters, read once for a decision. The zero value are those of the default: any cluster,
// no toleration.
type terms struct {
	v1alpha1.WorkloadPlacementSpec

	name        string
	selector    clusterSelector
	preferences []clusterSelector
	// weights count only when byWeight.
	weights  []clusterWeight
	byWeight bool
}

// readTerms returns the terms of a placement, for an object whose replicas are divided or not, and what of the placement could
// not be read.
func readTerms(placement *v1alpha1.WorkloadPlacement, divided bool) (t terms, problems []string) {
	spec := placement.Spec
	t = terms{WorkloadPlacementSpec: spec, name: placement.Name}
	t.byWeight = divided && spec.DivideBy != v1alpha1.DivideByFreeCapacity
	compile := func(field string, selector v1alpha1.ClusterSelector) clusterSelector {
		if selector.LabelSelector == nil {
			return clusterSelector{ClusterSelector: selector}
		}
		byLabels, err := metav1.LabelSelectorAsSelector(selector.LabelSelector)
		if err != nil {
			problems = append(problems, problemOf(placement, field+".labelSelector", err))
		}
		return clusterSelector{ClusterSelector: selector, labels: byLabels, invalid: err != nil}
	}
	t.selector = compile("spec.clusterSelector", spec.ClusterSelector)
	for i, preference := range spec.Preferences {
		t.preferences = append(t.preferences, compile(fmt.Sprintf("spec.preferences[%d]", i), preference))
	}
	for i, weight := range spec.Weights {
		selector := compile(fmt.Sprintf("spec.weights[%d]", i), weight.ClusterSelector)
		t.weights = append(t.weights, clusterWeight{clusterSelector: selector, weight: weight.Weight})
	}
	return t, problems
}

// weight returns the cluster's weight: that of the first entry that selects it, or 1.
func (t terms) weight(cluster *Cluster) int64 {
	if !t.byWeight {
		return 1
	}
	for _, weight := range t.weights {
		if weight.selects(cluster) {
			return max(weight.weight, 0)
		}
	}
	return 1
}

// preference returns the index of the first preference that selects the cluster. A cluster that none selects comes last.
func (t terms) preference(cluster *Cluster) int {
	for i, preference := range t.preferences {
		if preference.selects(cluster) {
			return i
		}
	}
	return len(t.preferences)
}
