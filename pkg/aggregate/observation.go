package aggregate

import (
	"fmt"
	"math"
	"strings"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// mostNames is how many clusters a message names before it counts the rest.
const mostNames = 3

// observation is what is known of one placed cluster.
type observation struct {
	cluster string
	// report is the cluster's, zero when unknown is set.
	report v1alpha1.Report
	// unknown says why there is no report to believe, empty when there is one.
	unknown string
	// current is whether the cluster has applied the present generation and its
	// own controller has observed that.
	current bool
}

// observe reads the reports of the placed clusters, in their order.
func observe(placed []string, annotations map[string]string, generation int64) []observation {
	observations := make([]observation, 0, len(placed))
	for _, cluster := range placed {
		observations = append(observations, observeOne(cluster, annotations, generation))
	}
	return observations
}

func observeOne(cluster string, annotations map[string]string, generation int64) observation {
	value, reported := annotations[v1alpha1.StatusAnnotation(cluster)]
	if !reported {
		return observation{cluster: cluster, unknown: "has not reported"}
	}
	report, err := v1alpha1.ParseReport(cluster, value)
	if err != nil {
		return observation{cluster: cluster, unknown: err.Error()}
	}
	return observation{
		cluster: cluster,
		report:  report,
		current: report.Generation == generation && report.LocalGeneration > 0 &&
			report.LocalObservedGeneration >= report.LocalGeneration,
	}
}

// sum adds up a counter over the observations that pass the filter. What a
// report claims beyond an int32 counts as the most that a status can hold.
func sum(observations []observation, counter string, filter func(observation) bool) int32 {
	var total int64
	for _, o := range observations {
		if filter(o) {
			total += int64(clamp(o.report.Counters[counter]))
		}
	}
	return clamp(total)
}

func clamp(count int64) int32 {
	return int32(min(max(count, 0), math.MaxInt32))
}

func every(observation) bool { return true }

// isCurrent is a filter for sum.
func isCurrent(o observation) bool { return o.current }

// all tells whether the test holds for each observation.
func all(observations []observation, test func(observation) bool) bool {
	for _, o := range observations {
		if !test(o) {
			return false
		}
	}
	return true
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
