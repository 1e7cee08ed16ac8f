package registry

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Reasons of the Ready condition.
const (
	reasonHeard      = "HeartbeatReceived"
	reasonNeverHeard = "NeverHeard"
	reasonSilent     = "Silent"
)

// readiness is whether a cluster is heard of, and why that is thought.
type readiness struct {
	status metav1.ConditionStatus
	reason string
	// what is what is said of the cluster, after its name.
	what string
}

// judge returns whether a cluster is heard of, and after how long it has to be asked
// again, 0 for not before something is heard. The first look at a Lease counts as a
// heartbeat unless the last hub had found the cluster silent. Silence of a cluster that was
// heard of counts from when we were last deaf.
func judge(c *cluster, deaf, now time.Time, silentAfter time.Duration) (readiness, time.Duration) {
	if c.renewed == nil {
		return readiness{metav1.ConditionUnknown, reasonNeverHeard, "its syncer has not been heard of yet"}, 0
	}
	heard := c.heard
	if c.readiness.status == metav1.ConditionTrue && deaf.After(heard) {
		heard = deaf
	}
	left := silentAfter - now.Sub(heard)
	wasSilent := c.isDoubtful && c.readiness.status != metav1.ConditionTrue && !c.isNew()
	if wasSilent || left <= 0 {
		// The time is the cluster's own: it stays as it is for as long as the silence.
		since := c.renewed.UTC().Format(time.RFC3339)
		return readiness{metav1.ConditionUnknown, reasonSilent, "silent since " + since}, 0
	}
	return readiness{metav1.ConditionTrue, reasonHeard, "its syncer sends heartbeats"}, left
}

// storedReadiness returns what the last hub thought.
func storedReadiness(registration *v1alpha1.ClusterRegistration) readiness {
	condition := apimeta.FindStatusCondition(registration.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return readiness{metav1.ConditionUnknown, reasonNeverHeard, "its syncer has not been heard of yet"}
	}
	return readiness{condition.Status, condition.Reason, condition.Message}
}

// silentSince returns from when the last hub thought that the cluster was not ready;
// zero of one that was.
func silentSince(registration *v1alpha1.ClusterRegistration) time.Time {
	condition := apimeta.FindStatusCondition(registration.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil || condition.Status == metav1.ConditionTrue {
		return time.Time{}
	}
	return condition.LastTransitionTime.Time
}
