package kinds

import (
	"math"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Kind is what tmc knows of a kind. The JSON names are those of the entries of an operator's file.
type Kind struct {
	// Group and Kind name the API; the core group is "".
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind"`
	// Version and Resource say where workloads are listed, for instance "v1" and "deployments".
	Version  string `json:"version,omitempty"`
	Resource string `json:"resource,omitempty"`
	// Workload is set for kinds that go to clusters by themselves; others go where something places or needs them.
	Workload bool `json:"workload,omitempty"`

	// Replicas is where the object says how many it wants, 1 where it does not say. These can be divided among clusters.
	Replicas Path `json:"replicas,omitempty"`
	// Partition is where the object says how many of its replicas a roll-out leaves as they are: none where it does not say.
	// It is divided with the replicas.
	Partition Path `json:"partition,omitempty"`
	// Completions is likewise for what is done once, and is not divided.
	Completions Path `json:"completions,omitempty"`
	// Wanted is the counter of how many there are to be, for kinds of which the cluster decides that.
	Wanted string `json:"wanted,omitempty"`
	// Available is the counter of how many are as they should be.
	Available string `json:"available,omitempty"`

	// Sums are the counters of the status that add up over clusters, Updated those that add up and count only what was made
	// from the present spec.
	Sums    []string `json:"sums,omitempty"`
	Updated []string `json:"updated,omitempty"`
	// Lacking is the counter of those that are not available; a cluster that does not report lacks its whole share.
	Lacking string `json:"lacking,omitempty"`
	// Absolute are the sums that are no part of the replicas, such as pods on their way out. Where the status shows the numbers of
	// one cluster, all others are measured by how many replicas it wants.
	Absolute []string `json:"absolute,omitempty"`
	// Gap says how far an object is from where it should be, for kinds that have neither replicas nor a counter of how many there
	// are to be.
	Gap *Gap `json:"gap,omitempty"`
	// Required are the counters that the kind's API requires even when they are 0.
	Required []string `json:"required,omitempty"`
	// Times are the times of the status, and which of the clusters' times counts.
	Times []Time `json:"times,omitempty"`
	// Revisions are the texts of the status that name revisions: equal sets of names have equal merged names.
	Revisions []string `json:"revisions,omitempty"`
	// Phase is the text of the status that says how far the object is.
	Phase *Phase `json:"phase,omitempty"`
	// Alike are the fields of the status that are shown where all clusters say the same.
	Alike []Alike `json:"alike,omitempty"`
	// BoundTo is where a copy names what its cluster has bound it to, such as the volume of a claim. Where that has the same
	// name on all clusters, the condition v1alpha1.ConditionBoundTo says it.
	BoundTo Path `json:"boundTo,omitempty"`
	// Addresses is set where the status has loadBalancer.ingress, which is the union of the clusters' ones.
	Addresses bool `json:"addresses,omitempty"`

	// Observes says whether the kind's controllers write status.observedGeneration.
	Observes Observation `json:"observes,omitempty"`
	// Statusless is set where objects have no status upstream: clusters report only the problems that they have with them.
	Statusless bool `json:"statusless,omitempty"`
	// Conditions are the conditions that mean something else than conventional has it, or are merged by a rule of their
	// own, in the order of the merged status.
	Conditions []Condition `json:"conditions,omitempty"`
	// UpdateTimes is set where conditions have a lastUpdateTime.
	UpdateTimes bool `json:"updateTimes,omitempty"`
	// Ends are the types of conditions one of which is true of an object that will do nothing more.
	Ends []string `json:"ends,omitempty"`
	// TTL is where the object says for how many seconds it is there after its end; after that, it is deleted.
	TTL Path `json:"ttl,omitempty"`
	// Rollout says how a roll-out is judged.
	Rollout Rollout `json:"rollout,omitempty"`
	// PodsBy says who makes the object's pods on a cluster.
	PodsBy PodsBy `json:"podsBy,omitempty"`

	// Extends is set in an operator's entry for a kind that has a built-in one, which it adds to: what it does not say is as it is
	// there, and its References are there beside those.
	Extends bool `json:"extends,omitempty"`
	// References are the objects that this one needs on its cluster, beside those that its pod template names.
	References []Reference `json:"references,omitempty"`
	// Follows says which objects it goes along with.
	Follows *Follows `json:"follows,omitempty"`
	// FollowedBy are objects that it names and that go where it goes. Their kind needs an entry with Follows (MayFollow).
	FollowedBy []Reference `json:"followedBy,omitempty"`
	// Adoption says what a new copy takes over from one of its name that has left it behind.
	Adoption Adoption `json:"adoption,omitzero"`
	// HoldsData is set for kinds of which a copy that goes takes data with it: one that nothing needs any more stays where it is,
	// until the object itself is deleted or its clusters are named.
	HoldsData bool `json:"holdsData,omitempty"`
	// Owned are the fields that only a cluster fills in: a copy is applied without them.
	Owned []Owned `json:"owned,omitempty"`
	// Merged are lists that are sets in spirit, though whoever writes them owns all of them: what others on the cluster have
	// put into them stays beside what is applied.
	Merged []Path `json:"merged,omitempty"`
	// Yields are the fields that are the cluster's own once they have gone down, while the object has a mark. Absent, they are
	// those of conventionalYields.
	Yields []Yield `json:"yields,omitempty"`

	// filledIn are the fields that kcp's schema fills in: see FilledIn. They are of built-in kinds alone, whose schemas are tmc's.
	filledIn []FilledIn
	// needs is the shape of the References, nil where there are none.
	needs *shape
	// assumed is set for a kind that no entry describes: its replicas and counters count only where they are there.
	assumed bool
}

// GroupKind returns the name of the kind.
func (k *Kind) GroupKind() schema.GroupKind { return schema.GroupKind{Group: k.Group, Kind: k.Kind} }

// GroupVersionResource returns where the kind is listed.
func (k *Kind) GroupVersionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.Resource}
}

