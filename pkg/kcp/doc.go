// Package kcp is the way to kcp: from a kubeconfig to one workspace or to the
// virtual workspace of an APIExport, one source for each shard, and from there to
// caches over all consumer workspaces and to narrow writes.
//
// It knows nothing of workloads: it hands on events and objects of whatever
// resources it is told to watch.
package kcp
