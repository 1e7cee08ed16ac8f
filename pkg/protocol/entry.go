package protocol

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// State says whether an object comes to a cluster or leaves it.
type State string

const (
	// Placed is on the cluster, or on its way there.
	Placed State = "placed"
	// Kept is on the cluster until it is available where it goes instead.
	Kept State = "kept"
	// Leaving is on its way out of the cluster. An object that is being deleted leaves all its clusters when nobody but tmc holds it.
	Leaving State = "leaving"
)

// Belief says whether a cluster's report counts, and why not.
type Belief string

const (
	// Believed is a report that counts.
	Believed Belief = ""
	// NotReported is a cluster that has not reported.
	NotReported Belief = "NotReported"
	// InvalidReport is a report that cannot be read, or holds what no syncer writes.
	InvalidReport Belief = "InvalidReport"
	// Silent is a cluster that is not heard of: what it last reported does not count, unless the object has ended there.
	Silent Belief = "ClusterSilent"
)

// Lag is the first thing that keeps a cluster's copy from being up to date.
type Lag string

const (
	// UpToDate is a copy that was made from the object as it is now, and that its own controller has observed.
	UpToDate Lag = ""
	// NoCopy is a cluster that has no copy as it should be, or none that anything is known of.
	NoCopy Lag = "NoCopy"
	// OldGeneration is a copy of another generation than the present one.
	OldGeneration Lag = "OldGeneration"
	// OldInputs is a copy that was made with other labels, annotations, override or share of the replicas.
	OldInputs Lag = "OldInputs"
	// NotDivided is an object whose spec.replicas, or partition, has changed and has not been divided anew: the cluster may run
	// its former share.
	NotDivided Lag = "NotDivided"
	// NotObserved is a copy that its own controller has not observed as it is now.
	NotObserved Lag = "NotObserved"
)

// Observation says whether the controllers of a kind write status.observedGeneration.
type Observation string

const (
	// ObservesWhenReported is a kind of which some controllers do: one that does is believed.
	ObservesWhenReported Observation = ""
	// AlwaysObserves is a kind whose controllers do.
	AlwaysObserves Observation = "Always"
	// NeverObserves is a kind whose controllers do not.
	NeverObserves Observation = "Never"
)

// Facts are what entries depend on beside what tmc says on the object: kinds.Kind.Facts returns those of its kind, and the
// caller adds who is silent. The zero value is right for a kind of which nothing is known, while all clusters are heard of.
type Facts struct {
	// Replicas is the object's spec.replicas, and 1 where it has none. It counts where replicas are divided.
	Replicas int64
	// Partition is how many replicas a roll-out leaves as they are, nil where the object does not say. It counts where
	// replicas are divided.
	Partition *int64
	// Observes says whether the kind's controllers write status.observedGeneration.
	Observes Observation
	// Statusless is set for a kind without a status: a cluster that holds an object of it reports its problems alone, and
	// nothing while there are none.
	Statusless bool
	// Ends are types of conditions. When one of them is true, the object will do nothing more.
	Ends []string
	// Inputs returns what a cluster's report has to name as its inputs. It is nil for Object.Inputs.
	Inputs func(cluster string) string
	// Silent says, for people, why nothing is heard of a cluster. It is empty for one that is heard of, and nil when all are.
	Silent func(cluster string) string
}

// Entry is what is known of an object on one cluster.
type Entry struct {
	Cluster string
	State   State
	// Held says whether the cluster's syncer holds the object.
	Held bool
	// Why says, for people, why the object is there.
	Why string
	// LeavingSince is when the cluster was asked to remove its copy. It is empty when it was not asked.
	LeavingSince string
	// Share is the cluster's share of the replicas, nil where they are not divided. ShareErr is what is wrong with it.
	Share    *int64
	ShareErr error
	// Partition is how many replicas of its share a roll-out leaves as they are, nil where the object does not say that or the
	// replicas are not divided.
	Partition *int64
	// Override is the user's JSON patch of the copy, empty without one.
	Override string
	// Report is what the cluster has reported last, zero when that cannot be read. Belief says whether it counts.
	Report Report
	Belief Belief
	// Doubt says, for people, why the report does not count. It is empty when it does.
	Doubt string
	// Lag is what keeps the copy from being up to date, as far as the report tells.
	Lag Lag
	// Observed says whether the copy's own controller has observed the copy as it is, where the kind's controllers tell.
	Observed bool
}

