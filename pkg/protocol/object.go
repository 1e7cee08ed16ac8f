package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
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
	finalizer := v1alpha1.Finalizer(cluster)
	content, isUnstructured := o.object.(*unstructured.Unstructured)
	if !isUnstructured {
		return slices.Contains(o.object.GetFinalizers(), finalizer)
	}
	metadata, _ := content.Object["metadata"].(map[string]any) // the accessor copies all of them
	finalizers, _ := metadata["finalizers"].([]any)
	return slices.Contains(finalizers, any(finalizer))
}

// IsPlaced reports whether the object is placed on the cluster and not leaving it. It does not ask whether the object
// itself is being deleted: see IsDeleting and IsEnding.
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
	for _, prefix := range []string{
		v1alpha1.DeletionAnnotationPrefix, v1alpha1.StatusAnnotationPrefix, v1alpha1.ReplicasAnnotationPrefix, v1alpha1.PartitionAnnotationPrefix,
	} {
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

// Counters returns the annotation by which the user says whose numbers the status shows, and whether there is one.
func (o Object) Counters() (name string, named bool) {
	return o.annotations.get(v1alpha1.StatusCountersAnnotation)
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

// Retry returns the annotation by which the user has asked for another try, empty without one.
func (o Object) Retry() string {
	value, _ := o.annotations.get(v1alpha1.RetryAnnotation)
	return value
}

// Yields returns the annotation by which the user leaves fields to the clusters, and whether there is one.
func (o Object) Yields() (paths string, named bool) {
	return o.annotations.get(v1alpha1.YieldAnnotation)
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

// deploymentDomain holds the annotations of the deployment controller, which runs downstream and would fight for them.
const deploymentDomain = "deployment.kubernetes.io/"

// Inputs stands, in 16 hexadecimal digits, for what of the object shapes the cluster's copy without moving the generation:
// the labels and annotations that go down, the cluster's override, its share of the replicas and its part of the partition, and
// what the user yields. A syncer names it in its report.
func (o Object) Inputs(cluster string) string { return o.inputs()(cluster) }

// inputs returns Inputs for many clusters: what is the same for all of them is encoded once.
func (o Object) inputs() func(cluster string) string {
	labels, annotations := json.RawMessage(encode(o.labels.usersOwn())), json.RawMessage(encode(o.annotations.usersOwn()))
	return func(cluster string) string {
		override, _ := o.Override(cluster)
		share, _ := o.annotations.get(v1alpha1.ReplicasAnnotation(cluster))
		parts := []any{labels, annotations, override, share}
		if part, has := o.annotations.get(v1alpha1.PartitionAnnotation(cluster)); has {
			parts = append(parts, part) // few have one: of others the inputs are those of versions that knew of none
		}
		if yields, named := o.Yields(); named {
			parts = append(parts, map[string]string{"yields": yields}) // likewise
		}
		sum := sha256.Sum256(encode(parts))
		return hex.EncodeToString(sum[:8])
	}
}

// UsersOwn returns, in a map of its own, the entries of labels or annotations that are the user's and go down.
func UsersOwn(entries map[string]string) map[string]string { return pairs{typed: entries}.usersOwn() }

func (p pairs) usersOwn() map[string]string {
	own := make(map[string]string, len(p.typed)+len(p.untyped))
	for key, value := range p.all() {
		if !v1alpha1.IsOwnKey(key) && key != corev1.LastAppliedConfigAnnotation && !strings.HasPrefix(key, deploymentDomain) {
			own[key] = value
		}
	}
	return own
}

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

// WithoutInUse returns the finalizers of an APIBinding without the one by which the hub keeps the binding while clusters
// see objects through it.
func WithoutInUse(finalizers []string) []string {
	return slices.DeleteFunc(slices.Clone(finalizers), func(finalizer string) bool { return finalizer == v1alpha1.InUseFinalizer })
}
