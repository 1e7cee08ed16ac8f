// Package revisions says which revisions a workload is to have in kcp: a ReplicaSet for each pod template of a Deployment, a
// ControllerRevision for each of a StatefulSet or DaemonSet. Evaluate takes the workload and the revisions that there are, and
// says what to create, change and delete, by the rules of Kubernetes' own controllers (pkg/controller/deployment,
// pkg/controller/statefulset, pkg/controller/daemon and pkg/controller/history of k8s.io/kubernetes), so that whatever reads
// their revisions can read these. The package is pure: values in, values out.
package revisions