// IsKnown reports whether the kind has an entry.
func (k *Kind) IsKnown() bool { return !k.assumed }

// LosesAnnotations reports whether `kubectl rollout undo` replaces all annotations of objects of the kind, with those that tmc writes
// (getDeploymentPatch in k8s.io/kubectl, pkg/polymorphichelpers/rollback.go). No operator's entry changes that.
func (k *Kind) LosesAnnotations() bool {
	return k.GroupKind() == schema.GroupKind{Group: appsGroup, Kind: "Deployment"}
}

// Requires reports whether the kind's API requires a counter even when it is 0.
func (k *Kind) Requires(counter string) bool { return slices.Contains(k.Required, counter) }

// Observation says whether the controllers of a kind write status.observedGeneration.
type Observation = protocol.Observation

// The observations that there are.
const (
	ObservesWhenReported = protocol.ObservesWhenReported
	AlwaysObserves       = protocol.AlwaysObserves
	NeverObserves        = protocol.NeverObserves
)

// Rollout says how a roll-out of a kind is judged on one cluster.
type Rollout string

const (
	// NoRollout is a kind that `kubectl rollout status` knows nothing of.
	NoRollout Rollout = ""
	// DeploymentRollout is done when all replicas are updated, available, and no others are left.
	DeploymentRollout Rollout = "Deployment"
	// StatefulSetRollout is done when all replicas are ready and those above the partition are updated.
	StatefulSetRollout Rollout = "StatefulSet"
	// DaemonSetRollout is done when every node that is to have a pod has an updated one that is available.
	DaemonSetRollout Rollout = "DaemonSet"
)

// PodsBy says who makes the pods of an object: whom their owner references name.
type PodsBy string

const (
	// PodsByEither is a kind of which it is not known: the object itself, or ReplicaSets that have its name and more.
	PodsByEither PodsBy = ""
	// PodsByObject is a kind that makes its pods itself.
	PodsByObject PodsBy = "Object"
	// PodsByReplicaSets is a kind that makes ReplicaSets, which have its name and the hash that their pods have as a label.
	PodsByReplicaSets PodsBy = "ReplicaSets"
	// PodsByJobs is a kind that makes Jobs, which its status.active lists.
	PodsByJobs PodsBy = "Jobs"
)

// Meaning says what it means that a condition is true.
type Meaning string

