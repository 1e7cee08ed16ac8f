// Package heartbeat keeps the registration of the agent's cluster. It claims the
// ClusterRegistration, so that no two clusters work under one name; tells kcp, while its
// cluster answers, that the cluster is alive; reports how large the cluster is; and hands on
// what the registration says about the syncer.
//
// It knows nothing of workloads, nor of the syncer that runs beside it.
package heartbeat
