package view

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// badTypes are the types of conditions that are bad when true, neutralTypes those that
// are neither good nor bad. All others are good when true.
var (
	badTypes = []string{
		"ReplicaFailure", "Failed", "FailureTarget", "ScalingLimited", "LoadBalancerPortsError", "Degraded", "Stalled",
		"ControllerResizeError", "NodeResizeError", "ModifyVolumeError",
	}
	neutralTypes = []string{
		"Complete", "SuccessCriteriaMet", "Suspended", "DisruptionAllowed", "Resizing", "FileSystemResizePending", "ModifyingVolume",
	}
	// failures are the types that something has failed by, not only that it is under way.
	failures = []string{"ReplicaFailure", "Failed", "FailureTarget", "Progressing"}
)

func (c Condition) isTrue() bool { return c.Status == string(metav1.ConditionTrue) }

// isAmiss reports whether a condition is not as it should be.
func (c Condition) isAmiss() bool {
	switch {
	case slices.Contains(neutralTypes, c.Type):
		return false
	case slices.Contains(badTypes, c.Type):
		return c.isTrue()
	default:
		return !c.isTrue()
	}
}

// String words a condition in a line.
func (c Condition) String() string {
	text := c.Type + "=" + c.Status
	if details := said(c.Reason, c.Message); details != "" {
		text += " " + details
	}
	return text
}

// amiss returns the conditions that are not as they should be.
func amiss(conditions []Condition) []Condition {
	var found []Condition
	for _, c := range conditions {
		if c.isAmiss() {
			found = append(found, c)
		}
	}
	return found
}

// silent is what a cluster is called that is not heard of.
const silent = "silent"

// silence are the words, one of which a message has that tells of a silent cluster.
var silence = []string{silent, "heard", "heartbeat"}

// silentBy returns the clusters that the condition Synced calls silent. It names the
// first few only.
func silentBy(conditions []Condition) sets.Set[string] {
	silent := sets.New[string]()
	for _, c := range conditions {
		if c.Type != v1alpha1.ConditionSynced || c.isTrue() {
			continue
		}
		for part := range strings.SplitSeq(c.Message, "; ") {
			cluster, said, names := strings.Cut(part, ": ")
			isSilent := slices.ContainsFunc(silence, func(word string) bool { return strings.Contains(said, word) })
			if names && isSilent && v1alpha1.ValidateClusterName(cluster) == nil {
				silent.Insert(cluster)
			}
		}
	}
	return silent
}

// isCurrent reports whether the cluster has taken up the object as it is now.
func (o OnCluster) isCurrent() bool { return o.UpToDate && o.Observed }

// isFailing reports whether the cluster says that something went wrong.
func (o OnCluster) isFailing() bool {
	hasFailed := func(c Condition) bool { return c.isAmiss() && slices.Contains(failures, c.Type) }
	return len(o.Problems) > 0 || slices.ContainsFunc(o.Conditions, hasFailed)
}

// lacks reports whether something is missing on the cluster.
func (o OnCluster) lacks() bool {
	return o.Available != nil && (o.Wanted == nil || *o.Available < *o.Wanted)
}

// problems say, plainly, what is wrong with the object.
func (w *Workload) problems() []string {
	var problems []string
	if w.PlacementMessage != "" {
		problems = append(problems, "placement: "+w.PlacementMessage)
	}
	explicitlyNowhere := w.TargetClusters != nil && strings.TrimSpace(*w.TargetClusters) == ""
	if w.isWorkload && len(w.Clusters) == 0 && !explicitlyNowhere && !w.Deleting {
		problems = append(problems, "it is placed on no cluster")
	}
	problems = append(problems, w.hubsOwn()...)
	for _, o := range w.Clusters {
		for _, problem := range o.problems(w) {
			problems = append(problems, o.Name+": "+problem)
		}
	}
	return problems
}

// hubsOwn returns what the hub itself has found: it comes first in the message of the
// condition Synced, before what it quotes of clusters.
func (w *Workload) hubsOwn() []string {
	for _, c := range w.Conditions {
		quotes := slices.ContainsFunc(w.Clusters, func(o OnCluster) bool { return strings.HasPrefix(c.Message, o.Name+": ") })
		if c.Type == v1alpha1.ConditionSynced && c.isAmiss() && !quotes {
			return []string{said(c.Reason, c.Message)}
		}
	}
	return nil
}

// problems say what is wrong on one cluster.
func (o OnCluster) problems(w *Workload) []string {
	var problems []string
	if o.Silent {
		problems = append(problems, "is silent: what it runs is not known")
	}
	problems = append(problems, o.Problems...)
	switch {
	case o.State == Leaving && len(o.Problems) > 0:
		return problems // they say why
	case o.State == Leaving:
		return append(problems, "has not removed its copy yet")
	case o.Unreported != "":
		return append(problems, o.Unreported)
	default:
		return append(problems, o.lags(w)...)
	}
}

// lags say what is not as it should be on a cluster that has a copy, or is to have one,
// beside the problems that it tells of.
func (o OnCluster) lags(w *Workload) []string {
	var lags []string
	if len(o.Problems) == 0 && !o.isCurrent() {
		lags = append(lags, o.lag(w.Generation))
	}
	conditions := amiss(o.Conditions)
	for _, c := range conditions {
		lags = append(lags, c.String())
	}
	if len(conditions) == 0 && o.lacks() && w.Kind != job {
		lags = append(lags, "has "+fraction(o.Available, o.Wanted)+" available")
	}
	return lags
}

// lag says what a cluster has not done yet.
func (o OnCluster) lag(generation int64) string {
	switch {
	case o.Generation == 0:
		return fmt.Sprintf("has no copy of generation %d yet", generation)
	case o.Generation != generation:
		return fmt.Sprintf("has applied generation %d, not yet %d", o.Generation, generation)
	case !o.UpToDate:
		return "has not applied the present labels, annotations, override or share of replicas yet"
	default:
		return "has applied the present generation; its own controller has not observed that yet"
	}
}