const (
	// Good is a condition that should be true. It is merged to true when it is true everywhere.
	Good Meaning = ""
	// Bad is a condition that should not be true. It is merged to true when it is true anywhere.
	Bad Meaning = "Bad"
	// Reached is neither good nor bad. It is merged to true when it is true everywhere.
	Reached Meaning = "Reached"
	// Ongoing is neither good nor bad. It is merged to true while it is true anywhere.
	Ongoing Meaning = "Ongoing"
)

// Merge is a rule by which a condition is merged.
type Merge string

const (
	// MergeByMeaning is the rule of the condition's meaning.
	MergeByMeaning Merge = ""
	// MergeWhenTrue is that rule, and the condition is left out unless it is true.
	MergeWhenTrue Merge = "WhenTrue"
	// MergeWhenAllSay is the rule of the condition's meaning, and the condition is left out until every cluster says something of
	// it.
	MergeWhenAllSay Merge = "WhenAllSay"
	// MergeAvailable is that of a Deployment's Available: a cluster that says nothing is not available.
	MergeAvailable Merge = "Available"
	// MergeProgressing is that of a Deployment's Progressing: an exceeded deadline of the present generation comes first.
	MergeProgressing Merge = "Progressing"
)

// Condition is what a type of conditions means.
type Condition struct {
	Type    string  `json:"type"`
	Meaning Meaning `json:"meaning,omitempty"`
	// Failure is set where the condition, when it is not as it should be, says that something has failed, not only that it
	// is not done yet.
	Failure bool  `json:"failure,omitempty"`
	Merge   Merge `json:"merge,omitempty"`
	// Causes is set where the message of the merged condition says why the object does not run, when the condition is not as it
	// should be. Those that are merged as a Deployment's Available and Progressing say it anyway.
	Causes bool `json:"causes,omitempty"`
}

// IsProblem reports whether a condition with the status ("True", "False", "Unknown") is not as it should be.
func (c Condition) IsProblem(status string) bool {
	switch c.Meaning {
	case Bad:
		return status == "True"
	case Reached, Ongoing:
		return false
	default:
		return status != "True"
	}
}

// TrueAnywhere reports whether the condition is merged to true as soon as it is true on one cluster.
func (c Condition) TrueAnywhere() bool { return c.Meaning == Bad || c.Meaning == Ongoing }

// TimeRule says which of the clusters' times counts.
type TimeRule string

const (
	// Latest is the last of the times.
	Latest TimeRule = ""
	// Earliest is the first of the times.
	Earliest TimeRule = "Earliest"
	// LatestOfAll is the last of the times, and there is none until every cluster has one.
	LatestOfAll TimeRule = "LatestOfAll"
)

// Time is a time in a status (RFC 3339).
type Time struct {
	Field string   `json:"field"`
	Rule  TimeRule `json:"rule,omitempty"`
}

// Gap is what lies between two counters of a status.
type Gap struct {
	// Has is the counter of what there is, Of that of what there should be.
	Has string `json:"has"`
	Of  string `json:"of"`
}

// Phase is a text of a status that says how far an object is.
type Phase struct {
	Field string `json:"field"`
	// Anywhere is the value that counts as soon as one cluster has it, Everywhere the one that counts when all have it, and
	// Otherwise the one in all other cases.
	Anywhere   string `json:"anywhere,omitempty"`
	Everywhere string `json:"everywhere"`
	Otherwise  string `json:"otherwise"`
}

// AlikeType is what a field holds that is shown where it is alike.
type AlikeType string

const (
	// AlikeText is a text.
	AlikeText AlikeType = ""
	// AlikeTexts is a list of texts.
	AlikeTexts AlikeType = "Texts"
	// AlikeAmounts are quantities by their names. Where they differ, the smallest counts: so much there is everywhere.
	AlikeAmounts AlikeType = "Amounts"
)

// Alike is a field of a status that is shown where all clusters say the same.
type Alike struct {
	Field string    `json:"field"`
	Of    AlikeType `json:"of,omitempty"`
}

