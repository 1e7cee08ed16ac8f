// Package heartbeat is the agent's side of the registry of clusters. It claims the
// ClusterRegistration of its cluster, so that no two clusters work under one name;
// tells kcp, while its cluster answers, that the cluster is alive; reports how large
// the cluster is; and hands on the rule that the registration has for it.
//
// It knows nothing of workloads, nor of the syncer that runs beside it.
package heartbeat
