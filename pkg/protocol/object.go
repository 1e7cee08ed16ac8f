package protocol

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Object is what the labels, annotations and finalizers of an upstream object say. It shares memory with the object, and
// changes nothing of it. What a key holds is parsed when it is asked for.
type Object struct {
	object              metav1.Object
	labels, annotations pairs
}

// Read returns what an upstream object says. It copies nothing: it is cheap enough for every event.
func Read(upstreamObj metav1.Object) Object {
	content, isUnstructured := upstreamObj.(*unstructured.Unstructured)
	if !isUnstructured {
		return Object{upstreamObj, pairs{typed: upstreamObj.GetLabels()}, pairs{typed: upstreamObj.GetAnnotations()}}
	}
	metadata, _ := content.Object["metadata"].(map[string]any)
	labels, _ := metadata["labels"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	return Object{upstreamObj, pairs{untyped: labels}, pairs{untyped: annotations}}
}

// pairs are labels or annotations, in one of the two forms: the accessors of unstructured objects copy the whole map each
// time.
type pairs struct {
	typed   map[string]string
	untyped map[string]any
}

func (p pairs) get(key string) (value string, found bool) {
	if value, found = p.typed[key]; found {
		return value, true
	}
	value, found = p.untyped[key].(string)
	return value, found
}

func (p pairs) all() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for key, value := range p.typed {
			if !yield(key, value) {
				return
			}
		}
		for key, value := range p.untyped {
			if text, isText := value.(string); isText && !yield(key, text) {
				return
			}
		}
	}
}

// withPrefix adds what follows the prefix in the keys that begin with it.
func (p pairs) withPrefix(names sets.Set[string], prefix string) {
	for key := range p.all() {
		addSuffix(names, key, prefix)
	}
}

func addSuffix(names sets.Set[string], key, prefix string) {
	if name, ok := strings.CutPrefix(key, prefix); ok {
		names.Insert(name)
	}
}

// IsDeleting reports whether the object is being deleted.
func (o Object) IsDeleting() bool { return o.object.GetDeletionTimestamp() != nil }

// IsLabelled reports whether the object has the cluster's placement label: then the cluster's syncer sees it.
func (o Object) IsLabelled(cluster string) bool {
	value, _ := o.labels.get(v1alpha1.PlacementLabel(cluster))
	return value == v1alpha1.PlacementLabelValue
}

// LeavingSince returns when the cluster was asked to remove its copy, as the annotation has it (RFC 3339), and whether it
// was asked.
func (o Object) LeavingSince(cluster string) (since string, leaving bool) {
	return o.annotations.get(v1alpha1.DeletionAnnotation(cluster))
}

// IsHeld reports whether the cluster's syncer holds the object by its finalizer.
func (o Object) IsHeld(cluster string) bool {
	return slices.Contains(o.object.GetFinalizers(), v1alpha1.Finalizer(cluster))
}

// IsPlaced reports whether the object is placed on the cluster and not leaving it. It does not ask whether the object
// itself is being deleted: see IsDeleting.
func (o Object) IsPlaced(cluster string) bool {
	_, leaving := o.LeavingSince(cluster)
	return !leaving && o.IsLabelled(cluster)
}

// HasEntered reports whether the object has entered the cluster and is not leaving it: it is placed there, or held for it
// and has lost the label. Such a cluster need not be entered again.
func (o Object) HasEntered(cluster string) bool {
	_, leaving := o.LeavingSince(cluster)
	return !leaving && (o.IsLabelled(cluster) || o.IsHeld(cluster))
}

// Labelled returns the clusters, sorted, whose placement labels the object has: those included that it is leaving.
func (o Object) Labelled() []string {
	clusters := []string{}
	for key, value := range o.labels.all() {
		if cluster, ok := strings.CutPrefix(key, v1alpha1.PlacementLabelPrefix); ok && value == v1alpha1.PlacementLabelValue {
			clusters = append(clusters, cluster)
		}
	}
	slices.Sort(clusters)
	return clusters
}

