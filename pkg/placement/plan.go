package placement

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Change is a change of metadata: a value sets the key, nil removes it.
type Change struct {
	Labels      map[string]*string
	Annotations map[string]*string
}

// IsEmpty reports whether there is nothing to write.
func (c Change) IsEmpty() bool { return len(c.Labels) == 0 && len(c.Annotations) == 0 }

// Plan returns what to write on the upstream object so that it moves to where the
// decision has it, of which it may enter some now. For what follows, those are decided
// elsewhere, and only they count. A cluster is entered by its label, with its share of
// the replicas. It is left in two steps: an annotation asks its syncer to clean up, and
// once the syncer's finalizer is gone, label and annotations go; for without the label
// the syncer would not see the object any more. The label of an isolation group stays as
// long as that of any of its clusters, for the same reason.
func Plan(upstreamObj metav1.Object, decision Decision, enter []string, groupsOf GroupsOf, now time.Time) Change {
	change := Change{Labels: map[string]*string{}, Annotations: map[string]*string{}}
	wanted := sets.New(enter...)
	for _, cluster := range decision.Clusters {
		if IsThere(upstreamObj, cluster) {
			wanted.Insert(cluster)
		}
	}
	labelled := wanted.Clone()
	for _, cluster := range touched(upstreamObj, wanted) {
		if wanted.Has(cluster) {
			change.enter(upstreamObj, decision, cluster)
			continue
		}
		if slices.Contains(upstreamObj.GetFinalizers(), v1alpha1.Finalizer(cluster)) {
			change.askToLeave(upstreamObj, cluster, now)
			labelled.Insert(cluster)
			continue
		}
		change.forget(upstreamObj, cluster)
	}
	change.group(upstreamObj, labelled, groupsOf)
	change.explain(upstreamObj, decision, wanted)
	return change
}

// GroupsOf returns the isolation groups whose views show what is placed on a cluster.
type GroupsOf func(cluster string) []string

// Regroup returns what to write on an object that is on its way out, and so moves no
// more, for the view of each group of its clusters to have it.
func Regroup(upstreamObj metav1.Object, groupsOf GroupsOf) Change {
	change := Change{Labels: map[string]*string{}, Annotations: map[string]*string{}}
	placed := v1alpha1.PlacedClusters(upstreamObj.GetLabels())
	change.group(upstreamObj, sets.New(append(placed, v1alpha1.HoldingClusters(upstreamObj.GetFinalizers())...)...), groupsOf)
	return change
}

// group labels an object for the groups of the clusters whose labels it has, or will
// have, and for no others.
func (c Change) group(upstreamObj metav1.Object, labelled sets.Set[string], groupsOf GroupsOf) {
	groups := sets.New[string]()
	for cluster := range labelled {
		groups.Insert(groupsOf(cluster)...)
	}
	labels := upstreamObj.GetLabels()
	for group := range groups {
		setIfOther(c.Labels, labels, v1alpha1.GroupLabel(group), v1alpha1.PlacementLabelValue)
	}
	for key := range labels {
		if group, ok := strings.CutPrefix(key, v1alpha1.GroupLabelPrefix); ok && !groups.Has(group) {
			c.Labels[key] = nil
		}
	}
}