// Reference is where an object names others in its namespace.
type Reference struct {
	// Path leads to the name, for instance spec.tls[].secretName. Where it is the text of an annotation, that may name the
	// namespace as well, and several objects: see namesIn.
	Path Path `json:"path"`
	// Within leads to the name in the text at Path, which is JSON; empty where the text is the name.
	Within Path `json:"within,omitempty"`
	// Resource is the resource of the named object with its group, for instance secrets or rollouts.argoproj.io.
	Resource string `json:"resource"`
	// Optional is set where the object can do without. A field "optional: true" beside the name says so as well.
	Optional bool `json:"optional,omitempty"`
}

// GroupResource returns the resource of the named object.
func (r Reference) GroupResource() schema.GroupResource { return schema.ParseGroupResource(r.Resource) }

// Adoption says what becomes of what belongs to an object of a cluster (its pods, and their claims) when the object is made anew.
type Adoption struct {
	// Selector is where the object says what belongs to it. An object of the same name and with the same selector takes over
	// what the one before has left behind. It is empty for kinds of which no object does.
	Selector Path `json:"selector,omitempty"`
	// WhenDeleted is where the object says with "Delete" that claims of volumes go with it.
	WhenDeleted Path `json:"whenDeleted,omitempty"`
}

// Follows says which objects of its namespace an object goes along with: any that one of the fields finds.
type Follows struct {
	// Target leads to an {apiVersion, kind, name} of the object that is followed.
	Target Path `json:"target,omitempty"`
	// Selector leads to a selector of pods: what runs such pods is followed.
	Selector Selector `json:"selector,omitzero"`
	// Names are the objects that are followed by name.
	Names []Reference `json:"names,omitempty"`
}

// Selector is where an object selects pods, and how an unusual selector is understood.
type Selector struct {
	Path Path `json:"path,omitempty"`
	// Labels is set where the selector is a map of labels, of which an empty one selects nothing, and not a LabelSelector,
	// of which an empty one selects all.
	Labels bool `json:"labels,omitempty"`
	// AbsentSelectsAll is set where no selector means all pods; otherwise it means none.
	AbsentSelectsAll bool `json:"absentSelectsAll,omitempty"`
	// Unless is a field of the object and a value with which the selector is ignored.
	Unless *Value `json:"unless,omitempty"`
}

// Owned is a field that only a cluster fills in.
type Owned struct {
	// Path leads to the field. Its last element may end with *: all fields that begin so.
	Path Path `json:"path"`
	// Keep are values of the field, or of one of its items, that are the user's: with them the field stays.
	Keep []string `json:"keep,omitempty"`
	// Unless is another field of the object and a value with which the field is the user's.
	Unless *Value `json:"unless,omitempty"`
}

// FilledIn returns the fields that kcp's schema fills in where an object says nothing, as each cluster does by itself: a copy is
// applied without them.
func (k *Kind) FilledIn() []FilledIn { return k.filledIn }

// FilledIn is a field, and what a schema fills in. The value is as JSON decodes it, integers as int64.
type FilledIn struct {
	Path  Path
	Value any
}

// Value is a field and a value of it.
type Value struct {
	Path Path `json:"path"`
	// Equals is the value, written as text: a true is "true".
	Equals string `json:"equals"`
}

// Kinds are the kinds that are known. The zero value is the built-in table.
type Kinds struct {
	// own are the operator's entries in the order of his file. They stand before the built-in ones.
	own []*Kind
}

// Of returns what is known of a kind, to be read only; never nil. For a kind without an entry it returns what is assumed (unknown).
func (k Kinds) Of(gk schema.GroupKind) *Kind {
	for _, kind := range k.own {
		if kind.GroupKind() == gk {
			return kind
		}
	}
	if kind, known := byGroupKind[gk]; known {
		return kind
	}
	return unknown(gk)
}

// WithoutStatus returns the kinds with an entry in which objects of that kind have no status, whatever it said before.
func (k Kinds) WithoutStatus(gk schema.GroupKind) Kinds {
	statusless := *k.Of(gk)
	statusless.Statusless = true
	others := slices.DeleteFunc(slices.Clone(k.own), func(kind *Kind) bool { return kind.GroupKind() == gk })
	return Kinds{own: append(others, &statusless)}
}

