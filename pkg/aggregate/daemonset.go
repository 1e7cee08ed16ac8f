package aggregate

// Counters of a DaemonSet's status.
const (
	currentScheduled  = "currentNumberScheduled"
	misscheduled      = "numberMisscheduled"
	desiredScheduled  = "desiredNumberScheduled"
	updatedScheduled  = "updatedNumberScheduled"
	numberReady       = "numberReady"
	numberAvailable   = "numberAvailable"
	numberUnavailable = "numberUnavailable"
)

// isDaemonSetDone is kubectl's DaemonSetStatusViewer for one cluster
// (k8s.io/kubectl/pkg/polymorphichelpers).
func isDaemonSetDone(_ *merge, o observation) bool {
	counters := o.report.Counters
	return counters[updatedScheduled] >= counters[desiredScheduled] &&
		counters[numberAvailable] >= counters[desiredScheduled]
}

// holdDaemonSet leaves one pod not updated; a cluster whose nodes nobody knows
// yet has one at least.
func holdDaemonSet(m *merge) {
	m.set(desiredScheduled, max(m.get(desiredScheduled), 1))
	m.set(updatedScheduled, min(m.get(updatedScheduled), m.get(desiredScheduled)-1))
}
