// Package revisions keeps the revisions of workloads in kcp, as pkg/revisions says: ReplicaSets of Deployments,
// ControllerRevisions of StatefulSets and DaemonSets. It has caches of its own for them, so that nothing else ever reads the
// labels of a revision, which are those of a pod template.
package revisions