// IsUpToDate reports whether the cluster's report counts and its copy is up to date.
func (e Entry) IsUpToDate() bool { return e.Belief == Believed && e.Lag == UpToDate }

// IsInPlace reports whether the cluster's report counts, and says that the copy is made from the object as it is now, whether or not
// the copy's own controller has observed that.
func (e Entry) IsInPlace() bool {
	return e.Belief == Believed && (e.Lag == UpToDate || e.Lag == NotObserved)
}

// SayLag says, for people, what a cluster has not done yet whose copy was made from the generation applied, while the object's
// present one is generation.
func SayLag(lag Lag, applied, generation int64) string {
	switch {
	case lag == NoCopy && generation == 0:
		return "has no copy yet"
	case lag == NoCopy:
		return fmt.Sprintf("has no copy of generation %d yet", generation)
	case lag == OldGeneration:
		return fmt.Sprintf("has applied generation %d, not yet %d", applied, generation)
	case lag == OldInputs:
		return "has not applied the present labels, annotations, override or share of replicas yet"
	case lag == NotDivided:
		return "may run a former share: spec.replicas, or a partition, has changed and has not been divided again yet"
	default:
		return "has applied the present generation; its own controller has not observed that yet"
	}
}

// Entries returns an entry for each of the clusters, in their order: those of Placed, Present, or others.
func (o Object) Entries(clusters []string, facts Facts) []Entry {
	placement := o.Placement()
	if facts.Inputs == nil {
		facts.Inputs = o.inputs()
	}
	isDivision := !o.IsDivided() || placement.Replicas != nil && *placement.Replicas == facts.Replicas
	entries := make([]Entry, 0, len(clusters))
	for _, cluster := range clusters {
		e := Entry{Cluster: cluster, State: o.state(cluster, placement), Held: o.IsHeld(cluster), Why: placement.Clusters[cluster]}
		e.LeavingSince, _ = o.LeavingSince(cluster)
		e.Override, _ = o.Override(cluster)
		e.Share, e.Partition, e.ShareErr = o.division(cluster, facts.Partition)
		report, err := o.Report(cluster)
		e.Report = report
		if facts.Statusless && e.Held && errors.Is(err, ErrNotReported) {
			e.Belief, e.Doubt = facts.belief(cluster, report, nil)
			e.Observed = true
		} else {
			e.Belief, e.Doubt = facts.belief(cluster, report, err)
			e.Lag, e.Observed = o.lag(report, isDivision && o.isPartOf(cluster, e.State, facts.Partition), facts)
		}
		entries = append(entries, e)
	}
	return entries
}

// division returns the cluster's share of the replicas, and of the partition, nil for what is not divided.
func (o Object) division(cluster string, partition *int64) (share, own *int64, err error) {
	replicas, divided, err := o.Share(cluster)
	if err != nil || !divided {
		return nil, nil, err
	}
	if partition != nil {
		own = new(o.OwnPartition(cluster, *partition))
	}
	return &replicas, own, nil
}

// isPartOf reports whether the cluster has no part of another partition than the object's. What a cluster that the object only
// waits to leave has been told stays as it is.
func (o Object) isPartOf(cluster string, state State, partition *int64) bool {
	part, has := o.Part(cluster)
	return !has || partition == nil || state == Kept || part.Of == *partition
}

func (o Object) state(cluster string, placement Placement) State {
	switch {
	case o.IsEnding(), !o.IsPlaced(cluster):
		return Leaving
	case placement.IsKept(cluster):
		return Kept
	default:
		return Placed
	}
}

func (f Facts) belief(cluster string, report Report, err error) (belief Belief, doubt string) {
	switch {
	case errors.Is(err, ErrNotReported):
		return NotReported, err.Error()
	case err != nil:
		return InvalidReport, err.Error()
	case f.Silent == nil || report.IsTrueOfAny(f.Ends): // what has ended does nothing more, and its report stays true
		return Believed, ""
	}
	if why := f.Silent(cluster); why != "" {
		return Silent, why
	}
	return Believed, ""
}

// tells reports whether the controllers of the copy say which generation they have observed.
func (f Facts) tells(report Report) bool {
	return f.Observes == AlwaysObserves || f.Observes == ObservesWhenReported && report.LocalObservedGeneration > 0
}

