package protocol

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Change is a change of what tmc says on an object. Its methods note only what differs from the object as it was read.
type Change struct {
	// Labels and Annotations set the keys that have a value and remove those that are nil.
	Labels      map[string]*string
	Annotations map[string]*string
	// Finalizers are the whole list as it is to be. It is nil when the list stays as it is.
	Finalizers []string
	// IfUnchanged has kcp refuse the patch (409) when the object is no longer as it was read. A patch that replaces the
	// finalizers is always refused then: a merge patch cannot add to a list.
	IfUnchanged bool

	of Object
}

// NewChange returns a change of the object with nothing in it.
func (o Object) NewChange() *Change {
	return &Change{Labels: map[string]*string{}, Annotations: map[string]*string{}, of: o}
}

// IsEmpty reports whether there is nothing to write.
func (c *Change) IsEmpty() bool {
	return len(c.Labels) == 0 && len(c.Annotations) == 0 && c.Finalizers == nil
}

// Place places the object on the cluster, or takes it back from leaving it.
func (c *Change) Place(cluster string) {
	set(c.Labels, c.of.labels, v1alpha1.PlacementLabel(cluster), new(v1alpha1.PlacementLabelValue))
	set(c.Annotations, c.of.annotations, v1alpha1.DeletionAnnotation(cluster), nil)
}

// Show has the cluster's syncer see the object, whether it is placed there or leaving.
func (c *Change) Show(cluster string) {
	set(c.Labels, c.of.labels, v1alpha1.PlacementLabel(cluster), new(v1alpha1.PlacementLabelValue))
}

// AskToLeave asks the cluster's syncer to remove its copy. A label that somebody has removed comes back: without it, the
// syncer would not see the object. A cluster that was asked before keeps the time of that.
func (c *Change) AskToLeave(cluster string, now time.Time) {
	set(c.Labels, c.of.labels, v1alpha1.PlacementLabel(cluster), new(v1alpha1.PlacementLabelValue))
	if _, asked := c.of.LeavingSince(cluster); !asked {
		set(c.Annotations, c.of.annotations, v1alpha1.DeletionAnnotation(cluster), new(now.UTC().Format(time.RFC3339)))
	}
}

// SetShare gives the cluster its share of the replicas. Nil says that they are not divided.
func (c *Change) SetShare(cluster string, replicas *int64) {
	var value *string
	if replicas != nil {
		value = new(strconv.FormatInt(*replicas, 10))
	}
	set(c.Annotations, c.of.annotations, v1alpha1.ReplicasAnnotation(cluster), value)
}

// SetPart gives the cluster its part of the partition. Nil says that this is the whole.
func (c *Change) SetPart(cluster string, part *Part) {
	var value *string
	if part != nil {
		value = new(part.String())
	}
	set(c.Annotations, c.of.annotations, v1alpha1.PartitionAnnotation(cluster), value)
}

// Forget removes everything of the cluster but its syncer's finalizer.
func (c *Change) Forget(cluster string) {
	set(c.Labels, c.of.labels, v1alpha1.PlacementLabel(cluster), nil)
	for _, key := range []string{
		v1alpha1.DeletionAnnotation(cluster), v1alpha1.StatusAnnotation(cluster), v1alpha1.ReplicasAnnotation(cluster), v1alpha1.PartitionAnnotation(cluster),
	} {
		set(c.Annotations, c.of.annotations, key, nil)
	}
}

// Hold adds the finalizers of the clusters' syncers.
func (c *Change) Hold(clusters ...string) {
	for _, cluster := range clusters {
		if finalizers := c.finalizers(); !slices.Contains(finalizers, v1alpha1.Finalizer(cluster)) {
			c.Finalizers = append(slices.Clone(finalizers), v1alpha1.Finalizer(cluster))
		}
	}
}

// Release removes the finalizer of the cluster's syncer.
func (c *Change) Release(cluster string) {
	if finalizers := c.finalizers(); slices.Contains(finalizers, v1alpha1.Finalizer(cluster)) {
		c.Finalizers = slices.DeleteFunc(slices.Clone(finalizers), func(one string) bool { return one == v1alpha1.Finalizer(cluster) })
	}
}

func (c *Change) finalizers() []string {
	if c.Finalizers != nil {
		return c.Finalizers
	}
	return c.of.object.GetFinalizers()
}

// SetReport sets the cluster's report, as Report.Encode returns it. Nil removes it.
func (c *Change) SetReport(cluster string, encoded *string) {
	set(c.Annotations, c.of.annotations, v1alpha1.StatusAnnotation(cluster), encoded)
}

