// Package syncer is the agent of one cluster. It pulls what is placed on its cluster from kcp, keeps a copy of it downstream, and
// reports upstream what became of it. It knows nothing of the hub: the keys on the upstream object are all that they share.
//
// Three loops take turns: one for the spec on its way down, one for the status on its way up, which share their keys, and one for
// the cluster's namespaces. An event (events.go) asks for a turn (syncer.go). A turn reads the caches (gather.go), has the pure
// package evaluate decide, and makes at most a few narrow writes (act.go, status.go, namespaces.go). The caches of the cluster are
// in caches.go, requests to it in cluster.go, and what is remembered between turns in memory.go.
package syncer