// isRight reports whether a report is of a copy that is as it should be. It names the inputs of such a copy, and the generation
// if upstream objects of the kind have one (ConfigMaps have none).
func (o Object) isRight(report Report) bool {
	return report.Generation > 0 || o.object.GetGeneration() == 0 && report.Inputs != ""
}

// lag judges a report. Copies of some kinds (Services, claims, autoscalers) have no generation of their own:
// that they are as they should be is enough where the kind's controllers do not tell what they have observed.
func (o Object) lag(report Report, isDivision bool, facts Facts) (lag Lag, observed bool) {
	tells := facts.tells(report)
	isRight := o.isRight(report)
	isThere := report.LocalGeneration > 0 || isRight && !tells
	observed = isThere && (!tells || report.LocalObservedGeneration >= report.LocalGeneration)
	switch {
	case !isRight, report.Generation == o.object.GetGeneration() && !isThere:
		lag = NoCopy
	case report.Generation != o.object.GetGeneration():
		lag = OldGeneration
	case report.Inputs != facts.Inputs(report.Cluster):
		lag = OldInputs
	case !isDivision:
		lag = NotDivided
	case !observed:
		lag = NotObserved
	}
	return lag, observed
}

// SilentClusters returns the clusters that the object's status says are silent: those of its conditions of the types
// v1alpha1.SilentCondition that are true. The hub writes one for each silent cluster that the object is placed on.
func SilentClusters(upstreamObj *unstructured.Unstructured) sets.Set[string] {
	silent := sets.New[string]()
	status, _ := upstreamObj.Object["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	for _, entry := range conditions {
		condition, _ := entry.(map[string]any)
		conditionType, _ := condition["type"].(string)
		if cluster, ok := strings.CutPrefix(conditionType, v1alpha1.SilentConditionPrefix); ok && condition["status"] == string(metav1.ConditionTrue) {
			silent.Insert(cluster)
		}
	}
	return silent
}

// IsHubsCondition reports whether only the hub writes conditions of the type: what a cluster reports under it is not
// merged.
func IsHubsCondition(conditionType string) bool {
	switch conditionType {
	case v1alpha1.ConditionSynced, v1alpha1.ConditionEnded, v1alpha1.ConditionBoundTo, v1alpha1.ConditionHindered:
		return true
	default:
		return strings.HasPrefix(conditionType, v1alpha1.SilentConditionPrefix)
	}
}

// Reasons of the condition Synced that are of what the hub itself knows of an object, beside those of Belief.
const (
	// ReasonMissing is that of an object that needs what does not exist, or is not where it is.
	ReasonMissing = "MissingDependency"
	// ReasonNotTakenUp is that of an object of which a cluster has no copy as it is now, without a problem to tell.
	ReasonNotTakenUp = "NotTakenUp"
	// ReasonNoClusters is that of an object that is to be somewhere, and for which there is no cluster.
	ReasonNoClusters = "NoClusters"
	// ReasonNotPlaced is that of an object of which nobody says that it is to be anywhere.
	ReasonNotPlaced = "NotPlaced"
	// ReasonWriteRefused is that of an object on which kcp does not let the hub write what it has to.
	ReasonWriteRefused = "WriteRefused"
	// ReasonWaiting is that of an object that is placed after what it names, which is not placed.
	ReasonWaiting = "WaitsForDependency"
	// ReasonFull is that of an object whose annotations have no room for the reports of its clusters.
	ReasonFull = "AnnotationsFull"
)

// IsHubsReason reports whether a reason of the condition Synced is of a problem that the hub itself has found; all others
// are of what clusters report, or do not.
func IsHubsReason(reason string) bool {
	switch v1alpha1.LeftOut(reason) {
	case ReasonMissing, ReasonNoClusters, ReasonNotPlaced, ReasonWriteRefused, ReasonWaiting, ReasonFull, v1alpha1.LeftOutNotBound, v1alpha1.LeftOutBindingsHidden, v1alpha1.LeftOutKindNotAccepted,
		v1alpha1.LeftOutKindNotServed, v1alpha1.LeftOutPoliciesNotAccepted, v1alpha1.LeftOutPoliciesMissing:
		return true
	default:
		return false
	}
}