// SetRevision has a Deployment say which revision it is at, as on a cluster. Empty leaves that as it is.
func (c *Change) SetRevision(number string) {
	if number != "" {
		set(c.Annotations, c.of.annotations, RevisionAnnotation, &number)
	}
}

// SetGroups has the views of these isolation groups show the object, and no others.
func (c *Change) SetGroups(groups []string) {
	for _, group := range c.of.Groups() {
		set(c.Labels, c.of.labels, v1alpha1.GroupLabel(group), nil)
	}
	for _, group := range groups {
		set(c.Labels, c.of.labels, v1alpha1.GroupLabel(group), new(v1alpha1.PlacementLabelValue))
	}
}

// Explain says why the object is where it is. Nothing is written when the object says the same already, wordings aside.
// ByNobody removes what it says.
func (c *Change) Explain(placement Placement) {
	if placement.By == ByNobody {
		set(c.Annotations, c.of.annotations, v1alpha1.PlacementAnnotation, nil)
		return
	}
	present := c.of.Placement()
	placement = placement.withTextsOf(present)
	if placement.equals(present) {
		return
	}
	set(c.Annotations, c.of.annotations, v1alpha1.PlacementAnnotation, new(string(encode(placement))))
}

// Shortened returns the change with no more of why the object is where it is than who decided and what was divided, and without
// reports that it would put back: the annotations of an object have little room, and nothing waits for the rest.
func (c *Change) Shortened() *Change {
	short := c.WithoutExplanation()
	if placement, explains := c.Explanation(); explains {
		shortest := Placement{By: placement.By, Name: placement.Name, Replicas: placement.Replicas}
		set(short.Annotations, c.of.annotations, v1alpha1.PlacementAnnotation, new(string(encode(shortest))))
	}
	return short
}

// WithoutExplanation returns the change without what it has the object say about why it is where it is, and without reports that it
// would put back.
func (c *Change) WithoutExplanation() *Change {
	short := *c
	short.Annotations = maps.Clone(c.Annotations)
	maps.DeleteFunc(short.Annotations, func(key string, value *string) bool {
		return key == v1alpha1.PlacementAnnotation || isReport(key) && value != nil
	})
	return &short
}

// Explanation returns what the change has the object say about why it is where it is, and whether it changes that.
func (c *Change) Explanation() (placement Placement, changes bool) {
	value := c.Annotations[v1alpha1.PlacementAnnotation]
	if value == nil {
		return Placement{}, false
	}
	return parsePlacement(*value), true
}

// Moves reports whether the change has the object enter or leave a cluster.
func (c *Change) Moves() bool {
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

// Entered returns the clusters, sorted, whose placement labels the change sets.
func (c *Change) Entered() []string {
	var entered []string
	for key, value := range c.Labels {
		if cluster, ok := strings.CutPrefix(key, v1alpha1.PlacementLabelPrefix); ok && value != nil {
			entered = append(entered, cluster)
		}
	}
	slices.Sort(entered)
	return entered
}

// set notes that a key is to have a value, or none where it is nil. It takes back what was noted before, when the object
// has it so already.
func set(changes map[string]*string, present pairs, key string, value *string) {
	before, found := present.get(key)
	if value == nil && !found || value != nil && found && before == *value {
		delete(changes, key)
		return
	}
	changes[key] = value
}

// Patch returns the change as a merge patch (RFC 7386), keys sorted. It is for this very object: another one that has come
// under its name refuses it (409). Server-side apply would not do: through a virtual workspace it records no ownership.
func (c *Change) Patch() []byte {
	metadata := patchedMetadata{Annotations: c.Annotations, Finalizers: c.Finalizers, Labels: c.Labels, UID: c.of.object.GetUID()}
	if c.IfUnchanged || c.Finalizers != nil {
		metadata.ResourceVersion = new(c.of.object.GetResourceVersion())
	}
	return encode(struct {
		Metadata patchedMetadata `json:"metadata"`
	}{metadata})
}

// encode returns JSON of what is made of texts and numbers alone, of which encoding does not fail.
func encode(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return data
}

type patchedMetadata struct {
	Annotations     map[string]*string `json:"annotations,omitempty"`
	Finalizers      []string           `json:"finalizers,omitzero"`
	Labels          map[string]*string `json:"labels,omitempty"`
	ResourceVersion *string            `json:"resourceVersion,omitempty"`
	UID             types.UID          `json:"uid"`
}