// Placed returns the clusters, sorted, that the object is placed on and not leaving.
func (o Object) Placed() []string {
	return slices.DeleteFunc(o.Labelled(), func(cluster string) bool { return !o.IsPlaced(cluster) })
}

// Held returns the clusters, sorted, whose syncers hold the object by their finalizers.
func (o Object) Held() []string { return sets.List(o.held()) }

func (o Object) held() sets.Set[string] {
	clusters := sets.New[string]()
	for _, finalizer := range o.object.GetFinalizers() {
		addSuffix(clusters, finalizer, v1alpha1.FinalizerPrefix)
	}
	return clusters
}

// Present returns the clusters, sorted, where a copy may be: those that the object is placed on, is leaving, or is held by.
func (o Object) Present() []string { return sets.List(o.held().Insert(o.Labelled()...)) }

// Mentioned returns the clusters, sorted, of which tmc says anything on the object.
func (o Object) Mentioned() []string {
	clusters := o.held()
	o.labels.withPrefix(clusters, v1alpha1.PlacementLabelPrefix)
	for _, prefix := range []string{v1alpha1.DeletionAnnotationPrefix, v1alpha1.StatusAnnotationPrefix, v1alpha1.ReplicasAnnotationPrefix} {
		o.annotations.withPrefix(clusters, prefix)
	}
	return sets.List(clusters)
}

// Groups returns the isolation groups, sorted, whose views show the object.
func (o Object) Groups() []string {
	groups := sets.New[string]()
	o.labels.withPrefix(groups, v1alpha1.GroupLabelPrefix)
	return sets.List(groups)
}

// Targets returns the annotation by which the user names clusters, and whether there is one.
func (o Object) Targets() (value string, named bool) {
	return o.annotations.get(v1alpha1.TargetClustersAnnotation)
}

// Strategy returns the annotation by which the user says how reports become a status, and whether there is one.
func (o Object) Strategy() (name string, named bool) {
	return o.annotations.get(v1alpha1.StatusStrategyAnnotation)
}

// Override returns the user's JSON patch (RFC 6902) of the cluster's copy, and whether there is one.
func (o Object) Override(cluster string) (patch string, overridden bool) {
	return o.annotations.get(v1alpha1.OverrideAnnotation(cluster))
}

// Replaces reports whether the user wants copies deleted and made anew where their clusters refuse a change as immutable.
func (o Object) Replaces() bool {
	value, _ := o.annotations.get(v1alpha1.ReplaceAnnotation)
	return value == "true"
}

// Share returns the cluster's share of the replicas, and whether they are divided at all. It returns an error that names
// the annotation when that holds no number of replicas (0 to 2147483647).
func (o Object) Share(cluster string) (replicas int64, divided bool, err error) {
	key := v1alpha1.ReplicasAnnotation(cluster)
	value, divided := o.annotations.get(key)
	if !divided {
		return 0, false, nil
	}
	replicas, err = strconv.ParseInt(value, 10, 32)
	if err != nil || replicas < 0 {
		return 0, true, fmt.Errorf("annotation %s: %q is no number of replicas, expected 0 to 2147483647", key, value)
	}
	return replicas, true, nil
}

// IsDivided reports whether a cluster that the object is placed on has a share of the replicas.
func (o Object) IsDivided() bool {
	return slices.ContainsFunc(o.Placed(), func(cluster string) bool { _, divided, _ := o.Share(cluster); return divided })
}

// EncodedReport returns the annotation with the cluster's report as it is, and whether there is one.
func (o Object) EncodedReport(cluster string) (value string, reported bool) {
	return o.annotations.get(v1alpha1.StatusAnnotation(cluster))
}

// Report returns what the cluster has reported. It returns ErrNotReported when there is no report, and the errors of
// ParseReport.
func (o Object) Report(cluster string) (Report, error) {
	value, reported := o.EncodedReport(cluster)
	if !reported {
		return Report{}, ErrNotReported
	}
	return ParseReport(cluster, value)
}