// IsWorkload reports whether objects of the kind go to clusters by themselves.
func (k Kinds) IsWorkload(gk schema.GroupKind) bool { return k.Of(gk).Workload }

// All returns the kinds that have an entry: the built-in ones first, in the order of the table.
func (k Kinds) All() []*Kind {
	all := make([]*Kind, 0, len(table)+len(k.own))
	for _, kind := range table {
		all = append(all, k.Of(kind.GroupKind()))
	}
	for _, kind := range k.own {
		if byGroupKind[kind.GroupKind()] == nil {
			all = append(all, kind)
		}
	}
	return all
}

// Workloads returns the kinds of workloads in the order in which they are shown: the built-in ones first.
func (k Kinds) Workloads() []*Kind {
	var workloads []*Kind
	for _, kind := range k.All() {
		if kind.Workload {
			workloads = append(workloads, kind)
		}
	}
	return workloads
}

// unknown returns what is assumed of a kind that no entry describes, as the conventions of the API have it: conditions mean
// what the table of conventional conditions says; an observedGeneration that is reported counts; where there is a
// spec.replicas, it is the number of replicas that are wanted, and the counters of that name add up. Other counters stay as
// they are. (https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md and
// https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md)
func unknown(gk schema.GroupKind) *Kind {
	return &Kind{
		Group: gk.Group, Kind: gk.Kind, assumed: true,
		Replicas:  replicasPath,
		Available: availableReplicas,
		Sums:      []string{replicas, readyReplicas, availableReplicas},
		Updated:   []string{updatedReplicas},
	}
}

// Condition returns what a type of conditions means for the kind: as its entry has it, else as the table of conventional
// conditions has it.
func (k *Kind) Condition(conditionType string) Condition {
	isIt := func(c Condition) bool { return c.Type == conditionType }
	for _, conditions := range [][]Condition{k.Conditions, conventional} {
		if at := slices.IndexFunc(conditions, isIt); at >= 0 {
			return conditions[at]
		}
	}
	return Condition{Type: conditionType}
}

// ReplicasOf returns how many replicas the object wants, 1 where it does not say, and whether its kind has replicas. It has
// none where the field is no integer, and, of a kind that no entry describes, where there is no field.
func (k *Kind) ReplicasOf(obj *unstructured.Unstructured) (number int64, counted bool) {
	if len(k.Replicas) == 0 {
		return 0, false
	}
	value := k.Replicas.In(obj.Object)
	if value == nil {
		return 1, !k.assumed
	}
	number, isInteger := value.(int64)
	return max(number, 0), isInteger
}

// PartitionOf returns how many of the object's replicas a roll-out leaves as they are, nil where it does not say so by an
// integer that is not negative.
func (k *Kind) PartitionOf(obj *unstructured.Unstructured) *int64 {
	number, isInteger := k.Partition.Int64In(obj.Object)
	if !isInteger || number < 0 {
		return nil
	}
	return &number
}

// WantedOf returns how many of the object a cluster is to have: what its copy asks for, or else its share, or else what the
// object asks for; of kinds of which the cluster decides, what that says. It is nil when nobody knows, and for kinds that
// count nothing.
func (k *Kind) WantedOf(obj *unstructured.Unstructured, share *int64, report protocol.Report) *int64 {
	switch number, counted := k.ReplicasOf(obj); {
	case counted && report.Replicas != nil:
		return report.Replicas
	case counted && share != nil:
		return share
	case counted:
		return &number
	case len(k.Completions) > 0:
		return new(numberAt(obj, k.Completions))
	case k.Wanted != "" && report.LocalGeneration > 0:
		return new(report.Counters[k.Wanted])
	default:
		return nil
	}
}

// PodsOf returns how many pods the cluster that reports is to have: what its copy asks for, and of kinds of which the cluster
// decides, what that says. It is 0 where that is not known: the completions of a Job are no pods.
func (k *Kind) PodsOf(report protocol.Report) int64 {
	switch {
	case report.Replicas != nil:
		return *report.Replicas
	case k.Wanted != "":
		return report.Counters[k.Wanted]
	default:
		return 0
	}
}

