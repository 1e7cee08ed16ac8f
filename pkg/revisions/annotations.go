package revisions

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Annotations of the deployment controller (k8s.io/kubectl/pkg/util/deployment).
const (
	revisionAnnotation        = protocol.RevisionAnnotation
	historyAnnotation         = "deployment.kubernetes.io/revision-history"
	desiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas"
	maxReplicasAnnotation     = "deployment.kubernetes.io/max-replicas"
)

// longestHistory is how many characters the numbers that a revision had before may take (maxRevHistoryLengthInChars in
// pkg/controller/deployment/sync.go).
const longestHistory = 2000

// isCopied reports whether a revision gets an annotation of its workload: not those that the deployment controller leaves out
// (annotationsToSkip in pkg/controller/deployment/util), nor what only tmc or kcp may write, which says where the workload is.
// What users write for tmc is copied, for `kubectl rollout undo` gives a Deployment the annotations of its ReplicaSet.
func isCopied(key string) bool {
	switch key {
	case corev1.LastAppliedConfigAnnotation, revisionAnnotation, historyAnnotation, desiredReplicasAnnotation, maxReplicasAnnotation, appsv1.DeprecatedRollbackTo:
		return false
	default:
		return !isKCPs(key) && !protocol.IsReserved(key)
	}
}

// isKCPs reports whether a key is kcp's own, and not tmc's.
func isKCPs(key string) bool { return v1alpha1.IsOwnKey(key) && !v1alpha1.IsMark(key) }

// copied returns those annotations of a workload that its revision gets and does not have. Like the deployment controller, it takes
// away none.
func copied(workload, revision map[string]string) map[string]any {
	missing := map[string]any{}
	for key, value := range workload {
		if present, has := revision[key]; isCopied(key) && (!has || present != value) {
			missing[key] = value
		}
	}
	return missing
}

// appendHistory returns the numbers that a revision had before, with one more. The oldest go when they take too much room.
func appendHistory(history string, number int64) string {
	added := strconv.FormatInt(number, 10)
	if history == "" {
		return added
	}
	history += "," + added
	for len(history) > longestHistory {
		_, rest, more := strings.Cut(history, ",")
		if !more {
			return added
		}
		history = rest
	}
	return history
}
