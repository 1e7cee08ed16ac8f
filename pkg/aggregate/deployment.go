package aggregate

// Reasons that the Deployment controller gives and that clients look for
// (k8s.io/kubernetes/pkg/controller/deployment/util; kubectl's rollout status and
// Argo CD's health check both know ProgressDeadlineExceeded).
const (
	reasonAvailable        = "MinimumReplicasAvailable"
	reasonUnavailable      = "MinimumReplicasUnavailable"
	reasonProgressing      = "ReplicaSetUpdated"
	reasonComplete         = "NewReplicaSetAvailable"
	reasonDeadlineExceeded = "ProgressDeadlineExceeded"
)

// Counters of the statuses of Deployments and StatefulSets.
const (
	replicas            = "replicas"
	updatedReplicas     = "updatedReplicas"
	currentReplicas     = "currentReplicas"
	readyReplicas       = "readyReplicas"
	availableReplicas   = "availableReplicas"
	unavailableReplicas = "unavailableReplicas"
	terminatingReplicas = "terminatingReplicas"
	collisionCount      = "collisionCount"
)

// isDeploymentDone is kubectl's DeploymentStatusViewer for one cluster
// (k8s.io/kubectl/pkg/polymorphichelpers), and exact where replicas are divided.
func isDeploymentDone(m *merge, o observation) bool {
	counters := o.report.Counters
	return !hasFailed(o) && m.hasNoMoreThanItsShare(o) &&
		counters[updatedReplicas] >= m.wanted(o) &&
		counters[replicas] <= counters[updatedReplicas] &&
		counters[availableReplicas] >= counters[updatedReplicas]
}

// holdDeployment keeps a status from reading as rolled out while a cluster is not
// done. kubectl compares the sums with spec.replicas, which is what each cluster
// has: one complete cluster would make up for another that has not begun. The
// least change that kubectl understands is one updated replica too few; and where
// none are asked for, one that still is to go.
func holdDeployment(m *merge) {
	if specReplicas := m.replicas(); specReplicas > 0 {
		m.set(updatedReplicas, min(m.get(updatedReplicas), specReplicas-1))
		return
	}
	m.set(replicas, max(m.get(replicas), m.get(updatedReplicas)+1))
}

// addUnavailable sums what the clusters lack; one that is not heard of lacks all.
func addUnavailable(m *merge) {
	lacking := sum(m.shown, unavailableReplicas, every)
	for _, cluster := range clustersOf(m.shown, isUnknown) {
		lacking = clamp(lacking + clamp(m.share(cluster)))
	}
	m.set(unavailableReplicas, lacking)
}