// Facts returns what the protocol has to know of the kind to judge what clusters report on an object of it.
func (k *Kind) Facts(obj *unstructured.Unstructured) protocol.Facts {
	number, counted := k.ReplicasOf(obj)
	if !counted {
		number = 1
	}
	return protocol.Facts{Replicas: number, Partition: k.PartitionOf(obj), Observes: k.Observes, Statusless: k.Statusless, Ends: k.Ends}
}

// numberAt returns an integer of an object, 1 when it is not given, as Kubernetes has it.
func numberAt(obj *unstructured.Unstructured, path Path) int64 {
	if number, isInteger := path.Int64In(obj.Object); isInteger {
		return number
	}
	return 1
}

// AvailableIn returns how many are as they should be on the cluster that reports; nil for kinds that count nothing. Of a
// kind that no entry describes it is nil as well unless the cluster counts them: the kind may have no such counter.
func (k *Kind) AvailableIn(report protocol.Report) *int64 {
	number, reported := report.Counters[k.Available]
	if k.Available == "" || k.assumed && !reported {
		return nil
	}
	return &number
}

// Serves reports whether the cluster that reports has as many available as it is to have; wanted is its number of replicas.
// Of kinds that count nothing it reports whether there is a copy without problems.
func (k *Kind) Serves(report protocol.Report, wanted int64) bool {
	available := k.AvailableIn(report)
	switch {
	case available == nil, len(k.Completions) > 0:
		return len(report.Problems) == 0
	case k.Wanted != "":
		return report.LocalObservedGeneration >= report.LocalGeneration && *available >= report.Counters[k.Wanted]
	default:
		return *available >= wanted
	}
}

// HasToLose reports whether anything would be missing without the copy of the cluster that reports: something that is
// available, or, of kinds that count nothing, the copy.
func (k *Kind) HasToLose(report protocol.Report) bool {
	if available := k.AvailableIn(report); available != nil && len(k.Completions) == 0 {
		return *available > 0
	}
	return report.Generation > 0
}

// CopyWants returns how many a copy on its cluster is to have, the most that there can be while its controller has not
// said.
func (k *Kind) CopyWants(downstreamObj *unstructured.Unstructured) int64 {
	if number, isInteger := k.Replicas.Int64In(downstreamObj.Object); isInteger {
		return number
	}
	if statusCount(downstreamObj, "observedGeneration") < downstreamObj.GetGeneration() {
		return math.MaxInt64
	}
	return statusCount(downstreamObj, k.Wanted)
}

// CopyHas returns how many of a copy on its cluster serve; 0 for kinds that end or count nothing.
func (k *Kind) CopyHas(downstreamObj *unstructured.Unstructured) int64 {
	if len(k.Completions) > 0 {
		return 0
	}
	return statusCount(downstreamObj, k.Available)
}

func statusCount(obj *unstructured.Unstructured, field string) int64 {
	count, _ := (Path{statusField, field}).Int64In(obj.Object)
	return count
}

var statusConditions = path("status.conditions")

// HasEnded reports whether an object's own status says that it will do nothing more.
func (k *Kind) HasEnded(obj *unstructured.Unstructured) bool {
	if len(k.Ends) == 0 {
		return false
	}
	conditions, _ := statusConditions.In(obj.Object).([]any)
	return slices.ContainsFunc(conditions, func(entry any) bool {
		c, _ := entry.(map[string]any)
		conditionType, _ := c["type"].(string)
		return slices.Contains(k.Ends, conditionType) && c["status"] == string(metav1.ConditionTrue)
	})
}

// ReportsEnd reports whether a cluster says that the object will do nothing more there.
func (k *Kind) ReportsEnd(report protocol.Report) bool {
	return report.IsTrueOfAny(k.Ends)
}

// TTLOf returns for how long an object is there after its end, and whether it says so, by an integer that is not negative.
func (k *Kind) TTLOf(obj *unstructured.Unstructured) (ttl time.Duration, expires bool) {
	seconds, isInteger := k.TTL.Int64In(obj.Object)
	if !isInteger || seconds < 0 {
		return 0, false
	}
	return time.Duration(min(seconds, math.MaxInt32)) * time.Second, true
}
