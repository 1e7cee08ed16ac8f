package aggregate

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// mostNames is how many clusters a message names before it counts the rest.
const mostNames = 3

// observation is what is known of one placed cluster.
type observation struct {
	cluster string
	// report is the cluster's, zero when unknown is set.
	report v1alpha1.Report
	// unknown says why there is no report to believe, empty when there is one, and
	// reason says so in a word.
	unknown, reason string
	// current is whether the cluster has applied the present inputs and its own
	// controller has observed that.
	current bool
}

// observe reads the reports of the placed clusters, sorted by name.
func observe(in Input, rules rules) []observation {
	clusters := placedClusters(in)
	observations := make([]observation, 0, len(clusters))
	for _, cluster := range clusters {
		observations = append(observations, observeOne(in, rules, cluster))
	}
	return observations
}

func observeOne(in Input, rules rules, cluster string) observation {
	value, reported := in.Object.GetAnnotations()[v1alpha1.StatusAnnotation(cluster)]
	if !reported {
		return observation{cluster: cluster, unknown: "has not reported", reason: reasonNotReported}
	}
	report, err := v1alpha1.ParseReport(cluster, value)
	if err != nil {
		return observation{cluster: cluster, unknown: err.Error(), reason: reasonInvalidReport}
	}
	if in.Silent != nil && !hasEnded(rules, report) {
		if since := in.Silent(cluster); since != "" {
			return observation{cluster: cluster, unknown: since, reason: reasonSilent}
		}
	}
	current := isApplied(in, report) && isObserved(rules, report) && isDivided(in)
	return observation{cluster: cluster, report: report, current: current}
}

// hasEnded tells of a Job that has come to its end: what was reported of it stays true.
func hasEnded(rules rules, report v1alpha1.Report) bool {
	return slices.ContainsFunc(rules.ends, func(conditionType string) bool {
		c, ok := report.Condition(conditionType)
		return ok && c.Status == metav1.ConditionTrue
	})
}

// isDivided reports whether the clusters' shares, if the replicas are divided, are those
// of the present spec.replicas: after it has changed, the scheduler has yet to divide
// it, and a cluster that has taken up the generation may still run its former share.
func isDivided(in Input) bool {
	annotations := in.Object.GetAnnotations()
	divides := func(cluster string) bool { _, ok := annotations[v1alpha1.ReplicasAnnotation(cluster)]; return ok }
	if !slices.ContainsFunc(placedClusters(in), divides) {
		return true
	}
	var reason v1alpha1.PlacementReason
	err := json.Unmarshal([]byte(annotations[v1alpha1.PlacementAnnotation]), &reason)
	return err == nil && reason.Replicas != nil && *reason.Replicas == specReplicas(in)
}

// isApplied reports whether the copy was made from the object as it is now.
func isApplied(in Input, report v1alpha1.Report) bool {
	return report.Generation == in.Object.GetGeneration() && report.LocalGeneration > 0 &&
		(in.Inputs == nil || report.Inputs == in.Inputs(report.Cluster))
}

// isObserved reports whether the copy's own controller has seen the copy as it is
// now, as far as the kind's controllers say.
func isObserved(rules rules, report v1alpha1.Report) bool {
	if rules.observes == never || rules.observes == perhaps && report.LocalObservedGeneration == 0 {
		return true
	}
	return report.LocalObservedGeneration >= report.LocalGeneration
}

// sum adds up a counter over the observations that pass the filter. What a
// report claims beyond an int32 counts as the most that a status can hold.
func sum(observations []observation, counter string, filter func(observation) bool) int64 {
	var total int64
	for _, o := range observations {
		if filter(o) {
			total = clamp(total + clamp(o.report.Counters[counter]))
		}
	}
	return total
}

func clamp(count int64) int64 { return min(max(count, 0), math.MaxInt32) }

func every(observation) bool { return true }

// isCurrent is a filter for sum.
func isCurrent(o observation) bool { return o.current }

func isUnknown(o observation) bool { return o.unknown != "" }

// all reports whether the test holds for each observation.
func all(observations []observation, test func(observation) bool) bool {
	return count(observations, test) == len(observations)
}

// count tells for how many observations the test holds.
func count(observations []observation, test func(observation) bool) int {
	return len(clustersOf(observations, test))
}

// clustersOf returns the clusters for which the test holds, in their order.
func clustersOf(observations []observation, test func(observation) bool) []string {
	var clusters []string
	for _, o := range observations {
		if test(o) {
			clusters = append(clusters, o.cluster)
		}
	}
	return clusters
}

// list joins entries for people: the first few, then how many more.
func list(entries []string, separator string) string {
	if len(entries) <= mostNames {
		return strings.Join(entries, separator)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(entries[:mostNames], separator), len(entries)-mostNames)
}

// clusters words a number of clusters.
func clusters(number int) string {
	if number == 1 {
		return "1 cluster"
	}
	return fmt.Sprintf("%d clusters", number)
}
