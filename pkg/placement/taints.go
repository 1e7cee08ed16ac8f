package placement

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const notReady = "not ready"

// taintText is a taint as people know it.
func taintText(taint v1alpha1.Taint) string {
	switch taint.Key {
	case v1alpha1.TaintUnreachable:
		return notReady
	case v1alpha1.TaintUnschedulable:
		return "cordoned"
	}
	text := "taint " + taint.Key
	if taint.Value != "" {
		text += "=" + taint.Value
	}
	return text + ":" + string(taint.Effect)
}

// timeLeft returns how long the cluster is tolerated from now on, and the taint that
// ends it: forever, when none does; 0 or less, when the time is over.
func (s *survey) timeLeft(cluster *Cluster, tolerations []v1alpha1.Toleration) (time.Duration, v1alpha1.Taint) {
	least, by := forever, v1alpha1.Taint{}
	for _, taint := range cluster.Taints {
		if taint.Effect != v1alpha1.TaintNoExecute {
			continue
		}
		if left := s.timeLeftOf(taint, tolerations); left < least {
			least, by = left, taint
		}
	}
	return least, by
}

func (s *survey) timeLeftOf(taint v1alpha1.Taint, tolerations []v1alpha1.Toleration) time.Duration {
	limit := tolerance(taint, tolerations)
	if taint.Key == v1alpha1.TaintUnreachable && !tolerated(taint, tolerations) {
		limit = s.FailoverAfter
	}
	if limit <= 0 || limit == forever || taint.TimeAdded == nil {
		return limit
	}
	// Neither of the two exceeds longest, so that they can be subtracted.
	return limit - max(s.Now.Sub(taint.TimeAdded.Time), -longest)
}

// longest is what longer tolerationSeconds are cut to.
const longest = 100 * 365 * 24 * time.Hour

// tolerance returns how long, from when it was added, a NoExecute taint is tolerated:
// as Kubernetes has it, the shortest time of the tolerations that match it counts, and
// those without a time do not shorten it.
func tolerance(taint v1alpha1.Taint, tolerations []v1alpha1.Toleration) time.Duration {
	limit := time.Duration(0)
	matched := false
	for _, toleration := range tolerations {
		if !matches(toleration, taint) {
			continue
		}
		if !matched {
			limit, matched = forever, true
		}
		if seconds := toleration.TolerationSeconds; seconds != nil {
			limit = min(limit, time.Duration(min(max(*seconds, 0), int64(longest/time.Second)))*time.Second)
		}
	}
	return limit
}

// tolerated reports whether any toleration matches the taint.
func tolerated(taint v1alpha1.Taint, tolerations []v1alpha1.Toleration) bool {
	return slices.ContainsFunc(tolerations, func(toleration v1alpha1.Toleration) bool { return matches(toleration, taint) })
}

func matches(toleration v1alpha1.Toleration, taint v1alpha1.Taint) bool {
	if toleration.Effect != "" && toleration.Effect != taint.Effect {
		return false
	}
	if toleration.Operator == corev1.TolerationOpExists {
		return toleration.Key == "" || toleration.Key == taint.Key
	}
	return toleration.Key == taint.Key && toleration.Value == taint.Value
}