// IsThere reports whether a syncer has to do with the object and is not to let go: then
// there is nothing to enter, even where the label was taken off.
func IsThere(upstreamObj metav1.Object, cluster string) bool {
	_, leaving := upstreamObj.GetAnnotations()[v1alpha1.DeletionAnnotation(cluster)]
	return IsOn(upstreamObj, cluster) ||
		!leaving && slices.Contains(upstreamObj.GetFinalizers(), v1alpha1.Finalizer(cluster))
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
		addCluster(clusters, key, v1alpha1.ReplicasAnnotationPrefix)
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

func (c Change) enter(upstreamObj metav1.Object, decision Decision, cluster string) {
	c.label(upstreamObj, cluster)
	annotations := upstreamObj.GetAnnotations()
	removeIfThere(c.Annotations, annotations, v1alpha1.DeletionAnnotation(cluster))
	if slices.Contains(decision.Kept, cluster) {
		return // what it runs there, it runs until it leaves
	}
	key := v1alpha1.ReplicasAnnotation(cluster)
	share, divided := decision.Shares[cluster]
	if !divided {
		removeIfThere(c.Annotations, annotations, key)
		return
	}
	setIfOther(c.Annotations, annotations, key, strconv.FormatInt(share, 10))
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

// explain says on the object why it is where it is. A text that stands is kept while the
// same decides and it is there for good or for a while as before: thousands of objects
// are not written because a placement words its reasons otherwise.
func (c Change) explain(upstreamObj metav1.Object, decision Decision, entered sets.Set[string]) {
	annotations := upstreamObj.GetAnnotations()
	value := annotations[v1alpha1.PlacementAnnotation]
	if decision.By == "" {
		removeIfThere(c.Annotations, annotations, v1alpha1.PlacementAnnotation)
		return
	}
	if len(entered) == 0 && len(decision.Clusters) > 0 {
		return // it is said together with the first label
	}
	reason := v1alpha1.PlacementReason{By: decision.By, Replicas: decision.total(), Clusters: map[string]string{}, Message: decision.Unsatisfied}
	for cluster := range entered {
		reason.Clusters[cluster] = decision.Reasons[cluster]
	}
	reason.LeftOut, reason.MoreLeftOut = firstLeftOut(decision.LeftOut, value, func(cluster string) bool {
		return slices.Contains(decision.Clusters, cluster) && !entered.Has(cluster)
	})
	if stands(reason, value) {
		return
	}
	if encoded, err := json.Marshal(reason); err == nil { // there are only texts in it
		c.Annotations[v1alpha1.PlacementAnnotation] = new(string(encoded))
	}
}

// stands reports whether the annotation says the same, and else takes over into the reason
// what of it still holds.
func stands(reason v1alpha1.PlacementReason, annotation string) bool {
	var standing v1alpha1.PlacementReason
	if err := json.Unmarshal([]byte(annotation), &standing); err != nil || standing.By != reason.By {
		return false
	}
	keepTexts(reason.Clusters, standing.Clusters)
	return standing.Message == reason.Message && ptr.Equal(standing.Replicas, reason.Replicas) && maps.Equal(standing.Clusters, reason.Clusters) &&
		maps.Equal(standing.LeftOut, reason.LeftOut) && standing.MoreLeftOut == reason.MoreLeftOut
}

func keepTexts(texts, standing map[string]string) {
	for cluster, text := range texts {
		before, there := standing[cluster]
		if there && (before == v1alpha1.ReasonKept) == (text == v1alpha1.ReasonKept) {
			texts[cluster] = before
		}
	}
}

func (c Change) forget(upstreamObj metav1.Object, cluster string) {
	removeIfThere(c.Labels, upstreamObj.GetLabels(), v1alpha1.PlacementLabel(cluster))
	removeIfThere(c.Annotations, upstreamObj.GetAnnotations(), v1alpha1.DeletionAnnotation(cluster))
	removeIfThere(c.Annotations, upstreamObj.GetAnnotations(), v1alpha1.StatusAnnotation(cluster))
	removeIfThere(c.Annotations, upstreamObj.GetAnnotations(), v1alpha1.ReplicasAnnotation(cluster))
}

func setIfOther(change map[string]*string, present map[string]string, key, value string) {
	if standing, there := present[key]; !there || standing != value {
		change[key] = &value
	}
}

func removeIfThere(change map[string]*string, present map[string]string, key string) {
	if _, there := present[key]; there {
		change[key] = nil
	}
}

// total returns what the shares add up to, nil where replicas are not divided.
func (d Decision) total() *int64 {
	if d.Shares == nil {
		return nil
	}
	total := int64(0)
	for _, share := range d.Shares {
		total += share
	}
	return &total
}

// MovesPlaces reports whether the change has the object enter or leave a cluster.
func (c Change) MovesPlaces() bool {
	for key := range c.Annotations {
		if strings.HasPrefix(key, v1alpha1.DeletionAnnotationPrefix) {
			return true
		}
	}
	for key := range c.Labels {
		if strings.HasPrefix(key, v1alpha1.PlacementLabelPrefix) {
			return true
		}
	}
	return false
}

// Holders returns the finalizers of an object together with those of the syncers whose
// clusters it enters by the change, as far as hold says; nil when there are none to add.
// A syncer sets its finalizer itself where it is missing, before it writes anything: with
// the label, in one write, it is spared that, and all syncers of an object the race for
// its list.
func Holders(upstreamObj metav1.Object, change Change, hold func(cluster string) bool) []string {
	present := upstreamObj.GetFinalizers()
	var added []string
	for label, value := range change.Labels {
		cluster, places := strings.CutPrefix(label, v1alpha1.PlacementLabelPrefix)
		if finalizer := v1alpha1.Finalizer(cluster); places && value != nil && !slices.Contains(present, finalizer) && hold(cluster) {
			added = append(added, finalizer)
		}
	}
	if added == nil {
		return nil
	}
	slices.Sort(added)
	return append(slices.Clone(present), added...)
}

// Forget returns what takes everything of a cluster off an object, its finalizer aside.
func Forget(upstreamObj metav1.Object, cluster string, groupsOf GroupsOf) Change {
	change := Change{Labels: map[string]*string{}, Annotations: map[string]*string{}}
	change.forget(upstreamObj, cluster)
	others := sets.New(append(v1alpha1.PlacedClusters(upstreamObj.GetLabels()), v1alpha1.HoldingClusters(upstreamObj.GetFinalizers())...)...).Delete(cluster)
	change.group(upstreamObj, others, groupsOf)
	return change
}
